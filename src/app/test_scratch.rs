//! The directory of one `sbx test`, for what goes into sandboxes and comes out of them. It is locked for as long as
//! that call or one of its workers lives; what a killed one left is removed by the next, and never what is another
//! user's.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::remove;
use crate::run::group_name;
use crate::sys::process::{self, Pid};
use crate::sys::{Errno, file};

/// How often another directory is made where somebody took the last one away before it was locked.
const ATTEMPTS: u32 = 16;

/// A directory of this call only, removed at its end.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// None where the file system has no locks: then nobody can take the directory for a leftover either.
    _lock: Option<File>,
}

impl Scratch {
    /// Makes one in the directory for such things, and removes what killed calls left there.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn make() -> Result<Self> {
        let place = place().map_err(|source| Error::io("cannot look up the working directory", &source))?;
        // A process with the number in the name is most likely that call, which may not have locked it yet.
        collect(&place, |pid| process::kill(pid, 0) == Err(Errno::ESRCH));
        for _ in 0..ATTEMPTS {
            if let Some(scratch) = Self::attempt(&place)? {
                return Ok(scratch);
            }
        }
        Err(Error::new(Kind::Host, format!("cannot keep a directory in `{}`: others remove it", place.display()))
            .with_hint("name another place with `TMPDIR`"))
    }

    fn attempt(place: &Path) -> Result<Option<Self>> {
        let name = group_name::new()
            .map_err(|errno| Error::new(Kind::Host, "cannot get a random number").with_errno(errno as i32))?;
        let path = place.join(name);
        DirBuilder::new().mode(0o700).create(&path).map_err(|source| {
            Error::io(format_args!("cannot make the directory `{}`", path.display()), &source)
                .with_hint("name another place with `TMPDIR`")
        })?;
        Ok(match lock(&path) {
            // Until now it looked like a leftover.
            Ok(lock) => file::is_named(&lock, &path).unwrap_or(false).then_some(Self { path, _lock: Some(lock) }),
            Err(source) if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::WouldBlock) => None,
            Err(_) => Some(Self { path, _lock: None }),
        })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is in a directory for what nobody needs.
        if let (Some(place), Some(name)) = (self.path.parent(), self.path.file_name()) {
            remove::remove(place, name).ok();
        }
    }
}

/// Removes what killed calls of this user left; returns each path, and why it is still there, if it is.
#[must_use]
pub fn collect_all() -> Vec<(PathBuf, Result<()>)> {
    place().map(|place| collect(&place, |_| true)).unwrap_or_default()
}

/// A relative one would be relative to the spec, where a spec names it.
fn place() -> std::io::Result<PathBuf> {
    std::path::absolute(std::env::temp_dir())
}

/// Removes the directories in `place` that nobody holds and whose maker `is_left` takes for dead.
fn collect(place: &Path, is_left: impl Fn(Pid) -> bool) -> Vec<(PathBuf, Result<()>)> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let named = entries.filter(|entry| group_name::process(&entry.file_name()).is_some_and(&is_left));
    named
        .filter_map(|entry| {
            let path = entry.path();
            let lock = lock(&path).ok()?;
            // Anybody may give a directory such a name where everybody may make one.
            let own = lock.metadata().is_ok_and(|found| found.uid() == file::effective_uid());
            let removed = own.then(|| remove::remove(place, &entry.file_name()))?;
            Some((path, removed))
        })
        .collect()
}

fn lock(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
        Err(TryLockError::Error(source)) => Err(source),
    }
}
