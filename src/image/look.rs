//! What a path is inside an image, so that the plan can provide what is missing on a layer
//! of its own. It creates nothing and follows no link out of the image.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::fd::{AsRawFd as _, OwnedFd};
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

/// A directory above a path, or the root itself.
#[derive(Debug)]
pub struct Above {
    /// Where it lies below the root, without any link on the way.
    pub path: AbsPath,
    pub found: Metadata,
    /// Whether this process may look up names in it.
    pub search: bool,
}

/// Returns the root of an image itself.
#[must_use]
pub fn top(root: &Path) -> Option<Above> {
    let found = std::fs::metadata(root).ok()?;
    Some(Above { path: AbsPath::root(), found, search: file::may_search(root) })
}

/// Returns the directories between `root` and `path`, both exclusive, that exist, from the top down. Links are
/// followed as inside the root; what cannot be looked at ends the list.
#[must_use]
pub fn above(root: &Path, path: &AbsPath) -> Vec<Above> {
    deepest(root, path).unwrap_or_default()
}

fn deepest(root: &Path, path: &AbsPath) -> Option<Vec<Above>> {
    let top = file::open(root, Access::DirectoryPlace).ok()?;
    let name = |directory: &OwnedFd| std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).ok();
    let mut current = path.parent();
    let place = loop {
        let parent = current.filter(|parent| *parent != AbsPath::root())?;
        match file::open_in_root(&top, OsStr::new(parent.as_str()), Access::DirectoryPlace) {
            Ok(place) => break place,
            Err(_) => current = parent.parent(),
        }
    };
    let (root, place) = (name(&top)?, name(&place)?);
    let rest = place.strip_prefix(&root).ok()?.to_str()?.to_owned();
    let mut directories = Vec::new();
    let mut current = AbsPath::new(&format!("/{rest}")).ok().filter(|path| *path != AbsPath::root());
    while let Some(path) = current {
        let real = root.join(path.as_str().trim_start_matches('/'));
        let found = std::fs::symlink_metadata(&real).ok()?;
        current = path.parent().filter(|parent| *parent != AbsPath::root());
        directories.push(Above { path, found, search: file::may_search(&real) });
    }
    directories.reverse();
    Some(directories)
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
