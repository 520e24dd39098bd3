//! The media types that are understood, by their exact names. A type is what a descriptor claims; whoever reads a
//! document compares the two.

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaType {
    /// A list of manifests, of OCI or Docker.
    Index(Family),
    Manifest(Family),
    Config(Family),
    /// A tar. How it is packed is told by its first bytes, as containerd does: Docker's own names say `gzip` for
    /// whatever there is.
    Layer,
}

/// Who named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Oci,
    Docker,
}

/// media-types.md of OCI's image-spec; "Image Manifest Version 2, Schema 2" of Docker's distribution. The two
/// uncompressed ones of Docker are written by skopeo.
const NAMES: [(&str, MediaType); 18] = [
    ("application/vnd.oci.image.index.v1+json", MediaType::Index(Family::Oci)),
    ("application/vnd.oci.image.manifest.v1+json", MediaType::Manifest(Family::Oci)),
    ("application/vnd.oci.image.config.v1+json", MediaType::Config(Family::Oci)),
    ("application/vnd.oci.image.layer.v1.tar", MediaType::Layer),
    ("application/vnd.oci.image.layer.v1.tar+gzip", MediaType::Layer),
    ("application/vnd.oci.image.layer.v1.tar+zstd", MediaType::Layer),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", MediaType::Layer),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MediaType::Layer),
    ("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MediaType::Layer),
    ("application/vnd.docker.distribution.manifest.list.v2+json", MediaType::Index(Family::Docker)),
    ("application/vnd.docker.distribution.manifest.v2+json", MediaType::Manifest(Family::Docker)),
    ("application/vnd.docker.container.image.v1+json", MediaType::Config(Family::Docker)),
    ("application/vnd.docker.image.rootfs.diff.tar", MediaType::Layer),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", MediaType::Layer),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", MediaType::Layer),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", MediaType::Layer),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MediaType::Layer),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar.zstd", MediaType::Layer),
];

impl MediaType {
    /// Returns the type of that name, or `None` for one that is not understood.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, media)| *media)
    }

    /// Returns the names of the documents that a registry is asked for: indexes and manifests.
    pub fn documents() -> impl Iterator<Item = &'static str> {
        NAMES.iter().filter(|(_, media)| matches!(media, Self::Index(_) | Self::Manifest(_))).map(|(name, _)| *name)
    }
}
