//! What is known of each image that is in the store: one note an image, by the digest of its manifest. It says
//! what the image needs, so that nothing else stays; no run depends on it.

use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::oci::Config;
use crate::image::seal::{self, Sealed};
use crate::image::store::names::Named;
use crate::image::store::{Store, failed, locked};

/// One image, as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::image) struct Record {
    /// Of the manifest; of the archive where that is a whole root.
    pub(in crate::image) digest: Digest,
    /// The word for the kind in a report.
    pub(in crate::image) kind: String,
    /// The places that it was imported from. What was pulled has names, in `names/`.
    pub(in crate::image) places: Vec<Place>,
    /// From the lowest up.
    pub(in crate::image) layers: Vec<RecordLayer>,
    /// The documents in `blobs/`: the index, the manifest, the configuration.
    pub(in crate::image) documents: Vec<Digest>,
    pub(in crate::image) config: Option<Config>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::image) struct Place {
    /// As a spec names it, with an absolute path.
    pub(in crate::image) source: String,
    /// RFC 3339.
    pub(in crate::image) imported_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::image) struct RecordLayer {
    /// Of the packed bytes, where the image says it.
    pub(in crate::image) blob: Option<Digest>,
    pub(in crate::image) diff_id: Digest,
}

/// A note that was found: where, and what it says.
pub(in crate::image) type Noted<T> = (PathBuf, Sealed<T>);

impl Store {
    /// Notes an image. What is noted of it already stays: a place is added, or has this image once more.
    ///
    /// # Errors
    /// A note that cannot be read or written.
    pub(in crate::image) fn record(&self, new: Record) -> Result<()> {
        let path = self.record_note(&new.digest);
        let mut record = match seal::read::<Record>(&path)?.whole() {
            None => return self.prepare().and_then(|()| seal::write(&path, &new)),
            Some(record) => record,
        };
        let before = record.clone();
        for place in new.places {
            match record.places.iter_mut().find(|known| known.source == place.source) {
                Some(known) => *known = place,
                None => record.places.push(place),
            }
        }
        for document in new.documents {
            if !record.documents.contains(&document) {
                record.documents.push(document);
            }
        }
        // An archive of `docker save` does not say what a registry's manifest says.
        for (known, new) in record.layers.iter_mut().zip(new.layers) {
            known.blob = known.blob.take().or(new.blob);
        }
        if record == before { Ok(()) } else { seal::write(&path, &record) }
    }

    /// Returns every note of an image.
    ///
    /// # Errors
    /// A directory or a note that cannot be read.
    pub(in crate::image) fn records(&self) -> Result<Vec<Noted<Record>>> {
        self.notes("images", ".json")
    }

    /// Returns every name.
    ///
    /// # Errors
    /// A directory or a note that cannot be read.
    pub(in crate::image) fn names(&self) -> Result<Vec<Noted<Named>>> {
        self.notes("names", ".json")
    }

    /// Returns the path of the note of an image.
    pub(in crate::image) fn record_note(&self, digest: &Digest) -> PathBuf {
        self.root().join("images").join(format!("{}.json", digest.hex()))
    }

    /// Keeps what is being imported from being taken for what nobody needs, as long as what is returned lives.
    ///
    /// # Errors
    /// A lock that cannot be had.
    pub(in crate::image) fn importing(&self) -> Result<File> {
        self.prepare()?;
        locked(&self.root().join("imports.lock"), File::try_lock_shared)
    }

    /// Waits until nobody imports, and keeps everybody from it.
    ///
    /// # Errors
    /// A lock that cannot be had.
    pub(in crate::image) fn alone(&self) -> Result<File> {
        self.prepare()?;
        locked(&self.root().join("imports.lock"), File::try_lock)
    }

    pub(in crate::image) fn notes<T: serde::de::DeserializeOwned>(
        &self,
        section: &str,
        ending: &str,
    ) -> Result<Vec<Noted<T>>> {
        let names = self.list(section)?.into_iter().filter(|name| name.ends_with(ending));
        let paths = names.map(|name| self.root().join(section).join(name));
        paths.map(|path| seal::read(&path).map(|found| (path, found))).collect()
    }

    /// Returns the sorted names in a directory of the store; none where it is not there. What is not UTF-8 is
    /// not of the store.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub(in crate::image) fn list(&self, section: &str) -> Result<Vec<String>> {
        let path = self.root().join(section);
        let listing = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| failed("list", &path, &error))?,
        };
        let mut names = Vec::new();
        for entry in listing {
            names.extend(entry.map_err(|error| failed("list", &path, &error))?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }
}
