//! What is found, as data: a root that can be mounted, and what its image says.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image::Skipped;
use crate::image::digest::Digest;
use crate::image::oci::Config;

/// What an image was before it became a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    Tar,
    Oci,
    OciArchive,
    DockerArchive,
    /// Of a registry.
    Docker,
}

impl Kind {
    /// Returns the word that stands for the kind in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Tar => "tar",
            Self::Oci => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
            Self::Docker => "docker",
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
    /// Of the bytes of an archive: what `sha256sum` prints; of the manifest of an image; `None` for a directory.
    pub digest: Option<Digest>,
    /// Number of layers, of what has layers.
    pub layers: Option<u32>,
    /// What an image says of how it is run.
    pub config: Option<Config>,
    pub skipped: Skipped,
    /// Held until the end of the run: no other sbx removes what is mounted.
    pub in_use: InUse,
    /// The open place that stands for a `root` whose path cannot be trusted.
    pub(super) held: Option<PathBuf>,
}

/// A lock on a tree of the store that lives as long as the last copy of this. Nothing else of it counts.
#[derive(Debug, Clone, Default)]
pub struct InUse {
    pub(super) _lock: Option<Arc<OwnedFd>>,
}

impl PartialEq for InUse {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for InUse {}

impl Image {
    /// Returns the path by which to look into the image: `root`, or what is open.
    #[must_use]
    pub fn eyes(&self) -> &Path {
        self.held.as_deref().unwrap_or(&self.root)
    }
}
