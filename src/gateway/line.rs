//! The bytes of a stream that are under way in one direction of a shaped network, with the time at which they arrive. It
//! moves none.

use std::collections::VecDeque;

use crate::gateway::congestion::{SEGMENT, Sender};
use crate::gateway::means::Means;
use crate::gateway::shape::Link;

/// How many bytes of slowed streams are held, all together; each may hold a little in any case.
const MOST_HELD: usize = 64 << 20;
const LEAST_HELD: usize = 16 << 10;
/// What a piece takes besides its bytes, so that small ones are bounded too.
const OVERHEAD: usize = 96;

/// Bytes under way.
#[derive(Debug, Default)]
pub struct Line {
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// Of the first piece.
    taken: usize,
    held: usize,
    /// Who sends them, as a network that loses sees it.
    sender: Sender,
}

impl Line {
    /// Returns whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Returns how many pieces are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Returns how many bytes may come.
    #[must_use]
    pub fn room(&self, means: &Means, link: &Link) -> usize {
        let window = if means.held < MOST_HELD { link.window() } else { LEAST_HELD };
        window.saturating_sub(self.held + OVERHEAD).min(means.scratch.len())
    }

    /// Sends the first bytes of the scratch on their way: segment by segment where some are lost.
    pub fn put(&mut self, count: usize, (means, link): (&mut Means, &mut Link)) {
        let size = if link.is_lossy() { SEGMENT } else { count.max(1) };
        for bytes in means.scratch[..count].chunks(size) {
            let due = self.due(means.now, link);
            let mut room = bytes.len();
            match self.pieces.back_mut() {
                Some((last, piece)) if *last == due && link.is_lossy() => piece.extend_from_slice(bytes),
                _ => {
                    room += OVERHEAD;
                    self.pieces.push_back((due, bytes.to_vec()));
                }
            }
            self.held += room;
            means.held += room;
        }
    }

    /// Returns when what is sent now arrives, after all before it.
    pub fn due(&mut self, now: u64, link: &mut Link) -> u64 {
        let last = self.pieces.back().map_or(0, |(due, _)| *due);
        self.sender.send(link, now).saturating_add(link.latency()).max(last)
    }

    /// Returns what arrives first, and when.
    #[must_use]
    pub fn first(&self) -> Option<(u64, &[u8])> {
        self.pieces.front().map(|(due, piece)| (*due, &piece[self.taken..]))
    }

    /// Takes the first `count` bytes of what arrives first.
    pub fn take(&mut self, count: usize, means: &mut Means) {
        self.taken += count;
        if self.pieces.front().is_some_and(|(_, piece)| piece.len() == self.taken) {
            let room = std::mem::take(&mut self.taken) + OVERHEAD;
            self.held -= room;
            means.held -= room;
            self.pieces.pop_front();
        }
    }

    /// Gives back the room that is held.
    pub fn let_go(&mut self, means: &mut Means) {
        means.held -= std::mem::take(&mut self.held);
    }
}
