//! Finds the files that may hold tests. It follows no link to a directory, so no ring of links can hold it, and it
//! reads no file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What a spec with tests is called.
pub const SUFFIX: &str = ".sbx.kdl";

/// Directories of others: what was built, and what was fetched. Hidden ones are left out too.
const FOREIGN: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// Returns the specs below `paths`, each once, in the order of their names; a path that is no directory is one
/// itself, whatever it is called. A link may lead nowhere.
///
/// # Errors
/// A path that is not there, a directory that cannot be read.
pub fn discover(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let failed = |source: &std::io::Error| Error::io(format_args!("cannot look at `{}`", path.display()), source);
        let what = std::fs::metadata(path).map_err(|source| failed(&source))?;
        if what.is_dir() {
            below(path, Links::Followed, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    // By what they are: `a.sbx.kdl` and `./a.sbx.kdl` are one. A link to a file that is found itself is none: what is
    // beside it is not what is beside the file.
    let real = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let files: BTreeSet<PathBuf> = found.iter().filter(|path| !path.is_symlink()).map(real).collect();
    let mut seen = BTreeSet::new();
    found.retain(|path| {
        let real = real(path);
        !(path.is_symlink() && files.contains(&real)) && seen.insert(real)
    });
    Ok(found)
}

/// What is done about a spec that is a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Followed,
    LeftOut,
}

/// Adds the specs below `directory` to `found`, each directory in the order of the names in it. Directories of others
/// and hidden ones are left out; `directory` itself may be one.
///
/// # Errors
/// A directory that cannot be read.
pub fn below(directory: &Path, links: Links, found: &mut Vec<PathBuf>) -> Result<()> {
    let failed = |source: std::io::Error| {
        Error::io(format_args!("cannot read the directory `{}`", directory.display()), &source)
    };
    let entries = std::fs::read_dir(directory).map_err(failed)?;
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `.` alone is what a person means by "here", and would be shown before every name.
        let path = if directory == Path::new(".") {
            PathBuf::from(entry.file_name())
        } else {
            directory.join(&*entry.file_name())
        };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            if !name.starts_with('.') && !FOREIGN.contains(&&*name) {
                below(&path, links, found)?;
            }
        } else if name.ends_with(SUFFIX) {
            let is_file = match links {
                // One that leads nowhere is a spec that cannot be read, but for the locks of an editor.
                Links::Followed => std::fs::metadata(&path).map_or(!name.starts_with(".#"), |found| found.is_file()),
                Links::LeftOut => kind.is_file(),
            };
            found.extend(is_file.then_some(path));
        }
    }
    Ok(())
}
