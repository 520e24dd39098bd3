//! The archive of a whole root: one layer, known by the file that it comes from, extracted once. A digest that
//! does not match lets nothing into the store.

use std::fs::File;
use std::path::Path;

use crate::error::{self, Error, Result};
use crate::image::decode::Packed;
use crate::image::digest::Digest;
use crate::image::extract::{self, Extracted};
use crate::image::import::{Import, Job, about};
use crate::image::remember::{self, Seen, Stamp};
use crate::image::store::{Kept, Name, Place, Record, RecordLayer, Store, failed, now};
use crate::image::tree::{Ownership, Whiteouts};
use crate::image::{Image, Kind, Progress, Step};
use crate::sys::file::{self, Access};

/// Returns the tree of the archive at `path`, which is opened as `at`.
///
/// # Errors
/// An archive that is damaged, hostile, or not the one that is wanted; a store that is full.
pub(super) fn archive(
    (path, at): (&Path, &Path),
    (wanted, ownership): (Option<&Digest>, Ownership),
    store: &Store,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    // Without blocking: since it was looked at, a FIFO may have taken the place of the file.
    let file = file::open(at, Access::Read).map(File::from);
    let file = file.map_err(|errno| about(&shown(path), Error::io("cannot be opened", &errno.into())))?;
    let request = Request { path, file: &file, stamp: Stamp::of(&file, path)?, wanted, store, ownership };
    let (digest, kept) = match request.known()? {
        Some(known) => known,
        None => {
            let _importing = store.importing()?;
            let _lock = store.lock(&request.stamp.name())?;
            let found = match request.known()? {
                Some(known) => known,
                None => request.read(progress)?,
            };
            request.record(&found.0)?;
            found
        }
    };
    let Kept { root, skipped, in_use, .. } = kept;
    Ok(Image {
        kind: Kind::Tar,
        root,
        source: path.to_owned(),
        digest: Some(digest),
        layers: None,
        config: None,
        skipped,
        in_use,
        held: None,
    })
}

/// Returns whether the file at `path` was extracted as a whole root and has not changed since.
///
/// # Errors
/// A file or a note of the store that cannot be read.
pub(super) fn is_known(path: &Path, store: &Store) -> Result<bool> {
    let file = file::open(path, Access::Place).map_err(|errno| failed("look at", path, &errno.into()))?;
    let stamp = Stamp::of(&File::from(file), path)?;
    Ok(remember::recall(store, &stamp)? != Seen::Unknown)
}

struct Request<'a> {
    path: &'a Path,
    file: &'a File,
    stamp: Stamp,
    wanted: Option<&'a Digest>,
    store: &'a Store,
    ownership: Ownership,
}

impl Request<'_> {
    /// Returns the tree of a file that was read before and has not changed since.
    fn known(&self) -> Result<Option<(Digest, Kept)>> {
        let Seen::Known { digest, diff_id } = remember::recall(self.store, &self.stamp)? else {
            return Ok(None);
        };
        self.compare(&digest)?;
        Ok(self.store.find(Name::Layer(&diff_id), self.ownership)?.map(|kept| (digest, kept)))
    }

    /// Reads the whole file: only to hash it where its tree seems to be there, else to extract it.
    fn read(&self, progress: &mut dyn FnMut(Progress)) -> Result<(Digest, Kept)> {
        if let Seen::Known { digest: likely, diff_id } | Seen::Likely { digest: likely, diff_id } =
            remember::recall(self.store, &self.stamp)?
            && let Some(kept) = self.store.find(Name::Layer(&diff_id), self.ownership)?
        {
            let read_at = remember::now();
            let total = self.stamp.size();
            let mut show = |read| progress(Progress { step: Step::Verify, read, total });
            let digest = extract::digest(&self.packed(), &mut show).map_err(|error| about(&shown(self.path), error))?;
            if digest == likely {
                self.settle((&digest, &diff_id), read_at)?;
                return Ok((digest, kept));
            }
        }
        // What cannot be removed is told by `collect` when it is asked for; it does not stop this run.
        drop(self.store.collect()?);
        self.extract(progress)
    }

    fn extract(&self, progress: &mut dyn FnMut(Progress)) -> Result<(Digest, Kept)> {
        let read_at = remember::now();
        let import = Import { store: self.store, whiteouts: Whiteouts::AreFiles, ownership: self.ownership };
        let settled = |extracted: &Extracted| {
            self.settle((&extracted.digest, &extracted.diff_id), read_at).map(|()| extracted.digest.clone())
        };
        let mut digest = None;
        let job = Job { packed: self.packed(), shown: shown(self.path) };
        let mut judge = |_, extracted: &Extracted| settled(extracted).map(|found| digest = Some(found));
        let kept = import.all(&[job], &mut judge, progress)?.pop();
        self.store.settle_later()?;
        match (digest, kept) {
            (Some(digest), Some(kept)) => Ok((digest, kept)),
            _ => Err(Error::new(error::Kind::Bug, format!("`{}` vanished from the store", self.path.display()))),
        }
    }

    /// Notes the archive as an image of one layer, which is known by its tar.
    fn record(&self, digest: &Digest) -> Result<()> {
        let (Seen::Known { diff_id, .. } | Seen::Likely { diff_id, .. }) = remember::recall(self.store, &self.stamp)?
        else {
            return Ok(());
        };
        self.store.record(Record {
            digest: digest.clone(),
            kind: Kind::Tar.as_str().to_owned(),
            places: Vec::from([Place { source: format!("tar:{}", self.path.display()), imported_at: now() }]),
            layers: Vec::from([RecordLayer { blob: Some(digest.clone()), diff_id }]),
            documents: Vec::new(),
            config: None,
        })
    }

    fn packed(&self) -> Packed<'_> {
        Packed { file: self.file, offset: 0, length: self.stamp.size() }
    }

    /// Checks that the bytes read are those of the file as it was opened, and those wanted.
    fn settle(&self, (digest, diff_id): (&Digest, &Digest), read_at: std::time::Duration) -> Result<()> {
        if Stamp::of(self.file, self.path)? != self.stamp {
            return Err(about(&shown(self.path), Error::new(error::Kind::Io, "changed while it was read")));
        }
        self.compare(digest)?;
        remember::note(self.store, &self.stamp, (digest, diff_id), read_at)
    }

    fn compare(&self, digest: &Digest) -> Result<()> {
        match self.wanted {
            Some(wanted) if wanted != digest => {
                let message = format!("has the digest `{digest}`, but `{wanted}` is wanted");
                let hint = "get the archive that was pinned, or pin this one if you trust it";
                Err(about(&shown(self.path), Error::new(error::Kind::Image, message).with_hint(hint)))
            }
            _ => Ok(()),
        }
    }
}

fn shown(path: &Path) -> String {
    format!("the archive `{}`", path.display())
}
