//! The one message from the child side to the parent: why the command did not start,
//! or how it ended. Fixed size, one write, no allocation on the way.

use crate::sys::process::Rusage;
use crate::sys::terminal::Pair;
use crate::sys::{Errno, Fd, fd, rights};

const WORDS: usize = 16;

/// Bytes of a message; far below what a stream of unix(7) holds, so a write is whole or not at all.
pub const SIZE: usize = WORDS * 8;

/// A message that says nothing: descriptors need bytes to go with.
pub const SILENT: [u8; SIZE] = [0; SIZE];

/// A message that says nothing either; with it goes what is needed after the run.
pub const SANDBOX: [u8; SIZE] = [6; SIZE];

/// Nor does this: with it go the inlets of the sandbox's network, then the pool of sockets for datagrams.
pub const INLETS: [u8; SIZE] = [7; SIZE];

/// A message.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// A step of the tape failed.
    StepFailed { step: usize, errno: i32 },
    /// The init could not make the process that becomes the command.
    ForkFailed { errno: i32 },
    /// No candidate could be executed.
    ExecFailed { errno: i32 },
    /// The sandbox stands: the next call starts the command.
    Starting { at: u64, own: Rusage },
    /// The command ended.
    Ended(Ending),
}

/// How the command ended, as its init saw it.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// As wait(2) encodes it.
    pub status: i32,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub started: u64,
    pub ended: u64,
    /// The sum over all processes but the init.
    pub usage: Rusage,
    /// Processes that were still there and were killed.
    pub left: u64,
    /// 1 if the root's writable part had no room left.
    pub full: u64,
}

impl Verdict {
    /// Returns the message of a step that failed.
    #[must_use]
    pub fn step_failed(step: usize, errno: Errno) -> Self {
        Self::StepFailed { step, errno: errno as i32 }
    }

    fn words(&self) -> [u64; WORDS] {
        let mut words = [0u64; WORDS];
        let number = |value: i32| u64::from(value.cast_unsigned());
        match self {
            Self::StepFailed { step, errno } => {
                words[0] = 1;
                words[1] = u64::try_from(*step).unwrap_or(u64::MAX);
                words[2] = number(*errno);
            }
            Self::ForkFailed { errno } => (words[0], words[2]) = (2, number(*errno)),
            Self::ExecFailed { errno } => (words[0], words[2]) = (3, number(*errno)),
            Self::Starting { at, own } => {
                (words[0], words[1]) = (4, *at);
                put_usage(&mut words, own);
            }
            Self::Ended(ending) => {
                words[0] = 5;
                words[1] = ending.started;
                words[2] = number(ending.status);
                words[3] = ending.ended;
                words[4] = ending.left;
                words[5] = ending.full;
                put_usage(&mut words, &ending.usage);
            }
        }
        words
    }

    fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0u8; SIZE];
        for (chunk, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.words()) {
            *chunk = word.to_ne_bytes();
        }
        bytes
    }

    fn from_words(words: &[u64; WORDS]) -> Option<Self> {
        let number = u32::try_from(words[2]).ok()?.cast_signed();
        Some(match words[0] {
            1 => Self::StepFailed { step: usize::try_from(words[1]).ok()?, errno: number },
            2 => Self::ForkFailed { errno: number },
            3 => Self::ExecFailed { errno: number },
            4 => Self::Starting { at: words[1], own: take_usage(words) },
            5 => Self::Ended(Ending {
                status: number,
                started: words[1],
                ended: words[3],
                usage: take_usage(words),
                left: words[4],
                full: words[5],
            }),
            _ => return None,
        })
    }
}

fn put_usage(words: &mut [u64; WORDS], usage: &Rusage) {
    words[8] = usage.user;
    words[9] = usage.system;
    words[10] = usage.max_rss;
    words[11] = usage.minor_faults;
    words[12] = usage.major_faults;
    words[13] = usage.voluntary;
    words[14] = usage.involuntary;
}

fn take_usage(words: &[u64; WORDS]) -> Rusage {
    Rusage {
        user: words[8],
        system: words[9],
        max_rss: words[10],
        minor_faults: words[11],
        major_faults: words[12],
        voluntary: words[13],
        involuntary: words[14],
    }
}

/// Sends `verdict`; child-safe. A parent that is gone cannot be told.
pub fn send(status: Fd, verdict: &Verdict) {
    while fd::write(status, &verdict.bytes()) == Err(Errno::EINTR) {}
}

/// Sends `verdict` with a copy of a descriptor; child-safe.
///
/// # Errors
/// The errno of sendmsg(2).
pub fn send_with(status: Fd, verdict: &Verdict, descriptor: Fd) -> Result<(), Errno> {
    rights::send(status, &mut verdict.bytes(), &[descriptor])
}

/// Returns when the command started, on CLOCK_MONOTONIC in nanoseconds, and what the child had used before.
#[must_use]
pub fn starting(verdicts: &[Verdict]) -> Option<(u64, Rusage)> {
    verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Starting { at, own } => Some((*at, *own)),
        _ => None,
    })
}

/// Reads all messages that are there, the last one last, without waiting: what the dead have said is there already,
/// and its end need not come. A run sends three at most, so one read takes everything.
///
/// # Errors
/// The errno of recvmsg(2).
pub fn receive(status: Fd) -> Result<Vec<Verdict>, Errno> {
    match receive_handed(status) {
        Ok((said, _)) => Ok(said),
        // Nothing, or the child ended before it took what was written to it, without a word.
        Err(Errno::EAGAIN | Errno::ECONNRESET) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

/// What the child hands to the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    Nothing,
    Terminal(Pair),
    /// Who is asked about calls that the filter refuses.
    Asked(Fd),
    /// The namespaces of users and mounts, then the trees of the plan's harvest.
    Sandbox([Option<Fd>; rights::MOST]),
    /// The sockets of the sandbox's network, as `inlets::open` has them.
    Inlets([Option<Fd>; rights::MOST]),
}

/// Reads what is there, without waiting, with what was handed over; no message at all is the end.
///
/// # Errors
/// The errno of recvmsg(2): EAGAIN where there is nothing yet.
pub fn receive_handed(status: Fd) -> Result<(Vec<Verdict>, Handed), Errno> {
    let mut bytes = [0u8; SIZE * 4];
    let (count, descriptors) = rights::receive(status, &mut bytes)?;
    let last = count.checked_sub(SIZE).and_then(|start| bytes.get(start..count));
    let handed = match descriptors {
        all if last == Some(&SANDBOX) => Handed::Sandbox(all),
        all if last == Some(&INLETS) => Handed::Inlets(all),
        [Some(relay), Some(command), None, ..] => Handed::Terminal(Pair { relay, command }),
        [Some(asked), None, ..] => Handed::Asked(asked),
        [None, ..] => Handed::Nothing,
        _ => Handed::Nothing,
    };
    Ok((verdicts(&bytes, count), handed))
}

fn verdicts(bytes: &[u8], count: usize) -> Vec<Verdict> {
    let (messages, _) = bytes.as_chunks::<SIZE>();
    messages.iter().take(count / SIZE).filter_map(|bytes| Verdict::from_words(&words_of(bytes))).collect()
}

fn words_of(bytes: &[u8; SIZE]) -> [u64; WORDS] {
    let mut words = [0u64; WORDS];
    for (word, chunk) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_ne_bytes(*chunk);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{Ending, SIZE, Verdict, receive, send};
    use crate::sys::fd;
    use crate::sys::process::Rusage;

    #[test]
    fn an_ending_survives_the_way() {
        let (reader, writer) = fd::connection().unwrap();
        let usage = Rusage { user: 1, system: 2, max_rss: 3, ..Rusage::default() };
        let sent = Ending { status: -1, started: 10, ended: 20, usage, left: 4, full: 1 };
        send(writer, &Verdict::Ended(sent));
        fd::close(writer).unwrap();
        let received = receive(reader).unwrap();
        let [Verdict::Ended(ending)] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!((ending.status, ending.started, ending.ended, ending.left, ending.full), (-1, 10, 20, 4, 1));
        assert_eq!((ending.usage.user, ending.usage.system, ending.usage.max_rss), (1, 2, 3));
    }

    #[test]
    fn a_cut_message_is_no_message() {
        let (reader, writer) = fd::connection().unwrap();
        fd::write(writer, &[1; SIZE - 1]).unwrap();
        fd::close(writer).unwrap();
        assert!(receive(reader).unwrap().is_empty());
    }
}
