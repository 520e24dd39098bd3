//! A note for each archive file that was hashed, so that the next run of the same file
//! costs a stat. A note is never believed when the file could have changed unseen.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Kind, Result};
use crate::image::digest;
use crate::image::store::{Store, failed};

/// A file changed again within the tick of its file system's clock keeps its times
/// (git's racy-git.txt); FAT counts in two seconds.
const SETTLED: Duration = Duration::from_secs(2);

/// What tells two states of a file apart. The change time cannot be set by a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    modified: i128,
    changed: i128,
}

/// What a note says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Digest {
    Known(String),
    /// Right when it was taken, but the file was too young to tell a later change.
    Likely(String),
    Unknown,
}

impl Stamp {
    /// Returns the stamp of an open file.
    pub(super) fn of(file: &File, path: &Path) -> Result<Self> {
        file.metadata().map(|found| Self::new(&found)).map_err(|error| failed("look at", path, &error))
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns the name of the file's note and lock.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.device, self.inode)
    }

    fn new(found: &Metadata) -> Self {
        let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: time(found.mtime(), found.mtime_nsec()),
            changed: time(found.ctime(), found.ctime_nsec()),
        }
    }

    fn line(&self) -> String {
        format!("{} {} {} {} {}", self.device, self.inode, self.size, self.modified, self.changed)
    }
}

/// Returns now, to be taken before a file is read and given to [`note`].
pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns what is known of the file that bears `stamp`.
///
/// # Errors
/// A note that is there and cannot be read.
pub(super) fn recall(store: &Store, stamp: &Stamp) -> Result<Digest> {
    let path = store.note(&stamp.name());
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Digest::Unknown),
        other => other.map_err(|error| failed("read", &path, &error))?,
    };
    store.check()?;
    let mut lines = text.lines();
    let (Some(line), Some(read_at), Some(digest)) = (lines.next(), lines.next(), lines.next()) else {
        return Ok(Digest::Unknown);
    };
    let (true, Ok(read_at)) =
        (line == stamp.line() && digest::Digest::from_hex(digest).is_ok(), read_at.parse::<i128>())
    else {
        return Ok(Digest::Unknown);
    };
    let settled = i128::try_from(SETTLED.as_nanos()).unwrap_or(i128::MAX);
    match read_at - stamp.modified.max(stamp.changed) >= settled {
        true => Ok(Digest::Known(digest.to_owned())),
        false => Ok(Digest::Likely(digest.to_owned())),
    }
}

/// Notes that the file had `digest` when its reading began at `read_at`. The caller holds
/// the lock of the file.
///
/// # Errors
/// A note that cannot be written.
pub(super) fn note(store: &Store, stamp: &Stamp, (digest, read_at): (&str, Duration)) -> Result<()> {
    let path = store.note(&stamp.name());
    let new = store.note(&format!("{}.new", stamp.name()));
    let text = format!("{}\n{}\n{digest}\n", stamp.line(), read_at.as_nanos());
    std::fs::write(&new, text).map_err(|error| failed("write", &new, &error))?;
    std::fs::rename(&new, &path).map_err(|error| failed("rename to", &path, &error))
}

/// Checks a digest as it was asked for.
///
/// # Errors
/// Anything but 64 lower-case hexadecimal digits: a digest becomes a part of a path (CVE-2024-3727).
pub(super) fn check_digest(digest: &str) -> Result<()> {
    digest::Digest::from_hex(digest).map(drop).map_err(|error| {
        error.with_kind(Kind::Spec).with_hint("write the 64 hexadecimal digits that `sha256sum FILE` prints")
    })
}
