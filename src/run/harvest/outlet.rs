//! Where the changes go: a file, which is replaced whole, or a device or a FIFO, which is written to like the place
//! of a report. It is judged before the command runs and, where it is a file, once more before it is replaced.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::run::anchor::Exposed;
use crate::run::harvest::target::Target;
use crate::sys::entry::{Kind, number};
use crate::sys::{Errno, Sys, fd};
use crate::units::Origin;

/// What the errors of an outlet begin with, after "cannot".
pub const WHAT: &str = "write the changes to";
const HINT: &str = "name a new file, one to replace, a FIFO, or a device like `/dev/null`";

/// How long somebody who reads a FIFO is waited for: a shell starts both at once.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// An open place for the changes.
#[derive(Debug)]
pub enum Outlet {
    /// A name in a directory; what is there is replaced when the changes are whole.
    File(Target),
    /// A character device or a FIFO, open since before the command ran.
    Stream(Target, File),
}

impl Outlet {
    /// Opens the place at `path`.
    ///
    /// # Errors
    /// A directory that is not there, or something at the place that can neither be replaced nor written to.
    pub fn open(path: &Path, exposed: &Exposed, origin: Origin) -> Result<Self> {
        let target = Target::open(path, exposed, origin)?;
        let found = match target.found() {
            // What is not to be looked at is not to be replaced either, and then that is the error.
            Err(_) | Ok(None | Some(Kind::Regular)) => return Ok(Self::File(target)),
            Ok(Some(found)) => found,
        };
        let failed = |errno| target.error(WHAT, errno);
        // A command can have made it, and it could hold sbx or lead anywhere.
        if exposed.anchor(path).map_err(failed)?.is_some() {
            return Err(refused(&target, found)
                .with_hint("remove it: below a directory that the command may write to only a file is replaced"));
        }
        let leads = std::fs::metadata(path).map(|found| found.file_type());
        match leads {
            Ok(kind) if kind.is_fifo() || kind.is_char_device() => {
                let stream = stream(path).map_err(|errno| match errno {
                    Errno::ENXIO if kind.is_fifo() => failed(errno).with_hint("start what reads the FIFO before sbx"),
                    errno => failed(errno),
                })?;
                Ok(Self::Stream(target, stream))
            }
            Ok(kind) if kind.is_block_device() => Err(target.in_the_way(WHAT, "block device").with_hint(HINT)),
            _ => Err(refused(&target, found)),
        }
    }

    /// Returns the place as it is known to errors.
    #[must_use]
    pub fn target(&self) -> &Target {
        match self {
            Self::File(target) | Self::Stream(target, _) => target,
        }
    }
}

/// Refuses what has come to stand at the place of a file since it was opened.
///
/// # Errors
/// Anything but a file.
pub fn judge(target: &Target) -> Result<()> {
    match target.found() {
        Ok(Some(found)) if found != Kind::Regular => Err(refused(target, found)),
        _ => Ok(()),
    }
}

fn refused(target: &Target, found: Kind) -> Error {
    match found {
        Kind::Directory => target.error(WHAT, Errno::EISDIR).with_hint(HINT),
        Kind::Symlink => {
            target.in_the_way(WHAT, found.word()).with_hint("name the file that it leads to, or remove the link")
        }
        found => target.in_the_way(WHAT, found.word()).with_hint(HINT),
    }
}

/// Opens what is there for writing; a FIFO that nobody reads does not hold sbx, nor does a terminal become its own.
fn stream(path: &Path) -> Sys<File> {
    let mut left = PATIENCE;
    let mut options = File::options();
    options.write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = loop {
        match options.open(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))) {
            Err(Errno::ENXIO) if !left.is_zero() => {
                std::thread::sleep(PAUSE);
                left = left.saturating_sub(PAUSE);
            }
            opened => break opened?,
        }
    };
    let kind = file.metadata().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?.file_type();
    if !kind.is_fifo() && !kind.is_char_device() {
        return Err(Errno::EBUSY);
    }
    fd::set_blocking(number(&file))?;
    Ok(file)
}
