//! A tree by its path, in messages only: what could not be done in it, and whose fault that is. It opens nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::error::{Error, Kind};
use crate::sys::file::{Errno, Owner};

/// The path of a tree as a person knows it.
#[derive(Debug)]
pub(super) struct Shown(pub(super) PathBuf);

impl Shown {
    /// Returns the error of a step on `full`; whose fault it is follows from `errno`.
    pub(super) fn failed(&self, what: &str, full: &[u8], errno: Errno) -> Error {
        let error = unwritten(format!("cannot {what} `{}`", self.path(full)), &errno.into());
        match errno {
            Errno::ELOOP | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ENOENT | Errno::EISDIR | Errno::EEXIST => {
                error.with_kind(Kind::Image)
            }
            _ => error,
        }
    }

    /// Returns the error of a change of owner.
    pub(super) fn not_given(&self, full: &[u8], owner: Owner, errno: Errno) -> Error {
        let error = self.failed("change the owner of", full, errno);
        match errno {
            Errno::EINVAL => error.with_hint(format!(
                "the user namespace that sbx runs in has no {}:{}: run sbx outside of it",
                owner.uid, owner.gid
            )),
            _ => error,
        }
    }

    pub(super) fn path(&self, full: &[u8]) -> String {
        const ENOUGH: usize = 300;
        let end = if full.len() > ENOUGH { "…" } else { "" };
        let start = OsStr::from_bytes(&full[..full.len().min(ENOUGH)]);
        format!("{}{end}", self.0.join(start).display())
    }
}

/// Returns the error of a step that writes.
pub(super) fn unwritten(what: String, error: &std::io::Error) -> Error {
    let failed = Error::io(what, error);
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            failed.with_hint("free some space, or set SBX_STORE to a directory that has more")
        }
        _ => failed,
    }
}
