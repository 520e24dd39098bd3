//! The files of a directory as members of a tar, for a layer of an image or for a copy. What is packed is reached by
//! descriptors, and no link is followed.

pub mod archive;
mod holes;
pub mod walk;

use crate::error::{Error, Kind as ErrorKind};
use crate::image::layer::PREFIX;
use crate::sys::Errno;
use crate::sys::entry::Kind;

/// How deep directories may lie in one another: each level holds descriptors and stack.
pub const DEPTH: usize = 400;

/// As many warnings as are said of one archive.
const WARNINGS: usize = 64;

/// Why nothing is packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A place could not be read.
    Read { path: String, errno: Errno },
    /// A place cannot be kept, for this reason.
    Refused { path: String, why: String },
    /// What it goes to takes no more.
    Write(Errno),
}

impl Fault {
    /// Returns the fault about a place that could not be read. One whose name was just listed and that is not
    /// there any more is no mistake of who named it.
    #[must_use]
    pub fn unread(path: String, errno: Errno) -> Self {
        match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Self::changed(path),
            errno => Self::Read { path, errno },
        }
    }

    /// Returns the fault about a place that did not hold still.
    #[must_use]
    pub fn changed(path: String) -> Self {
        Self::Refused { path, why: "it changed while it was read".to_owned() }
    }

    /// Returns the same fault by another path.
    #[must_use]
    pub fn at(self, path: String) -> Self {
        match self {
            Self::Read { errno, .. } => Self::Read { path, errno },
            Self::Refused { why, .. } => Self::Refused { path, why },
            Self::Write(errno) => Self::Write(errno),
        }
    }

    /// Returns it as an error that begins with `goal`; `place` follows the path.
    #[must_use]
    pub fn error(&self, goal: &str, place: &str) -> Error {
        match self {
            Self::Read { path, errno } => {
                Error::new(ErrorKind::Io, format!("{goal}: cannot read `{path}`{place}")).with_errno(*errno as i32)
            }
            Self::Refused { path, why } => Error::new(ErrorKind::Io, format!("{goal}: `{path}` cannot be kept: {why}")),
            Self::Write(errno) => Error::new(ErrorKind::Io, goal).with_errno(*errno as i32),
        }
    }
}

/// What is not packed, and what is said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// A name that hides another one where the archive is a layer.
    Whiteout,
    /// Neither file, directory nor link.
    Special(Kind),
}

impl LeftOut {
    /// Returns why something of that name and kind is no part of a layer.
    #[must_use]
    pub fn of_layer(name: &[u8], kind: Kind) -> Option<Self> {
        match kind {
            _ if name.starts_with(PREFIX) => Some(Self::Whiteout),
            Kind::Socket | Kind::Device(_) => Some(Self::Special(kind)),
            Kind::Regular | Kind::Directory | Kind::Symlink | Kind::Fifo => None,
        }
    }

    /// Returns why something of that kind is no part of a copy.
    #[must_use]
    pub fn of_copy(kind: Kind) -> Option<Self> {
        matches!(kind, Kind::Fifo | Kind::Socket | Kind::Device(_)).then_some(Self::Special(kind))
    }

    /// Returns what is said of it at `path`.
    #[must_use]
    pub fn warning(self, path: &str) -> String {
        match self {
            Self::Whiteout => format!("`{path}` is left out: in a layer its name would mean that another is hidden"),
            Self::Special(kind) => format!("the {} `{path}` is left out", kind.word()),
        }
    }
}

/// Returns whether an extended attribute is kept: overlayfs gives `user.overlay.` a meaning when it is mounted with
/// `userxattr`.
#[must_use]
pub fn is_kept(attribute: &[u8]) -> bool {
    attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.")
}

/// Adds a warning, unless there are many.
pub fn warn(warnings: &mut Vec<String>, warning: &str) {
    if warnings.len() < WARNINGS {
        warnings.push(warning.chars().take(300).collect());
    } else if warnings.len() == WARNINGS {
        warnings.push("more was left out, which is not listed".to_owned());
    }
}
