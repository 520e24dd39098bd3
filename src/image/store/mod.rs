//! Where layers and the roots made of them are kept. A tree appears in it whole or not at all; what a
//! killed extraction leaves behind has a lock that tells that its owner is dead.
//!
//! ```text
//! layers/<diff-id>.<flavour>/rootfs    the tree of one layer; this name exists only when the tree is whole
//! layers/<diff-id>.<flavour>/list      what the layer adds and hides, and digests of all files
//! layers/<diff-id>.<flavour>/skipped   what of the archive is not in the tree, and the boot in which it was made
//! layers/<diff-id>.<flavour>/settled   there once the tree is known to be on the disk
//! roots/<chain-id>.<flavour>/rootfs    several layers as one tree, by more names of their files
//! roots/<chain-id>.<flavour>/layers    the diff ids of those layers
//! images/<digest>.json                 what an image needs, by its manifest
//! blobs/<digest>                       what came from a registry: documents and packed layers
//! names/<digest of a name>.json        which manifest was pulled by that name
//! partial/<digest>[.lock]              the beginning of a blob
//! tmp/<name>, tmp/<name>.lock          an extraction; the lock is held while it runs
//! seen/<device>-<inode>[.lock]         the digests of a file that was read, see `remember`
//! seen/<device>-<inode>[-<choice>].image   the image that was read there, see `obtain`
//! seen/<chain-id>.lock                 held while a root is put together
//! ```
//! A run does not wait for the disk. The note of a tree names the boot in which it was made, and a process of its own
//! writes the tree back, syncfs(2), and then marks it as `settled`. After a power cut, what has neither the mark nor
//! the note of the present boot counts as missing and is imported again.

mod boot;
mod durable;
mod layers;
mod names;
mod records;
mod temporary;

pub(super) use layers::{Kept, Name, numbers};
pub(super) use names::{Named, now};
pub(super) use records::{Place, Record, RecordLayer};
pub(super) use temporary::Temporary;

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::image::{Bounds, Extractor};
use crate::sys::file::effective_uid;
use crate::sys::watch::asked_to_end;

/// The directories of a store, but for `volumes`.
pub(super) const SECTIONS: [&str; 8] = ["layers", "roots", "images", "blobs", "names", "partial", "tmp", "seen"];

/// A store. Nothing is read or made before it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
    bounds: Bounds,
    extractor: Extractor,
}

impl Store {
    /// Returns the store at `root`, with the default bounds.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), bounds: Bounds::default(), extractor: Extractor::Here }
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

    /// Changes who extracts.
    #[must_use]
    pub fn with_extractor(mut self, extractor: Extractor) -> Self {
        self.extractor = extractor;
        self
    }

    /// Returns the directory of the store.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory of the named volumes, which need not exist.
    ///
    /// # Errors
    /// A store that another user could write to: a volume is mounted writable.
    pub fn volumes(&self) -> Result<PathBuf> {
        match std::fs::symlink_metadata(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            _ => self.check()?,
        }
        Ok(self.root.join("volumes"))
    }

    pub(super) fn extractor(&self) -> &Extractor {
        &self.extractor
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Makes the directories of the store where they are missing.
    pub(super) fn prepare(&self) -> Result<()> {
        if let Some(above) = self.root.parent() {
            std::fs::create_dir_all(above).map_err(|error| failed("create", above, &error))?;
        }
        let make = |path: PathBuf| match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(failed("create", &path, &error).with_hint("set SBX_STORE to a directory of yours"))
            }
            _ => Ok(()),
        };
        make(self.root.clone())?;
        // Nothing is made in what is another's.
        self.check()?;
        SECTIONS.into_iter().try_for_each(|name| make(self.root.join(name)))
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

    /// Waits for whoever else reads the same file.
    pub(super) fn lock(&self, file: &str) -> Result<File> {
        locked(&self.root.join("seen").join(format!("{file}.lock")), File::try_lock)
    }

    /// Returns the path of the note on a file.
    pub(super) fn note(&self, file: &str) -> PathBuf {
        self.root.join("seen").join(file)
    }
}

/// Waits for a lock, or until sbx is asked to end: signals are blocked, so they do not end the waiting by themselves.
fn locked(path: &Path, lock: fn(&File) -> std::result::Result<(), TryLockError>) -> Result<File> {
    const PAUSE: Duration = Duration::from_millis(20);
    let file = open_lock(path)?;
    loop {
        match lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if asked_to_end().is_none() => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => {
                let message = format!("the waiting for the lock `{}` was canceled", path.display());
                return Err(Error::new(Kind::Io, message));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, &error)),
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    // To lock a file it need not be written: a store that is mounted read-only can be verified, too.
    let opened = match opened {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => File::open(path),
        other => other,
    };
    opened.map_err(|error| failed("open", path, &error))
}

/// Returns the error of a step on a file of the store.
pub(super) fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} `{}`", path.display()), error)
}
