//! Packs a directory and all that lies below it. No link is followed and no mount is crossed; what becomes a layer
//! has to hold still meanwhile.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use crate::image::pack::archive::Archive;
use crate::image::pack::{DEPTH, Fault, LeftOut, warn};
use crate::sys::Errno;
use crate::sys::entry::{self, Details, Kind};
use crate::sys::file::{self, Access};
use crate::units::shown;

/// What the archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is unpacked into a directory of the host.
    Copy,
    /// It is a layer of an image; the directory is one of the host, where others write.
    Layer,
}

impl Purpose {
    fn leaves_out(self, name: &OsStr, kind: Kind) -> Option<LeftOut> {
        match self {
            Self::Copy => LeftOut::of_copy(kind),
            Self::Layer => LeftOut::of_layer(name.as_bytes(), kind),
        }
    }

    fn of_mount(self) -> &'static str {
        match self {
            Self::Copy => "is left out: it is a mount, which takes a line of its own",
            Self::Layer => "is left out: it is a mount",
        }
    }
}

/// A directory that is packed.
#[derive(Debug, Clone, Copy)]
pub struct Top<'a> {
    /// The first part of all names in the archive; empty for none.
    pub name: &'a [u8],
    /// Its path as people know it.
    pub shown: &'a str,
    pub purpose: Purpose,
}

/// Packs the open directory `handle` into the archive.
///
/// # Errors
/// What could not be read or written, and what is no longer as it was when it was begun with.
pub fn walk<W: Write>(
    handle: &OwnedFd,
    top: Top<'_>,
    (archive, warnings): (&mut Archive<W>, &mut Vec<String>),
) -> Result<(), Fault> {
    let mut walk = Walk { archive, warnings, path: top.name.to_vec(), depth: 0, top };
    let details = entry::details(handle).map_err(|errno| walk.unread(errno))?;
    walk.directory(details, handle)?;
    walk.hold(details, entry::details(handle))
}

struct Walk<'a, W: Write> {
    archive: &'a mut Archive<W>,
    warnings: &'a mut Vec<String>,
    path: Vec<u8>,
    depth: usize,
    top: Top<'a>,
}

impl<W: Write> Walk<'_, W> {
    /// Where it is now, as people know it.
    fn shown(&self) -> String {
        let rest = self.path.get(self.top.name.len()..).unwrap_or_default();
        let (above, rest) = (self.top.shown.trim_end_matches('/'), rest.strip_prefix(b"/").unwrap_or(rest));
        if rest.is_empty() { self.top.shown.to_owned() } else { format!("{above}/{}", shown(rest)) }
    }

    fn unread(&self, errno: Errno) -> Fault {
        Fault::unread(self.shown(), errno)
    }

    fn directory(&mut self, details: Details, handle: &OwnedFd) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH {
            let why = format!("it lies more than {DEPTH} directories deep");
            return Err(Fault::Refused { path: self.shown(), why });
        }
        self.archive.directory(&self.path, details, handle).map_err(|fault| fault.at(self.shown()))?;
        let mut names = file::names(handle.as_fd()).map_err(|errno| self.unread(errno))?;
        names.sort();
        let length = self.path.len();
        for name in &names {
            if length > 0 {
                self.path.push(b'/');
            }
            self.path.extend(name.as_bytes());
            self.name(handle, name)?;
            self.path.truncate(length);
        }
        self.depth -= 1;
        Ok(())
    }

    fn name(&mut self, parent: &OwnedFd, name: &OsStr) -> Result<(), Fault> {
        let details = match file::open_at(parent, name, Access::Place).and_then(entry::details) {
            Err(Errno::EXDEV) => {
                warn(self.warnings, &format!("`{}` {}", self.shown(), self.top.purpose.of_mount()));
                return Ok(());
            }
            other => other.map_err(|errno| self.unread(errno))?,
        };
        if let Some(left_out) = self.top.purpose.leaves_out(name, details.kind) {
            warn(self.warnings, &left_out.warning(&self.shown()));
            return Ok(());
        }
        if details.kind == Kind::Directory {
            let handle = file::open_at(parent, name, Access::Directory).map_err(|errno| self.unread(errno))?;
            self.directory(details, &handle)?;
        } else {
            self.archive.other(&self.path, details, (parent, name)).map_err(|fault| fault.at(self.shown()))?;
        }
        self.hold(details, entry::details_at(parent, name))
    }

    /// Refuses what became part of a layer and is something else by now.
    fn hold(&self, before: Details, now: Result<Details, Errno>) -> Result<(), Fault> {
        // How much of it is on the disk, and which other names it has, changes nothing of what is packed.
        let looks = |it: Details| Details { links: 0, stored: 0, ..it };
        match (self.top.purpose, now) {
            (Purpose::Copy, _) => Ok(()),
            (Purpose::Layer, Ok(now)) if looks(now) == looks(before) => Ok(()),
            (Purpose::Layer, Ok(_)) => Err(Fault::changed(self.shown())),
            (Purpose::Layer, Err(errno)) => Err(self.unread(errno)),
        }
    }
}
