//! Where a report goes. The place is opened before the command runs: what cannot be
//! opened prevents the run, and the command cannot change where it leads.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::Invocation;
use crate::run::anchor::Exposed;
use crate::spec::ReportTarget;
use crate::sys::{Fd, watch};

/// An open place for one report.
#[derive(Debug)]
pub enum Place {
    Nowhere,
    Stdout,
    Stderr,
    /// Whatever it held is replaced.
    File {
        file: File,
        name: String,
    },
    /// Open since before sbx started; appended to.
    Descriptor {
        file: File,
        number: u32,
    },
}

impl Place {
    /// Opens the place that `target` names. Below the `exposed` directories of the host, where an earlier
    /// command may have put what it likes, only a regular file with one name is one.
    ///
    /// # Errors
    /// A file that cannot be written, a descriptor that is not open.
    pub fn open(target: &ReportTarget, invocation: &Invocation, exposed: &Exposed) -> Result<Self> {
        Ok(match target {
            ReportTarget::None => Self::Nowhere,
            ReportTarget::Stdout => Self::Stdout,
            ReportTarget::Stderr => Self::Stderr,
            ReportTarget::File(path) => {
                let path = invocation.absolute(path);
                let name = path.display().to_string();
                let file = open_file(&path, exposed)
                    .map_err(|source| Error::io(format_args!("cannot open `{name}` for the report"), &source))?;
                Self::File { file, name }
            }
            ReportTarget::Fd(number) => {
                let raw = Fd(i32::try_from(*number).unwrap_or(-1));
                let file = watch::copy(raw).map_err(|errno| {
                    Error::new(Kind::Usage, format!("cannot write the report to `fd:{number}`"))
                        .with_errno(errno as i32)
                        .with_hint(format!("open it for sbx, as in `sbx … {number}>report.json`"))
                })?;
                Self::Descriptor { file: file.into(), number: *number }
            }
        })
    }

    /// Returns whether anybody reads the report.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !matches!(self, Self::Nowhere)
    }

    /// Writes `line`, the whole report.
    ///
    /// # Errors
    /// A place that takes no more.
    pub fn write(self, line: &[u8]) -> Result<()> {
        let (written, name) = match self {
            Self::Nowhere => return Ok(()),
            Self::Stdout => (write_once(std::io::stdout().as_fd(), line), "standard output".to_owned()),
            Self::Stderr => (write_once(std::io::stderr().as_fd(), line), "standard error".to_owned()),
            Self::File { mut file, name } => (replace(&mut file, line), format!("`{name}`")),
            Self::Descriptor { mut file, number } => (file.write_all(line), format!("`fd:{number}`")),
        };
        written.map_err(|source| Error::io(format_args!("cannot write the report to {name}"), &source))
    }
}

fn open_file(path: &Path, exposed: &Exposed) -> std::io::Result<File> {
    let flags = libc::O_WRONLY | libc::O_CREAT;
    let Some(anchored) = exposed.anchor(path)? else {
        return Ok(File::from(exposed.open(path, flags)?));
    };
    let file = File::from(anchored.open(flags)?);
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 { Ok(file) } else { Err(std::io::Error::from_raw_os_error(libc::EMLINK)) }
}

/// Standard output and error are written without the buffers of the runtime.
fn write_once(stream: std::os::fd::BorrowedFd<'_>, line: &[u8]) -> std::io::Result<()> {
    File::from(stream.try_clone_to_owned()?).write_all(line)
}

/// What is not a regular file (`/dev/null`, a FIFO) has no length to set. The file was opened for this and is at
/// its beginning.
fn replace(file: &mut File, line: &[u8]) -> std::io::Result<()> {
    let found = file.metadata()?;
    if found.is_file() && found.len() > 0 {
        file.set_len(0)?;
    }
    file.write_all(line)
}
