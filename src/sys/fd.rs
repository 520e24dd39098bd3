//! Descriptors: make, read, write, duplicate, close.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CStr;
use std::mem::MaybeUninit;

use super::{Errno, Fd, Sys, check, check_fd};

/// Returns the two ends of a new stream, both close-on-exec: what is written into one is read from the other.
pub fn connection() -> Sys<(Fd, Fd)> {
    let mut ends = [0i32; 2];
    // SAFETY: socketpair(2) writes two ints, which is what `ends` holds.
    let returned =
        unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) };
    check(returned.into()).map(|_| (Fd(ends[0]), Fd(ends[1])))
}

/// Returns the read and the write end of a new pipe, both close-on-exec.
pub fn pipe() -> Sys<(Fd, Fd)> {
    let mut ends = [0i32; 2];
    // SAFETY: pipe2(2) writes two ints, which is what `ends` holds.
    let returned = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    check(returned.into()).map(|_| (Fd(ends[0]), Fd(ends[1])))
}

/// Reads at most `buffer.len()` bytes; 0 is the end of the file.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Sys<usize> {
    // SAFETY: read(2) writes at most `buffer.len()` bytes into `buffer`, which is exclusively borrowed.
    let returned = unsafe { libc::syscall(libc::SYS_read, fd.0, buffer.as_mut_ptr(), buffer.len()) };
    check(returned).map(|count| usize::try_from(count).unwrap_or(0))
}

/// The same into memory that need not hold anything yet; returns what was read.
pub fn read_fresh(fd: Fd, buffer: &mut [MaybeUninit<u8>]) -> Sys<&mut [u8]> {
    // SAFETY: read(2) writes at most `buffer.len()` bytes into `buffer`, which is exclusively borrowed.
    let returned = unsafe { libc::syscall(libc::SYS_read, fd.0, buffer.as_mut_ptr(), buffer.len()) };
    let count = check(returned).map(|count| usize::try_from(count).unwrap_or(0))?;
    let read = buffer.get_mut(..count).ok_or(Errno::EIO)?;
    // SAFETY: the kernel has written these bytes.
    Ok(unsafe { read.assume_init_mut() })
}

/// Reads at most `buffer.len()` bytes from `offset` on; 0 is the end of the file (pread(2)).
pub fn read_at(fd: Fd, buffer: &mut [u8], offset: u64) -> Sys<usize> {
    // SAFETY: pread(2) writes at most `buffer.len()` bytes into `buffer`, which is exclusively borrowed.
    let returned = unsafe { libc::syscall(libc::SYS_pread64, fd.0, buffer.as_mut_ptr(), buffer.len(), offset) };
    check(returned).map(|count| usize::try_from(count).unwrap_or(0))
}

/// Writes `bytes`, or the first part of them; returns how many.
pub fn write(fd: Fd, bytes: &[u8]) -> Sys<usize> {
    // SAFETY: write(2) reads `bytes.len()` bytes from `bytes`, which is borrowed for the call.
    let returned = unsafe { libc::syscall(libc::SYS_write, fd.0, bytes.as_ptr(), bytes.len()) };
    check(returned).map(|count| usize::try_from(count).unwrap_or(0))
}

/// Moves up to `count` bytes from a pipe to `target` without copying; 0 is the end.
pub fn splice(source: Fd, target: Fd, count: usize) -> Sys<usize> {
    let none = std::ptr::null_mut::<libc::loff_t>();
    // SAFETY: both offsets are null, so splice(2) touches no memory of ours.
    let returned = unsafe { libc::splice(source.0, none, target.0, none, count, libc::SPLICE_F_MOVE) };
    check(returned.try_into().unwrap_or(-1)).map(|count| usize::try_from(count).unwrap_or(0))
}

/// Returns a new empty file that is in memory only; close-on-exec. Read-write, at its beginning.
pub fn memory_file(name: &CStr) -> Sys<Fd> {
    // SAFETY: memfd_create(2) reads a NUL-terminated name.
    let returned = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    check(returned.into()).map(|_| Fd(returned))
}

/// Opens `path` relative to `directory` with `flags` of open(2); close-on-exec.
pub fn open_at(directory: Fd, path: &CStr, flags: i32, mode: u32) -> Sys<Fd> {
    let flags = flags | libc::O_CLOEXEC;
    // SAFETY: `path` is NUL-terminated; openat(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_openat, directory.0, path.as_ptr(), flags, mode) };
    check_fd(returned)
}

/// Opens `path` from the working directory with `flags` of open(2); close-on-exec.
pub fn open(path: &CStr, flags: i32, mode: u32) -> Sys<Fd> {
    open_at(Fd(libc::AT_FDCWD), path, flags, mode)
}

/// Has reads of `fd`, which is open for reading only, wait again (O_NONBLOCK of fcntl(2)).
pub fn set_blocking(fd: Fd) -> Sys<()> {
    // SAFETY: fcntl(2) with F_SETFL takes integers only.
    check(unsafe { libc::syscall(libc::SYS_fcntl, fd.0, libc::F_SETFL, 0) }).map(drop)
}

/// Closes `fd`.
pub fn close(fd: Fd) -> Sys<()> {
    // SAFETY: close(2) touches no memory; the number is no longer used by the caller.
    let returned = unsafe { libc::syscall(libc::SYS_close, fd.0) };
    check(returned).map(drop)
}

/// Closes every descriptor from `first` to `last`, both inclusive (Linux 5.9).
pub fn close_range(first: u32, last: u32) -> Sys<()> {
    // SAFETY: close_range(2) touches no memory; nothing in that range is used afterwards.
    let returned = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0u32) };
    check(returned).map(drop)
}

/// Makes `target` a copy of `source` that survives execve(2). The two differ.
pub fn duplicate(source: Fd, target: Fd) -> Sys<()> {
    // SAFETY: dup3(2) touches no memory.
    let returned = unsafe { libc::syscall(libc::SYS_dup3, source.0, target.0, 0) };
    check(returned).map(drop)
}

/// Returns how many bytes of a pipe have not been read (FIONREAD of pipe(7)).
pub fn waiting(fd: Fd) -> Sys<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which is live.
    let returned = unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::FIONREAD, &raw mut count) };
    check(returned).map(|_| u64::try_from(count).unwrap_or(0))
}

/// Returns whether the other end of a connection is gone (POLLHUP of poll(2)).
pub fn peer_gone(fd: Fd) -> Sys<bool> {
    let mut entry = libc::pollfd { fd: fd.0, events: 0, revents: 0 };
    let timeout = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    loop {
        // SAFETY: ppoll(2) reads and writes one pollfd and reads one timespec, both live; a null mask is allowed.
        let returned = unsafe { libc::syscall(libc::SYS_ppoll, &raw mut entry, 1, &raw const timeout, 0, 0) };
        match check(returned) {
            Err(Errno::EINTR) => {}
            other => return other.map(|_| entry.revents & libc::POLLHUP != 0),
        }
    }
}

/// Takes the close-on-exec flag off `fd`.
pub fn keep_on_exec(fd: Fd) -> Sys<()> {
    // SAFETY: fcntl(2) with F_SETFD takes integers only.
    check(unsafe { libc::syscall(libc::SYS_fcntl, fd.0, libc::F_SETFD, 0) }).map(drop)
}
