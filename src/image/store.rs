//! Where extracted archives are kept. A tree appears in it whole or not at all; what a
//! killed extraction leaves behind has a lock that tells that its owner is dead.
//!
//! ```text
//! tar/<sha256>.<flavour>/rootfs    the tree; this name exists only when the tree is whole
//! tar/<sha256>.<flavour>/skipped   what of the archive is not in it
//! tmp/<name>, tmp/<name>.lock      an extraction; the lock is held while it runs
//! seen/<device>-<inode>[.lock]     the digest of a file that was read, see `remember`
//! ```
//! The tree is written back with syncfs(2) before it is renamed, so that the name is worth
//! something after a power cut too.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::image::tree::Ownership;
use crate::image::{Bounds, Leftover, Skipped, remove};
use crate::sys::file::{self, Errno, effective_uid};
use crate::sys::watch::asked_to_end;

/// A store. Nothing is read or made before it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    bounds: Bounds,
}

/// A tree that is whole.
pub(super) struct Kept {
    pub(super) root: PathBuf,
    pub(super) skipped: Skipped,
}

/// A directory for one extraction, removed unless it is kept.
pub(super) struct Temporary {
    tmp: PathBuf,
    name: OsString,
    _lock: File,
}

impl Store {
    /// Returns the store at `root`, with the default bounds.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), bounds: Bounds::default() }
    }

    /// Returns the caller's store: `SBX_STORE`, else `/var/lib/sbx` for root, else `sbx` in
    /// `XDG_DATA_HOME`, which is `~/.local/share` by default (XDG Base Directory 0.8).
    /// `variable` looks up the environment.
    ///
    /// # Errors
    /// No home, or an `SBX_STORE` that is not absolute.
    pub fn of_caller(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set("SBX_STORE") {
            return match path.is_absolute() {
                true => Ok(Self::new(path)),
                false => Err(Error::new(Kind::Host, format!("SBX_STORE is not absolute: `{}`", path.display()))
                    .with_hint("set it to a path that begins with `/`")),
            };
        }
        if effective_uid() == 0 {
            return Ok(Self::new("/var/lib/sbx"));
        }
        let data = set("XDG_DATA_HOME").filter(|path| path.is_absolute());
        let data = data.or_else(|| Some(set("HOME").filter(|path| path.is_absolute())?.join(".local/share")));
        data.map(|data| Self::new(data.join("sbx"))).ok_or_else(|| {
            Error::new(Kind::Host, "there is no place to keep archives and volumes: HOME is not set")
                .with_hint("set HOME, or SBX_STORE to a directory of yours")
        })
    }

    /// Changes what an archive may unpack to.
    #[must_use]
    pub fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

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
        Ok(names.into_iter().filter_map(|name| collect_one(&tmp, &name)).collect())
    }

    /// Makes a file in the store that has no name and is gone when it is closed.
    ///
    /// # Errors
    /// A store that cannot be written to, or whose file system has no such files.
    pub fn unnamed(&self) -> Result<File> {
        self.prepare()?;
        let tmp = self.root.join("tmp");
        file::create_unnamed(&tmp).map(File::from).map_err(|errno| {
            let error = failed("create a file in", &tmp, &errno.into());
            match errno {
                Errno::EOPNOTSUPP => error.with_hint("set SBX_STORE to a directory on a local file system"),
                _ => error,
            }
        })
    }

    /// Makes the directories of the store where they are missing.
    pub(super) fn prepare(&self) -> Result<()> {
        if let Some(above) = self.root.parent() {
            std::fs::create_dir_all(above).map_err(|error| failed("create", above, &error))?;
        }
        for path in [self.root.clone(), self.root.join("tar"), self.root.join("tmp"), self.root.join("seen")] {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(failed("create", &path, &error).with_hint("set SBX_STORE to a directory of yours"));
                }
                _ => {}
            }
        }
        self.check()
    }

    /// Refuses a store that another user could write to: what lies in it is run.
    pub(super) fn check(&self) -> Result<()> {
        let found = std::fs::metadata(&self.root).map_err(|error| failed("look at", &self.root, &error))?;
        if found.uid() == effective_uid() && found.mode() & 0o022 == 0 {
            return Ok(());
        }
        Err(Error::new(Kind::Host, format!("the store `{}` can be written by others", self.root.display()))
            .with_hint(format!("chown it to you and `chmod 0700 {}`", self.root.display())))
    }

    /// Returns the tree of `digest` if it is there.
    pub(super) fn find(&self, digest: &str, ownership: Ownership) -> Result<Option<Kept>> {
        let path = self.place_of(digest, ownership);
        let list = path.join("skipped");
        let text = match std::fs::read_to_string(&list) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed("read", &list, &error))?,
        };
        self.check()?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(devices)), Some(Ok(set_id)), Some(Ok(attributes)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(Error::new(Kind::Host, format!("`{}` is damaged", list.display()))
                .with_hint(format!("remove `{}`", path.display())));
        };
        Ok(Some(Kept { root: path.join("rootfs"), skipped: Skipped { devices, set_id, attributes } }))
    }

    /// Waits for whoever else reads the same file, or until sbx is asked to end: signals are blocked, so they
    /// do not end the waiting by themselves.
    pub(super) fn lock(&self, file: &str) -> Result<File> {
        const PAUSE: Duration = Duration::from_millis(20);
        let path = self.root.join("seen").join(format!("{file}.lock"));
        let lock = open_lock(&path)?;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if asked_to_end().is_none() => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let message = format!("the waiting for the lock `{}` was canceled", path.display());
                    return Err(Error::new(Kind::Io, message));
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path, &error)),
            }
        }
    }

    /// Returns the path of the note on a file.
    pub(super) fn note(&self, file: &str) -> PathBuf {
        self.root.join("seen").join(file)
    }

    /// Makes a directory to extract into, with an empty `rootfs` in it.
    pub(super) fn temporary(&self) -> Result<Temporary> {
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
            let temporary = Temporary { tmp: tmp.clone(), name: name.into(), _lock: lock };
            for path in [temporary.path(), temporary.rootfs()] {
                DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed("create", &path, &error))?;
            }
            return Ok(temporary);
        }
    }

    /// Gives the extracted tree its name. Another run may have been faster: then that one stays.
    pub(super) fn keep(
        &self,
        temporary: Temporary,
        (digest, ownership): (&str, Ownership),
        skipped: &Skipped,
    ) -> Result<()> {
        let list = temporary.path().join("skipped");
        let text = format!("{} {} {}\n", skipped.devices, skipped.set_id, skipped.attributes);
        let written = std::fs::write(&list, text).and_then(|()| File::open(&list)?.sync_all());
        written.map_err(|error| failed("write", &list, &error))?;
        let place = self.place_of(digest, ownership);
        match std::fs::rename(temporary.path(), &place) {
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            other => other.map_err(|error| failed("rename to", &place, &error))?,
        }
        let above = self.root.join("tar");
        File::open(&above).and_then(|above| above.sync_all()).map_err(|error| failed("write back", &above, &error))?;
        temporary.discard()
    }

    fn place_of(&self, digest: &str, ownership: Ownership) -> PathBuf {
        let flavour = match ownership {
            Ownership::Archive => "owned",
            Ownership::Caller => "squashed",
        };
        self.root.join("tar").join(format!("{digest}.{flavour}"))
    }
}

impl Temporary {
    pub(super) fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    /// Removes what is left of the extraction, then its lock.
    pub(super) fn discard(self) -> Result<()> {
        remove::remove(&self.tmp, &self.name)?;
        remove_lock(&self.tmp, &self.name)
    }

    fn path(&self) -> PathBuf {
        self.tmp.join(&self.name)
    }
}

/// Returns `None` for an extraction that is running.
fn collect_one(tmp: &Path, name: &OsStr) -> Option<Leftover> {
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
            remove::remove(tmp, name)?;
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

/// Returns whether the locked file still has its name, or was removed by who held it before.
fn is_live(lock: &File, path: &Path) -> Result<bool> {
    lock.metadata().map(|found| found.nlink() > 0).map_err(|error| failed("look at", path, &error))
}

fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| failed("open", path, &error))
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

/// Returns the error of a step on a file of the store.
pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} `{}`", path.display()), error)
}
