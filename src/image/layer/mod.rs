//! A layer as a list of what it adds to those below and what it hides of them, and several
//! layers as one root. Whiteouts exist in lists only: no tree in the store has one.

mod assemble;
mod list;
mod merge;
mod whiteout;

use std::fmt;

use crate::image::digest::hex;
use crate::sys::file::{Owner, Time};

pub(super) use assemble::assemble;
pub(super) use list::{Writer, open, read, totals};
pub(super) use merge::{DEPTH, Merged, Node, alone, merge};
pub(super) use whiteout::{Whiteout, whiteout};

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
