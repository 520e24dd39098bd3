//! The doors of the fuzz targets into this room, which the program does not have: they
//! are compiled under `--cfg fuzzing` only, and add nothing to what they open.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use crate::error::Result;
use crate::image::tree::{Ownership, Tree};
use crate::image::{Bounds, Skipped, extract};

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
    let total = archive.metadata().map_or(0, |found| found.len());
    let ownership = match owners {
        Owners::Archive => Ownership::Archive,
        Owners::Caller => Ownership::Caller,
    };
    extract::extract((archive, total), (root, ownership), bounds, &mut |_| {}).map(|(_, skipped)| skipped)
}

/// Walks from `root` to the directory at `parts` and makes what is missing, as for the parent of a member.
///
/// # Errors
/// Links that do not end, or what is in the way.
pub fn make_parents(root: &Path, parts: &[&[u8]]) -> Result<Rc<OwnedFd>> {
    Tree::new(root, Ownership::Caller, Bounds::default())?.make_parents(parts)
}
