//! One read of an archive: hashed, decompressed, hashed again, placed. Nothing of it is run, and the tree that
//! comes out is only kept by the caller, once the digests are known to be right.
//!
//! Three threads share the work: one reads, hashes what it reads and decompresses it, one places what comes out, and
//! one hashes that and the files in it and writes the list of them. Each piece of memory goes from one to the next.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Kind, Result};
use crate::image::decode::{self, Packed, Stored};
use crate::image::digest::Digest;
use crate::image::ledger::Ledger;
use crate::image::members::{Ending, Members};
use crate::image::pieces::{Hashed, PIECE, PIECES, Pace, Piece, Pieces};
use crate::image::queue::{Giver, Taker, queue};
use crate::image::scribe;
use crate::image::tree::{Target, Tree, Whiteouts};
use crate::image::{Bounds, Skipped};
use crate::sys::thread::spawn;

/// What an archive was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Extracted {
    /// Of the bytes as stored.
    pub(super) digest: Digest,
    /// Of the bytes of the tar.
    pub(super) diff_id: Digest,
    pub(super) skipped: Skipped,
    /// Hard links to files that are in a layer below, or nowhere.
    pub(super) below: u64,
}

/// Extracts `source` to `target` and lists what it holds in `list`, an empty file; `progress` gets the number of bytes
/// that were read of it.
///
/// # Errors
/// What is wrong with the archive, or why it could not be written.
pub(super) fn extract(
    source: &Packed<'_>,
    (target, list): (Target, File),
    (whiteouts, bounds): (Whiteouts, &Bounds),
    progress: &mut dyn FnMut(u64),
) -> Result<Extracted> {
    let read = Arc::new(AtomicU64::new(0));
    let (giver, taker) = queue(PIECES);
    let (emptied, empty) = queue(PIECES);
    (0..PIECES).try_for_each(|_| emptied.give(vec![0; PIECE])).ok();
    let ending = match whiteouts {
        Whiteouts::Hide => Ending::Any,
        Whiteouts::AreFiles => Ending::Marked,
    };
    let decoder = {
        // A thread of its own may outlive what is borrowed here.
        let (file, read) = (source.file.try_clone(), read.clone());
        let file = file.map_err(|error| Error::io("cannot be read", &error))?;
        let (offset, length, bounds) = (source.offset, source.length, *bounds);
        aside(move || {
            let source = Packed { file: &file, offset, length };
            unpack((&source, ending), (&read, &bounds), (&empty, giver))
        })?
    };
    let (left, rest) = queue(PIECES);
    let scribe = aside(move || scribe::write(list, &rest, &emptied))?;
    let ledger = Ledger::default();
    let mut pieces = Pieces {
        taker,
        rest: left,
        ledger: ledger.clone(),
        piece: Piece::default(),
        at: 0,
        pace: Pace::Even,
        read: &read,
        progress,
    };
    let placed = place((&mut pieces, ending), (target, ledger), whiteouts, bounds);
    match &placed {
        Ok((skipped, _)) => pieces.end(*skipped),
        // Nobody must wait for what will not be heard any more.
        Err(_) => drop(pieces),
    }
    let (decoded, listed) = (decoder(), scribe());
    match (decoded?, listed, placed) {
        (Some((digest, hashed)), Ok(Some(unpacked)), Ok((skipped, below))) => {
            let diff_id = if hashed == Hashed::Yes { digest.clone() } else { unpacked };
            Ok(Extracted { digest, diff_id, skipped, below })
        }
        // A disk may be full for both, and this one says where. What is not of the system follows from the other.
        (_, Err(_), Err(error)) if error.errno.is_some() => Err(error),
        (_, Err(error), _) => Err(error),
        (_, _, Err(error)) => Err(near(error, read.load(Ordering::Relaxed), source.length)),
        (_, _, Ok(_)) => Err(Error::new(Kind::Bug, "the archive was not heard to its end")),
    }
}

/// Does `work` in a thread of its own; what is returned waits for it.
///
/// # Errors
/// A thread that cannot be started.
pub(super) fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<impl FnOnce() -> Result<T>> {
    let (answer, answered) = queue(1);
    // The one who waits is there until the thread has ended.
    let thread = spawn(Box::new(move || {
        answer.give(work()).ok();
    }));
    let thread = thread.map_err(|errno| Error::io("cannot start a thread", &errno.into()).with_kind(Kind::Host))?;
    Ok(move || {
        thread.join();
        answered.take().unwrap_or_else(|| Err(Error::new(Kind::Bug, "a thread gave no answer")))
    })
}

/// Returns the digest of `source`.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn digest(source: &Packed<'_>, progress: &mut dyn FnMut(u64)) -> Result<Digest> {
    let read = AtomicU64::new(0);
    let mut packed = source.reader(&read);
    let mut buffer = vec![0; PIECE];
    while packed.read(&mut buffer).map_err(|error| Error::io("cannot be read", &error))? > 0 {
        progress(read.load(Ordering::Relaxed));
    }
    Ok(packed.digest())
}

/// Sends the bytes of the tar in `source`, or why they end, and returns the digest of all that was read and whether it
/// is that of all that was sent as well: none where that was not all.
fn unpack(
    (source, ending): (&Packed<'_>, Ending),
    (read, bounds): (&AtomicU64, &Bounds),
    (empty, giver): (&Taker<Vec<u8>>, Giver<io::Result<Piece>>),
) -> Result<Option<(Digest, Hashed)>> {
    let mut packed = decode::buffered(source.reader(read));
    if source.length == 0 && ending == Ending::Any {
        // What no tar begins with is no tar, but for a layer that adds nothing: so does GNU tar, and umoci.
        return all(packed).map(|digest| Some((digest, Hashed::Yes)));
    }
    let start = packed.fill_buf().map_err(|error| Error::io("cannot be read", &error))?;
    // What is not packed is hashed once, where it is read.
    let hashed = if decode::is_packed(start)? { Hashed::No } else { Hashed::Yes };
    let mut unpacked = decode::unpacked(&mut packed, read, bounds)?;
    while let Some(mut bytes) = empty.take() {
        let mut filled = 0;
        let failed = loop {
            match unpacked.read(&mut bytes[filled..]) {
                Ok(0) => break None,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Some(error),
            }
            if filled == PIECE {
                break None;
            }
        };
        let last = filled < PIECE;
        // Nobody listens any more when placing has failed, which is told by those who did it.
        if giver.give(Ok(Piece { bytes, filled, hashed })).is_err() {
            return Ok(None);
        }
        if let Some(error) = failed {
            giver.give(Err(error)).ok();
            return Ok(None);
        }
        if last {
            drop(unpacked);
            return all(packed).map(|digest| Some((digest, hashed)));
        }
    }
    Ok(None)
}

/// Returns the digest of what was read, if the archive has no more.
fn all(mut packed: BufReader<Stored<'_>>) -> Result<Digest> {
    match packed.fill_buf() {
        Ok([]) => Ok(packed.into_inner().digest()),
        Ok(_) => Err(Error::new(Kind::Image, "there is something after its compressed data")),
        Err(error) => Err(Error::io("cannot be read", &error)),
    }
}

fn place(
    (pieces, ending): (&mut Pieces<'_>, Ending),
    (target, ledger): (Target, Ledger),
    whiteouts: Whiteouts,
    bounds: &Bounds,
) -> Result<(Skipped, u64)> {
    let mut members = Members::ending(pieces, ending);
    let mut tree = Tree::new(target, ledger, whiteouts, *bounds)?;
    while let Some(member) = members.next()? {
        tree.place(member, &mut members)?;
    }
    tree.finish()
}

fn near(error: Error, read: u64, total: u64) -> Error {
    match error.kind {
        Kind::Image if error.errno.is_none() => {
            let message = format!("{} (near byte {read} of {total})", error.message);
            Error { message, ..error }
        }
        _ => error,
    }
}
