//! What is asked for, as data: a place or a name, and which of several images there is meant.

use std::cmp::Ordering;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::image::oci::Form;
use crate::image::registry::Reference;

/// What was asked for. The paths are absolute, in the host's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// The kind is read from what the path is.
    Path(&'a Path),
    Directory(&'a Path),
    Tar(&'a Path),
    /// A path that holds images.
    Images(Form, &'a Path),
    /// An image of a registry.
    Registry(&'a Reference, Pull),
}

/// What was asked for, and what stands for it where its path cannot be trusted: an open place, or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub source: Source<'a>,
    /// Opened with `O_PATH`; it outlives every look into the image.
    pub held: Option<&'a OwnedFd>,
    /// Which of several images is meant.
    pub tag: Option<&'a str>,
    /// `OS/ARCHITECTURE[/VARIANT]`.
    pub platform: Option<&'a str>,
    /// Where the owners of files are to be told apart by somebody who is not root.
    pub range: Option<Range>,
}

impl<'a> From<Source<'a>> for Asked<'a> {
    fn from(source: Source<'a>) -> Self {
        Self { source, held: None, tag: None, platform: None, range: None }
    }
}

/// The subordinate ids of an unprivileged caller, as a sandbox with `ids="range"` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub uids: Ids,
    pub gids: Ids,
}

/// How the ids of one sort are mapped: `own` to the caller's, those around it to the subordinate ones, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    pub caller: u32,
    /// The first subordinate one.
    pub first: u32,
    /// Inside.
    pub own: u32,
}

impl Ids {
    /// Returns what `inside` is on disk.
    #[must_use]
    pub fn on_disk(self, inside: u32) -> u32 {
        match inside.cmp(&self.own) {
            Ordering::Less => self.first.saturating_add(inside),
            Ordering::Equal => self.caller,
            Ordering::Greater => self.first.saturating_add(inside - 1),
        }
    }
}

impl Range {
    /// Returns what the ids on disk are called where root is the caller and the subordinate ones follow.
    #[must_use]
    pub fn seen_by_root(self) -> Self {
        let seen = |ids: Ids| Ids { caller: 0, first: 1, ..ids };
        Self { uids: seen(self.uids), gids: seen(self.gids) }
    }
}

/// When a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// Where the image is not in the store.
    #[default]
    Missing,
    Always,
    Never,
}
