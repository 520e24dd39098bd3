//! What is taken out of a sandbox when all its processes are dead. A process of its own
//! enters the sandbox's namespaces and reads there; it writes to descriptors that sbx
//! opened before the command ran, and has no path to the host.

pub mod collector;
pub mod layer;
pub mod outlet;
pub mod pack;
pub mod place;
pub mod record;
pub mod take;
pub mod target;
pub mod upper;

use std::os::fd::OwnedFd;

use crate::error::Error;
use crate::sys::Fd;
use crate::sys::rights::MOST;
use crate::sys::watch::own;
use crate::units::Origin;

/// What the child handed over: it outlives the child.
#[derive(Debug, Default)]
pub enum Hands {
    /// Nothing is taken out of this sandbox.
    #[default]
    NotWanted,
    Awaited,
    Here(Sandbox),
    /// The child ended before it handed anything over.
    Never,
}

/// A sandbox without processes.
#[derive(Debug)]
pub struct Sandbox {
    pub users: OwnedFd,
    pub mounts: OwnedFd,
    /// Those of the plan's harvest, in its order.
    pub trees: Vec<OwnedFd>,
}

impl Hands {
    /// Takes what came with a message.
    #[must_use]
    pub fn of(handed: [Option<Fd>; MOST]) -> Self {
        let mut open = handed.into_iter().flatten().map(own);
        match (open.next(), open.next()) {
            (Some(users), Some(mounts)) => Self::Here(Sandbox { users, mounts, trees: open.collect() }),
            _ => Self::Never,
        }
    }
}

/// What was taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Harvested {
    pub changes: Option<Changed>,
    /// What could not be had, whatever the command did.
    pub failed: Vec<Error>,
    /// What was there and is not what is wanted, by what asked for it.
    pub unfit: Vec<(Origin, Unfit)>,
    /// What was not there to be had: no mistake of a command that failed itself.
    pub missing: Vec<Error>,
    pub warnings: Vec<String>,
}

/// Why something that is there is not what is wanted ([`crate::spec::Wanted`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    NotAFile,
    /// It has so many bytes.
    TooLarge(u64),
}

/// The changes of the root, as they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub path: String,
    pub counts: Counts,
    /// Size of the archive.
    pub bytes: u64,
}

/// How many files differ from the layers below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub added: u64,
    pub modified: u64,
    pub deleted: u64,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, sort: upper::Sort) {
        match sort {
            upper::Sort::Added => self.added += 1,
            upper::Sort::Modified => self.modified += 1,
            upper::Sort::Deleted => self.deleted += 1,
            upper::Sort::Same => {}
        }
    }
}
