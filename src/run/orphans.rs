//! What outlives a run without a pid namespace: its processes become children of the init, or of
//! sbx when the init is gone, and are killed one by one. Nobody else's process is touched.

use std::ffi::CStr;

use crate::sys::process::{self, Pid, Wait};
use crate::sys::watch::{number, own, poll};
use crate::sys::{Errno, Fd, Sys, fd, time};

/// The kernel's list of the children of who opens it (proc_tid_children(5)).
pub const LIST: &CStr = c"/proc/thread-self/children";

/// How long a process may take to die of SIGKILL, in nanoseconds: one that the disk holds may take for ever.
const PATIENCE: u64 = 2_000_000_000;

/// How long to wait before looking again, in nanoseconds.
const PAUSE: u64 = 1_000_000;

/// Kills the children that `list`, an open [`LIST`], names. Those that have ended are named too. Child-safe.
#[inline(never)]
pub fn kill_listed(list: Fd) {
    let mut text = [0u8; 1024];
    let count = fd::read_at(list, &mut text, 0).unwrap_or(0);
    let words = text.get(..count).unwrap_or_default().split(|byte| *byte == b' ');
    for word in words.filter(|word| !word.is_empty()) {
        let number = word.iter().try_fold(0i32, |number, byte| match byte {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(i32::from(byte - b'0')),
            _ => None,
        });
        if let Some(number) = number.filter(|number| *number > 1) {
            process::kill(Pid(number), libc::SIGKILL).ok();
        }
    }
}

/// Kills and reaps every child of this process, and what they leave, until there is none; returns what could not be
/// killed. One call where there is none from the beginning.
#[must_use]
pub fn end() -> Vec<String> {
    let until = time::monotonic().saturating_add(PATIENCE);
    let list = fd::open(LIST, libc::O_RDONLY, 0).map(own);
    loop {
        if reap_all() == Err(Errno::ECHILD) {
            return Vec::new();
        }
        if time::monotonic() > until {
            return vec!["processes of the command".to_owned()];
        }
        if let Ok(list) = &list {
            kill_listed(number(list));
        }
        poll(&mut [], Some(PAUSE)).ok();
    }
}

/// Reaps what has ended; ECHILD if nothing is left.
fn reap_all() -> Sys<()> {
    loop {
        match process::wait(Wait::Ended) {
            Ok(Some(_)) | Err(Errno::EINTR) => {}
            Ok(None) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}
