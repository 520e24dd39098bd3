//! Layers that are not in the store yet get into it: extracted side by side, judged, then named. Either all of
//! them are kept or, as far as they are new, none.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::image::decode::Packed;
use crate::image::extract::{self, Extracted};
use crate::image::store::{Kept, Name, Store, Temporary, failed};
use crate::image::tree::{Ownership, Target, Whiteouts};
use crate::image::{Bounds, Extractor, Progress, Step, worker};
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
        for (path, extracted) in &made {
            let name = Name::Layer(&extracted.diff_id);
            self.store.keep(path, (name, self.ownership), (&extracted.skipped, extracted.below))?;
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
        let made: Vec<PathBuf> =
            (0..jobs.len()).map(|number| temporary.make(&number.to_string())).collect::<Result<_>>()?;
        let total = jobs.iter().map(|job| job.packed.length).sum();
        let mut read = vec![0; jobs.len()];
        let mut show = |job: usize, bytes| {
            read[job] = bytes;
            progress(Progress { step: Step::Extract, read: read.iter().sum(), total });
        };
        let extracted = match self.store.extractor() {
            Extractor::Here => self.here(jobs, &made, &mut show),
            Extractor::Program(program) => worker::run(program, &self.request(jobs, &made)?, &mut show),
        };
        let extracted = extracted.map_err(|(job, error)| match job.and_then(|job| jobs.get(job)) {
            Some(job) => about(&job.shown, error),
            None => error,
        })?;
        Ok(made.into_iter().zip(extracted).collect())
    }

    fn here(
        &self,
        jobs: &[Job<'_>],
        made: &[PathBuf],
        show: &mut dyn FnMut(usize, u64),
    ) -> std::result::Result<Vec<Extracted>, (Option<usize>, Error)> {
        let one = |(number, (job, made)): (usize, (&Job<'_>, &PathBuf))| {
            let extracted = self.target(made).and_then(|target| {
                let bounds = (self.whiteouts, self.store.bounds());
                extract::extract(&job.packed, target, bounds, &mut |bytes| show(number, bytes))
            });
            extracted.map_err(|error| (Some(number), error))
        };
        jobs.iter().zip(made).enumerate().map(one).collect()
    }

    fn request(&self, jobs: &[Job<'_>], made: &[PathBuf]) -> Result<worker::Request> {
        let layers = jobs.iter().zip(made).map(|(Job { packed, .. }, made)| {
            Ok(worker::Layer {
                archive: name_of(packed)?,
                offset: packed.offset,
                length: packed.length,
                made: made.clone(),
                shown: made.clone(),
            })
        });
        let Bounds { entries, unpacked, ratio } = *self.store.bounds();
        Ok(worker::Request {
            layers: layers.collect::<Result<_>>()?,
            whiteouts: self.whiteouts == Whiteouts::Hide,
            owned: self.ownership != Ownership::Caller,
            range: match self.ownership {
                Ownership::Range(range) => Some(range),
                Ownership::Archive | Ownership::Caller => None,
            },
            entries,
            unpacked,
            ratio,
        })
    }

    fn target(&self, made: &std::path::Path) -> Result<(Target, std::fs::File)> {
        let shown = made.join("rootfs");
        let root = file::open(&shown, file::Access::Directory);
        let root = root.map_err(|errno| failed("open", &shown, &errno.into()))?;
        let path = made.join("list");
        let list = std::fs::File::create_new(&path).map_err(|error| failed("create", &path, &error))?;
        Ok((Target { root, shown, ownership: self.ownership }, list))
    }
}

/// Returns where an open archive lies now. Another file may have taken its place when the worker opens it; then its
/// digests tell.
fn name_of(packed: &Packed<'_>) -> Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", packed.file.as_raw_fd());
    std::fs::read_link(&link).map_err(|error| Error::io(format_args!("cannot read `{link}`"), &error))
}

/// Says what an error is about.
pub(super) fn about(shown: &str, error: Error) -> Error {
    Error { message: format!("{shown}: {}", error.message), ..error }
}
