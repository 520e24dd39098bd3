//! What is in the making: a directory for one extraction, and the removal of those whose owner died.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Result;
use crate::image::store::{Store, failed, open_lock};
use crate::image::{Extractor, Leftover, remove, tend};

/// A directory for one extraction, removed unless it is kept.
pub(in crate::image) struct Temporary {
    tmp: PathBuf,
    name: OsString,
    extractor: Extractor,
    _lock: File,
}

impl Store {
    /// Removes what extractions left that were killed, and returns what was found.
    ///
    /// # Errors
    /// A store that cannot be listed. One that does not exist has no leftovers.
    pub fn collect(&self) -> Result<Vec<Leftover>> {
        let tmp = self.root.join("tmp");
        let listing = match std::fs::read_dir(&tmp) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| failed("list", &tmp, &error))?,
        };
        self.check()?;
        let mut names: Vec<OsString> = Vec::new();
        for entry in listing {
            let name = entry.map_err(|error| failed("list", &tmp, &error))?.file_name();
            let name = Path::new(&name);
            let stem = match name.extension() {
                Some(extension) if extension == "lock" => name.file_stem().unwrap_or(name.as_os_str()),
                _ => name.as_os_str(),
            };
            names.push(stem.to_owned());
        }
        names.sort();
        names.dedup();
        Ok(names.into_iter().filter_map(|name| collect_one((&tmp, &name), self.extractor())).collect())
    }

    /// Makes a directory to extract into, with an empty `rootfs` in it.
    pub(in crate::image) fn temporary(&self) -> Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let tmp = self.root.join("tmp");
        loop {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = tmp.join(format!("{name}.lock"));
            let lock = open_lock(&path)?;
            let taken = match lock.try_lock() {
                Ok(()) => !is_live(&lock, &path)? || tmp.join(&name).exists(),
                Err(TryLockError::WouldBlock) => true,
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
            };
            // A process of an earlier boot had our number, or the collector was faster.
            if taken {
                continue;
            }
            let temporary =
                Temporary { tmp: tmp.clone(), name: name.into(), extractor: self.extractor().clone(), _lock: lock };
            let path = temporary.path();
            DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("create", &path, &error))?;
            return Ok(temporary);
        }
    }
}

impl Temporary {
    /// Makes the directory `name`, with an empty `rootfs` in it, and returns its path.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub(in crate::image) fn make(&self, name: &str) -> Result<PathBuf> {
        let made = self.path().join(name);
        for path in [made.clone(), made.join("rootfs")] {
            DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("create", &path, &error))?;
        }
        Ok(made)
    }

    /// Removes what is left of the extraction, then its lock.
    pub(in crate::image) fn discard(self) -> Result<()> {
        remove_by((&self.tmp, &self.name), &self.extractor)?;
        remove_lock(&self.tmp, &self.name)
    }

    pub(in crate::image) fn path(&self) -> PathBuf {
        self.tmp.join(&self.name)
    }
}

/// Returns `None` for an extraction that is running.
fn collect_one((tmp, name): (&Path, &OsStr), extractor: &Extractor) -> Option<Leftover> {
    let path = tmp.join(name);
    let lock_path = lock_of(tmp, name);
    // It may have come to its end since the names were listed.
    let gone = |path: &Path| std::fs::symlink_metadata(path).is_err();
    if gone(&path) && gone(&lock_path) {
        return None;
    }
    let attempt = || -> Result<bool> {
        let lock = open_lock(&lock_path)?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &lock_path, &error)),
            Ok(()) => {}
        }
        if is_live(&lock, &lock_path)? {
            remove_by((tmp, name), extractor)?;
            remove_lock(tmp, name)?;
        }
        Ok(true)
    };
    match attempt() {
        Ok(false) => None,
        Ok(true) => Some(Leftover { path, error: None }),
        Err(error) => Some(Leftover { path, error: Some(error) }),
    }
}

/// Removes a tree; by a process that has all rights over it, where this one has not.
fn remove_by((tmp, name): (&Path, &OsStr), extractor: &Extractor) -> Result<()> {
    match (remove::remove(tmp, name), extractor) {
        (Err(error), Extractor::Program(program)) if tend::is_denied(&error) => {
            tend::ask(program, &tend::Request::Remove { parent: tmp.to_owned(), name: PathBuf::from(name) })
        }
        (done, _) => done,
    }
}

/// Returns whether the locked file still has its name, or was removed by who held it before.
fn is_live(lock: &File, path: &Path) -> Result<bool> {
    lock.metadata().map(|found| found.nlink() > 0).map_err(|error| failed("look at", path, &error))
}

fn remove_lock(tmp: &Path, name: &OsStr) -> Result<()> {
    let path = lock_of(tmp, name);
    std::fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))
}

fn lock_of(tmp: &Path, name: &OsStr) -> PathBuf {
    let mut name = name.to_owned();
    name.push(".lock");
    tmp.join(name)
}
