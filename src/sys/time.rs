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

/// The same by the vDSO, for who asks again and again: no system call then.
#[must_use]
pub fn monotonic_often() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec).wrapping_mul(1_000_000_000).wrapping_add(part(now.tv_nsec))
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

#[cfg(test)]
mod tests {
    #[test]
    fn both_ways_are_one_clock() {
        let times = [super::monotonic(), super::monotonic_often(), super::monotonic(), super::monotonic_often()];
        assert!(times.is_sorted() && times[0] > 0, "{times:?}");
        assert!(times[3] - times[0] < 10_000_000_000, "{times:?}");
    }
}
