//! What `sbx image … --json` writes: one line, an array, or for `pull` an object. Sizes are in bytes, digests begin
//! with `sha256:`. They say what was found, they look at nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::line;

/// One name of an image, or an image without any, as `list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub name: Option<String>,
    /// What the name was pulled for, where that was said.
    pub platform: Option<String>,
    /// Of the manifest.
    pub digest: String,
    /// `docker`, `oci`, `oci-archive`, `docker-archive`, `tar`.
    pub kind: String,
    /// Number of layers.
    pub layers: usize,
    /// Contents of the files of all layers; `null` where one is not in the store.
    pub size: Option<u64>,
    /// RFC 3339.
    pub pulled_at: Option<String>,
}

/// What `pull` got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    pub source: String,
    pub digest: Option<String>,
    pub layers: Option<u32>,
    pub skipped: Skipped,
}

/// How much of what the archives hold the tree has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Outside of `/dev`, which a sandbox has of its own.
    pub devices: u64,
    /// Files that lost a set-user-ID or set-group-ID bit.
    pub set_id: u64,
    /// Extended attributes outside `user.`, and those that the store's file system cannot keep.
    pub attributes: u64,
}

/// One image, as `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspected {
    pub digest: String,
    pub kind: String,
    pub names: Vec<Named>,
    /// Of all layers together, as OCI's config.md defines it.
    pub chain_id: Option<String>,
    /// From the lowest up.
    pub layers: Vec<Layer>,
    /// `null` for an archive of a whole root.
    pub config: Option<Config>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    pub name: String,
    pub platform: Option<String>,
    pub pulled_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Of the packed bytes; `null` where the image does not say it.
    pub digest: Option<String>,
    /// Of the unpacked tar.
    pub diff_id: String,
    /// Contents of its files; `null` where it is not in the store.
    pub size: Option<u64>,
    /// Files, directories, links and whiteouts.
    pub entries: Option<u64>,
}

/// How the image is run where a spec says nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    pub platform: String,
    pub env: Vec<String>,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub volumes: Vec<String>,
    pub stop_signal: Option<String>,
    pub labels: BTreeMap<String, String>,
}

/// Something that `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `layer`, `root`, `blob`, `image`, `name`, `memo`.
    pub kind: &'static str,
    /// Its digest, or the file of the store.
    pub name: String,
    /// Where in its tree.
    pub path: Option<String>,
    /// As a lower-case fragment.
    pub reason: String,
}

/// Something that `remove`, `prune` or `verify --repair` removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// `name`, `image`, `layer`, `root`, `blob`, `file`.
    pub kind: &'static str,
    pub name: String,
}

/// What `verify` found and, with `--repair`, removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    pub problems: Vec<Problem>,
    pub removed: Vec<Removed>,
}

/// A part of the store, as `du` counts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// `layer`, `root`, `blob`, `other`, and at the end `total`.
    pub kind: &'static str,
    pub name: String,
    /// Files and directories that were not counted before.
    pub files: u64,
    /// On disk.
    pub bytes: u64,
}

/// A line of JSON.
pub type Line = Result<Vec<u8>, serde_json::Error>;

/// Returns anything of the above as one line of JSON, with a final newline.
///
/// # Errors
/// None that these types can cause; the writer of JSON has errors for others.
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> Line {
    line::line(value)
}
