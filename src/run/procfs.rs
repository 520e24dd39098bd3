//! Writes to the files of procfs by which a process sets what holds for itself. Child side:
//! the contract of [`crate::sys`] holds here.

use std::ffi::CStr;

use crate::sys::{Sys, fd};

/// Writes `bytes` to the file at `path` in one call, which these files want.
///
/// # Errors
/// The errno of open(2) or write(2).
pub fn write(path: &CStr, bytes: &[u8]) -> Sys<()> {
    let opened = fd::open(path, libc::O_WRONLY, 0)?;
    let written = fd::write(opened, bytes);
    fd::close(opened)?;
    written.map(drop)
}
