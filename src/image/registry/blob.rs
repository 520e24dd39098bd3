//! One blob: fetched, continued after an interruption, cut off where it is longer than
//! announced, and compared with its digest before it gets its name.

use std::io::Read as _;
use std::sync::atomic::{AtomicU64, Ordering};

use ureq::Body;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use ureq::http::{Response, StatusCode, Uri};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::registry::Destination;
use crate::image::registry::document::Blob;
use crate::image::registry::failure::{Passing, Trouble, interrupted};
use crate::image::registry::http::{header, host_of};
use crate::image::registry::part::Part;
use crate::image::registry::retry::persist;
use crate::image::registry::session::{Ask, Session, What};
use crate::units::visible;

const BUFFER: usize = 64 << 10;

/// Brings one blob; `received` follows what is on disk.
///
/// # Errors
/// A registry that does not give it, bytes that are not it, a disk that does not take it.
pub(super) fn fetch(session: &Session, destination: &Destination, blob: &Blob, received: &AtomicU64) -> Result<()> {
    let Some(mut part) = Part::begin(destination, blob, &session.line)? else {
        received.fetch_add(blob.size, Ordering::Relaxed);
        return Ok(());
    };
    let mut counted = Counted { received, own: 0 };
    let brought = persist(&session.line, || {
        counted.set(part.length());
        let before = part.length();
        let attempt = attempt(session, &mut part, blob, &mut counted);
        attempt.map_err(|trouble| trouble.after(part.length().saturating_sub(before)))
    });
    match brought {
        Ok(()) => part.keep(),
        Err(failure) if failure.kind == Kind::Image => {
            // What is wrong is not worth going on with; the first error is the one to tell.
            part.discard().ok();
            Err(failure)
        }
        // What came is kept for the next pull.
        Err(failure) => Err(failure),
    }
}

/// Writes a document whose bytes are at hand.
///
/// # Errors
/// A disk that does not take it.
pub(super) fn store(session: &Session, destination: &Destination, (digest, bytes): &(Digest, Vec<u8>)) -> Result<()> {
    let blob = Blob { digest: digest.clone(), size: u64::try_from(bytes.len()).unwrap_or(u64::MAX) };
    let Some(mut part) = Part::begin(destination, &blob, &session.line)? else { return Ok(()) };
    part.restart()?;
    part.add(bytes)?;
    part.keep()
}

/// One blob's share of the sum.
struct Counted<'a> {
    received: &'a AtomicU64,
    own: u64,
}

impl Counted<'_> {
    fn set(&mut self, length: u64) {
        if length >= self.own {
            self.received.fetch_add(length - self.own, Ordering::Relaxed);
        } else {
            self.received.fetch_sub(self.own - length, Ordering::Relaxed);
        }
        self.own = length;
    }
}

fn attempt(
    session: &Session,
    part: &mut Part,
    blob: &Blob,
    counted: &mut Counted<'_>,
) -> std::result::Result<(), Trouble> {
    let continued = part.length() > 0;
    if part.length() < blob.size || blob.size == 0 {
        let name = blob.digest.to_string();
        let ask = Ask { what: What::Blob(&name), accept: "*/*", from: part.length() };
        let (url, response) = session.get(&ask)?;
        align(&response, part, blob)?;
        read(session, (&url, response), (part, blob), counted)?;
    }
    let digest = part.digest();
    if digest == blob.digest {
        return Ok(());
    }
    let message = format!("what came as the blob `{}` has the digest `{digest}`", blob.digest);
    let error = Error::new(Kind::Image, message)
        .with_hint("somebody between here and the registry changed it, or it is damaged there");
    if continued {
        // The damage may be in what an earlier pull left.
        part.restart()?;
        return Err(Trouble::passing(error));
    }
    Err(error.into())
}

/// Makes the part end where the answer begins.
fn align(response: &Response<Body>, part: &mut Part, blob: &Blob) -> std::result::Result<(), Trouble> {
    let wrong =
        |why: &str| Error::new(Kind::Host, format!("the registry cannot go on with the blob `{}`: {why}", blob.digest));
    match response.status() {
        StatusCode::OK => part.restart()?,
        StatusCode::PARTIAL_CONTENT => {
            let begins = header(response, CONTENT_RANGE)
                .and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
            if begins != Some(part.length()) {
                part.restart()?;
                return Err(Trouble::passing(wrong("it answered with another range than was asked for")));
            }
        }
        _ => {
            part.restart()?;
            return Err(Trouble::passing(wrong("it does not have the rest")));
        }
    }
    Ok(())
}

fn read(
    session: &Session,
    (url, response): (&Uri, Response<Body>),
    (part, blob): (&mut Part, &Blob),
    counted: &mut Counted<'_>,
) -> std::result::Result<(), Trouble> {
    let host = visible(host_of(url));
    let longer = || {
        let message =
            format!("the blob `{}` is longer than the {} bytes that the manifest says", blob.digest, blob.size);
        Error::new(Kind::Image, message).with_hint("the image is damaged in the registry: have it pushed again")
    };
    let announced = header(&response, CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > blob.size - part.length()) {
        return Err(longer().into());
    }
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; BUFFER];
    loop {
        session.line.check()?;
        let count = body.read(&mut buffer).map_err(|error| interrupted(&error, &host, session.line.known()))?;
        if count == 0 {
            break;
        }
        if u64::try_from(count).is_ok_and(|count| count > blob.size - part.length()) {
            return Err(longer().into());
        }
        part.add(&buffer[..count])?;
        counted.set(part.length());
    }
    if part.length() < blob.size {
        let (length, size) = (part.length(), blob.size);
        let message = format!("`{host}` ended the blob `{}` after {length} of {size} bytes", blob.digest);
        let error = Error::new(Kind::Host, message).with_hint("try again later");
        return Err(Trouble::Passing(Passing { error, wait: None, received: 0 }));
    }
    Ok(())
}
