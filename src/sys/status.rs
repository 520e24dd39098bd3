//! What the kernel says of this process in /proc/self/status (proc_pid_status(5)), read
//! once: nothing of it changes while sbx lives, and two questions have their answer there.

use std::sync::OnceLock;

use super::watch::{number, own};
use super::{Errno, Fd, Sys, fd};

/// Masks of which bit N - 1 is signal N, and bit N capability N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// `SigIgn`.
    pub ignored: u64,
    /// `CapEff`.
    pub effective: u64,
}

/// Returns what the kernel says; EBADMSG where it cannot be understood, ENOENT without a procfs.
pub fn status() -> Sys<Status> {
    static STATUS: OnceLock<Sys<Status>> = OnceLock::new();
    *STATUS.get_or_init(read)
}

fn read() -> Sys<Status> {
    let file = fd::open(c"/proc/self/status", libc::O_RDONLY, 0).map(own)?;
    let text = all_of(number(&file))?;
    // The first line is the name of the program, which may be any bytes.
    let first = text.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let text = std::str::from_utf8(text.get(first..).unwrap_or_default()).map_err(|_| Errno::EBADMSG)?;
    let mask = |key: &str| {
        let digits = text.find(key).and_then(|at| text.get(at + key.len()..)?.lines().next());
        digits.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).ok_or(Errno::EBADMSG)
    };
    Ok(Status { ignored: mask("\nSigIgn:")?, effective: mask("\nCapEff:")? })
}

/// Who is in thousands of groups has a long list of them before the lines that are looked for.
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
