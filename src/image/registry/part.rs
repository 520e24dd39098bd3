//! A blob that is not whole yet: a file under a lock, which the next pull goes on with if
//! this one is killed. It gets its name when its bytes are what the name says.
//!
//! The names in `tmp` and their locks are those of the store, whose collector removes what nobody holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::registry::Destination;
use crate::image::registry::document::Blob;
use crate::image::registry::http::Line;

/// How often it is looked whether another process is done with the same blob.
const LOOK: Duration = Duration::from_millis(50);

const BUFFER: usize = 128 << 10;

/// The beginning of a blob.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    place: PathBuf,
    lock_path: PathBuf,
    _lock: File,
    hasher: Sha256,
    length: u64,
}

impl Part {
    /// Returns what is there of a blob, or `None` if all of it is: another process may be fetching it just now.
    ///
    /// # Errors
    /// A file that cannot be opened or read, and a pull that was canceled meanwhile.
    pub(super) fn begin(destination: &Destination, blob: &Blob, line: &Line) -> Result<Option<Self>> {
        let path = destination.tmp.join(blob.digest.hex());
        let lock_path = destination.tmp.join(format!("{}.lock", blob.digest.hex()));
        let Some(lock) = lock(&lock_path, || destination.has(&blob.digest), line)? else { return Ok(None) };
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| failed("open", &path, &error))?;
        let place = destination.blob(&blob.digest);
        let hasher = Sha256::new();
        let mut part = Self { file, path, place, lock_path, _lock: lock, hasher, length: 0 };
        part.recall(blob.size, line)?;
        Ok(Some(part))
    }

    /// Returns how many bytes are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, &error))?;
        self.hasher.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Forgets what is there.
    pub(super) fn restart(&mut self) -> Result<()> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| failed("empty", &self.path, &error))?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Returns the digest of what is there.
    pub(super) fn digest(&self) -> Digest {
        Digest::finish(self.hasher.clone())
    }

    /// Gives the file its name; the caller has compared the digest. What a power cut leaves under it is whole.
    pub(super) fn keep(self) -> Result<()> {
        self.file.sync_all().map_err(|error| failed("write back", &self.path, &error))?;
        std::fs::rename(&self.path, &self.place).map_err(|error| failed("rename to", &self.place, &error))?;
        let above = self.place.parent().unwrap_or(&self.place);
        File::open(above).and_then(|above| above.sync_all()).map_err(|error| failed("write back", above, &error))?;
        remove(&self.lock_path)
    }

    /// Removes what is there.
    pub(super) fn discard(self) -> Result<()> {
        remove(&self.path)?;
        remove(&self.lock_path)
    }

    /// Hashes what an earlier pull left.
    fn recall(&mut self, most: u64, line: &Line) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            line.check()?;
            let count = self.file.read(&mut buffer).map_err(|error| failed("read", &self.path, &error))?;
            if count == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..count]);
            self.length += u64::try_from(count).unwrap_or(0);
            if self.length > most {
                return self.restart();
            }
        }
    }
}

/// Takes the lock, unless `done` while another has it.
fn lock(path: &Path, done: impl Fn() -> bool, line: &Line) -> Result<Option<File>> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|error| failed("open", path, &error))?;
        match file.try_lock() {
            Ok(()) => {
                // Who held it before removes it at its end: then it is no longer the one that others find.
                let found = file.metadata().map_err(|error| failed("look at", path, &error))?;
                if found.nlink() == 0 {
                    continue;
                }
                if done() {
                    remove(path)?;
                    return Ok(None);
                }
                return Ok(Some(file));
            }
            Err(TryLockError::WouldBlock) => line.rest(LOOK)?,
            Err(TryLockError::Error(error)) => return Err(failed("lock", path, &error)),
        }
        if done() {
            return Ok(None);
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|error| failed("remove", path, &error))
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot {what} `{}`", path.display()), error)
}
