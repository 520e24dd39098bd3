//! Waits for who writes into a FIFO, as opening one for reading does, but no longer than the run
//! may last, and not beyond a signal that asks to end. It reads nothing.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::plan::Watch;
use crate::run::Ended;
use crate::sys::process::{Cloned, Wait};
use crate::sys::watch::{Entry, asked_to_end, number, own, poll};
use crate::sys::{Fd, Sys, fd, process, time};

/// How often signals are looked for meanwhile, in nanoseconds.
const PAUSE: u64 = 50_000_000;

/// Waits until `fifo`, which is open for reading without blocking, has or had a writer. A command that found
/// it without one would read its end at once. Returns what ended the run before.
///
/// # Errors
/// The errno of making a process, or of waiting.
pub fn await_writer(fifo: &OwnedFd, watch: &Watch) -> Sys<Option<Ended>> {
    // Only open(2) can wait for a writer who writes nothing yet, and only a process of its own can be interrupted.
    let path = CString::new(format!("/proc/self/fd/{}", number(fifo).0)).unwrap_or_default();
    match process::clone3(0, None)? {
        Cloned::Child => {
            process::signal_on_parent_death(libc::SIGKILL).ok();
            fd::open(&path, libc::O_RDONLY, 0).ok();
            process::exit_now(0)
        }
        Cloned::Parent { child, pidfd } => {
            let pidfd = own(pidfd);
            let ended = wait((number(fifo), number(&pidfd)), watch.wall);
            process::signal_pidfd(number(&pidfd), libc::SIGKILL).ok();
            process::wait(Wait::For(child)).ok();
            ended
        }
    }
}

fn wait((fifo, opener): (Fd, Fd), wall: Option<Duration>) -> Sys<Option<Ended>> {
    let wall = wall.map(|wall| u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
    let until = wall.map(|wall| time::monotonic().saturating_add(wall));
    loop {
        if let Some(signal) = asked_to_end() {
            return Ok(Some(Ended::Canceled { signal }));
        }
        let left = until.map(|until| until.saturating_sub(time::monotonic()));
        if left == Some(0) {
            return Ok(Some(Ended::WallTimeout));
        }
        let mut entries = [Entry::readable(fifo), Entry::readable(opener)];
        poll(&mut entries, Some(left.map_or(PAUSE, |left| left.min(PAUSE))))?;
        if entries.iter().any(|entry| entry.seen != 0) {
            return Ok(None);
        }
    }
}
