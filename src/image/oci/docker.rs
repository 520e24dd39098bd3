//! What `docker save` writes: a `manifest.json` that names the config and the layers of each image by their path in
//! the archive ("Docker Image Specification v1.2", combined image JSON). `repositories` and the `json` of each layer
//! are of older versions and never read.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::oci::archive::Archive;
use crate::image::oci::choose::{list, unclear};
use crate::image::oci::place::Place;
use crate::image::oci::{Config, LAYERS, Layer, Manifest, bad, json, shown, within};

/// One image of the archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Reads the image with the name `tag`, or the only one.
///
/// # Errors
/// What is wrong with the archive, or a name that is not there or not clear.
pub(super) fn read(archive: &Archive, tag: Option<&str>) -> Result<Manifest> {
    let images = images(&bytes(archive, "manifest.json")?).map_err(|error| within("`manifest.json`", error))?;
    let image = choose(&images, tag)?;
    let bytes = bytes(archive, &image.config)?;
    let digest = Digest::of(&bytes);
    if let Some(named) = digest_in(&image.config)
        && named != digest
    {
        let message = format!("the config `{}` is damaged: its bytes have the digest `{digest}`", shown(&image.config));
        return Err(bad(message).with_hint("save the image again"));
    }
    let config =
        Config::parse(&bytes).map_err(|error| within(format_args!("the config `{}`", shown(&image.config)), error))?;
    let names = image.layers.as_deref().unwrap_or_default();
    if names.len() != config.diff_ids.len() {
        let message =
            format!("`manifest.json` has {} layers, and the config {} `diff_ids`", names.len(), config.diff_ids.len());
        return Err(bad(message));
    }
    let layers = names.iter().zip(&config.diff_ids).map(|(name, diff_id)| {
        let part = archive.file(name)?.ok_or_else(|| missing(name))?;
        let blob = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
        Ok(Layer { blob, diff_id: diff_id.clone(), place: Place::in_archive(part) })
    });
    let layers = layers.collect::<Result<_>>()?;
    Ok(Manifest { digest, config, document: bytes, layers })
}

/// Returns whether `bytes` are a `manifest.json` of `docker save`.
pub(super) fn is_manifest(bytes: &[u8]) -> bool {
    images(bytes).is_ok_and(|images| !images.is_empty())
}

fn images(bytes: &[u8]) -> Result<Vec<Image>> {
    drop(json::members(bytes)?);
    let images: Vec<Image> = json::read(bytes)?;
    match images.iter().find(|image| image.layers.as_ref().is_some_and(|layers| layers.len() > LAYERS)) {
        Some(_) => Err(bad(format!("has an image with more than {} layers", LAYERS))),
        None => Ok(images),
    }
}

fn bytes(archive: &Archive, name: &str) -> Result<Vec<u8>> {
    let part = archive.file(name)?.ok_or_else(|| missing(name))?;
    part.read(json::SIZE).map_err(|error| within(format_args!("`{}`", shown(name)), error))
}

fn missing(name: &str) -> Error {
    bad(format!("`{}` is missing in it", shown(name))).with_hint("save the image again")
}

/// Returns the digest that the path of a config promises: old archives have `<hex>.json`, new ones blobs.
fn digest_in(name: &str) -> Option<Digest> {
    let hex = name.strip_prefix("blobs/sha256/").or_else(|| name.strip_suffix(".json"))?;
    Digest::from_hex(hex).ok()
}

fn choose<'a>(images: &'a [Image], tag: Option<&str>) -> Result<&'a Image> {
    const HINT: &str = "write the tag of one after its path and a colon";
    let names = || {
        list(images.iter().map(|image| match image.repo_tags.as_deref().unwrap_or_default() {
            [] => shown(&image.config),
            tags => shown(&tags.join(" = ")),
        }))
    };
    let Some(tag) = tag else {
        return match images {
            [only] => Ok(only),
            [] => Err(bad("holds no image")),
            _ => Err(unclear(format!("holds several images: {}", names())).with_hint(HINT)),
        };
    };
    // The whole name wins over what follows the colon, which several images may share.
    for matches in [is_name, is_tag] {
        let mut found = images.iter().filter(|image| image.repo_tags.iter().flatten().any(|name| matches(name, tag)));
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some(found), None) => return Ok(found),
            _ => return Err(unclear(format!("holds several images `{}`: {}", shown(tag), names())).with_hint(HINT)),
        }
    }
    Err(unclear(format!("holds no image with the tag `{}`, but {}", shown(tag), names())).with_hint(HINT))
}

/// Compares two names as Docker reads them: its own registry, its own part of it and `latest` may be left out.
fn is_name(name: &str, wanted: &str) -> bool {
    fn short(name: &str) -> &str {
        let name = name.strip_prefix("docker.io/").unwrap_or(name);
        let name = name.strip_prefix("library/").unwrap_or(name);
        name.strip_suffix(":latest").unwrap_or(name)
    }
    short(name) == short(wanted)
}

fn is_tag(name: &str, wanted: &str) -> bool {
    name.rsplit_once(':').is_some_and(|(_, tag)| tag == wanted)
}
