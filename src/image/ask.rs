//! What is asked for, as data: a place or a name, and which of several images there is meant.

use std::os::fd::OwnedFd;
use std::path::Path;

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
}

impl<'a> From<Source<'a>> for Asked<'a> {
    fn from(source: Source<'a>) -> Self {
        Self { source, held: None, tag: None, platform: None }
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
