//! Blobs by their digest, in a directory or an archive. A document that comes out is as long as its descriptor says
//! and has its digest; a layer is only found, whoever streams it has to compare.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::oci::archive::Archive;
use crate::image::oci::place::Place;
use crate::image::oci::{bad, json, within};

/// Where the blobs are.
pub(super) enum Blobs<'a> {
    /// `<top>/<prefix><hex>`.
    Directory { top: &'a Arc<OwnedFd>, prefix: &'a str },
    /// `blobs/sha256/<hex>`.
    Archive(&'a Archive),
}

impl Blobs<'_> {
    /// Returns the place of a blob, whose size is not always known before.
    ///
    /// # Errors
    /// One that is not in the archive, or has another size there. Those of a directory show when they are opened.
    pub(super) fn place(&self, digest: &Digest, size: Option<u64>) -> Result<Place> {
        match self {
            Self::Directory { top, prefix } => Ok(Place::in_directory(top, format!("{prefix}{}", digest.hex()), size)),
            Self::Archive(archive) => {
                let found = archive.file(&format!("blobs/sha256/{}", digest.hex()))?;
                let part = found.ok_or_else(|| {
                    bad("is missing").with_hint("the image is not complete: get it again with all its blobs")
                })?;
                match size {
                    Some(size) if size != part.length => {
                        Err(bad(format!("has {} bytes, and {size} are due", part.length))
                            .with_hint("the image is damaged or was not copied to its end: get it again"))
                    }
                    _ => Ok(Place::in_archive(part)),
                }
            }
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// One that is missing, too large, or not what its digest says.
    pub(super) fn read(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>> {
        let read =
            || {
                let bytes = self.place(digest, size)?.open()?.read(json::SIZE)?;
                match Digest::of(&bytes) {
                    found if found == *digest => Ok(bytes),
                    found => Err(bad(format!("is damaged: its bytes have the digest `{found}`"))
                        .with_hint("get the image again")),
                }
            };
        read().map_err(|error| within(format_args!("blob `{digest}`"), error))
    }
}
