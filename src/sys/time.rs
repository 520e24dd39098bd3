//! Clocks.
#![expect(unsafe_code, reason = "system calls")]

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
