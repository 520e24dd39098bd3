//! Where the packed bytes of a layer lie, to be opened when they are needed: most runs need none, because what the
//! layers unpack to is there already. Nothing is compared with a digest here.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::image::oci::bad;
use crate::sys::file::{self, Access, Errno, FileType};

/// Where a blob lies.
#[derive(Debug, Clone)]
pub struct Place {
    inside: Inside,
    length: Option<u64>,
}

#[derive(Debug, Clone)]
enum Inside {
    Archive(Part),
    Directory { top: Arc<OwnedFd>, name: String },
}

/// A part of an open file.
#[derive(Debug, Clone)]
pub struct Part {
    pub file: Arc<File>,
    /// Bytes.
    pub offset: u64,
    /// Bytes; the file was at least so long when it was opened.
    pub length: u64,
}

impl Place {
    /// Returns the place of a blob in a plain archive.
    pub(super) fn in_archive(part: Part) -> Self {
        Self { length: Some(part.length), inside: Inside::Archive(part) }
    }

    /// Returns the place of `name` below `top`, where `length` bytes are due.
    pub(super) fn in_directory(top: &Arc<OwnedFd>, name: String, length: Option<u64>) -> Self {
        Self { inside: Inside::Directory { top: Arc::clone(top), name }, length }
    }

    /// Returns how many bytes the blob has, as far as that is known before it is opened.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Opens the blob: a regular file, reached without a link that leads out of its directory, and exactly as long as
    /// it should be.
    ///
    /// # Errors
    /// One that is missing or is none of that; the message reads on from "blob `sha256:…`: ".
    pub fn open(&self) -> Result<Part> {
        let part = match &self.inside {
            Inside::Archive(part) => part.clone(),
            Inside::Directory { top, name } => below(top, name)?,
        };
        match self.length {
            Some(length) if length != part.length => {
                Err(bad(format!("has {} bytes, and {length} are due", part.length))
                    .with_hint("the image is damaged or was not copied to its end: get it again"))
            }
            _ => Ok(part),
        }
    }
}

impl Part {
    /// Reads all of it into memory.
    ///
    /// # Errors
    /// More than `most` bytes, or a file that became shorter.
    pub(super) fn read(&self, most: u64) -> Result<Vec<u8>> {
        let length = usize::try_from(self.length).ok().filter(|_| self.length <= most);
        let length = length.ok_or_else(|| bad(format!("has {} bytes, more than {most}", self.length)))?;
        let mut bytes = vec![0; length];
        let read = self.file.read_exact_at(&mut bytes, self.offset);
        read.map_err(|error| Error::io("cannot be read", &error))?;
        Ok(bytes)
    }
}

/// Opens a regular file below `top`. Nothing else is opened even for a moment: some devices do things when they are.
pub(super) fn below(top: &OwnedFd, name: &str) -> Result<Part> {
    let place = file::open_beneath(top, OsStr::new(name), Access::Place).map_err(|errno| match errno {
        Errno::ENOENT => bad("is missing").with_hint("the image is not complete: get it again with all its blobs"),
        Errno::EXDEV => bad("is a link that leads out of the image").with_errno(errno as i32),
        errno => Error::io("cannot be opened", &errno.into()),
    })?;
    let failed = |errno: Errno| Error::io("cannot be opened", &errno.into());
    let found = file::stat(&place).map_err(failed)?;
    if found.kind != FileType::Regular {
        return Err(bad("is not a regular file"));
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", place.as_raw_fd()));
    let opened = file::open(&path, Access::Read).map_err(failed)?;
    Ok(Part { file: Arc::new(File::from(opened)), offset: 0, length: found.size })
}
