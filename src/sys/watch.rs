//! Waiting for several things at once: signals, processes, pipes, counters.
#![expect(unsafe_code, reason = "system calls")]

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use super::{Errno, Fd, Sys, check, check_fd};

/// What happened to a watched descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub fd: Fd,
    /// POLLIN or POLLOUT of poll(2).
    pub wanted: i16,
    /// What came, with POLLERR, POLLHUP and POLLNVAL; 0 is nothing.
    pub seen: i16,
}

impl Entry {
    /// Watches for something to read.
    #[must_use]
    pub fn readable(fd: Fd) -> Self {
        Self { fd, wanted: libc::POLLIN, seen: 0 }
    }

    /// Watches for room to write.
    #[must_use]
    pub fn writable(fd: Fd) -> Self {
        Self { fd, wanted: libc::POLLOUT, seen: 0 }
    }
}

/// Sleeps until something happened to one of at most eight `entries`, or `timeout` nanoseconds have passed.
pub fn poll(entries: &mut [Entry], timeout: Option<u64>) -> Sys<()> {
    let mut raw = [libc::pollfd { fd: -1, events: 0, revents: 0 }; 8];
    if entries.len() > raw.len() {
        return Err(Errno::EINVAL);
    }
    poll_into(entries, &mut raw, timeout)
}

/// The same for any number of `entries`; it allocates.
pub fn poll_any(entries: &mut [Entry], timeout: Option<u64>) -> Sys<()> {
    let mut raw = vec![libc::pollfd { fd: -1, events: 0, revents: 0 }; entries.len()];
    poll_into(entries, &mut raw, timeout)
}

/// `raw` has room for all `entries`.
fn poll_into(entries: &mut [Entry], raw: &mut [libc::pollfd], timeout: Option<u64>) -> Sys<()> {
    for (raw, entry) in raw.iter_mut().zip(entries.iter()) {
        *raw = libc::pollfd { fd: entry.fd.0, events: entry.wanted, revents: 0 };
    }
    let timeout = timeout.map(|nanoseconds| libc::timespec {
        tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
    });
    let pointer = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let (count, first) = (entries.len().min(raw.len()), raw.as_mut_ptr());
    // SAFETY: `first` points to at least `count` live pollfd; the timeout is null or a live timespec; a null
    // mask is allowed.
    let returned = unsafe { libc::syscall(libc::SYS_ppoll, first, count, pointer, 0, 0) };
    check(returned)?;
    for (entry, raw) in entries.iter_mut().zip(raw.iter()) {
        entry.seen = raw.revents;
    }
    Ok(())
}

/// Returns a descriptor from which every blocked signal but SIGCHLD can be read (signalfd(2)); non-blocking.
/// A child's end is seen through its pidfd.
pub fn signals() -> Sys<Fd> {
    let all = !(1u64 << (libc::SIGCHLD - 1));
    let size = size_of::<u64>();
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the mask is one live 64-bit word.
    check_fd(unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const all, size, flags) })
}

/// Takes the next signal from [`signals`]; EAGAIN if there is none.
pub fn take_signal(signals: Fd) -> Sys<i32> {
    let mut bytes = [0u8; size_of::<libc::signalfd_siginfo>()];
    super::fd::read(signals, &mut bytes)?;
    let mut number = [0u8; 4];
    number.copy_from_slice(&bytes[..4]);
    Ok(i32::from_ne_bytes(number))
}

/// Returns the blocked signal that asks sbx to end and has come, without taking it: SIGINT, SIGTERM, SIGHUP or
/// SIGQUIT. One that the caller had ignored does not count (nohup(1)).
#[must_use]
pub fn asked_to_end() -> Option<i32> {
    let mut pending = 0u64;
    // SAFETY: rt_sigpending(2) writes one 64-bit word, as the size says.
    let returned = unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, size_of::<u64>()) };
    check(returned).ok()?;
    let came = |signal: &i32| pending & (1 << (signal - 1)) != 0;
    [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT]
        .into_iter()
        .find(|signal| came(signal) && heeded(*signal))
}

fn heeded(signal: i32) -> bool {
    // SAFETY: `sigaction` is plain integers and pointers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action sigaction(2) only writes the old one, into a live struct.
    let returned = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    returned != 0 || action.sa_sigaction != libc::SIG_IGN
}

/// Returns a counter that the kernel can raise (eventfd(2)); non-blocking.
pub fn counter() -> Sys<Fd> {
    // SAFETY: eventfd2(2) takes integers only.
    check_fd(unsafe { libc::syscall(libc::SYS_eventfd2, 0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
}

/// Takes or tries an exclusive lock on an open file or directory (flock(2)); EWOULDBLOCK if another has it.
pub fn try_lock(file: Fd) -> Sys<()> {
    // SAFETY: flock(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_flock, file.0, libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// Returns `fd` as something that closes itself.
#[must_use]
pub fn own(fd: Fd) -> OwnedFd {
    // SAFETY: every `Fd` that reaches this function was opened by sbx and has no other owner.
    unsafe { OwnedFd::from_raw_fd(fd.0) }
}

/// Returns the number of an owned descriptor.
#[must_use]
pub fn number(owned: &OwnedFd) -> Fd {
    Fd(owned.as_raw_fd())
}

/// Returns a copy of an inherited descriptor, close-on-exec; EBADF if it is not open.
pub fn copy(fd: Fd) -> Sys<OwnedFd> {
    // SAFETY: fcntl(2) with F_DUPFD_CLOEXEC takes integers only.
    check_fd(unsafe { libc::syscall(libc::SYS_fcntl, fd.0, libc::F_DUPFD_CLOEXEC, 3) }).map(own)
}

/// Closes many descriptors, with one call for each unbroken run of numbers.
pub fn close_all(owned: impl Iterator<Item = OwnedFd>) {
    let mut numbers: Vec<u32> = owned.filter_map(|fd| u32::try_from(fd.into_raw_fd()).ok()).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|left, right| left + 1 == *right) {
        if let (Some(first), Some(last)) = (run.first(), run.last()) {
            // Only a kernel without the call answers an error, and this one made mounts with newer ones.
            super::fd::close_range(*first, *last).ok();
        }
    }
}
