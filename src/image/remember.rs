//! A note for each archive file that was hashed, so that the next run of the same file
//! costs a stat. A note is never believed when the file could have changed unseen.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::seal;
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

/// What a note says of a file: its digest, and that of the tar in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    Known {
        digest: Digest,
        diff_id: Digest,
    },
    /// Right when it was taken, but the file was too young to tell a later change.
    Likely {
        digest: Digest,
        diff_id: Digest,
    },
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

    /// Returns whether the file is old enough that a change of it would show.
    pub(super) fn is_settled(&self) -> bool {
        let now = i128::try_from(now().as_nanos()).unwrap_or(i128::MAX);
        now - self.modified.max(self.changed) >= i128::try_from(SETTLED.as_nanos()).unwrap_or(i128::MAX)
    }

    /// Returns all of the stamp as text.
    pub(super) fn line(&self) -> String {
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
pub(super) fn recall(store: &Store, stamp: &Stamp) -> Result<Seen> {
    let path = store.note(&stamp.name());
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Seen::Unknown),
        other => other.map_err(|error| failed("read", &path, &error))?,
    };
    store.check()?;
    let lines: Vec<&str> = seal::unseal(&text).unwrap_or_default().lines().collect();
    let [line, read_at, digest, diff_id] = lines.as_slice() else { return Ok(Seen::Unknown) };
    let (true, Ok(read_at), Ok(digest), Ok(diff_id)) =
        (*line == stamp.line(), read_at.parse::<i128>(), Digest::from_hex(digest), Digest::from_hex(diff_id))
    else {
        return Ok(Seen::Unknown);
    };
    let settled = i128::try_from(SETTLED.as_nanos()).unwrap_or(i128::MAX);
    match read_at - stamp.modified.max(stamp.changed) >= settled {
        true => Ok(Seen::Known { digest, diff_id }),
        false => Ok(Seen::Likely { digest, diff_id }),
    }
}

/// Notes what the file was when its reading began at `read_at`: its digest and that of its tar. The caller holds
/// the lock of the file.
///
/// # Errors
/// A note that cannot be written.
pub(super) fn note(
    store: &Store,
    stamp: &Stamp,
    (digest, diff_id): (&Digest, &Digest),
    read_at: Duration,
) -> Result<()> {
    let text = format!("{}\n{}\n{}\n{}\n", stamp.line(), read_at.as_nanos(), digest.hex(), diff_id.hex());
    seal::replace(&store.note(&stamp.name()), &seal::seal(&text))
}

/// Checks a digest as it was asked for, without the `sha256:` in front.
///
/// # Errors
/// Anything but 64 lower-case hexadecimal digits: a digest becomes a part of a path (CVE-2024-3727).
pub(super) fn check_digest(digest: &str) -> Result<Digest> {
    Digest::from_hex(digest).map_err(|_| {
        Error::new(Kind::Spec, format!("`{digest}` is not a SHA-256 digest"))
            .with_hint("write the 64 hexadecimal digits that `sha256sum FILE` prints")
    })
}
