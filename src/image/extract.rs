//! One read of an archive: hashed, decompressed, hashed again, placed. Nothing of it is run, and the tree that
//! comes out is only kept by the caller, once the digests are known to be right.
//!
//! Two threads share the work: one reads, decompresses and hashes both ends of that, the other places what comes out.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::decode::{self, Packed, Stored};
use crate::image::digest::Digest;
use crate::image::members::{Ending, Members};
use crate::image::queue::{Giver, Taker, queue};
use crate::image::tree::{Target, Tree, Whiteouts};
use crate::image::{Bounds, Skipped};
use crate::sys::thread::spawn;

/// Bytes that pass from thread to thread at once, and how many such pieces may lie in between.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

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

/// Extracts `source` to `target`; `progress` gets the number of bytes that were read of it.
///
/// # Errors
/// What is wrong with the archive, or why it could not be written.
pub(super) fn extract(
    source: &Packed<'_>,
    target: Target,
    (whiteouts, bounds): (Whiteouts, &Bounds),
    progress: &mut dyn FnMut(u64),
) -> Result<Extracted> {
    let read = Arc::new(AtomicU64::new(0));
    let (giver, taker) = queue(PIECES);
    // Pieces go round: to clear new memory for each costs as much as to hash the archive.
    let (emptied, empty) = queue(PIECES + 1);
    (0..=PIECES).try_for_each(|_| emptied.give(vec![0; PIECE])).ok();
    let (answer, answered) = queue(1);
    let ending = match whiteouts {
        Whiteouts::Hide => Ending::Any,
        Whiteouts::AreFiles => Ending::Marked,
    };
    let decoder = {
        // A thread of its own may outlive what is borrowed here.
        let (file, read) = (source.file.try_clone(), read.clone());
        let file = file.map_err(|error| Error::io("cannot be read", &error))?;
        let (offset, length, bounds) = (source.offset, source.length, *bounds);
        spawn(Box::new(move || {
            let source = Packed { file: &file, offset, length };
            // The one who waits for it is there until the thread has ended.
            answer.give(unpack((&source, ending), (&read, &bounds), (&empty, giver))).ok();
        }))
    };
    let decoder = decoder.map_err(|errno| Error::io("cannot start a thread", &errno.into()).with_kind(Kind::Host))?;
    let mut pieces = Pieces { taker, emptied, piece: Piece::default(), at: 0, read: &read, progress };
    let placed = place((&mut pieces, ending), target, whiteouts, bounds);
    // Where placing failed, a decoder that still has something to say must not wait for anybody to hear it.
    drop(pieces);
    decoder.join();
    let decoded = answered.take().ok_or_else(|| Error::new(Kind::Bug, "the decoder gave no answer"))?;
    match (placed, decoded) {
        (Ok((skipped, below)), Ok(Some((digest, diff_id)))) => Ok(Extracted { digest, diff_id, skipped, below }),
        (_, Err(error)) => Err(error),
        (Err(error), Ok(_)) => Err(near(error, read.load(Ordering::Relaxed), source.length)),
        (Ok(_), Ok(None)) => Err(Error::new(Kind::Bug, "the decoder was not heard to its end")),
    }
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

/// Sends the bytes of the tar in `source`, or why they end, and returns the digests of all that was read and of all
/// that was sent: none where that was not all.
fn unpack(
    (source, ending): (&Packed<'_>, Ending),
    (read, bounds): (&AtomicU64, &Bounds),
    (empty, giver): (&Taker<Vec<u8>>, Giver<io::Result<Piece>>),
) -> Result<Option<(Digest, Digest)>> {
    let mut packed = decode::buffered(source.reader(read));
    if source.length == 0 && ending == Ending::Any {
        // What no tar begins with is no tar, but for a layer that adds nothing: so does GNU tar, and umoci.
        return all(packed, None).map(Some);
    }
    let start = packed.fill_buf().map_err(|error| Error::io("cannot be read", &error))?;
    // What is not packed is hashed once, where it is read.
    let mut hash = decode::is_packed(start)?.then(Sha256::new);
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
        hash.iter_mut().for_each(|hash| hash.update(&bytes[..filled]));
        // Nobody listens any more when placing has failed, which is told by those who did it.
        if giver.give(Ok(Piece { bytes, filled })).is_err() {
            return Ok(None);
        }
        if let Some(error) = failed {
            giver.give(Err(error)).ok();
            return Ok(None);
        }
        if last {
            drop(unpacked);
            return all(packed, hash).map(Some);
        }
    }
    Ok(None)
}

/// Returns the digests of what was read and sent, if the archive has no more.
fn all(mut packed: BufReader<Stored<'_>>, hash: Option<Sha256>) -> Result<(Digest, Digest)> {
    match packed.fill_buf() {
        Ok([]) => {
            let digest = packed.into_inner().digest();
            let diff_id = hash.map_or_else(|| digest.clone(), Digest::finish);
            Ok((digest, diff_id))
        }
        Ok(_) => Err(Error::new(Kind::Image, "there is something after its compressed data")),
        Err(error) => Err(Error::io("cannot be read", &error)),
    }
}

fn place(
    (pieces, ending): (&mut Pieces<'_>, Ending),
    target: Target,
    whiteouts: Whiteouts,
    bounds: &Bounds,
) -> Result<(Skipped, u64)> {
    let mut members = Members::ending(pieces, ending);
    let mut tree = Tree::new(target, whiteouts, *bounds)?;
    while let Some(member) = members.next()? {
        tree.place(member, &mut members)?;
    }
    tree.finish()
}

/// Some bytes of the tar; what lies behind those that are filled means nothing.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    filled: usize,
}

/// The bytes of the tar as they come from the other thread.
struct Pieces<'a> {
    taker: Taker<io::Result<Piece>>,
    emptied: Giver<Vec<u8>>,
    piece: Piece,
    at: usize,
    read: &'a AtomicU64,
    progress: &'a mut dyn FnMut(u64),
}

impl Read for &mut Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.filled {
            match self.taker.take() {
                Some(piece) => {
                    let Piece { bytes, .. } = std::mem::replace(&mut self.piece, piece?);
                    self.at = 0;
                    if !bytes.is_empty() {
                        // Who does not take it back has sent all.
                        self.emptied.give(bytes).ok();
                    }
                    (self.progress)(self.read.load(Ordering::Relaxed));
                }
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.filled - self.at);
        buffer[..count].copy_from_slice(&self.piece.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
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
