//! The words of `rootfs`: where the root file system comes from and what becomes of changes to it.

use crate::spec::HostPath;
use crate::units::{Bytes, Spanned};

/// `rootfs SOURCE digest= writable= upper= size= pull= platform=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    pub source: RootfsSource,
    /// Only for [`RootfsSource::Registry`].
    pub pull: Option<Spanned<Pull>>,
    /// `OS/ARCHITECTURE[/VARIANT]`; only where there can be a choice.
    pub platform: Option<Spanned<String>>,
    /// Lower-case hexadecimal SHA-256, without the `sha256:` in front.
    pub digest: Option<Spanned<String>>,
    pub writable: Option<Spanned<Writable>>,
    /// Only with [`Writable::Persist`], and then always.
    pub upper: Option<Spanned<HostPath>>,
    pub size: Option<Spanned<Bytes>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootfsSource {
    Host,
    Scratch,
    /// A path whose kind is read from what it is.
    Path(HostPath),
    /// `dir:PATH`.
    Directory(HostPath),
    /// `tar:PATH`.
    Tar(HostPath),
    /// `oci:PATH[:TAG]`, a layout of the OCI image specification.
    OciLayout(ImagePath),
    /// `oci-archive:PATH[:TAG]`, a layout in a tar.
    OciArchive(ImagePath),
    /// `docker-archive:PATH[:NAME[:TAG]]`, what `docker save` writes.
    DockerArchive(ImagePath),
    /// What follows `docker://`: `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`.
    Registry(String),
}

/// A path that holds images, and which one of them is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePath {
    pub path: HostPath,
    pub tag: Option<String>,
}

/// When an image is asked for at its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// Where it is not in the store.
    #[default]
    Missing,
    /// At every run: a tag can move.
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    No,
    Ephemeral,
    Persist,
}

impl RootfsSource {
    /// Returns the path of a source that has one.
    #[must_use]
    pub fn path(&self) -> Option<&HostPath> {
        match self {
            Self::Host | Self::Scratch | Self::Registry(_) => None,
            Self::Path(path) | Self::Directory(path) | Self::Tar(path) => Some(path),
            Self::OciLayout(image) | Self::OciArchive(image) | Self::DockerArchive(image) => Some(&image.path),
        }
    }

    /// Returns which of several images is meant.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::OciLayout(image) | Self::OciArchive(image) | Self::DockerArchive(image) => image.tag.as_deref(),
            _ => None,
        }
    }

    /// Returns the source as it was written.
    #[must_use]
    pub fn as_written(&self) -> String {
        let tagged = |word: &str, image: &ImagePath| match &image.tag {
            Some(tag) => format!("{word}:{}:{tag}", image.path.0),
            None => format!("{word}:{}", image.path.0),
        };
        match self {
            Self::Host => "host".to_owned(),
            Self::Scratch => "scratch".to_owned(),
            Self::Path(path) => path.0.clone(),
            Self::Directory(path) => format!("dir:{}", path.0),
            Self::Tar(path) => format!("tar:{}", path.0),
            Self::OciLayout(image) => tagged("oci", image),
            Self::OciArchive(image) => tagged("oci-archive", image),
            Self::DockerArchive(image) => tagged("docker-archive", image),
            Self::Registry(reference) => format!("docker://{reference}"),
        }
    }
}
