//! Numbers that two processes do not share by chance.
#![expect(unsafe_code, reason = "system calls")]

use super::{Sys, check};

/// Returns a random number of 16 bits, as [`number`] does.
pub fn short() -> Sys<u16> {
    number().map(|number| u16::from_ne_bytes([number.to_ne_bytes()[0], number.to_ne_bytes()[1]]))
}

/// Returns a random number, getrandom(2). With `GRND_INSECURE` (Linux 5.6) it never waits for a machine
/// that has just booted: what it is used for need not be a secret.
pub fn number() -> Sys<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: getrandom(2) writes at most `bytes.len()` bytes into `bytes`, which is live.
    let returned = unsafe { libc::syscall(libc::SYS_getrandom, bytes.as_mut_ptr(), bytes.len(), libc::GRND_INSECURE) };
    check(returned).map(|_| u64::from_ne_bytes(bytes))
}
