//! The JSON of a registry, as far as a pull needs it: what an index offers and which
//! blobs a manifest is made of. What could be read as either is neither (CVE-2021-41190).

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::platform::{Platform, Words};
use crate::units::visible;

/// Bytes of a manifest, an index or a configuration; what registries take too.
pub(super) const LARGEST: u64 = 4 << 20;

/// Layers of an image.
const LAYERS: usize = 127;

/// Bytes of one packed layer.
const LARGEST_LAYER: u64 = 16 << 30;

/// What is asked for as a manifest, in the order of preference.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The types of the first version, signed and not.
const FIRST: &str = "application/vnd.docker.distribution.manifest.v1+";

/// Some bytes that a document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What came as a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Document {
    Manifest { config: Blob, layers: Vec<Blob> },
    Index(Vec<(Platform, Blob)>),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "schemaVersion")]
    version: u64,
    #[serde(rename = "mediaType")]
    kind: Option<String>,
    config: Option<RawBlob>,
    layers: Option<Vec<RawBlob>>,
    manifests: Option<Vec<RawBlob>>,
    #[serde(rename = "fsLayers")]
    first: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawBlob {
    #[serde(rename = "mediaType", default)]
    kind: String,
    digest: String,
    size: u64,
    platform: Option<Words>,
}

/// Parses `bytes`, which came with the media type `said` if that is known.
///
/// # Errors
/// Anything that is not clearly one of the four kinds of document.
pub(super) fn parse(bytes: &[u8], said: Option<&str>, name: &str) -> Result<Document> {
    let wrong = |why: String| Error::new(Kind::Image, format!("the manifest of `{name}` is unusable: {why}"));
    let said = said.map(|said| said.split(';').next().unwrap_or(said).trim());
    if said.is_some_and(|said| said.starts_with(FIRST)) {
        return Err(first_version(name));
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| wrong(visible(&error.to_string()).into_owned()))?;
    if raw.version == 1 || raw.first.is_some() {
        return Err(first_version(name));
    }
    if raw.version != 2 {
        return Err(wrong(format!("its version is {}, not 2", raw.version)));
    }
    let known = |kind: &&str| MANIFESTS.contains(kind) || INDEXES.contains(kind);
    if let Some(other) = raw.kind.as_deref().filter(|kind| !known(kind)) {
        return Err(wrong(format!("it is a `{}`", visible(other))));
    }
    let kind = match (raw.kind.as_deref(), said.filter(known)) {
        (Some(inside), Some(outside)) if inside != outside => {
            return Err(wrong(format!("it came as `{outside}` and says that it is `{inside}`")));
        }
        (inside, outside) => inside.or(outside),
    };
    let as_index = kind.map(|kind| INDEXES.contains(&kind));
    match (raw.config, raw.layers, raw.manifests) {
        (Some(config), Some(layers), None) if as_index != Some(true) => manifest(config, layers).map_err(wrong),
        (None, None, Some(manifests)) if as_index != Some(false) => index(manifests).map_err(wrong),
        (_, _, None) if as_index == Some(false) => Err(wrong("it has no `config` and no `layers`".to_owned())),
        (None, None, None) => Err(wrong("it has no `config`, no `layers` and no `manifests`".to_owned())),
        _ => Err(wrong("it has what a manifest has and what an index has, or says that it is the other".to_owned())),
    }
}

fn first_version(name: &str) -> Error {
    Error::new(Kind::Image, format!("the manifest of `{name}` is of the first version, which nobody can verify"))
        .with_hint("push the image again with a tool of this decade: `skopeo copy --format oci` converts it")
}

fn manifest(config: RawBlob, layers: Vec<RawBlob>) -> std::result::Result<Document, String> {
    if !CONFIGS.contains(&config.kind.as_str()) {
        return Err(format!("it is no image that can run: its configuration is a `{}`", visible(&config.kind)));
    }
    if layers.len() > LAYERS {
        return Err(format!("it has {} layers, {LAYERS} is the most", layers.len()));
    }
    let config = blob(&config, LARGEST)?;
    let layers = layers.iter().map(|layer| blob(layer, LARGEST_LAYER)).collect::<std::result::Result<_, _>>()?;
    Ok(Document::Manifest { config, layers })
}

fn index(manifests: Vec<RawBlob>) -> std::result::Result<Document, String> {
    let offer = |raw: RawBlob| {
        // Without a platform it is for nobody in particular; another kind, such as a nested index, is for nobody.
        let platform =
            raw.platform.as_ref().filter(|_| raw.kind.is_empty() || MANIFESTS.contains(&raw.kind.as_str()))?;
        let platform = platform.platform()?;
        Some(blob(&raw, LARGEST).map(|blob| (platform, blob)))
    };
    manifests.into_iter().filter_map(offer).collect::<std::result::Result<_, _>>().map(Document::Index)
}

fn blob(raw: &RawBlob, largest: u64) -> std::result::Result<Blob, String> {
    let digest = Digest::parse(&raw.digest).map_err(|error| error.message)?;
    match raw.size <= largest {
        true => Ok(Blob { digest, size: raw.size }),
        false => Err(format!("`{digest}` has {} bytes, {largest} is the most", raw.size)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, parse};

    const CONFIG: &str =
        r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"DIGEST","size":2}"#;
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn digest() -> String {
        format!("sha256:{}", "0".repeat(64))
    }

    fn read(text: &str, said: Option<&str>) -> Result<Document, String> {
        parse(text.replace("DIGEST", &digest()).as_bytes(), said, "a").map_err(|error| error.message)
    }

    #[test]
    fn a_manifest_is_one_with_and_without_a_type() {
        for said in [None, Some(MANIFEST), Some("application/json"), Some(&format!("{MANIFEST}; charset=utf-8"))] {
            let text = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[]}}"#);
            assert!(matches!(read(&text, said), Ok(Document::Manifest { .. })), "{said:?}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let manifest = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[]}}"#);
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}",{CONFIG},"layers":[]}}"#);
        let both = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"manifests":[]}}"#);
        let twice = format!(r#"{{"schemaVersion":2,{CONFIG},"layers":[],"layers":[]}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        for (text, said, why) in [
            (manifest.as_str(), Some(INDEX), "or says that it is the other"),
            (&typed, Some(INDEX), "says that it is"),
            (&both, None, "what an index has"),
            (&both, Some(MANIFEST), "what an index has"),
            (&twice, None, "duplicate field"),
            (index, Some(MANIFEST), "or says that it is the other"),
            (r#"{"schemaVersion":2}"#, None, "no `manifests`"),
            (r#"{"schemaVersion":3,"manifests":[]}"#, None, "version is 3"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, None, "first version"),
            ("{}", Some("application/vnd.docker.distribution.manifest.v1+prettyjws"), "first version"),
            (r#"{"schemaVersion":2,"mediaType":"a/b","manifests":[]}"#, None, "`a/b`"),
            (&manifest.replace("DIGEST", "sha256:../../x"), None, "no"),
            (&manifest.replace("\"size\":2", "\"size\":99999999"), None, "is the most"),
            (&manifest.replace("\"size\":2", "\"size\":-1"), None, "invalid value"),
            (&manifest.replace("image.config.v1", "artifact.v1"), None, "no image that can run"),
            ("[", None, "EOF"),
        ] {
            let error = read(text, said).unwrap_err();
            assert!(error.contains(why), "{text} as {said:?}: {error}");
        }
    }

    #[test]
    fn nesting_without_end_does_no_harm() {
        let (open, close) = ("[".repeat(1_000_000), "]".repeat(1_000_000));
        for (name, why) in [("x", "no `config`"), ("fsLayers", "first version"), ("layers", "invalid type")] {
            let text = format!(r#"{{"schemaVersion":2,"{name}":{open}1{close}}}"#);
            assert!(read(&text, None).unwrap_err().contains(why), "{name}");
        }
    }
}
