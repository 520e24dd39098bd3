//! From a reference to one manifest: the tag or digest, the choice from an index, and the
//! check of the bytes against every digest that anybody gave.

use std::io::Read as _;

use ureq::http::header::{CONTENT_TYPE, HeaderName};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::registry::Destination;
use crate::image::registry::document::{ACCEPT, Blob, Document, LARGEST, parse};
use crate::image::registry::failure::Trouble;
use crate::image::registry::http::header;
use crate::image::registry::retry::persist;
use crate::image::registry::session::{Ask, Session, What};
use crate::units::visible;

/// What the registry computed itself.
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A manifest, what it was chosen from, and the bytes of both.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) manifest: (Digest, Vec<u8>),
    pub(super) index: Option<(Digest, Vec<u8>)>,
    /// The configuration first.
    pub(super) blobs: Vec<Blob>,
}

/// A document with its digest.
struct Read {
    digest: Digest,
    bytes: Vec<u8>,
    document: Document,
}

/// Finds the manifest for `platform`. What `destination` has already is not asked for.
///
/// # Errors
/// A reference that the registry does not know, bytes that are not what their digest says, no fit for the platform.
pub(super) fn choose(session: &Session, destination: &Destination, platform: &Platform) -> Result<Chosen> {
    let reference = &session.reference;
    let top = match reference.digest() {
        Some(digest) => by_digest(session, destination, (digest, None))?,
        None => persist(&session.line, || fetch(session, reference.tag(), None))?,
    };
    match top.document {
        Document::Manifest { config, layers } => Ok(chosen((top.digest, top.bytes), None, (config, layers))),
        Document::Index(offers) => {
            let blob = fitting(&offers, platform, &reference.to_string())?;
            let inner = by_digest(session, destination, (&blob.digest, Some(blob.size)))?;
            match inner.document {
                Document::Manifest { config, layers } => {
                    Ok(chosen((inner.digest, inner.bytes), Some((top.digest, top.bytes)), (config, layers)))
                }
                Document::Index(_) => {
                    let message = format!("`{reference}` offers `{}` as a manifest, which is an index", inner.digest);
                    Err(Error::new(Kind::Image, message))
                }
            }
        }
    }
}

fn chosen(
    manifest: (Digest, Vec<u8>),
    index: Option<(Digest, Vec<u8>)>,
    (config, layers): (Blob, Vec<Blob>),
) -> Chosen {
    Chosen { manifest, index, blobs: std::iter::once(config).chain(layers).collect() }
}

fn fitting<'a>(offers: &'a [(Platform, Blob)], platform: &Platform, name: &str) -> Result<&'a Blob> {
    let fits = offers.iter().filter_map(|(offered, blob)| Some((platform.fit(offered)?, blob)));
    // The first of equals, as the specification wants.
    fits.min_by_key(|(fit, _)| *fit).map(|(_, blob)| blob).ok_or_else(|| {
        // What BuildKit says about the build is an `unknown/unknown`.
        let mut named: Vec<_> = offers.iter().map(|(offered, _)| visible(&offered.to_string()).into_owned()).collect();
        named.retain(|name| !name.starts_with("unknown/"));
        let offered = match named.is_empty() {
            true => "it names no platform at all".to_owned(),
            false => format!("it is there for `{}`", named.join("`, `")),
        };
        Error::new(Kind::Image, format!("`{name}` is not there for `{platform}`"))
            .with_hint(format!("{offered}: ask for one of these with `platform`, or for another tag"))
    })
}

fn by_digest(session: &Session, destination: &Destination, wanted: (&Digest, Option<u64>)) -> Result<Read> {
    match stored(session, destination, wanted.0) {
        Some(read) => Ok(read),
        None => persist(&session.line, || fetch(session, &wanted.0.to_string(), Some(wanted))),
    }
}

/// What is there and is not what its name says is fetched again, not believed.
fn stored(session: &Session, destination: &Destination, digest: &Digest) -> Option<Read> {
    let mut bytes = Vec::new();
    std::fs::File::open(destination.blob(digest)).ok()?.take(LARGEST + 1).read_to_end(&mut bytes).ok()?;
    if Digest::of(&bytes) != *digest {
        return None;
    }
    let document = parse(&bytes, None, &session.reference.to_string()).ok()?;
    Some(Read { digest: digest.clone(), bytes, document })
}

fn fetch(session: &Session, name: &str, wanted: Option<(&Digest, Option<u64>)>) -> std::result::Result<Read, Trouble> {
    let ask = Ask { what: What::Manifest(name), accept: ACCEPT, from: 0 };
    let (url, response) = session.get(&ask)?;
    let kind = header(&response, CONTENT_TYPE).map(str::to_owned);
    let said = header(&response, DOCKER_CONTENT_DIGEST).map(str::to_owned);
    let bytes = session.line.body(response, (&url, LARGEST))?;
    let digest = Digest::of(&bytes);
    let wrong = |other: &str| {
        let message = format!("the manifest `{name}` has the digest `{digest}`, not `{}`", visible(other));
        Error::new(Kind::Image, message)
            .with_hint("somebody between here and the registry changed it, or it is damaged there")
    };
    if let Some((wanted, size)) = wanted {
        if *wanted != digest {
            return Err(wrong(&wanted.to_string()).into());
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Some(size) = size.filter(|size| *size != length) {
            let message = format!("the manifest `{digest}` has {length} bytes, not {size} as its index says");
            return Err(Error::new(Kind::Image, message).into());
        }
    }
    // Another algorithm says nothing that we can check.
    if let Some(said) = said.filter(|said| said.starts_with("sha256:") && *said != digest.to_string()) {
        return Err(wrong(&said).into());
    }
    let document = parse(&bytes, kind.as_deref(), &session.reference.to_string())?;
    Ok(Read { digest, bytes, document })
}
