//! How much each part of the store takes on disk. What has several names counts once: at the layer that it came
//! with.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::stock::Usage;
use crate::image::store::{SECTIONS, Store};
use crate::sys::file::{self, Access, Errno, FileType};

/// Returns what each layer, root and blob takes, then the other directories of the store.
///
/// # Errors
/// A file that cannot be looked at.
pub fn usage(store: &Store) -> Result<Vec<Usage>> {
    if !store.root().exists() {
        return Ok(Vec::new());
    }
    let _importing = store.importing()?;
    let mut seen = HashSet::new();
    let mut usage = Vec::new();
    for (section, kind) in [("layers", "layer"), ("roots", "root"), ("blobs", "blob")] {
        for name in store.list(section)? {
            let (files, bytes) = walk(&store.root().join(section).join(&name), &mut seen)?;
            usage.push(Usage { kind, name, files, bytes });
        }
    }
    for section in SECTIONS.into_iter().chain(["volumes"]).filter(|name| !["layers", "roots", "blobs"].contains(name)) {
        let (files, bytes) = walk(&store.root().join(section), &mut seen)?;
        usage.push(Usage { kind: "other", name: section.to_owned(), files, bytes });
    }
    Ok(usage)
}

/// Counts what is below `path`, and that itself. Directories are opened from the top: however deep they lie, few
/// are open.
fn walk(path: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<(u64, u64)> {
    let failed = |at: &[u8], errno: Errno| {
        let place = path.join(OsStr::from_bytes(at));
        Error::io(format_args!("cannot look at `{}`", place.display()), &errno.into())
    };
    let found = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        other => other.map_err(|error| Error::io(format_args!("cannot look at `{}`", path.display()), &error))?,
    };
    let (mut files, mut bytes) = (1, found.blocks() * 512);
    if !found.is_dir() {
        return Ok((files, bytes));
    }
    let top = file::open(path, Access::Directory).map_err(|errno| failed(b"", errno))?;
    let mut ahead: Vec<Vec<u8>> = Vec::from([b".".to_vec()]);
    while let Some(at) = ahead.pop() {
        let directory = file::open_beneath(&top, OsStr::from_bytes(&at), Access::Directory);
        let directory = directory.map_err(|errno| failed(&at, errno))?;
        for name in file::names(directory.as_fd()).map_err(|errno| failed(&at, errno))? {
            let below = [at.as_slice(), b"/", name.as_bytes()].concat();
            let place = match file::open_at(&directory, &name, Access::Place) {
                // Something else may have been removed meanwhile.
                Err(Errno::ENOENT) => continue,
                other => other.map_err(|errno| failed(&below, errno))?,
            };
            let kind = file::stat(&place).map_err(|errno| failed(&below, errno))?.kind;
            let found = File::from(place).metadata();
            let found =
                found.map_err(|error| failed(&below, Errno::from_raw(error.raw_os_error().unwrap_or_default())))?;
            if kind == FileType::Directory {
                ahead.push(below);
            } else if found.nlink() > 1 && !seen.insert((found.dev(), found.ino())) {
                continue;
            }
            files += 1;
            bytes += found.blocks() * 512;
        }
    }
    Ok((files, bytes))
}
