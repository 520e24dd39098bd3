//! What was pulled by which name, and the blobs that came with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::platform::Platform;
use crate::image::registry::{self, Destination, Options, Reference};
use crate::image::seal::{self, Sealed};
use crate::image::store::Store;
use crate::image::{Progress, Step};

/// One name, as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::image) struct Named {
    pub(in crate::image) reference: String,
    pub(in crate::image) platform: Option<String>,
    /// Of the manifest, 64 hexadecimal digits.
    pub(in crate::image) manifest: String,
    /// Of the index that the manifest was chosen from.
    pub(in crate::image) index: Option<String>,
    /// RFC 3339.
    pub(in crate::image) pulled_at: String,
}

impl Store {
    /// Returns the manifest that was pulled by a name, if it is still there.
    ///
    /// # Errors
    /// A note that is there and cannot be read.
    pub(in crate::image) fn named_image(
        &self,
        reference: &Reference,
        platform: Option<&str>,
    ) -> Result<Option<Digest>> {
        let path = self.name_note(&reference.to_string(), platform);
        let named = seal::read::<Named>(&path)?;
        if named != Sealed::Missing {
            self.check()?;
        }
        // A damaged note is as good as none: the image is pulled again.
        let named = named.whole().filter(|named| named.reference == reference.to_string());
        let digest = named.and_then(|named| Digest::from_hex(&named.manifest).ok());
        Ok(digest.filter(|digest| self.root().join("blobs").join(digest.hex()).is_file()))
    }

    /// Pulls an image and notes its name. Returns the digest of its manifest.
    ///
    /// # Errors
    /// Those of the registry and of the store.
    pub(in crate::image) fn pull(
        &self,
        reference: &Reference,
        platform: Option<&str>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Digest> {
        self.prepare()?;
        let wanted = platform.map(Platform::parse).transpose()?;
        let variable = |name: &str| std::env::var_os(name);
        let options = Options { platform: wanted.as_ref(), ..Options::new(&variable) };
        let destination = Destination { blobs: self.root().join("blobs"), tmp: self.root().join("partial") };
        let mut show = |at: registry::Progress| {
            progress(Progress { step: Step::Pull, read: at.received, total: at.total });
        };
        let pulled = registry::pull(reference, &options, &destination, &mut show)?;
        let named = Named {
            reference: reference.to_string(),
            platform: platform.map(str::to_owned),
            manifest: pulled.manifest.hex().to_owned(),
            index: pulled.index.map(|index| index.hex().to_owned()),
            pulled_at: now(),
        };
        seal::write(&self.name_note(&named.reference, platform), &named)?;
        Ok(pulled.manifest)
    }

    /// A name can be longer than a file's: its digest stands for it.
    pub(in crate::image) fn name_note(&self, reference: &str, platform: Option<&str>) -> PathBuf {
        let digest = Digest::of(format!("{reference} {}", platform.unwrap_or_default()).as_bytes());
        self.root().join("names").join(format!("{}.json", digest.hex()))
    }
}

/// Returns now as it stands in notes, RFC 3339.
pub(in crate::image) fn now() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string()
}
