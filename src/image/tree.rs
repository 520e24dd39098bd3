//! A tree in the making, as data: what `place` puts members into and `directories`
//! keeps open until the end. It does nothing by itself.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::image::ask::Range;
use crate::image::ledger::Ledger;
use crate::image::shown::Shown;
use crate::image::{Bounds, Skipped};
use crate::sys::file::{Owner, Time};

/// `PATH_MAX` of path_resolution(7), the final NUL included.
pub(super) const PATH: usize = 4096;

/// Who owns the files of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Whom the archive says.
    Archive,
    /// The caller, who has no right to give files away.
    Caller,
    /// Whom the archive says, among the subordinate ids of the caller.
    Range(Range),
}

/// Where a tree is made. Nothing outside of what is open here is needed or reached.
pub(super) struct Target {
    /// An empty directory.
    pub(super) root: OwnedFd,
    /// The path of `root`, for messages.
    pub(super) shown: PathBuf,
    pub(super) ownership: Ownership,
}

/// A tree in the making. Directories are open to their owner until its end.
pub(super) struct Tree {
    pub(super) shown: Arc<Shown>,
    pub(super) root: Rc<OwnedFd>,
    pub(super) ownership: Ownership,
    pub(super) bounds: Bounds,
    pub(super) directories: Directories,
    pub(super) made: u64,
    pub(super) written: u64,
    pub(super) skipped: Skipped,
    /// Hard links to what is not in the tree.
    pub(super) below: u64,
    pub(super) whiteouts: Whiteouts,
    /// What becomes the list of the tree.
    pub(super) ledger: Ledger,
}

/// What a name that begins with `.wh.` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// A whiteout: the archive is a layer of an image.
    Hide,
    /// Nothing: the archive is a whole root.
    AreFiles,
}

/// What a tree remembers of its directories.
#[derive(Default)]
pub(super) struct Directories {
    /// The parent of the last member: most archives stay in a directory for a while.
    pub(super) last: Option<(Vec<u8>, Parent)>,
    /// What directories get at the end, by inode: until then, members still have to get in.
    pub(super) pending: HashMap<u64, Pending>,
    /// Bytes of all names that were noted.
    pub(super) held: usize,
}

/// A directory that members are put into.
#[derive(Clone)]
pub(super) struct Parent {
    pub(super) handle: Rc<OwnedFd>,
    /// How many directories it lies below the root, whatever links led there.
    pub(super) depth: usize,
}

pub(super) struct Pending {
    /// From the root, as the archive spelt it.
    pub(super) name: Vec<u8>,
    pub(super) depth: usize,
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) time: Option<Time>,
}

/// Returns the parts as a path that can be opened from the root.
pub(super) fn relative(parts: &[&[u8]]) -> OsString {
    match parts {
        [] => OsString::from("."),
        _ => OsString::from_vec(parts.join(&b'/')),
    }
}
