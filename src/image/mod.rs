//! From "which root file system was asked for" to a directory that can be mounted.
//! Nothing of an image is ever run or trusted here, and no image is ever changed.

mod account;
pub mod append;
mod archive;
mod ask;
mod decode;
pub mod digest;
mod directories;
mod extract;
mod found;
#[cfg(fuzzing)]
pub mod fuzzing;
mod import;
mod inherit;
mod layer;
mod layered;
mod ledger;
mod locate;
mod look;
mod members;
mod mend;
mod obtain;
pub mod oci;
mod owners;
pub mod pack;
mod pax;
mod pieces;
mod place;
mod platform;
mod principal;
mod queue;
pub mod registry;
mod regular;
mod remember;
pub(crate) mod remove;
mod scribe;
mod seal;
mod shown;
mod sparse;
pub mod stock;
mod store;
pub mod tend;
mod tree;
mod unfinished;
pub mod worker;

use std::path::PathBuf;

use crate::units::AbsPath;

pub use account::{account, memberships};
pub use ask::{Asked, Ids, Pull, Range, Source};
pub use found::{Image, InUse, Kind};
pub use locate::locate;
pub use look::{Above, Found, above, look, top};
pub use platform::Platform;
pub use principal::principal;
pub use store::Store;

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
    /// From a registry.
    Pull,
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

/// Who an image runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    pub uid: u32,
    pub gid: u32,
    /// Name and home, where `/etc/passwd` has the user.
    pub account: Option<(String, String)>,
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

/// Who extracts what a stranger packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extractor {
    /// This very process: for tests of the extraction itself, and inside the worker.
    Here,
    /// A program that confines itself, see [`worker`].
    Program(PathBuf),
}
