//! What the command inherits of its caller: the three standard streams and the actions
//! of signals. Nothing here outlives the caller's own descriptors.

use std::os::fd::OwnedFd;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Stream, Streams};
use crate::plan::{Plan, StdinPlan};
use crate::run::anchor::Exposed;
use crate::run::{Ended, fifo};
use crate::sys::file::{self, Stat};
use crate::sys::status::status;
use crate::sys::terminal::Nature;
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Fd, Sys, fd, terminal};

/// What was found out about the standard streams.
#[derive(Debug)]
pub enum Input {
    Open(Standard),
    /// The run ended while it waited for a writer.
    Stopped(Ended),
}

/// The standard streams, before sbx puts pipes of its own in their place.
#[derive(Debug)]
pub struct Standard {
    /// What becomes standard input, where it is not the caller's.
    pub stdin: Option<OwnedFd>,
    /// What the three are.
    pub found: [Stat; 3],
}

/// Looks at the three streams that sbx was given.
#[must_use]
pub fn look() -> Streams {
    [Fd(0), Fd(1), Fd(2)].map(|fd| match terminal::look(fd) {
        Ok((found, Nature::Terminal)) => Stream::Terminal(found),
        Ok((found, Nature::Other)) => Stream::Other(found),
        Err(errno) => Stream::Unknown(errno as i32),
    })
}

/// Opens what becomes standard input, where it is not the caller's.
///
/// # Errors
/// A file that cannot be opened; a stream that is a directory.
pub fn open(plan: &Plan, exposed: &Exposed) -> Result<Input> {
    let [input, output, error] = plan.streams;
    let output = refuse_directory(found(output), "output")?;
    let error = refuse_directory(found(error), "error")?;
    let standard = |stdin, input| Input::Open(Standard { stdin, found: [input, output, error] });
    let (path, origin) = match &plan.stdin {
        StdinPlan::Inherit => return refuse_directory(found(input), "input").map(|input| standard(None, input)),
        StdinPlan::Null => {
            let null = fd::open(c"/dev/null", libc::O_RDONLY, 0).map(own).map_err(|errno| {
                Error::new(Kind::Io, "cannot open `/dev/null` as standard input").with_errno(errno as i32)
            })?;
            let input = refuse_directory(file::stat(&null), "input")?;
            return Ok(standard(Some(null), input));
        }
        StdinPlan::File(path, origin) => (path.as_path(), *origin),
    };
    // A FIFO is not to hold sbx, nor is a terminal to become its own.
    let opened = exposed.open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY);
    let failed = |errno: Errno| {
        let message = format!("cannot open `{}` as standard input", path.display());
        Error::new(Kind::Io, message).with_errno(errno as i32).at(origin)
    };
    let opened = opened.map_err(failed)?;
    let input = refuse_directory(file::stat(&opened), "input").map_err(|error| error.at(origin))?;
    if input.kind == file::FileType::Fifo
        && let Some(ended) = fifo::await_writer(&opened, &plan.watch).map_err(failed)?
    {
        return Ok(Input::Stopped(ended));
    }
    fd::set_blocking(number(&opened)).map_err(failed)?;
    Ok(standard(Some(opened), input))
}

fn found(stream: Stream) -> Sys<Stat> {
    match stream {
        Stream::Terminal(found) | Stream::Other(found) => Ok(found),
        Stream::Unknown(errno) => Err(Errno::from_raw(errno)),
    }
}

/// From an open directory every other one can be reached, whatever the root is (openat(2), CVE-2024-21626).
fn refuse_directory(found: Sys<Stat>, name: &str) -> Result<Stat> {
    match found {
        Ok(found) if found.kind == file::FileType::Directory => {
            let message = format!("standard {name} is a directory, through which the command could leave the sandbox");
            Err(Error::new(Kind::Host, message)
                .with_hint("redirect it to a file, a pipe or `/dev/null`; name directories under `mounts`"))
        }
        Ok(found) => Ok(found),
        Err(errno) => Err(Error::new(Kind::Host, format!("cannot look at standard {name}")).with_errno(errno as i32)),
    }
}

/// Reads which signals this process ignores: `SigIgn` of proc_pid_status(5). The Rust runtime ignores
/// SIGPIPE, and a shell or nohup(1) others; the command starts with the default actions.
///
/// # Errors
/// A procfs that is not there or cannot be understood.
pub fn ignored_signals() -> Result<Vec<i32>> {
    let failed = |errno: Errno| {
        Error::new(Kind::Host, "cannot read `/proc/self/status`")
            .with_errno(errno as i32)
            .with_hint("mount a procfs: `mount -t proc proc /proc`")
    };
    let mask = status().map_err(failed)?.ignored;
    Ok((1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect())
}
