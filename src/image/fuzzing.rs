//! The doors of the fuzz targets into this room, which the program does not have: they
//! are compiled under `--cfg fuzzing` only, and add nothing to what they open.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::image::decode::Packed;
use crate::image::ledger::Ledger;
use crate::image::tree::{Ownership, Target, Tree, Whiteouts};
use crate::image::{Bounds, Skipped, extract};
use crate::sys::file;

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Whom the archive says, which only root can have.
    Archive,
    Caller,
}

/// Unpacks `archive` into the empty directory `root`, as a store does.
///
/// # Errors
/// What is wrong with the archive, or why it could not be written.
pub fn unpack(archive: &File, (root, owners): (&Path, Owners), bounds: &Bounds) -> Result<Skipped> {
    let packed = Packed { file: archive, offset: 0, length: archive.metadata().map_or(0, |found| found.len()) };
    let ownership = match owners {
        Owners::Archive => Ownership::Archive,
        Owners::Caller => Ownership::Caller,
    };
    // What is listed of a tree is not kept.
    let list = File::options().write(true).open("/dev/null").map_err(|error| failed(root, &error))?;
    let target = (target(root, ownership)?, list);
    extract::extract(&packed, target, (Whiteouts::Hide, bounds), &mut |_| {}).map(|extracted| extracted.skipped)
}

/// Walks from `root` to the directory at `parts` and makes what is missing, as for the parent of a member.
///
/// # Errors
/// Links that do not end, or what is in the way.
pub fn make_parents(root: &Path, parts: &[&[u8]]) -> Result<Rc<OwnedFd>> {
    Tree::new(target(root, Ownership::Caller)?, Ledger::default(), Whiteouts::Hide, Bounds::default())?
        .make_parents(parts)
        .map(|parent| parent.handle)
}

fn target(root: &Path, ownership: Ownership) -> Result<Target> {
    let opened = file::open(root, file::Access::Directory).map_err(|errno| failed(root, &errno.into()))?;
    Ok(Target { root: opened, shown: root.to_owned(), ownership })
}

fn failed(root: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot unpack to `{}`", root.display()), error)
}
