//! Images as the OCI image specification (1.1) and Docker (manifest version 2, schema 2) describe them: what their
//! JSON says, and where the packed bytes of their layers lie. Nothing is extracted here, and nothing that two
//! readers could read in two ways is read at all (CVE-2021-41190).

mod archive;
mod blobs;
mod choose;
mod config;
mod detect;
mod docker;
mod document;
mod json;
mod media;
mod open;
mod place;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::image::Progress;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::units::visible;

pub use detect::detect;
pub use document::{Descriptor, Document, ImageManifest, Index};
pub use json::SIZE as DOCUMENT;
pub use media::MediaType;
pub(super) use open::{file as open_archive, index as open_index};
pub use open::{from_blobs, open};
pub use place::{Part, Place};

/// In which form a local image is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A directory as image-layout.md has it.
    Layout,
    /// A tar of such a directory, plain or packed.
    OciArchive,
    /// What `docker save` writes, plain or packed.
    DockerArchive,
    /// A tar that is one of the two; told by its members. One that is both is read as the layout, whose blobs
    /// are all known by digest.
    Archive,
}

/// Layers of one image; overlayfs takes more, Docker builds no more.
const LAYERS: usize = 127;

impl Form {
    /// Returns the word that stands for the form in a spec and in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Layout => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Archive => "archive",
        }
    }
}

/// Where a local image is.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// In the host's tree; only for messages where `held` is given.
    pub path: &'a Path,
    /// Opened with `O_PATH`: what stands for a path that cannot be trusted.
    pub held: Option<&'a OwnedFd>,
}

/// Which of several images is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `org.opencontainers.image.ref.name` of a layout; of `docker save` the whole name or what follows the colon.
    pub tag: Option<String>,
    /// The machine's by default.
    pub platform: Option<Platform>,
}

/// What the reading of a packed archive needs: its members can only be reached by their place in a plain one.
pub struct Scratch<'a> {
    /// Makes a file without a name, to be written and read.
    pub file: &'a dyn Fn() -> Result<File>,
    /// Called every 256 KiB or so.
    pub progress: &'a mut dyn FnMut(Progress),
}

impl fmt::Debug for Scratch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scratch")
    }
}

/// One image for one platform.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Digest of the manifest; an archive of `docker save` has none, and the config's stands for the image there.
    pub digest: Digest,
    pub config: Config,
    /// What the config was read from.
    pub document: Vec<u8>,
    /// From the lowest up, as many as `config.diff_ids`, at most 127.
    pub layers: Vec<Layer>,
}

/// One layer, as it is stored.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Digest of the packed bytes, not yet compared with them. `None` where the archive knows a layer by name only.
    pub blob: Option<Digest>,
    /// Digest of the unpacked tar, not yet compared with it.
    pub diff_id: Digest,
    pub place: Place,
}

/// What an image says about how it is run (config.md, `docker run`). Ports, health checks and memory limits of it
/// are not read: an image opens and limits nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub platform: Platform,
    /// `NAME=VALUE` each, without NUL; a `NAME` alone is one that is not set.
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME`, `UID`, either with `:GROUP`.
    pub user: Option<String>,
    /// Absolute.
    pub workdir: Option<String>,
    /// Absolute paths.
    pub volumes: Vec<String>,
    pub stop_signal: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// Digests of the unpacked layers, from the lowest up.
    pub diff_ids: Vec<Digest>,
}

/// Returns a word of an image as it may stand in a message: short, and without power over a terminal.
fn shown(text: &str) -> String {
    const LONGEST: usize = 160;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", visible(&text[..end])),
        None => visible(text).into_owned(),
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}

fn within(what: impl fmt::Display, error: Error) -> Error {
    Error { message: format!("{what}: {}", error.message), ..error }
}
