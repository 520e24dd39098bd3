//! Removal of a tree that a stranger shaped: an archive in the store, or what came out of a sandbox in the directory
//! of an `sbx test`. By descriptors, without following a link or crossing a mount, however deep it is and whatever
//! its modes are.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::error::{Error, Result};
use crate::sys::file::{self, Access, Errno, FileType};

/// Removes the tree `name` below the directory `parent`. A tree that is gone already is no error.
///
/// A directory is emptied by moving the directories in it up to the top, so that neither the
/// stack nor the number of open files grows with the depth.
///
/// # Errors
/// The first thing that cannot be removed.
pub(crate) fn remove(parent: &Path, name: &OsStr) -> Result<()> {
    let path = parent.join(name);
    let failed = |errno: Errno| Error::io(format_args!("cannot remove `{}`", path.display()), &errno.into());
    let above = std::fs::File::open(parent)
        .map_err(|error| Error::io(format_args!("cannot open `{}`", parent.display()), &error))?;
    let top = match open(above.as_fd(), name) {
        Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::ENOTDIR | Errno::ELOOP) => return file::unlink_at(&above, name).map_err(failed),
        other => other.map_err(failed)?,
    };
    empty(top.as_fd()).and_then(|()| file::remove_directory_at(&above, name)).map_err(failed)
}

fn empty(top: BorrowedFd<'_>) -> file::Result<()> {
    let mut left: VecDeque<OsString> = file::names(top)?.into();
    let mut moved: u64 = 0;
    while let Some(name) = left.pop_front() {
        if file::stat_at(top, &name)?.kind != FileType::Directory {
            file::unlink_at(top, &name)?;
            continue;
        }
        let directory = open(top, &name)?;
        for inner in file::names(directory.as_fd())? {
            if file::stat_at(&directory, &inner)?.kind == FileType::Directory {
                left.push_back(hoist(directory.as_fd(), &inner, (top, &mut moved))?);
            } else {
                file::unlink_at(&directory, &inner)?;
            }
        }
        drop(directory);
        file::remove_directory_at(top, &name)?;
    }
    Ok(())
}

/// Moves a directory to the top, under a name that nothing else has.
fn hoist(from: BorrowedFd<'_>, name: &OsStr, (top, moved): (BorrowedFd<'_>, &mut u64)) -> file::Result<OsString> {
    // A directory is only moved by who may write it, since its `..` changes.
    drop(open(from, name)?);
    loop {
        *moved += 1;
        let new = OsString::from(format!("removed.{moved}"));
        match file::stat_at(top, &new) {
            Err(Errno::ENOENT) => return file::rename_at((from, name), (top, &new)).map(|()| new),
            Err(errno) => return Err(errno),
            // An earlier removal was interrupted.
            Ok(_) => {}
        }
    }
}

/// Opens a directory, made accessible to its owner first.
fn open(parent: BorrowedFd<'_>, name: &OsStr) -> file::Result<OwnedFd> {
    let stat = file::stat_at(parent, name)?;
    if stat.kind != FileType::Directory {
        return Err(Errno::ENOTDIR);
    }
    match file::set_mode_at(parent, name, 0o700) {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    file::open_at(parent, name, Access::Directory)
}
