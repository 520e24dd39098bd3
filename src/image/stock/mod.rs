//! What a person may want to know of the store, and to be rid of: its images, whether it is whole, how much it
//! takes. A run needs nothing of this.

mod check;
mod known;
mod remove;
mod repair;
mod usage;
mod verify;

use std::path::PathBuf;

use crate::image::digest::Digest;
use crate::image::oci::Config;

pub use known::{find, known};
pub use remove::{prune, remove};
pub use repair::repair;
pub use usage::usage;
pub use verify::verify;

/// An image that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Of the manifest; of the configuration or the archive where there is no manifest.
    pub digest: Digest,
    /// The word for the kind in a report.
    pub kind: String,
    /// By which it can be run, the newest last.
    pub names: Vec<Name>,
    /// What the layers make together; `None` where there are none.
    pub chain_id: Option<Digest>,
    /// From the lowest up.
    pub layers: Vec<KnownLayer>,
    /// Documents in the store.
    pub documents: Vec<Digest>,
    /// `None` for a whole root.
    pub config: Option<Config>,
}

/// A name of an image: a reference of a registry, or the place that it was imported from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// As a spec names it.
    pub name: String,
    pub platform: Option<String>,
    /// When it was pulled or imported, RFC 3339.
    pub pulled_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLayer {
    /// Of the packed bytes, where the image says it.
    pub digest: Option<Digest>,
    pub diff_id: Digest,
    /// Files, directories, links and whiteouts, and the bytes of its files; `None` where it is not in the store.
    pub size: Option<LayerSize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSize {
    pub entries: u64,
    pub bytes: u64,
}

/// What [`find`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub image: Known,
    /// The name by which it was found; `None` by its digest.
    pub name: Option<String>,
}

/// Something in the store that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What: `layer`, `root`, `blob`, `image`, `name`, `memo`.
    pub kind: &'static str,
    /// Its digest, or the file where it has none.
    pub name: String,
    /// Where in it, from the root of its tree.
    pub path: Option<String>,
    /// A lower-case fragment.
    pub reason: String,
    remedy: Remedy,
}

/// What has to go so that the next run imports it again.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Remedy {
    /// A layer or a root: its directory.
    Tree(PathBuf),
    File(PathBuf),
    /// The notes of an image.
    Image(Digest),
    /// It could not be read, and may be whole.
    None,
}

/// What was removed, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name, the image of which stays as long as it has others.
    Name(String),
    Image(Digest),
    Layer(Digest),
    Root(Digest),
    Blob(Digest),
    File(PathBuf),
}

/// How much a part of the store takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// `layer`, `root`, `blob`, `other`.
    pub kind: &'static str,
    /// The digest; the directory's name for `other`.
    pub name: String,
    /// What counts nowhere before, by inode: the files of a root are those of its layers.
    pub files: u64,
    /// On disk.
    pub bytes: u64,
}
