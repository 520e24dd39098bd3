//! Waiting for many sockets at once (epoll(7)), and moving what they carry by pipes without copying it. It decides
//! nothing, and nothing here is for a child between clone and exec.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::pipe::{PipeFlags, SpliceFlags};
use rustix::process::{Resource, Rlimit};

use super::{Errno, Sys};

/// Many descriptors, of which each is waited for with a number of its own.
#[derive(Debug)]
pub struct Poller(OwnedFd);

/// What is said of a descriptor, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// As long as there is something to read.
    Readable,
    /// Each time that there is more to read or more room, once (EPOLLET).
    Changes,
}

/// What happened to the descriptor that was added with `token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    pub token: u64,
    flags: EventFlags,
}

impl Happened {
    /// Something can be read, an end or an error among it.
    #[must_use]
    pub fn readable(self) -> bool {
        self.flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP)
    }

    /// The end of what can be read has come, or an error.
    #[must_use]
    pub fn ended(self) -> bool {
        self.flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
    }

    /// There is urgent data of TCP.
    #[must_use]
    pub fn urgent(self) -> bool {
        self.flags.contains(EventFlags::PRI)
    }

    /// Something went wrong, or both ends have come.
    #[must_use]
    pub fn troubled(self) -> bool {
        self.flags.intersects(EventFlags::HUP | EventFlags::ERR)
    }

    /// Something can be written, if only to learn of an error.
    #[must_use]
    pub fn writable(self) -> bool {
        self.flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR)
    }
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

impl Poller {
    /// Returns a poller that waits for nothing yet.
    pub fn new() -> Sys<Self> {
        epoll::create(CreateFlags::CLOEXEC).map(Self).map_err(errno)
    }

    /// Waits for `descriptor` too, until it is closed.
    pub fn add(&self, descriptor: impl AsFd, token: u64, interest: Interest) -> Sys<()> {
        let flags = match interest {
            Interest::Readable => EventFlags::IN,
            Interest::Changes => {
                EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::PRI | EventFlags::ET
            }
        };
        epoll::add(&self.0, descriptor, EventData::new_u64(token), flags).map_err(errno)
    }

    /// Does not wait for `descriptor` any more.
    pub fn remove(&self, descriptor: impl AsFd) -> Sys<()> {
        epoll::delete(&self.0, descriptor).map_err(errno)
    }

    /// Sleeps until something happened or the time is over; `None` is no end. Adds what happened, at most 256 at once.
    pub fn wait(&self, happened: &mut Vec<Happened>, timeout: Option<Duration>) -> Sys<()> {
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        let mut events = [const { MaybeUninit::<epoll::Event>::uninit() }; 256];
        match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Ok((came, _)) => {
                happened.extend(came.iter().map(|event| Happened { token: event.data.u64(), flags: event.flags }));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(errno(error)),
        }
    }
}

/// A pipe that is never waited for.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// What it holds in any case.
    size: usize,
}

impl Pipe {
    /// Makes a pipe that holds up to `size` bytes, fewer where the caller may not have so many (pipe(7)).
    pub fn new(size: usize) -> Sys<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(errno)?;
        // Where it cannot be made larger the pipe is small, and right.
        let size = rustix::pipe::fcntl_setpipe_size(&writer, size)
            .or_else(|_| rustix::pipe::fcntl_getpipe_size(&writer))
            .map_err(errno)?;
        Ok(Self { reader, writer, size })
    }

    /// Returns how many bytes an empty pipe takes, from memory; from a stream it may be fewer, in many pieces.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Puts `bytes` into an empty pipe; fewer than [`Pipe::size`] all fit.
    pub fn keep(&self, bytes: &[u8]) -> Sys<usize> {
        rustix::io::write(&self.writer, bytes).map_err(errno)
    }

    /// Moves up to `count` bytes from a stream into the pipe; 0 is the end of the stream.
    pub fn fill(&self, source: impl AsFd, count: usize) -> Sys<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        rustix::pipe::splice(source, None, &self.writer, None, count, flags).map_err(errno)
    }

    /// Moves up to `count` bytes from the pipe into a stream. EPIPE comes with SIGPIPE, which the caller has blocked.
    pub fn drain(&self, target: impl AsFd, count: usize) -> Sys<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        rustix::pipe::splice(&self.reader, None, target, None, count, flags).map_err(errno)
    }
}

/// The limit on open files that was raised.
#[derive(Debug)]
pub struct Files {
    before: Rlimit,
    /// How many files may be open now.
    pub most: u64,
}

/// Lets this process open as many files as the machine lets it, until that is taken back: what it starts later inherits
/// its limits.
#[must_use]
pub fn raise_files() -> Files {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    let most = match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => before.maximum,
        Err(_) => before.current,
    };
    Files { before, most: most.unwrap_or(u64::MAX) }
}

impl Files {
    /// Takes it back. What is open stays open.
    pub fn lower(&self) {
        // A limit below the present one is never refused.
        rustix::process::setrlimit(Resource::Nofile, self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::{Interest, Pipe, Poller};

    #[test]
    fn each_change_is_told_once() {
        let poller = Poller::new().unwrap();
        let (mut left, right) = UnixStream::pair().unwrap();
        poller.add(&right, 7, Interest::Changes).unwrap();
        let wait = |timeout: Option<Duration>| {
            let mut happened = Vec::new();
            poller.wait(&mut happened, timeout).unwrap();
            happened.iter().map(|it| (it.token, it.readable(), it.writable())).collect::<Vec<_>>()
        };
        let none = Some(Duration::ZERO);
        assert_eq!(wait(none), [(7, false, true)]);
        assert_eq!(wait(none), []);
        left.write_all(b"a").unwrap();
        assert_eq!(wait(None), [(7, true, true)]);
        assert_eq!(wait(none), []);
        drop(left);
        assert_eq!(wait(None), [(7, true, true)]);
    }

    #[test]
    fn a_pipe_carries_from_one_stream_to_another() {
        let (mut left, source) = UnixStream::pair().unwrap();
        let (target, mut right) = UnixStream::pair().unwrap();
        let pipe = Pipe::new(1 << 16).unwrap();
        left.write_all(b"abc").unwrap();
        assert_eq!(pipe.fill(&source, 100), Ok(3));
        assert_eq!(pipe.drain(&target, 3), Ok(3));
        let mut read = [0; 3];
        right.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"abc");
        assert_eq!(pipe.size(), 1 << 16);
        let whole = vec![b'x'; pipe.size()];
        assert_eq!(pipe.keep(&whole), Ok(whole.len()));
        assert_eq!(pipe.drain(&target, whole.len()), Ok(whole.len()));
        drop(left);
        assert_eq!(pipe.fill(&source, 100), Ok(0));
    }
}
