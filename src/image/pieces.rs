//! The bytes of a tar on their way through the threads of an extraction: they are read where they were unpacked to,
//! and go on with the notes on them to whoever hashes them. Nothing is copied but headers.

use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::image::Skipped;
use crate::image::ledger::{Ledger, Note};
use crate::image::queue::{Giver, Taker};

/// Bytes that pass from thread to thread at once.
pub(super) const PIECE: usize = 256 << 10;
/// How many such pieces go round. Clearing new memory for each would cost as much as hashing the archive.
pub(super) const PIECES: usize = 16;

/// Some bytes of the tar; what lies behind those that are filled means nothing.
#[derive(Debug, Default)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) filled: usize,
    pub(super) hashed: Hashed,
}

/// Whether the bytes of a piece have been hashed where they were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Hashed {
    /// They were packed, and the packed ones are hashed.
    #[default]
    No,
    Yes,
}

/// Whose work the others wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Pace {
    #[default]
    Even,
    /// There is more to place, and nothing to hash.
    Behind,
}

/// What is left to do when members are placed.
#[derive(Debug)]
pub(super) enum Rest {
    Piece(Piece, Vec<Note>),
    /// The tree is whole.
    End(Vec<Note>, Skipped),
}

/// The tar as a stream.
pub(super) struct Pieces<'a> {
    pub(super) taker: Taker<io::Result<Piece>>,
    pub(super) rest: Giver<Rest>,
    pub(super) ledger: Ledger,
    pub(super) piece: Piece,
    pub(super) at: usize,
    pub(super) pace: Pace,
    /// Bytes of the archive that were read so far, and who wants to know.
    pub(super) read: &'a AtomicU64,
    pub(super) progress: &'a mut dyn FnMut(u64),
}

impl Pieces<'_> {
    /// Has the last `count` bytes hashed as contents.
    pub(super) fn keep(&self, count: usize) {
        self.ledger.add(Note::Contents(self.at.saturating_sub(count)..self.at));
    }

    /// Says that the tree is whole. Who does not hear it says why.
    pub(super) fn end(self, skipped: Skipped) {
        self.rest.give(Rest::End(self.ledger.take(), skipped)).ok();
    }

    /// Hands the present piece on and waits for the next one; returns whether there is one.
    fn turn(&mut self) -> io::Result<bool> {
        let is_idle = self.rest.waiting() == 0;
        let piece = std::mem::take(&mut self.piece);
        self.at = 0;
        if !piece.bytes.is_empty() && self.rest.give(Rest::Piece(piece, self.ledger.take())).is_err() {
            return Err(io::Error::other("nobody writes its list"));
        }
        let Some(piece) = self.taker.take() else { return Ok(false) };
        self.piece = piece?;
        self.pace = if is_idle && self.taker.waiting() > 0 { Pace::Behind } else { Pace::Even };
        (self.progress)(self.read.load(Ordering::Relaxed));
        Ok(true)
    }
}

impl BufRead for Pieces<'_> {
    /// Returns none at the end.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        // A piece may be empty, and what ends the stream comes after it.
        while self.at == self.piece.filled && self.turn()? {}
        Ok(&self.piece.bytes[self.at..self.piece.filled])
    }

    fn consume(&mut self, count: usize) {
        self.at = self.piece.filled.min(self.at + count);
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let count = buffer.len().min(there.len());
        buffer[..count].copy_from_slice(&there[..count]);
        self.consume(count);
        Ok(count)
    }
}
