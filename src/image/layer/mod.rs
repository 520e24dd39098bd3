//! A layer as a list of what it adds to those below and what it hides of them, and several
//! layers as one root. Whiteouts exist in lists only: no tree in the store has one.

mod assemble;
mod escape;
mod list;
mod merge;
mod whiteout;

use std::fmt;

use crate::error::Result;
use crate::image::digest::hex;
use crate::sys::file::{Owner, Time};

pub(super) use assemble::assemble;
pub(super) use list::{Writer, open, totals};
pub(super) use merge::{Children, DEPTH, Merged, Node, alone, merge};
pub(super) use whiteout::{PREFIX, Whiteout, whiteout};

/// As many layers as Docker's overlay driver takes.
pub(super) const LAYERS: usize = 127;

/// Extended attributes, name and value.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// What one layer says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// From the root, without a leading `/`; the parts as the archive spelt them, without `.` and empty ones.
    pub(super) path: Vec<u8>,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Directory(Directory),
    /// Anything else that lies in the tree of the layer.
    File(File),
    /// A hard link; what it leads to is in this layer, or in one below.
    Link {
        target: Vec<u8>,
    },
    /// Nothing of the layers below is left here.
    Hidden,
    /// Nothing of the layers below is left in this directory.
    Opaque,
}

/// What an entry is to the layers below, without what a file is: several layers are laid over each other at once.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) path: Box<[u8]>,
    pub(super) deed: Deed,
}

#[derive(Debug)]
pub(super) enum Deed {
    Directory(Box<Directory>),
    File,
    Symlink { target: Box<[u8]> },
    Link { target: Box<[u8]> },
    Hide,
    HideAll,
}

impl Entry {
    /// Returns what it is to the layers below, and what it is itself, if it is a file.
    pub(super) fn part(self) -> (Step, Option<File>) {
        let (deed, file) = match self.what {
            What::Directory(directory) => (Deed::Directory(Box::new(directory)), None),
            What::File(file) => match &file.kind {
                FileKind::Symlink { target } => (Deed::Symlink { target: target.as_slice().into() }, Some(file)),
                FileKind::Regular { .. } | FileKind::Fifo => (Deed::File, Some(file)),
            },
            What::Link { target } => (Deed::Link { target: target.into() }, None),
            What::Hidden => (Deed::Hide, None),
            What::Opaque => (Deed::HideAll, None),
        };
        (Step { path: self.path.into(), deed }, file)
    }
}

/// Returns what a list is to the layers below.
pub(super) fn steps(list: impl Iterator<Item = Result<Entry>>) -> impl Iterator<Item = Result<Step>> {
    list.map(|entry| entry.map(|entry| entry.part().0))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) described: Described,
    /// Lower twelve bits, without set-id bits.
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) time: Option<Time>,
    pub(super) attributes: Attributes,
}

/// Whether the archive has an entry for a directory, or only for something in it. What stands there in a layer
/// below is replaced by the first, and is the way on for the second: also through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Described {
    Yes,
    No,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) kind: FileKind,
    /// As the archive has it, set-id bits included; the tree has it without.
    pub(super) mode: u32,
    /// As the archive has it, whoever owns it in the tree.
    pub(super) owner: Owner,
    pub(super) time: Time,
    /// Extended attributes that the tree has, name and value.
    pub(super) attributes: Attributes,
}

/// The digest of the contents of a file. It is of no other use than to tell when they have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Contents {
    Blake3([u8; 32]),
    /// As sbx wrote it before it knew the other.
    Sha256([u8; 32]),
}

impl fmt::Display for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, digest) = match self {
            Self::Blake3(digest) => ("blake3", digest),
            Self::Sha256(digest) => ("sha256", digest),
        };
        write!(f, "{name}:{}", hex(digest))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileKind {
    Regular { size: u64, contents: Contents },
    Symlink { target: Vec<u8> },
    Fifo,
}
