//! A new file that still lacks its contents and attributes. Either thread that sees the contents can give it those:
//! the one that places, or the one that hashes them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Result;
use crate::image::shown::{Shown, unwritten};
use crate::sys::file::{self, Owner, Time};

/// How many files may be open while they wait for another thread, in all extractions of the process together. A
/// process may have 1024 files open where nobody said otherwise.
const WAITING: usize = 256;

/// A file that was made just now, and what it is to become.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) file: File,
    /// From the root of the tree, for messages.
    pub(super) full: Vec<u8>,
    pub(super) shown: Arc<Shown>,
    pub(super) mode: u32,
    /// As the archive says, and on disk.
    pub(super) owner: (Owner, Option<Owner>),
    pub(super) time: Time,
    pub(super) size: u64,
    /// Where the next byte goes, and the end of those that were written.
    pub(super) at: u64,
    pub(super) end: u64,
}

/// The right to let one file wait.
#[derive(Debug)]
pub(super) struct Leave(());

static LEAVES: AtomicUsize = AtomicUsize::new(0);

impl Unfinished {
    /// Writes the bytes that come next.
    ///
    /// # Errors
    /// Why they could not be written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.at).map_err(|error| self.unwritten(&error))?;
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.end = self.at;
        Ok(())
    }

    /// Leaves a hole, which nobody writes.
    pub(super) fn skip(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
    }

    /// Gives the file its size and what the archive says of it.
    ///
    /// # Errors
    /// What could not be changed.
    pub(super) fn finish(self) -> Result<()> {
        // A hole at the end is not written by anything; GNU tar marks it with an empty piece.
        if self.end != self.size {
            self.file.set_len(self.size).map_err(|error| self.unwritten(&error))?;
        }
        let failed = |errno| self.shown.failed("change the attributes of", &self.full, errno);
        // Most new files have them already, and asking costs a tenth of changing.
        let now = file::stat(&self.file).map_err(failed)?;
        let (archived, on_disk) = self.owner;
        if let Some(owner) = on_disk.filter(|owner| now.owner != *owner) {
            file::set_owner(&self.file, owner).map_err(|errno| self.shown.not_given(&self.full, archived, errno))?;
        }
        let moded = if now.mode == self.mode { Ok(()) } else { file::set_mode(&self.file, self.mode) };
        moded.and_then(|()| file::set_time(&self.file, self.time)).map_err(failed)
    }

    fn unwritten(&self, error: &std::io::Error) -> crate::error::Error {
        unwritten(format!("cannot write `{}`", self.shown.path(&self.full)), error)
    }
}

impl Leave {
    /// Returns the right if there is one left.
    pub(super) fn get() -> Option<Self> {
        let more = |waiting| (waiting < WAITING).then_some(waiting + 1);
        LEAVES.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(()))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        LEAVES.fetch_sub(1, Ordering::Relaxed);
    }
}
