//! The places of snapshots where a command may write. Nothing can be mounted on a name that is not there, so a
//! directory of snapshots that is missing is made before anything is run, and removed where nothing came into it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::sys::file;

/// How often it is tried where another call removes the directory at the same time, and how long it is waited between.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The directories that are there as long as this lives.
#[derive(Debug, Default)]
pub struct Reserved(Vec<Place>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// What is mounted on itself is taken off by whoever removes the directory, so each call that needs it holds a
    /// shared lock. None where the file system has no locks: then nobody removes it.
    lock: Option<File>,
    maker: Maker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    ThisCall,
    Other,
}

impl Reserved {
    /// Makes the directory `path` unless something else has the name, and keeps others from removing it.
    ///
    /// # Errors
    /// One that cannot be made.
    pub fn add(&mut self, path: &Path) -> Result<()> {
        if self.0.iter().any(|place| place.path == path) {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let maker = match std::fs::create_dir(path) {
                Ok(()) => Maker::ThisCall,
                Err(source) if source.kind() == ErrorKind::AlreadyExists => Maker::Other,
                // Then the command makes nothing there either: a mount of such a file system is as it is.
                Err(source) if source.kind() == ErrorKind::ReadOnlyFilesystem => return Ok(()),
                Err(source) => return Err(unmade(path, &source)),
            };
            let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
            let lock = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
                Ok(opened) => opened,
                Err(source) if source.kind() == ErrorKind::NotFound => continue,
                // It has the name, and what has a name is protected as it is.
                Err(_) => return Ok(()),
            };
            let lock = match lock.try_lock_shared() {
                // Until now somebody may have removed it.
                Ok(()) if file::is_named(&lock, path).unwrap_or(false) => Some(lock),
                Err(TryLockError::Error(_)) => None,
                Ok(()) | Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
            };
            self.0.push(Place { path: path.to_owned(), lock, maker });
            return Ok(());
        }
        let message = format!("cannot keep the directory `{}`: others lock or remove it", path.display());
        Err(Error::new(Kind::Host, message).with_hint("let the other `sbx test` end"))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for Place { path, lock, .. } in self.0.iter().filter(|place| place.maker == Maker::ThisCall) {
            if lock.as_ref().is_some_and(|lock| lock.try_lock().is_ok()) {
                // What is in it stays, and it stays with that.
                std::fs::remove_dir(path).ok();
            }
        }
    }
}

fn unmade(path: &Path, source: &std::io::Error) -> Error {
    let goal = format!("cannot make the directory `{}`, which the command must not make", path.display());
    Error::io(goal, source).with_hint(format!("make it: `mkdir {}`", path.display()))
}
