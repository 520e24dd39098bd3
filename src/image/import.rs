//! Layers that are not in the store yet get into it: extracted side by side, judged, then named. Either all of
//! them are kept or, as far as they are new, none.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::image::decode::Packed;
use crate::image::extract::{self, Extracted};
use crate::image::store::{Kept, Name, Store, Temporary, failed};
use crate::image::tree::{Ownership, Target, Whiteouts};
use crate::image::{Progress, Step};
use crate::sys::file;

/// What holds for all layers of one import.
pub(super) struct Import<'a> {
    pub(super) store: &'a Store,
    pub(super) whiteouts: Whiteouts,
    pub(super) ownership: Ownership,
}

/// One layer to be extracted.
pub(super) struct Job<'a> {
    pub(super) packed: Packed<'a>,
    /// What it is called in messages, such as "the archive `x.tar`".
    pub(super) shown: String,
}

impl Import<'_> {
    /// Extracts `jobs` and returns their trees, in the same order. Each is shown to `judge`, whose error lets
    /// none of them into the store.
    ///
    /// # Errors
    /// The first that is wrong with a layer or with the store.
    pub(super) fn all(
        &self,
        jobs: &[Job<'_>],
        judge: &mut dyn FnMut(usize, &Extracted) -> Result<()>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Kept>> {
        let temporary = self.store.temporary()?;
        let extracted = self.extract(&temporary, jobs, progress).and_then(|made| {
            made.iter().enumerate().try_for_each(|(number, (_, extracted))| judge(number, extracted))?;
            Ok(made)
        });
        let made = match extracted {
            Ok(made) => made,
            Err(error) => {
                // The first failure is the one to tell; what stays behind is a leftover.
                drop(temporary.discard());
                return Err(error);
            }
        };
        let path = temporary.path();
        let written = file::open(&path, file::Access::Directory).and_then(file::sync_file_system);
        written.map_err(|errno| failed("write back", &path, &errno.into()))?;
        for (path, extracted) in &made {
            let name = Name::Layer(&extracted.diff_id);
            self.store.keep(path, (name, self.ownership), &extracted.skipped)?;
        }
        temporary.discard()?;
        let found = made.iter().map(|(_, extracted)| {
            let kept = self.store.find(Name::Layer(&extracted.diff_id), self.ownership)?;
            kept.ok_or_else(|| {
                Error::new(Kind::Bug, format!("the layer {} vanished from the store", extracted.diff_id))
            })
        });
        found.collect()
    }

    fn extract(
        &self,
        temporary: &Temporary,
        jobs: &[Job<'_>],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<(PathBuf, Extracted)>> {
        let total = jobs.iter().map(|job| job.packed.length).sum();
        let mut before = 0;
        let mut made = Vec::with_capacity(jobs.len());
        for (number, job) in jobs.iter().enumerate() {
            let path = temporary.make(&number.to_string())?;
            let target = self.target(&path)?;
            let mut show = |read| progress(Progress { step: Step::Extract, read: before + read, total });
            let extracted = extract::extract(&job.packed, target, (self.whiteouts, self.store.bounds()), &mut show);
            let extracted = extracted.map_err(|error| about(&job.shown, error))?;
            before += job.packed.length;
            made.push((path, extracted));
        }
        Ok(made)
    }

    fn target(&self, made: &std::path::Path) -> Result<Target> {
        let shown = made.join("rootfs");
        let root = file::open(&shown, file::Access::Directory);
        let root = root.map_err(|errno| failed("open", &shown, &errno.into()))?;
        let path = made.join("list");
        let list = std::fs::File::create_new(&path).map_err(|error| failed("create", &path, &error))?;
        Ok(Target { root, list, shown, ownership: self.ownership })
    }
}

/// Says what an error is about.
pub(super) fn about(shown: &str, error: Error) -> Error {
    Error { message: format!("{shown}: {}", error.message), ..error }
}
