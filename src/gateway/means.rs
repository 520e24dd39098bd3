//! What all streams of a gateway share to carry their bytes: the pipes, the room for what is slowed, the time of the turn.
//! It carries nothing.

use crate::sys::poller::Pipe;

/// Bytes that one pipe holds, where the caller may have so many.
pub const PIPE: usize = 1 << 20;
/// How many pipes there are at most: those that hold something for a target that is slower than its source. When all
/// do, bytes are copied instead.
const MOST_PIPES: usize = 64;

/// What all flows share.
#[derive(Debug)]
pub struct Means {
    idle: Vec<Pipe>,
    made: usize,
    /// Bytes of slowed streams that are held, all together.
    pub held: usize,
    pub scratch: Vec<u8>,
    pub now: u64,
}

impl Means {
    /// Returns means without a pipe yet.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { idle: Vec::new(), made: 0, held: 0, scratch: vec![0; 64 << 10], now }
    }

    /// Gives out an empty pipe; `None` where all are in use.
    pub fn pipe(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.made >= MOST_PIPES {
            return None;
        }
        let pipe = Pipe::new(PIPE).ok()?;
        self.made += 1;
        Some(pipe)
    }

    /// Takes back a pipe with so many bytes in it.
    pub fn take_back(&mut self, pipe: Pipe, inside: usize) {
        match inside {
            0 => self.idle.push(pipe),
            // What is in it must not reach another stream.
            _ => self.made -= 1,
        }
    }
}
