//! Ties the verbs together: one manifest, then its blobs, several at once. The caller's
//! thread does nothing but watch: how far it is, and whether sbx is asked to end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::image::registry::choose::{Chosen, choose};
use crate::image::registry::document::Blob;
use crate::image::registry::http::canceled;
use crate::image::registry::session::Session;
use crate::image::registry::{Destination, Options, Platform, Progress, Pulled, Reference, blob};
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
    let platform = options.platform.cloned().unwrap_or_else(Platform::here);
    let mut crew = Crew { session: session.clone(), threads: Vec::new() };
    let chosen: Chosen = {
        let (sender, receiver) = channel();
        let (session, destination) = (session.clone(), destination.clone());
        crew.add(move || drop(sender.send(choose(&session, &destination, &platform))))?;
        crew.attend(&receiver, &mut || {})??
    };
    let missing = missing(&chosen.blobs, options, destination);
    let work = Arc::new(Work::new(session.clone(), destination.clone(), missing));
    let (sender, receiver) = channel();
    for _ in 0..options.at_once.clamp(1, 16).min(work.blobs.len()) {
        let (work, sender) = (work.clone(), sender.clone());
        crew.add(move || work.run(&sender))?;
    }
    drop(sender);
    for _ in 0..work.blobs.len() {
        crew.attend(&receiver, &mut || progress(work.progress()))??;
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

/// The threads of a pull; none outlives it but those that [`GRACE`] speaks of.
struct Crew {
    session: Arc<Session>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    fn add(&mut self, work: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name("pull".to_owned()).spawn(work);
        self.threads.push(thread.map_err(|error| Error::io("cannot start a thread", &error).with_kind(Kind::Host))?);
        Ok(())
    }

    /// Waits for the next result. A thread inherits the mask, so signals wait for this look.
    fn attend<T>(&self, receiver: &Receiver<T>, tick: &mut dyn FnMut()) -> Result<T> {
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Bug, "a thread of the pull ended without a result"));
                }
                Err(RecvTimeoutError::Timeout) => tick(),
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
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && began.elapsed() < GRACE {
                std::thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                thread.join().ok();
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
}

impl Work {
    fn new(session: Arc<Session>, destination: Destination, blobs: Vec<Blob>) -> Self {
        let total = blobs.iter().fold(0u64, |sum, blob| sum.saturating_add(blob.size));
        let (next, done, received) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
        Self { session, destination, blobs, total, next, done, received }
    }

    /// Takes one blob after the other; after a failure nobody needs the rest.
    fn run(&self, results: &Sender<Result<()>>) {
        while let Some(blob) = self.blobs.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let result = blob::fetch(&self.session, &self.destination, blob, &self.received);
            self.done.fetch_add(1, Ordering::Relaxed);
            if results.send(result).is_err() {
                return;
            }
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
