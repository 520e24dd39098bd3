//! The kernel: the only unsafe code, one system call a function. No policy, no
//! words for users, no allocation.
//!
//! # The contract between clone and exec
//! A child made by [`process::clone3`] or [`process::spawn`] runs with a copy of (or in)
//! the memory of a process that other code believes to be its own. Until it execs it
//! may only call functions of this module: it never allocates, frees, formats, takes a
//! lock, panics or runs a destructor. Every function here keeps to that: paths are
//! `&CStr`, descriptors are plain [`Fd`] numbers, errors are plain [`Errno`] numbers.
//! A debug build ends the child with [`alloc::EXIT_ALLOCATED`] if it allocates.

pub mod alloc;
pub mod attempt;
pub mod entry;
pub mod fd;
pub mod file;
pub mod landlock;
pub mod memory;
pub mod mount;
pub mod net;
pub mod pages;
pub mod path;
pub mod poller;
pub mod probe;
pub mod process;
pub mod random;
pub mod rights;
pub mod seccomp;
pub mod security;
pub mod socket;
pub mod start;
pub mod status;
pub mod terminal;
pub mod thread;
pub mod time;
pub mod watch;

pub use nix::errno::Errno;

/// The number of an open descriptor. Copying it duplicates nothing; dropping it closes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fd(pub i32);

/// A result of the kernel.
pub type Sys<T> = Result<T, Errno>;

/// Returns what a system call returned, or the errno that it left.
fn check(returned: libc::c_long) -> Sys<libc::c_long> {
    if returned < 0 { Err(Errno::last()) } else { Ok(returned) }
}

/// Returns a descriptor that a system call returned, or the errno that it left.
fn check_fd(returned: libc::c_long) -> Sys<Fd> {
    let number = check(returned)?;
    i32::try_from(number).map(Fd).map_err(|_| Errno::EBADF)
}
