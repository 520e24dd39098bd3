//! One direction of a relayed stream: bytes from one socket to another, without copying them where nothing slows them
//! down. What the target does not take stays with the source, so memory is bounded whoever is slow.

use std::os::fd::OwnedFd;

use crate::gateway::congestion::SEGMENT;
use crate::gateway::line::Line;
use crate::gateway::means::{Means, PIPE};
use crate::gateway::shape::Link;
use crate::sys::poller::Pipe;
use crate::sys::{Errno, socket};

/// What comes in smaller pieces goes through memory: that costs less than a pipe, and a read that is short of it says
/// that there is no more.
const SMALL: usize = 16 << 10;
/// What one direction may move before it is another's turn.
const TURN: usize = 4 << 20;
/// The same where the bandwidth is shared.
const SHARE: usize = 16 << 10;

/// One end of a stream, and what epoll(7) said last of it.
#[derive(Debug)]
pub struct Side {
    pub socket: OwnedFd,
    pub readable: bool,
    pub writable: bool,
    /// The end has come, so a short read does not say that nothing follows.
    pub ended: bool,
    /// There was urgent data, before which reads stop, and at which splice(2) stops for good.
    pub urgent: bool,
}

/// What a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For its sockets.
    Sockets,
    /// For its turn: there is more to move.
    Turn,
    /// For this time.
    Until(u64),
    /// For nothing: all was carried, and the target knows the end.
    Done,
}

impl Wait {
    /// Returns which of two comes first.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Turn, _) | (_, Self::Turn) => Self::Turn,
            (Self::Until(one), Self::Until(another)) => Self::Until(one.min(another)),
            (Self::Until(time), _) | (_, Self::Until(time)) => Self::Until(time),
            (Self::Done, Self::Done) => Self::Done,
            _ => Self::Sockets,
        }
    }
}

/// Bytes on their way.
#[derive(Debug, Default)]
pub struct Flow {
    /// A pipe with this many bytes in it.
    pipe: Option<(Pipe, usize)>,
    /// What is under way where the network is shaped.
    line: Line,
    /// Whether the last piece was more than a small one.
    bulk: bool,
    /// How many bytes more may be taken from the source, where that is bounded.
    bound: Option<u64>,
    /// When the end of the source arrives.
    end: Option<u64>,
    done: bool,
    carried: u64,
}

impl Flow {
    /// Returns how many bytes the target took.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// Returns whether the target took all there was, and knows the end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Has it take only so many bytes more from its source, and not look for its end; `None` is no bound.
    pub fn bound(&mut self, bound: Option<u64>) {
        self.bound = bound;
    }

    /// Returns whether it has taken all that it may.
    #[must_use]
    pub fn is_at_bound(&self) -> bool {
        self.bound == Some(0)
    }

    /// Returns whether the target has to take something before more is looked for.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.pipe.is_some()
    }

    /// Returns whether it has taken anything at all.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.carried > 0 || self.pipe.is_some() || !self.line.is_empty()
    }

    /// Moves what can be moved now.
    ///
    /// # Errors
    /// What the kernel said of either socket: the stream is broken.
    pub fn carry(
        &mut self,
        source: &mut Side,
        target: &mut Side,
        (means, link): (&mut Means, Option<&mut Link>),
    ) -> Result<Wait, Errno> {
        if self.done {
            return Ok(Wait::Done);
        }
        match link {
            None => self.carry_fast(source, target, means),
            Some(link) => self.carry_slowly(source, target, (means, link)),
        }
    }

    /// Moves `count` bytes that have come, before all others, or has them be under way; returns them. There are few, for
    /// which there is room.
    ///
    /// # Errors
    /// What the kernel said of either socket; EAGAIN, if there is no room: the stream is broken.
    pub fn let_pass<'a>(
        &mut self,
        source: &Side,
        target: &Side,
        (count, means, link): (usize, &'a mut Means, Option<&mut Link>),
    ) -> Result<&'a [u8], Errno> {
        let came = socket::receive(&source.socket, &mut means.scratch[..count])?;
        if let Some(link) = link {
            self.line.put(came, (means, link));
            return Ok(&means.scratch[..came]);
        }
        if socket::send(&target.socket, &means.scratch[..came])? < came {
            return Err(Errno::EAGAIN);
        }
        self.carried += came as u64;
        Ok(&means.scratch[..came])
    }

    /// Gives back what a stream that ends holds of the common means.
    pub fn let_go(&mut self, means: &mut Means) {
        self.line.let_go(means);
        if let Some((pipe, inside)) = self.pipe.take() {
            means.take_back(pipe, inside);
        }
    }

    fn carry_fast(&mut self, source: &mut Side, target: &mut Side, means: &mut Means) -> Result<Wait, Errno> {
        let mut moved = 0;
        loop {
            if let Some((pipe, inside)) = &mut self.pipe {
                while *inside > 0 {
                    let Some(count) = ready(pipe.drain(&target.socket, *inside), &mut target.writable)? else {
                        return Ok(Wait::Sockets);
                    };
                    *inside -= count;
                    self.carried += count as u64;
                }
                self.pipe.take().into_iter().for_each(|(pipe, _)| means.take_back(pipe, 0));
            }
            if self.end.is_some() {
                return self.finish(target);
            }
            if !source.readable || !target.writable || self.is_at_bound() {
                return Ok(Wait::Sockets);
            }
            if moved >= TURN {
                return Ok(Wait::Turn);
            }
            let Some(pipe) = means.pipe() else { return self.copy(source, target, means) };
            let spliced = self.bulk && !source.urgent;
            let whole = if spliced { PIPE } else { SMALL.min(pipe.size()) };
            let most = self.within(whole);
            let came = if spliced {
                pipe.fill(&source.socket, most)
            } else {
                socket::receive(&source.socket, &mut means.scratch[..most])
            };
            match ready(came, &mut source.readable) {
                Ok(Some(count)) if count > 0 => {
                    moved += count;
                    self.took(count);
                    self.bulk = count >= whole.min(SMALL);
                    source.readable &= spliced || count == most || source.ended || source.urgent;
                    let left = if spliced { Ok(count) } else { self.pass(&means.scratch[..count], &pipe, target) };
                    self.pipe = Some((pipe, *left.as_ref().unwrap_or(&count)));
                    left?;
                }
                other => {
                    means.take_back(pipe, 0);
                    self.end = other?.map(|_| means.now);
                }
            }
        }
    }

    /// Sends `bytes`, and leaves in the empty pipe what the target does not take; returns how much that is.
    fn pass(&mut self, bytes: &[u8], pipe: &Pipe, target: &mut Side) -> Result<usize, Errno> {
        let sent = ready(socket::send(&target.socket, bytes), &mut target.writable)?.unwrap_or(0);
        self.carried += sent as u64;
        if sent < bytes.len() { pipe.keep(&bytes[sent..]) } else { Ok(0) }
    }

    /// Moves bytes through memory, and takes from the source only what the target took.
    fn copy(&mut self, source: &mut Side, target: &mut Side, means: &mut Means) -> Result<Wait, Errno> {
        for _ in 0..4 {
            let most = self.within(means.scratch.len());
            if most == 0 {
                return Ok(Wait::Sockets);
            }
            let came = ready(socket::peek(&source.socket, &mut means.scratch[..most]), &mut source.readable)?;
            let Some(came) = came else { return Ok(Wait::Sockets) };
            if came == 0 {
                return self.finish(target);
            }
            let sent = ready(socket::send(&target.socket, &means.scratch[..came]), &mut target.writable)?;
            let Some(sent) = sent else { return Ok(Wait::Sockets) };
            socket::receive(&source.socket, &mut means.scratch[..sent])?;
            self.took(sent);
            self.carried += sent as u64;
        }
        Ok(Wait::Turn)
    }

    fn carry_slowly(
        &mut self,
        source: &mut Side,
        target: &mut Side,
        (means, link): (&mut Means, &mut Link),
    ) -> Result<Wait, Errno> {
        self.take_in(source, means, link)?;
        if let Some(wait) = self.arrive(target, (means, link))? {
            return Ok(wait);
        }
        match self.end {
            Some(due) if due > means.now => Ok(Wait::Until(due)),
            Some(_) => self.finish(target),
            // There may be more than was let in.
            None if source.readable && !self.is_at_bound() => Ok(Wait::Turn),
            None => Ok(Wait::Sockets),
        }
    }

    /// Moves what has arrived by now; returns what the rest waits for, if anything is under way.
    ///
    /// # Errors
    /// What the kernel said of the target: the stream is broken.
    pub fn arrive(&mut self, target: &mut Side, (means, link): (&mut Means, &mut Link)) -> Result<Option<Wait>, Errno> {
        let mut room = link.room(means.now).min(SHARE);
        while let Some((due, rest)) = self.line.first() {
            if due > means.now {
                return Ok(Some(Wait::Until(due)));
            }
            if !target.writable {
                return Ok(Some(Wait::Sockets));
            }
            if room == 0 {
                return Ok(Some(Wait::Until(link.when(rest.len().min(SEGMENT)).max(means.now + 1))));
            }
            let sent = ready(socket::send(&target.socket, &rest[..rest.len().min(room)]), &mut target.writable)?;
            let Some(sent) = sent else { return Ok(Some(Wait::Sockets)) };
            link.gone(sent);
            room -= sent;
            self.carried += sent as u64;
            self.line.take(sent, means);
        }
        Ok(None)
    }

    /// Puts what came onto the line.
    fn take_in(&mut self, source: &mut Side, means: &mut Means, link: &mut Link) -> Result<(), Errno> {
        while source.readable && self.end.is_none() {
            let count = self.within(self.line.room(means, link));
            if count == 0 {
                return Ok(());
            }
            let came = ready(socket::receive(&source.socket, &mut means.scratch[..count]), &mut source.readable)?;
            let Some(came) = came else { return Ok(()) };
            if came == 0 {
                self.end = Some(self.line.due(means.now, link));
                return Ok(());
            }
            self.took(came);
            self.line.put(came, (means, link));
        }
        Ok(())
    }

    /// Returns how many of `count` bytes may be taken.
    fn within(&self, count: usize) -> usize {
        self.bound.map_or(count, |bound| count.min(usize::try_from(bound).unwrap_or(usize::MAX)))
    }

    fn took(&mut self, count: usize) {
        self.bound = self.bound.map(|bound| bound.saturating_sub(count as u64));
    }

    fn finish(&mut self, target: &Side) -> Result<Wait, Errno> {
        self.done = true;
        match socket::end_writing(&target.socket) {
            // It may be gone already, having said all it had to.
            Ok(()) | Err(Errno::ENOTCONN) => Ok(Wait::Done),
            Err(errno) => Err(errno),
        }
    }
}

/// Returns what a call did, or `None` and that it cannot now.
fn ready(result: Result<usize, Errno>, can: &mut bool) -> Result<Option<usize>, Errno> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(Errno::EAGAIN) => {
            *can = false;
            Ok(None)
        }
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::{Flow, Side};
    use crate::gateway::Shaping;
    use crate::gateway::means::Means;
    use crate::gateway::shape::Link;

    #[test]
    fn pieces_under_way_take_room_even_if_they_are_small() {
        let shaping = Shaping { latency: Some(Duration::from_secs(9)), ..Shaping::default() };
        let mut link = Link::new(&shaping, 0, 1).unwrap();
        let (mut means, mut flow) = (Means::new(0), Flow::default());
        let ((mut writer, source), (target, _reader)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let side = |socket: UnixStream| Side {
            socket: socket.into(),
            readable: false,
            writable: true,
            ended: false,
            urgent: false,
        };
        let (mut source, mut target) = (side(source), side(target));
        writer.set_nonblocking(true).unwrap();
        for now in 0..100_000 {
            // Nobody takes it when the window is full.
            if writer.write(b"x").is_err() {
                break;
            }
            means.now = now;
            source.readable = true;
            flow.carry(&mut source, &mut target, (&mut means, Some(&mut link))).unwrap();
        }
        assert!((1000..=link.window() / 64).contains(&flow.line.len()), "{}", flow.line.len());
        flow.let_go(&mut means);
        assert_eq!(means.held, 0);
    }
}
