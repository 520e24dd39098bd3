//! Clocks.
#![expect(unsafe_code, reason = "system calls")]

use std::time::{Duration, SystemTime};

/// Returns CLOCK_MONOTONIC in nanoseconds; child-safe.
#[must_use]
pub fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // The call itself, not the vDSO: that costs three page faults the first time, and nobody asks often.
    // SAFETY: clock_gettime(2) fills one timespec, which is live; this clock always exists.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Returns CLOCK_REALTIME, for stamps.
#[must_use]
pub fn wall() -> SystemTime {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime(2) fills one timespec, which is live; this clock always exists.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now) };
    let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
    SystemTime::UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0))
}
