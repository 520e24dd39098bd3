//! Which of several images is meant. What is not clear is an error that lists what there is; nothing is guessed.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};
use crate::image::oci::document::{Descriptor, Index};
use crate::image::oci::media::MediaType;
use crate::image::oci::{bad, shown};
use crate::image::platform::Platform;

/// How many of the choices a message lists.
const LISTED: usize = 20;

/// Returns what could be run of an index: signatures and the like are left out, and types that nobody knows, as
/// image-index.md wants it.
///
/// # Errors
/// An index in which there is none.
pub(super) fn images(index: &Index) -> Result<Vec<&Descriptor>> {
    let runs = |entry: &&Descriptor| {
        let media = MediaType::of(&entry.media_type);
        !entry.companion && matches!(media, Some(MediaType::Index(_) | MediaType::Manifest(_)))
    };
    let found: Vec<_> = index.manifests.iter().filter(runs).collect();
    if found.is_empty() {
        let types: BTreeSet<_> = index.manifests.iter().map(|entry| entry.media_type.as_str()).collect();
        return Err(bad(match types.is_empty() {
            true => "lists no image".to_owned(),
            false => format!("lists no image, only {}", list(types.into_iter().map(shown))),
        }));
    }
    Ok(found)
}

/// Returns those with the name `tag`; without one, all, where they are for one name.
///
/// # Errors
/// A name that is not there, or several without one that is wanted.
pub(super) fn by_tag<'a>(images: Vec<&'a Descriptor>, tag: Option<&str>) -> Result<Vec<&'a Descriptor>> {
    let Some(tag) = tag else {
        let digests: BTreeSet<_> = images.iter().map(|image| &image.digest).collect();
        let tags: BTreeSet<_> = images.iter().map(|image| &image.tag).collect();
        return match digests.len() == 1 || tags.len() == 1 {
            true => Ok(images),
            false => Err(unclear(format!("holds several images: {}", list(images.iter().map(|image| named(image)))))
                .with_hint("write the tag of one after its path and a colon")),
        };
    };
    let found: Vec<_> = images.iter().copied().filter(|image| image.tag.as_deref() == Some(tag)).collect();
    match found.is_empty() {
        false => Ok(found),
        true => {
            let there = list(images.iter().map(|image| named(image)));
            Err(unclear(format!("holds no image with the tag `{}`, but {there}", shown(tag)))
                .with_hint("write the tag of one after its path and a colon"))
        }
    }
}

/// Returns the one for `wanted`. One that is alone is taken; its config will say what it is for.
///
/// # Errors
/// None or several for that platform.
pub(super) fn by_platform<'a>(images: &[&'a Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    if let [only] = images {
        return Ok(only);
    }
    let fit = |image: &Descriptor| image.platform.as_ref().and_then(|platform| wanted.fit(platform));
    let best = images.iter().filter_map(|image| fit(image)).min();
    let found: Vec<_> = images.iter().copied().filter(|image| best.is_some() && fit(image) == best).collect();
    let there = || list(images.iter().map(|image| platform(image)));
    // One image may be listed twice; and where no entry says what it is for, the platform cannot choose.
    let candidates = if images.iter().all(|image| image.platform.is_none()) { images } else { &found };
    match candidates {
        [] => Err(unclear(format!("holds no image for `{wanted}`, but for {}", there()))
            .with_hint("name one of them as `platform`, or get the image for this machine")),
        [first, others @ ..] if others.iter().all(|other| other.digest == first.digest) => Ok(first),
        _ => Err(unclear(format!("holds {} images that could be meant: {}", candidates.len(), there()))
            .with_hint("keep one of them, or give each a name or a platform of its own")),
    }
}

/// Returns the choices as they stand in a message.
pub(super) fn list(words: impl Iterator<Item = String>) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.get(..LISTED) {
        Some(first) if words.len() > LISTED => format!("{} and {} more", first.join(", "), words.len() - LISTED),
        _ => words.join(", "),
    }
}

/// Returns the error of a choice that only the author of the spec can make.
pub(super) fn unclear(message: String) -> Error {
    Error::new(Kind::Spec, message)
}

fn named(image: &Descriptor) -> String {
    let tag = image.tag.as_deref().map_or_else(|| image.digest.to_string(), shown);
    match &image.platform {
        Some(platform) => format!("{tag} ({platform})"),
        None => tag,
    }
}

fn platform(image: &Descriptor) -> String {
    image.platform.as_ref().map_or_else(|| image.digest.to_string(), ToString::to_string)
}
