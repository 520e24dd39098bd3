//! Ties the verbs together: one manifest, then its blobs, several at once. The caller's
//! thread does nothing but watch: how far it is, and whether sbx is asked to end.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::image::platform::Platform;
use crate::image::registry::choose::{Chosen, choose};
use crate::image::registry::document::Blob;
use crate::image::registry::http::canceled;
use crate::image::registry::session::Session;
use crate::image::registry::{Destination, Options, Progress, Pulled, Reference, blob};
use crate::sys::Errno;
use crate::sys::thread::{Thread, spawn};
use crate::sys::watch::asked_to_end;

/// How often the caller's thread looks up.
const LOOK: Duration = Duration::from_millis(50);

/// How long a thread that is to end is waited for. One that is looking up a name or connecting cannot be woken;
/// it ends by itself within seconds and changes nothing any more.
const GRACE: Duration = Duration::from_millis(500);

/// Brings what `reference` names into `destination`: the configuration and all layers that are neither there nor
/// skipped, then the manifest, and the index that it was chosen from. Several processes may do so at once; each blob
/// is fetched by one of them. What was there of an interrupted pull is gone on with.
///
/// # Errors
/// Whatever prevents it, in words; what came until then stays.
pub fn pull(
    reference: &Reference,
    options: &Options<'_>,
    destination: &Destination,
    progress: &mut dyn FnMut(Progress),
) -> Result<Pulled> {
    let session = Arc::new(Session::open(reference, options.variable)?);
    let platform = options.platform.cloned().unwrap_or_else(Platform::of_machine);
    let mut crew = Crew { session: session.clone(), threads: Vec::new() };
    let chosen: Chosen = {
        let result = Arc::new(Mailbox::default());
        let (session, destination, mail) = (session.clone(), destination.clone(), result.clone());
        crew.add(move || mail.put(choose(&session, &destination, &platform)))?;
        crew.attend(&result, &mut || {})??
    };
    let missing = missing(&chosen.blobs, options, destination);
    let work = Arc::new(Work::new(session.clone(), destination.clone(), missing));
    for _ in 0..options.at_once.clamp(1, 16).min(work.blobs.len()) {
        let work = work.clone();
        crew.add(move || work.run())?;
    }
    for _ in 0..work.blobs.len() {
        crew.attend(&work.results, &mut || progress(work.progress()))??;
    }
    progress(work.progress());
    for document in chosen.index.iter().chain([&chosen.manifest]) {
        blob::store(&session, destination, document)?;
    }
    Ok(Pulled { manifest: chosen.manifest.0, index: chosen.index.map(|(digest, _)| digest) })
}

/// A layer may be in an image twice; the configuration is always wanted.
fn missing(blobs: &[Blob], options: &Options<'_>, destination: &Destination) -> Vec<Blob> {
    let mut seen = BTreeSet::new();
    let skipped = |at: usize, blob: &Blob| at > 0 && (options.skip)(&blob.digest);
    let wanted = blobs
        .iter()
        .enumerate()
        .filter(|(at, blob)| seen.insert(blob.digest.clone()) && !destination.has(&blob.digest) && !skipped(*at, blob));
    wanted.map(|(_, blob)| blob.clone()).collect()
}

/// Results on their way to the caller's thread. A channel of the standard library would cost every start of sbx what
/// [`crate::sys::thread`] speaks of.
struct Mailbox<T> {
    results: Mutex<VecDeque<T>>,
    arrived: Condvar,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { results: Mutex::new(VecDeque::new()), arrived: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    fn put(&self, result: T) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).push_back(result);
        self.arrived.notify_one();
    }

    /// Returns the next result, if one comes within [`LOOK`].
    fn take(&self) -> Option<T> {
        let results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.arrived.wait_timeout_while(results, LOOK, |results| results.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop_front()
    }
}

/// The threads of a pull; none outlives it but those that [`GRACE`] speaks of.
struct Crew {
    session: Arc<Session>,
    threads: Vec<(Thread, Arc<AtomicBool>)>,
}

impl Crew {
    fn add(&mut self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let ended = Arc::new(AtomicBool::new(false));
        let mark = ended.clone();
        let thread = spawn(Box::new(move || {
            work();
            mark.store(true, Ordering::Release);
        }));
        let failed = |errno: Errno| Error::io("cannot start a thread", &errno.into()).with_kind(Kind::Host);
        self.threads.push((thread.map_err(failed)?, ended));
        Ok(())
    }

    /// Waits for the next result. A thread inherits the mask, so signals wait for this look.
    fn attend<T>(&self, results: &Mailbox<T>, tick: &mut dyn FnMut()) -> Result<T> {
        loop {
            match results.take() {
                Some(result) => return Ok(result),
                None => tick(),
            }
            if asked_to_end().is_some() {
                self.session.line.stop();
                return Err(canceled());
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.session.line.stop();
        let began = Instant::now();
        for (thread, ended) in self.threads.drain(..) {
            while !ended.load(Ordering::Acquire) && began.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if ended.load(Ordering::Acquire) {
                thread.join();
            }
        }
    }
}

/// What the threads share.
struct Work {
    session: Arc<Session>,
    destination: Destination,
    blobs: Vec<Blob>,
    total: u64,
    next: AtomicUsize,
    done: AtomicUsize,
    received: AtomicU64,
    results: Mailbox<Result<()>>,
}

impl Work {
    fn new(session: Arc<Session>, destination: Destination, blobs: Vec<Blob>) -> Self {
        let total = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
        let (next, done, received) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Self { session, destination, blobs, total, next, done, received, results: Mailbox::default() }
    }

    /// Takes one blob after the other; after a failure the line is cut, and with it the rest.
    fn run(&self) {
        while let Some(blob) = self.blobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let result = blob::fetch(&self.session, &self.destination, blob, &self.received);
            self.done.fetch_add(1, Ordering::Relaxed);
            self.results.put(result);
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            received: self.received.load(Ordering::Relaxed),
            total: self.total,
            blobs: self.done.load(Ordering::Relaxed),
            blobs_total: self.blobs.len(),
        }
    }
}
