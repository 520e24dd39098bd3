//! From "which root file system was asked for" to a directory that can be mounted.
//! Nothing of an image is ever run or trusted here, and no image is ever changed.

mod account;
mod decode;
pub mod digest;
mod directories;
mod extract;
#[cfg(fuzzing)]
pub mod fuzzing;
mod locate;
mod look;
mod members;
mod pax;
mod place;
pub mod registry;
mod remember;
mod remove;
mod store;
mod tree;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::units::AbsPath;

pub use account::account;
pub use locate::locate;
pub use look::{Above, Found, above, look};
pub use store::Store;

/// What was asked for. The paths are absolute, in the host's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The kind is read from what the path is.
    Path(&'a Path),
    Directory(&'a Path),
    Tar(&'a Path),
}

/// What was asked for, and what stands for it where its path cannot be trusted: an open place, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub source: Source<'a>,
    /// Opened with `O_PATH`; it outlives every look into the image.
    pub held: Option<&'a OwnedFd>,
}

impl<'a> From<Source<'a>> for Asked<'a> {
    fn from(source: Source<'a>) -> Self {
        Self { source, held: None }
    }
}

/// What an image was before it became a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Tar,
}

impl Kind {
    /// Returns the word that stands for the kind in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Tar => "tar",
        }
    }
}

/// A root file system that can be mounted, read-only or as the lower part of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub kind: Kind,
    /// The directory to mount. That of a tar lies in the store, below a directory that only
    /// its owner may pass: open it before the identity changes.
    pub root: PathBuf,
    /// What was asked for.
    pub source: PathBuf,
    /// SHA-256 of the bytes of the archive, 64 lower-case hexadecimal digits: what
    /// `sha256sum` prints. `None` for a directory.
    pub digest: Option<String>,
    pub skipped: Skipped,
    /// The open place that stands for a `root` whose path cannot be trusted.
    held: Option<PathBuf>,
}

impl Image {
    /// Returns the path by which to look into the image: `root`, or what is open.
    #[must_use]
    pub fn eyes(&self) -> &Path {
        self.held.as_deref().unwrap_or(&self.root)
    }
}

/// What an archive holds and the extracted tree does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Character and block devices outside `/dev`, which the sandbox has of its own.
    pub devices: u64,
    /// Files that lost their set-user-ID or set-group-ID bit; the mounts ignore it anyway.
    pub set_id: u64,
    /// Extended attributes outside `user.`, and those that the store's file system cannot keep.
    pub attributes: u64,
}

/// What is being done to an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The tree is in the store; only the digest is computed.
    Verify,
    Extract,
}

/// How far the reading of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub step: Step,
    /// Bytes of the archive file, as stored.
    pub read: u64,
    pub total: u64,
}

/// One line of an image's `/etc/passwd`, passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub name: String,
    /// `/` where the field is empty.
    pub home: AbsPath,
    /// `/bin/sh` where the field is empty.
    pub shell: AbsPath,
}

/// How an account is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    Name(&'a str),
    Uid(u32),
}

/// What the garbage collector found of a run that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    /// Why it is still there; `None` when it was removed.
    pub error: Option<crate::error::Error>,
}

/// The bounds that keep a hostile archive from filling the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Files and directories, those that are made for a missing parent included.
    pub entries: u64,
    /// Bytes of the unpacked archive, holes of sparse files included.
    pub unpacked: u64,
    /// Unpacked bytes for one packed byte, once a 64th of `unpacked` is reached.
    pub ratio: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 500_000, unpacked: 16 << 30, ratio: 200 }
    }
}
