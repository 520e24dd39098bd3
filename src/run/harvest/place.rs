//! Unpacks on the host what the collector packed: files, directories and links, in a directory
//! of sbx's own, then by rename to where they belong. Nothing is followed or overwritten through a link.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use tar::{Archive, EntryType};

use crate::run::harvest::pack::TOP;
use crate::run::harvest::target::Target;
use crate::sys::entry::{self, Kind};
use crate::sys::file::{self, Access, Time};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, path};

/// What was unpacked; modes of directories come last, because one may forbid to fill it.
#[derive(Debug, Default)]
pub struct Unpacked {
    top: Option<Kind>,
    /// Paths below the top, the mode and the time.
    directories: Vec<(Vec<u8>, u32, Time)>,
}

/// What keeps something from its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    Errno(Errno),
    /// A device, a FIFO or a socket is there, at this path below the place.
    Special(Vec<u8>, Kind),
}

impl From<Errno> for Obstacle {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

/// Unpacks what comes from `pipe` into the empty directory `into`.
///
/// # Errors
/// The errno of what could not be made.
pub fn unpack(pipe: File, into: &OwnedFd) -> Sys<Unpacked> {
    let mut unpacked = Unpacked::default();
    let mut archive = Archive::new(io::BufReader::with_capacity(256 << 10, pipe));
    for entry in archive.entries().map_err(|error| errno(&error))? {
        let mut entry = entry.map_err(|error| errno(&error))?;
        let name = entry.path_bytes().into_owned();
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        let (above, last) = split(&name);
        let parent = if above.is_empty() { None } else { Some(below(into, above)?) };
        let parent = parent.as_ref().unwrap_or(into);
        let last = OsStr::from_bytes(last);
        let mode = entry.header().mode().map_err(|error| errno(&error))? & 0o777;
        let seconds = entry.header().mtime().map_err(|error| errno(&error))?;
        let time = Time { seconds: i64::try_from(seconds).unwrap_or(0), nanoseconds: 0 };
        let kind = match entry.header().entry_type() {
            EntryType::Directory => {
                file::make_directory_at(parent, last)?;
                let rest = name.get(TOP.len() + 1..).unwrap_or_default().to_vec();
                unpacked.directories.push((rest, mode, time));
                Kind::Directory
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL)?;
                file::make_symlink_at(parent, last, OsStr::from_bytes(&target))?;
                Kind::Symlink
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(Errno::EINVAL)?;
                let (above, first) = split(&target);
                let directory = if above.is_empty() { None } else { Some(below(into, above)?) };
                file::link_at((directory.as_ref().unwrap_or(into), OsStr::from_bytes(first)), (parent, last))?;
                Kind::Regular
            }
            _ => {
                let opened = File::from(file::create_at(parent, last, 0o600)?);
                copy(&mut entry, &opened)?;
                file::set_mode(&opened, mode)?;
                file::set_time(&opened, time)?;
                Kind::Regular
            }
        };
        unpacked.top.get_or_insert(kind);
    }
    Ok(unpacked)
}

/// Puts what was unpacked into `from` where `target` says. A directory joins one that is there.
///
/// # Errors
/// What stands in the way.
pub fn put(unpacked: &Unpacked, from: &OwnedFd, target: &Target) -> Result<(), Obstacle> {
    let top = OsStr::from_bytes(TOP);
    let mut there = BTreeSet::new();
    match (unpacked.top.ok_or(Errno::ENODATA)?, target.found()?) {
        (Kind::Directory, Some(Kind::Directory)) => {
            let inner = file::open_at(from, top, Access::Directory)?;
            merge((&inner, &target.open_directory()?), &mut Vec::new(), &mut there)?;
        }
        (_, Some(found)) if is_special(found) => return Err(Obstacle::Special(Vec::new(), found)),
        (Kind::Directory, Some(_)) => return Err(Errno::ENOTDIR.into()),
        (_, Some(Kind::Directory)) => return Err(Errno::EISDIR.into()),
        _ => target.put(from, top)?,
    }
    if unpacked.directories.is_empty() {
        return Ok(());
    }
    let root = target.open_directory()?;
    for (name, mode, time) in unpacked.directories.iter().rev().filter(|(name, ..)| !there.contains(name)) {
        let inner = if name.is_empty() { None } else { Some(below_to_read(&root, name)?) };
        let directory = inner.as_ref().unwrap_or(&root);
        file::set_time(directory, *time)?;
        file::set_mode(directory, *mode)?;
    }
    Ok(())
}

/// A rename would remove it, and nobody who wants a file replaced means it.
#[must_use]
pub fn is_special(kind: Kind) -> bool {
    matches!(kind, Kind::Fifo | Kind::Socket | Kind::Device(_))
}

/// Moves everything in one directory into another; `there` are the directories that were there before.
fn merge((from, to): (&OwnedFd, &OwnedFd), at: &mut Vec<u8>, there: &mut BTreeSet<Vec<u8>>) -> Result<(), Obstacle> {
    there.insert(at.clone());
    let names: Vec<OsString> = file::names(from.as_fd())?;
    for name in names {
        let own = entry::details_at(from, &name)?.kind;
        let found = match entry::details_at(to, &name) {
            Ok(found) => Some(found.kind),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno.into()),
        };
        match (own, found) {
            (Kind::Directory, Some(Kind::Directory)) => {
                let inner = file::open_at(from, &name, Access::Directory)?;
                let outer = file::open_at(to, &name, Access::Directory)?;
                let length = at.len();
                if !at.is_empty() {
                    at.push(b'/');
                }
                at.extend(name.clone().into_vec());
                merge((&inner, &outer), at, there)?;
                at.truncate(length);
            }
            (_, Some(found)) if is_special(found) => {
                at.push(b'/');
                at.extend(name.into_vec());
                return Err(Obstacle::Special(at.clone(), found));
            }
            (Kind::Directory, Some(_)) => return Err(Errno::ENOTDIR.into()),
            (_, Some(Kind::Directory)) => return Err(Errno::EISDIR.into()),
            _ => file::rename_at((from, &name), (to, &name))?,
        }
    }
    Ok(())
}

fn split(name: &[u8]) -> (&[u8], &[u8]) {
    let start = name.iter().rposition(|byte| *byte == b'/');
    start.map_or((&[], name), |at| (&name[..at], &name[at + 1..]))
}

fn below(root: &OwnedFd, name: &[u8]) -> Sys<OwnedFd> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    path::open_beneath(number(root), &name, libc::O_PATH | libc::O_DIRECTORY).map(own)
}

fn below_to_read(root: &OwnedFd, name: &[u8]) -> Sys<OwnedFd> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    path::open_beneath(number(root), &name, libc::O_RDONLY | libc::O_DIRECTORY).map(own)
}

fn copy(from: &mut impl Read, mut to: &File) -> Sys<()> {
    io::copy(from, &mut to).map(drop).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
