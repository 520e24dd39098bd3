//! The trees that are whole: one of each layer, and the roots that were put together of several. Whoever mounts
//! one holds a shared lock on it, so that none is removed below a running sandbox.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::store::{Store, boot, failed};
use crate::image::tree::Ownership;
use crate::image::{InUse, Skipped, seal};
use crate::sys::file;

/// The time of the last use is written down this often.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a tree is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Name<'a> {
    /// The digest of the layer's tar, its "diff id".
    Layer(&'a Digest),
    /// The "chain id" of several layers, config.md of the OCI image specification.
    Root(&'a Digest),
}

impl<'a> Name<'a> {
    fn parts(self) -> (&'static str, &'a Digest) {
        match self {
            Self::Layer(digest) => ("layers", digest),
            Self::Root(digest) => ("roots", digest),
        }
    }
}

/// A tree that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Kept {
    pub(in crate::image) root: PathBuf,
    pub(in crate::image) skipped: Skipped,
    /// Hard links to files of layers below.
    pub(in crate::image) below: u64,
    pub(in crate::image) in_use: InUse,
}

impl Kept {
    /// Returns the path of the list of the layer.
    pub(in crate::image) fn list(&self) -> PathBuf {
        self.root.with_file_name("list")
    }
}

impl Store {
    /// Returns the tree of `name` if it is there, and holds it as long as what is returned lives. One whose note is
    /// damaged is as good as none: [`Store::keep`] takes it away.
    ///
    /// # Errors
    /// One that cannot be read, or a store that others can write to.
    pub(in crate::image) fn find(&self, name: Name<'_>, ownership: Ownership) -> Result<Option<Kept>> {
        let path = self.place_of(name, ownership);
        let note = path.join("skipped");
        let mut file = match File::open(&note) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed("open", &note, &error))?,
        };
        self.check()?;
        // Whoever takes the tree away locks it, empties the note and is soon done.
        file.lock_shared().map_err(|error| failed("lock", &note, &error))?;
        let read = file.metadata().and_then(|found| {
            let mut bytes = vec![0; usize::try_from(found.len().min(4096)).unwrap_or_default()];
            file.read_exact(&mut bytes)?;
            Ok((bytes, found.modified()?))
        });
        let (bytes, used) = read.map_err(|error| failed("read", &note, &error))?;
        let Some((skipped, below)) = numbers(&bytes) else { return Ok(None) };
        if !boot_of(&bytes).is_some_and(|made| boot::holds(&path, made)) {
            return Ok(None);
        }
        let now = SystemTime::now();
        if now.duration_since(used).is_ok_and(|age| age > DAY) {
            // Only `sbx image prune --older-than` asks for it.
            file.set_modified(now).ok();
        }
        let in_use = InUse { _lock: Some(Arc::new(file.into())) };
        Ok(Some(Kept { root: path.join("rootfs"), skipped, below, in_use }))
    }

    /// Gives the directory `made`, in which the tree is `rootfs`, its name. The caller has
    /// [`Store::settle_later`] called when all are kept. Another run may have been faster: then that one stays.
    ///
    /// # Errors
    /// A file that cannot be written or renamed.
    pub(in crate::image) fn keep(
        &self,
        made: &Path,
        (name, ownership): (Name<'_>, Ownership),
        (skipped, below): (&Skipped, u64),
    ) -> Result<()> {
        plain(made)?;
        let note = made.join("skipped");
        let Skipped { devices, set_id, attributes } = skipped;
        let made_in = boot::boot();
        let text = seal::seal(&format!("{devices} {set_id} {attributes} {below} {made_in}\n"));
        let written = File::create_new(&note).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| failed("write", &note, &error))?;
        let place = self.place_of(name, ownership);
        while let Err(error) = std::fs::rename(made, &place) {
            if !matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) {
                return Err(failed("rename to", &place, &error));
            }
            if self.find(name, ownership)?.is_some() {
                break;
            }
            self.set_aside(&place)?;
        }
        // Where boots cannot be told apart, nothing counts that is not on the disk.
        if made_in == boot::UNKNOWN { self.settle() } else { Ok(()) }
    }

    /// Takes a tree away, unless a sandbox runs in it. One that another put there meanwhile stays.
    ///
    /// # Errors
    /// A tree that is in use, or cannot be removed.
    pub(in crate::image) fn set_aside(&self, place: &Path) -> Result<()> {
        let note = place.join("skipped");
        let lock = match File::options().write(true).open(&note) {
            Ok(file) => {
                lock_alone(&file, place)?;
                if !file::is_named(&file, &note).map_err(|errno| failed("look at", &note, &errno.into()))? {
                    return Ok(());
                }
                // Whoever has opened it and waits for the lock, which is held until the tree has lost its name, finds
                // nothing.
                file.set_len(0).map_err(|error| failed("write", &note, &error))?;
                Some(file)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed("open", &note, &error)),
        };
        let temporary = self.temporary()?;
        let aside = temporary.path().join("aside");
        match std::fs::rename(place, &aside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("rename", place, &error)),
            _ => {}
        }
        drop(lock);
        temporary.discard()
    }

    /// Returns where the tree of `name` lies, if it does.
    pub(in crate::image) fn place_of(&self, name: Name<'_>, ownership: Ownership) -> PathBuf {
        let (section, digest) = name.parts();
        self.root.join(section).join(format!("{}.{}", digest.hex(), ownership.flavour()))
    }

    /// Returns in which flavours there is a tree of `name`.
    ///
    /// # Errors
    /// A store that cannot be listed.
    pub(in crate::image) fn flavours(&self, name: Name<'_>) -> Result<Vec<Ownership>> {
        let (section, digest) = name.parts();
        let of_digest = |name: &String| {
            let (own, flavour) = name.split_once('.')?;
            Ownership::of_flavour(flavour).filter(|_| own == digest.hex())
        };
        Ok(self.list(section)?.iter().filter_map(of_digest).collect())
    }

    /// Returns whether files in it belong to subordinate ids of its owner.
    ///
    /// # Errors
    /// A store that cannot be listed.
    pub fn has_ranges(&self) -> Result<bool> {
        Ok(self.list("layers")?.iter().any(|name| name.contains(".range-")))
    }
}

/// Refuses a directory in which there is anything but what was asked for: the worker that made it has read what a
/// stranger packed, and sbx follows these names outside of any sandbox.
fn plain(made: &Path) -> Result<()> {
    let unread = |error: std::io::Error| failed("list", made, &error);
    for entry in std::fs::read_dir(made).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let found = entry.metadata().map_err(unread)?;
        let is_plain = match entry.file_name().to_str() {
            Some("rootfs") => found.is_dir(),
            Some("list" | "layers") => found.is_file() && found.nlink() == 1,
            _ => false,
        };
        if !is_plain {
            let message = format!("the extraction left `{}`, which nobody asked it for", entry.path().display());
            return Err(Error::new(Kind::Image, message).with_hint("do not trust where this image comes from"));
        }
    }
    Ok(())
}

/// Locks the note of the tree at `place` against everybody. Who takes it away at the same time is soon done, so that
/// is waited for; a sandbox is not.
fn lock_alone(note: &File, place: &Path) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(10);
    let mut left = 20;
    loop {
        match note.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if left > 0 => {
                left -= 1;
                std::thread::sleep(PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Host, format!("`{}` is in use by a running sbx", place.display()))
                    .with_hint("wait for its end"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", place, &error)),
        }
    }
}

/// Reads the note of a tree.
pub(in crate::image) fn numbers(bytes: &[u8]) -> Option<(Skipped, u64)> {
    let text = seal::unseal(std::str::from_utf8(bytes).ok()?)?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    let (devices, set_id, attributes, below) = (next()?, next()?, next()?, next()?);
    Some((Skipped { devices, set_id, attributes }, below))
}

/// Returns the boot in which the tree of a note was made.
pub(super) fn boot_of(bytes: &[u8]) -> Option<&str> {
    seal::unseal(std::str::from_utf8(bytes).ok()?)?.split_whitespace().nth(4)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::plain;

    fn fault(make: impl FnOnce(&Path)) -> bool {
        let made = tempfile::tempdir().unwrap();
        std::fs::create_dir(made.path().join("rootfs")).unwrap();
        std::fs::write(made.path().join("list"), "").unwrap();
        make(made.path());
        plain(made.path()).is_err()
    }

    #[test]
    fn names_that_sbx_follows_are_what_they_were_made_as() {
        assert!(!fault(|_| ()));
        assert!(fault(|made| symlink("/etc/passwd", made.join("skipped")).unwrap()));
        assert!(fault(|made| std::fs::write(made.join("settled"), "").unwrap()));
        assert!(fault(|made| std::fs::hard_link(made.join("list"), made.join("rootfs/list")).unwrap()));
        for name in ["rootfs", "list"] {
            let swap = |made: &Path| {
                std::fs::rename(made.join(name), made.join("rootfs.old")).ok();
                std::fs::remove_dir(made.join("rootfs.old"))
                    .or_else(|_| std::fs::remove_file(made.join("rootfs.old")))
                    .unwrap();
                symlink("/", made.join(name)).unwrap();
            };
            assert!(fault(swap), "{name}");
        }
    }
}
