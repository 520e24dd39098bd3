//! One of the command's output streams, on its way through sbx: counted, bounded,
//! passed on or kept for the report. Memory does not grow with the output.

use std::os::fd::OwnedFd;

use crate::plan::Capture;
use crate::run::{CAPTURE_MAX, Truncated};
use crate::sys::watch::{Entry, number};
use crate::sys::{Errno, Fd, fd};

/// What is read at once.
const CHUNK: usize = 64 << 10;

/// What a pipe takes without blocking once poll(2) calls it writable (PIPE_BUF of pipe(7)).
const ATOMIC: usize = 4096;

/// A stream.
#[derive(Debug)]
pub struct Relay {
    source: Option<OwnedFd>,
    target: Target,
    pending: Vec<u8>,
    bytes: u64,
    kept: Vec<u8>,
    capture: Capture,
    truncated: Truncated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Fd(Fd),
    /// Its reader is gone, or there is none: the rest is counted only.
    Nowhere,
}

impl Relay {
    /// Returns a stream from `source` to `target`.
    #[must_use]
    pub fn new(source: OwnedFd, target: Fd, capture: Capture) -> Self {
        let target = if capture == Capture::Yes { Target::Nowhere } else { Target::Fd(target) };
        let (pending, kept) = (Vec::new(), Vec::new());
        Self { source: Some(source), target, pending, bytes: 0, kept, capture, truncated: Truncated::No }
    }

    /// Returns what to wait for: something to read, or room for what was read. `None` at the end.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        match (self.target, self.pending.is_empty(), &self.source) {
            (Target::Fd(target), false, _) => Some(Entry::writable(target)),
            (_, _, Some(source)) => Some(Entry::readable(number(source))),
            (_, _, None) => None,
        }
    }

    /// Returns whether [`Relay::entry`] waits for `fd`.
    #[must_use]
    pub fn is_for(&self, fd: Fd) -> bool {
        self.entry().is_some_and(|entry| entry.fd == fd)
    }

    /// Does what [`Relay::entry`] waited for, once. Of what is read at most `room` bytes go further: the
    /// limit is on both streams together, so its owner knows how much is left.
    pub fn pump(&mut self, room: u64) {
        if self.pending.is_empty() { self.read(room) } else { self.write() }
    }

    /// Returns how many bytes the command has written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what was kept for the report, and whether anything was lost.
    #[must_use]
    pub fn into_kept(self) -> (Option<Vec<u8>>, Truncated) {
        ((self.capture == Capture::Yes).then_some(self.kept), self.truncated)
    }

    fn read(&mut self, room: u64) {
        let Some(source) = &self.source else { return };
        let mut chunk = vec![0; CHUNK];
        match fd::read(number(source), &mut chunk) {
            Ok(0) => self.source = None,
            Ok(count) => {
                chunk.truncate(count);
                self.take(chunk, room);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.source = None,
        }
    }

    fn take(&mut self, mut chunk: Vec<u8>, room: u64) {
        self.bytes += u64::try_from(chunk.len()).unwrap_or(0);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        if chunk.len() > room {
            chunk.truncate(room);
            self.truncated = Truncated::Yes;
        }
        if self.capture == Capture::Yes {
            let space = CAPTURE_MAX - self.kept.len();
            if chunk.len() > space {
                chunk.truncate(space);
                self.truncated = Truncated::Yes;
            }
            self.kept.extend_from_slice(&chunk);
        } else if self.target != Target::Nowhere {
            self.pending = chunk;
        }
    }

    /// A reader that is gone is the command's to notice when it writes: its pipe is closed.
    fn write(&mut self) {
        let Target::Fd(target) = self.target else { return };
        let part = &self.pending[..self.pending.len().min(ATOMIC)];
        match fd::write(target, part) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.pending.clear();
                self.target = Target::Nowhere;
                self.source = None;
            }
        }
    }
}
