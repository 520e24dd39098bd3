//! A place on the host for what is taken out. Its directory is opened before the command
//! runs; what is written lies beside it until it is whole, and no link is ever followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{self, Error, Result};
use crate::run::anchor::Exposed;
use crate::run::c_text::path_text;
use crate::sys::entry::{self, Kind};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, fd, file, random};
use crate::units::Origin;

/// A name in an open directory.
#[derive(Debug)]
pub struct Target {
    directory: OwnedFd,
    name: OsString,
    /// As a person knows it.
    pub shown: String,
    origin: Origin,
}

/// Something beside the target that is not whole yet; removed when it is dropped.
#[derive(Debug)]
pub struct Staged<'a> {
    target: &'a Target,
    name: OsString,
}

impl Target {
    /// Opens the directory of `path`.
    ///
    /// # Errors
    /// A directory that is not there, or a path that ends in none.
    pub fn open(path: &Path, exposed: &Exposed, origin: Origin) -> Result<Self> {
        let shown = path.display().to_string();
        let failed =
            |errno: Errno| Error::io(format_args!("cannot open the directory of `{shown}`"), &errno.into()).at(origin);
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failed(Errno::EISDIR));
        };
        let directory = exposed.open(above, libc::O_PATH | libc::O_DIRECTORY).map_err(failed)?;
        Ok(Self { directory, name: name.to_owned(), shown, origin })
    }

    /// Returns the place `name` in an open directory, which a person knows as `shown`.
    #[must_use]
    pub fn within(directory: OwnedFd, name: &OsStr, shown: String) -> Self {
        Self { directory, name: name.to_owned(), shown, origin: Origin::Default }
    }

    /// Returns what is there now; a link is a link.
    ///
    /// # Errors
    /// The errno of fstatat(2).
    pub fn found(&self) -> Sys<Option<Kind>> {
        match entry::details_at(&self.directory, &self.name) {
            Ok(details) => Ok(Some(details.kind)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Returns an error about this place.
    #[must_use]
    pub fn error(&self, what: &str, errno: Errno) -> Error {
        Error::io(format_args!("cannot {what} `{}`", self.shown), &errno.into()).at(self.origin)
    }

    /// Returns an error about what stands at this place.
    #[must_use]
    pub fn in_the_way(&self, what: &str, kind: &str) -> Error {
        Error::new(error::Kind::Io, format!("cannot {what} `{}`: it is a {kind}", self.shown)).at(self.origin)
    }

    /// Returns the node of the spec that named it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Makes an empty file beside the target, mode 0666 less the umask.
    ///
    /// # Errors
    /// The errno of openat(2).
    pub fn stage_file(&self) -> Sys<(Staged<'_>, File)> {
        let name = spare_name()?;
        let text = path_text(Path::new(&name)).map_err(|_| Errno::EINVAL)?;
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let opened = fd::open_at(number(&self.directory), &text, flags, 0o666).map(own)?;
        Ok((Staged { target: self, name }, File::from(opened)))
    }

    /// Makes an empty directory beside the target, mode 0700.
    ///
    /// # Errors
    /// The errno of mkdirat(2).
    pub fn stage_directory(&self) -> Sys<(Staged<'_>, OwnedFd)> {
        let name = spare_name()?;
        file::make_directory_at(&self.directory, &name)?;
        let staged = Staged { target: self, name };
        let opened = file::open_at(&self.directory, &staged.name, file::Access::Directory)?;
        Ok((staged, opened))
    }

    /// Opens the directory that is the target.
    ///
    /// # Errors
    /// The errno of openat2(2): ELOOP for a link.
    pub fn open_directory(&self) -> Sys<OwnedFd> {
        file::open_at(&self.directory, &self.name, file::Access::Directory)
    }

    /// Puts what is `name` in `from` in the place of the target.
    ///
    /// # Errors
    /// The errno of renameat(2).
    pub fn put(&self, from: &OwnedFd, name: &OsStr) -> Sys<()> {
        file::rename_at((from, name), (&self.directory, &self.name))
    }
}

impl Staged<'_> {
    /// Puts it in the place of the target.
    ///
    /// # Errors
    /// The errno of renameat(2).
    pub fn put(&self) -> Sys<()> {
        self.target.put(&self.target.directory, &self.name)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        let directory = &self.target.directory;
        if let Err(Errno::EISDIR | Errno::EPERM) = file::unlink_at(directory, &self.name) {
            // Through a descriptor: the name of the directory may lead elsewhere by now.
            let below = Path::new("/proc/self/fd").join(number(directory).0.to_string()).join(&self.name);
            std::fs::remove_dir_all(below).ok();
        }
    }
}

fn spare_name() -> Sys<OsString> {
    random::number().map(|number| format!(".sbx-{number:016x}").into())
}
