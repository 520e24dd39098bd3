//! What a path is inside an image, so that the plan can provide what is missing on a layer
//! of its own. It creates nothing and follows no link out of the image.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use crate::sys::file::{self, Access, Errno, FileType};
use crate::units::AbsPath;

/// What [`look`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Directory,
    /// Anything else that exists.
    File,
    Missing,
    /// The errno of looking.
    Unknown(i32),
}

/// Returns what `path` is in the image at `root`. Links are followed as inside the image; one that leads
/// nowhere is missing.
#[must_use]
pub fn look(root: &Path, path: &AbsPath) -> Found {
    // A single name in the root directory that is no link needs no walk inside the image.
    let rest = path.as_str().trim_start_matches('/');
    if !rest.contains('/') {
        let found = std::fs::symlink_metadata(root.join(rest));
        if found.as_ref().map_or(true, |found| !found.is_symlink()) {
            return found.map_or_else(
                |source| absent(errno(&source)),
                |found| match found.is_dir() {
                    true => Found::Directory,
                    false => Found::File,
                },
            );
        }
    }
    let found = File::open(root)
        .map_err(|source| errno(&source))
        .and_then(|root| file::open_in_root(&root, OsStr::new(path.as_str()), Access::Place))
        .and_then(|place| file::stat(&place));
    match found {
        Ok(stat) if stat.kind == FileType::Directory => Found::Directory,
        Ok(_) => Found::File,
        Err(errno) => absent(errno),
    }
}

fn errno(source: &std::io::Error) -> Errno {
    Errno::from_raw(source.raw_os_error().unwrap_or(Errno::EIO as i32))
}

fn absent(errno: Errno) -> Found {
    match errno {
        Errno::ENOENT => Found::Missing,
        errno => Found::Unknown(errno as i32),
    }
}
