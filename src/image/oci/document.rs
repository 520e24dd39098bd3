//! Indexes and manifests: what of their JSON counts, and that a document is only ever one of the two. It reads
//! bytes that are already verified, and opens nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::oci::media::{Family, MediaType};
use crate::image::oci::{LAYERS, bad, json, shown, within};
use crate::image::platform::{Platform, Words};

/// annotations.md of OCI's image-spec.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What BuildKit writes next to an image: its origin, in the form of one more image.
const DOCKER_REFERENCE: &str = "vnd.docker.reference.type";

/// What points to a blob (descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// As it stands there; [`MediaType::of`] knows it, or nobody does.
    pub media_type: String,
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    pub platform: Option<Platform>,
    /// Its name in an image layout.
    pub tag: Option<String>,
    /// Whether it is something that goes with an image: a signature, an attestation, a bill of materials.
    pub companion: bool,
}

/// A list of images, or of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

/// What one image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    pub config: Descriptor,
    /// From the lowest up, at most 127.
    pub layers: Vec<Descriptor>,
}

/// A document that a digest or a tag stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    Index(Index),
    Image(ImageManifest),
}

impl Document {
    /// Reads an index or a manifest. `declared` is the media type that it was announced with.
    ///
    /// # Errors
    /// A document that is not exactly one of the two, or not what was announced (CVE-2021-41190).
    pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Self> {
        let members = json::members(bytes)?;
        let has = |name: &str| members.contains(name);
        json::refuse_lookalikes(&members, &KNOWN)?;
        let head: Head = json::read(bytes)?;
        let media = media(&head, declared, &members)?;
        // As `ValidateUnambiguousManifestFormat` of containers/image has it.
        let foreign: &[&str] = match media {
            MediaType::Index(_) => &["config", "layers", "fsLayers", "history"],
            _ => &["manifests", "fsLayers", "history"],
        };
        if let Some(foreign) = foreign.iter().find(|name| has(name)) {
            let own = if matches!(media, MediaType::Index(_)) { "an index" } else { "a manifest" };
            return Err(bad(format!("is {own} and has the member `{foreign}`, so it could be read in two ways")));
        }
        if head.schema_version != Some(2) {
            return Err(bad("has no `schemaVersion` of 2"));
        }
        match media {
            MediaType::Index(_) => index(bytes).map(Self::Index),
            _ => manifest(bytes, head.artifact_type.as_deref()).map(Self::Image),
        }
    }
}

const KNOWN: [&str; 9] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "manifests",
    "config",
    "layers",
    "fsLayers",
    "history",
    "annotations",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct WireIndex {
    manifests: Option<Vec<Wire>>,
}

#[derive(Deserialize)]
struct WireManifest {
    config: Wire,
    /// Go writes none as `null`.
    layers: Option<Vec<Wire>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Words>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Returns what the document is: by what was announced, by what it says of itself, and, where neither is there, as
/// old layouts have it, by its members.
fn media(head: &Head, declared: Option<&str>, members: &BTreeSet<String>) -> Result<MediaType> {
    if head.schema_version == Some(1) {
        return Err(bad("is a manifest of Docker's schema 1, which has no digests of its layers")
            .with_hint("push or save the image again with a Docker of this decade, or with skopeo"));
    }
    let own = head.media_type.as_deref().filter(|own| !own.is_empty());
    if let (Some(own), Some(declared)) = (own, declared)
        && own != declared
    {
        return Err(bad(format!("says that it is `{}`, but was announced as `{}`", shown(own), shown(declared))));
    }
    let Some(name) = own.or(declared) else {
        return match (members.contains("manifests"), members.contains("layers")) {
            (true, false) => Ok(MediaType::Index(Family::Oci)),
            (false, true) => Ok(MediaType::Manifest(Family::Oci)),
            (true, true) => Err(bad("has both `manifests` and `layers`, so it could be read in two ways")),
            (false, false) => Err(bad("is neither an index nor a manifest")),
        };
    };
    match MediaType::of(name) {
        Some(MediaType::Index(Family::Docker) | MediaType::Manifest(Family::Docker)) if own.is_none() => {
            Err(bad("was announced in Docker's form, but does not say so itself"))
        }
        Some(media @ (MediaType::Index(_) | MediaType::Manifest(_))) => Ok(media),
        _ => Err(bad(format!("is of the type `{}`, which is neither an index nor a manifest", shown(name)))),
    }
}

fn index(bytes: &[u8]) -> Result<Index> {
    let wire: WireIndex = json::read(bytes)?;
    let manifests = wire.manifests.ok_or_else(|| bad("is an index without `manifests`"))?;
    let entry = |(at, wire)| descriptor(wire).map_err(|error| within(format_args!("`manifests[{at}]`"), error));
    Ok(Index { manifests: manifests.into_iter().enumerate().map(entry).collect::<Result<_>>()? })
}

fn manifest(bytes: &[u8], artifact: Option<&str>) -> Result<ImageManifest> {
    let wire: WireManifest = json::read(bytes)?;
    let config = descriptor(wire.config).map_err(|error| within("`config`", error))?;
    if !matches!(MediaType::of(&config.media_type), Some(MediaType::Config(_))) {
        let kind = artifact.filter(|kind| !kind.is_empty()).unwrap_or(&config.media_type);
        return Err(bad(format!("is an artifact of the type `{}`, not an image", shown(kind)))
            .with_hint("name an image that was built to be run"));
    }
    let layers = wire.layers.unwrap_or_default();
    if layers.len() > LAYERS {
        return Err(bad(format!("has {} layers, more than {LAYERS}", layers.len()))
            .with_hint("build the image anew with fewer steps, or squash it"));
    }
    let layer = |(at, wire)| {
        let layer = descriptor(wire).and_then(|layer| match MediaType::of(&layer.media_type) {
            Some(MediaType::Layer) => Ok(layer),
            _ => Err(bad(format!("the type `{}` is not that of a layer", shown(&layer.media_type)))),
        });
        layer.map_err(|error| within(format_args!("`layers[{at}]`"), error))
    };
    Ok(ImageManifest { config, layers: layers.into_iter().enumerate().map(layer).collect::<Result<_>>()? })
}

fn descriptor(wire: Wire) -> Result<Descriptor> {
    let annotation = |name: &str| wire.annotations.as_ref().and_then(|all| all.get(name)).cloned();
    let platform = wire.platform.as_ref().and_then(Words::platform);
    let unknown = platform.as_ref().is_some_and(|platform| platform.os == "unknown");
    let artifact = wire.artifact_type.as_deref().is_some_and(|kind| !kind.is_empty());
    Ok(Descriptor {
        digest: Digest::parse(&wire.digest)?,
        size: wire.size,
        platform,
        tag: annotation(REF_NAME),
        companion: artifact || unknown || annotation(DOCKER_REFERENCE).is_some(),
        media_type: wire.media_type,
    })
}
