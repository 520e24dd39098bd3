//! One of the command's output streams, on its way through sbx: counted, bounded,
//! passed on or kept for the report. Memory does not grow with the output.

use std::os::fd::OwnedFd;

use crate::plan::Capture;
use crate::run::{CAPTURE_MAX, Output, Truncated, terminal};
use crate::sys::watch::{Entry, number, poll};
use crate::sys::{Errno, Fd, fd};

/// What is read at once.
const CHUNK: usize = 64 << 10;

/// What a pipe takes without blocking once poll(2) calls it writable (PIPE_BUF of pipe(7)).
const ATOMIC: usize = 4096;

/// A stream.
#[derive(Debug)]
pub struct Relay {
    stream: Stream,
    source: Option<OwnedFd>,
    target: Target,
    pending: Vec<u8>,
    bytes: u64,
    kept: Vec<u8>,
    capture: Capture,
    truncated: Truncated,
    /// What is still to be read, once nothing is added that counts.
    rest: Option<u64>,
}

/// Which of the command's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Output,
    Error,
    /// Output, and error unless that leads elsewhere.
    Terminal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Fd(Fd),
    /// Its reader is gone, or there is none: the rest is counted only.
    Nowhere,
}

impl Relay {
    /// Returns `stream` from `source` to `target`.
    #[must_use]
    pub fn new(stream: Stream, (source, target): (OwnedFd, Fd), capture: Capture) -> Self {
        let target = if capture == Capture::Yes { Target::Nowhere } else { Target::Fd(target) };
        let (pending, kept) = (Vec::new(), Vec::new());
        let (source, truncated) = (Some(source), Truncated::No);
        Self { stream, source, target, pending, bytes: 0, kept, capture, truncated, rest: None }
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

    /// Returns whether this is the terminal, and nobody is left to read what it says.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        self.stream == Stream::Terminal && self.source.is_none()
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

    /// Says that all of the sandbox is dead: what is in the pipe is all that is read. Its end need not come,
    /// because the writing end may have been passed out of the sandbox (SCM_RIGHTS of unix(7)).
    pub fn finish(&mut self) {
        let Some(source) = &self.source else { return };
        if self.stream != Stream::Terminal {
            self.rest = Some(fd::waiting(number(source)).unwrap_or(0));
        } else if let Ok((tail, length)) = terminal::tail(source) {
            (self.source, self.rest) = (Some(tail), Some(length));
        } else {
            (self.source, self.truncated) = (None, Truncated::Yes);
        }
        self.end_if_read();
    }

    /// Gives up what its reader does not take.
    pub fn abandon(&mut self) {
        if self.entry().is_some() {
            self.truncated = Truncated::Yes;
        }
        self.pending.clear();
        self.source = None;
    }

    fn end_if_read(&mut self) {
        if self.rest == Some(0) {
            self.source = None;
        }
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
        let size = self.rest.map_or(CHUNK, |rest| usize::try_from(rest).unwrap_or(CHUNK).min(CHUNK));
        // Not filled before: most of it is never touched.
        let mut chunk = Box::new_uninit_slice(size);
        match fd::read_fresh(number(source), &mut chunk) {
            Ok([]) => self.source = None,
            Ok(read) => {
                self.rest = self.rest.map(|rest| rest.saturating_sub(u64::try_from(read.len()).unwrap_or(rest)));
                self.end_if_read();
                self.take(read, room);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.source = None,
        }
    }

    fn take(&mut self, read: &[u8], room: u64) {
        self.bytes += u64::try_from(read.len()).unwrap_or(0);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let space = if self.capture == Capture::Yes { CAPTURE_MAX - self.kept.len() } else { usize::MAX };
        let taken = &read[..read.len().min(room).min(space)];
        if taken.len() < read.len() {
            self.truncated = Truncated::Yes;
        }
        if self.capture == Capture::Yes {
            self.kept.extend_from_slice(taken);
        } else if self.target != Target::Nowhere {
            self.pending = taken.to_vec();
        }
    }

    /// A reader that is gone is the command's to notice when it writes: its pipe is closed. The other stream
    /// may lead to the same pipe and have filled it just now, and a write that blocks stops all clocks.
    fn write(&mut self) {
        let Target::Fd(target) = self.target else { return };
        let mut room = [Entry::writable(target)];
        if poll(&mut room, Some(0)).is_err() || room[0].seen == 0 {
            return;
        }
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

/// Returns what the streams say in the report. A terminal's output counts as standard output.
#[must_use]
pub fn output(relays: Vec<Relay>) -> Output {
    let mut output = Output::default();
    for relay in relays {
        let (stream, bytes) = (relay.stream, relay.bytes());
        let (kept, truncated) = relay.into_kept();
        match stream {
            Stream::Output | Stream::Terminal => (output.stdout_bytes, output.stdout) = (Some(bytes), kept),
            Stream::Error => (output.stderr_bytes, output.stderr) = (Some(bytes), kept),
        }
        if truncated == Truncated::Yes {
            output.truncated = truncated;
        }
    }
    output
}
