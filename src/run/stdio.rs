//! What the command inherits of its caller: the three standard streams and the actions
//! of signals. Nothing here outlives the caller's own descriptors.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, Kind, Result};
use crate::plan::{Plan, StdinPlan};
use crate::run::anchor;
use crate::run::c_text::path_text;
use crate::sys::file::{self, Stat};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Fd, Sys, fd};
use crate::units::Origin;

/// The standard streams, before sbx puts pipes of its own in their place.
#[derive(Debug)]
pub struct Standard {
    /// What becomes standard input, where it is not the caller's.
    pub stdin: Option<OwnedFd>,
    /// What the three are.
    pub found: [Stat; 3],
}

/// Opens what becomes standard input, where it is not the caller's, and looks at all three streams.
///
/// # Errors
/// A file that cannot be opened; a stream that is a directory.
pub fn open(plan: &Plan) -> Result<Standard> {
    let output = refuse_directory(std::io::stdout(), "output")?;
    let error = refuse_directory(std::io::stderr(), "error")?;
    let standard = |stdin, input| Standard { stdin, found: [input, output, error] };
    let (path, origin) = match &plan.stdin {
        StdinPlan::Inherit => return refuse_directory(std::io::stdin(), "input").map(|input| standard(None, input)),
        StdinPlan::Null => (std::path::Path::new("/dev/null"), Origin::Default),
        StdinPlan::File(path, origin) => (path.as_path(), *origin),
    };
    let writable = anchor::writable(plan);
    let opened = match anchor::split(&writable, path) {
        // A FIFO that a command made must not hold sbx.
        Some((base, rest)) => anchor::open(base, rest, libc::O_RDONLY | libc::O_NONBLOCK),
        None => fd::open(&path_text(path)?, libc::O_RDONLY, 0).map(own),
    };
    let opened = opened.map_err(|errno| {
        let message = format!("cannot open `{}` as standard input", path.display());
        Error::new(Kind::Io, message).with_errno(errno as i32).at(origin)
    })?;
    let input = refuse_directory(&opened, "input").map_err(|error| error.at(origin))?;
    Ok(standard(Some(opened), input))
}

/// From an open directory every other one can be reached, whatever the root is (openat(2), CVE-2024-21626).
fn refuse_directory(stream: impl AsFd, name: &str) -> Result<Stat> {
    match file::stat(stream) {
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
    let failed = |errno| {
        Error::new(Kind::Host, "cannot read `/proc/self/status`")
            .with_errno(errno as i32)
            .with_hint("mount a procfs: `mount -t proc proc /proc`")
    };
    let status = fd::open(c"/proc/self/status", libc::O_RDONLY, 0).map(own).map_err(failed)?;
    let text = all_of(number(&status)).map_err(failed)?;
    let value = text.split(|byte| *byte == b'\n').find_map(|line| {
        let digits = line.strip_prefix(b"SigIgn:\t")?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    });
    let mask = value.ok_or_else(|| failed(Errno::EBADMSG))?;
    Ok((1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect())
}

/// Who is in thousands of groups has a long list of them before the line that is looked for.
fn all_of(file: Fd) -> Sys<Vec<u8>> {
    let (mut text, mut piece) = (Vec::new(), [0u8; 2048]);
    loop {
        let count = fd::read(file, &mut piece)?;
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        // One read gives all of a file of procfs that fits.
        if count < piece.len() {
            return Ok(text);
        }
    }
}
