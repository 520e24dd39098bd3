//! The blobs of one image that are damaged in the store are taken away, so that a pull fetches them again. It
//! believes nothing but digests.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::Result;
use crate::image::Progress;
use crate::image::digest::Digest;
use crate::image::oci::{self, Document};
use crate::image::registry::Reference;
use crate::image::store::{Store, failed};
use crate::sys::watch::asked_to_end;

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blob {
    Missing,
    Damaged,
    Whole,
}

/// Removes the damaged blobs of the image; returns whether any is missing now.
///
/// # Errors
/// A blob that cannot be read or removed.
pub(super) fn mend(store: &Store, manifest: &Digest) -> Result<bool> {
    let mut missing = clear(store, manifest)?;
    if let Some(Document::Image(manifest)) = document(store, manifest)? {
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            missing |= clear(store, &descriptor.digest)?;
        }
    }
    Ok(missing)
}

/// Fetches an image of which something was damaged. What a manifest names can be looked at once that is whole.
///
/// # Errors
/// Whatever prevents a pull.
pub(super) fn pull(
    store: &Store,
    (reference, platform): (&Reference, Option<&str>),
    progress: &mut dyn FnMut(Progress),
) -> Result<Digest> {
    let digest = store.pull(reference, platform, progress)?;
    if mend(store, &digest)? { store.pull(reference, platform, progress) } else { Ok(digest) }
}

/// Returns the documents of the image whose manifest is given.
///
/// # Errors
/// A manifest that cannot be read.
pub(super) fn documents(store: &Store, manifest: &Digest) -> Result<Vec<Digest>> {
    let mut documents = Vec::from([manifest.clone()]);
    if let Some(Document::Image(manifest)) = document(store, manifest)? {
        documents.push(manifest.config.digest);
    }
    Ok(documents)
}

/// Compares a file with the digest that is its name.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn blob(path: &Path, digest: &Digest) -> Result<Blob> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Blob::Missing),
        other => other.map_err(|error| failed("open", path, &error))?,
    };
    let mut found = Sha256::new();
    each(file, &mut |bytes| found.update(bytes)).map_err(|error| failed("read", path, &error))?;
    Ok(if Digest::finish(found) == *digest { Blob::Whole } else { Blob::Damaged })
}

/// Reads a file to its end, piece by piece.
///
/// # Errors
/// Those of read(2), and that sbx was asked to end.
pub(super) fn each(mut file: File, piece: &mut dyn FnMut(&[u8])) -> std::io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        if asked_to_end().is_some() {
            return Err(std::io::Error::other("canceled"));
        }
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => piece(&buffer[..count]),
        }
    }
}

fn clear(store: &Store, digest: &Digest) -> Result<bool> {
    let path = store.root().join("blobs").join(digest.hex());
    match blob(&path, digest)? {
        Blob::Whole => Ok(false),
        Blob::Missing => Ok(true),
        Blob::Damaged => match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path, &error)),
            _ => Ok(true),
        },
    }
}

fn document(store: &Store, digest: &Digest) -> Result<Option<Document>> {
    let path = store.root().join("blobs").join(digest.hex());
    let mut bytes = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => {
            let file = other.map_err(|error| failed("open", &path, &error))?;
            file.take(oci::DOCUMENT).read_to_end(&mut bytes).map_err(|error| failed("read", &path, &error))?;
        }
    }
    Ok(Document::parse(&bytes, None).ok())
}
