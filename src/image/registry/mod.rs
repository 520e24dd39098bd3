//! The client of a container registry (OCI distribution specification 1.1): from a
//! `docker://` reference to verified blobs in a directory. It knows nothing of what is in
//! a layer, runs nothing (no credential helper either), and never sends a secret to
//! another host than the one it is for.
//!
//! # What is trusted
//! The registry says what a tag is. Everything below that is named by its digest and checked before it gets that
//! name. TLS is rustls with the machine's certificate authorities and those of the registry's own directory
//! (`certs.d`); plain HTTP is spoken to loopback addresses only.

mod auth;
mod blob;
mod choose;
mod credentials;
mod document;
mod failure;
mod http;
mod part;
mod pull;
mod reference;
mod retry;
mod roots;
mod session;

use std::ffi::OsString;
use std::path::PathBuf;

use crate::image::digest::Digest;
use crate::image::platform::Platform;

pub use pull::pull;

/// The host that a name without a host is of, as `docker run` takes it.
pub const DEFAULT_HOST: &str = "docker.io";

/// The scheme before a reference.
pub const SCHEME: &str = "docker://";

/// What to pull: `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`. `Display` writes the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Looks up a variable of the caller's environment.
pub type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// How to pull.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// What to choose from an index; `None` is this machine's.
    pub platform: Option<&'a Platform>,
    /// Where the caller's homes, credentials and certificates are: `HOME`, `XDG_RUNTIME_DIR`, `XDG_CONFIG_HOME`,
    /// `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG`, `SSL_CERT_FILE`, `SSL_CERT_DIR`.
    pub variable: Variable<'a>,
    /// Layers that are not wanted although their blobs are not there, by the digest of the blob.
    pub skip: &'a dyn Fn(&Digest) -> bool,
    /// How many blobs are fetched at once.
    pub at_once: usize,
}

/// Where blobs go. Both directories exist, are the caller's and on one file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Holds `<64 hexadecimal digits>`: each is what its name says, whole.
    pub blobs: PathBuf,
    /// Holds `<64 hexadecimal digits>`, a beginning of that blob, and `<…>.lock`, which is locked while somebody
    /// adds to it.
    pub tmp: PathBuf,
}

/// How far a pull is. The totals are known once the manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes that are on disk, those of an earlier try included.
    pub received: u64,
    pub total: u64,
    pub blobs: usize,
    pub blobs_total: usize,
}

/// What is there after a pull, each in [`Destination::blobs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    pub manifest: Digest,
    /// What the manifest was chosen from, if that.
    pub index: Option<Digest>,
}

impl<'a> Options<'a> {
    /// Returns the usual: this machine's platform, every layer, three blobs at once.
    #[must_use]
    pub fn new(variable: Variable<'a>) -> Self {
        Self { platform: None, variable, skip: &|_| false, at_once: 3 }
    }
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("platform", &self.platform)
            .field("at_once", &self.at_once)
            .finish_non_exhaustive()
    }
}

impl Destination {
    /// Returns whether the blob is there, whole.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_file()
    }

    /// Returns the path of a blob.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }
}
