//! Writes members of a tar: names of any length and attributes by PAX, hard links by inode.
//! Set-id bits are never written, nor what overlayfs notes for itself.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::image::pack::{self, Fault, holes};
use crate::sys::entry::{self, Details, Kind};
use crate::sys::file::{self, Access};
use crate::sys::{Errno, Sys};
use crate::units::shown;

/// As long as a name or a target may be in the plain header (`struct posix_header` of tar(5)).
const NAME: usize = 100;

/// What is kept of a run is as large as the limits of the run let it be, but for holes: one file of nothing else would
/// fill the host's disk.
const HOLES: u64 = 1 << 30;

/// What becomes of the holes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holes {
    /// They are zeros like others, for whoever knows no others; that many bytes of them were written so far.
    Filled(u64),
    /// A map says where they are.
    Mapped,
}

/// A tar that is being written.
pub struct Archive<W: Write> {
    builder: Builder<W>,
    /// The first name of each file that has several.
    links: BTreeMap<(u64, u64), Vec<u8>>,
    /// Attributes that PAX has no name for.
    unnamed: u64,
    holes: Holes,
}

impl<W: Write> fmt::Debug for Archive<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("links", &self.links.len()).finish_non_exhaustive()
    }
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub fn new(sink: W, holes: Holes) -> Self {
        Self { builder: Builder::new(sink), links: BTreeMap::new(), unnamed: 0, holes }
    }

    /// Adds a directory; `path` has no slash at its end.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn directory(&mut self, path: &[u8], details: Details, handle: &OwnedFd) -> Result<(), Fault> {
        let attributes = self.attributes(handle).map_err(|errno| unread(path, errno))?;
        let name = if path.is_empty() { b"./".to_vec() } else { [path, b"/"].concat() };
        self.member((&name, &[]), details, (EntryType::Directory, 0), (attributes, &mut io::empty()))
    }

    /// Adds an empty file that says something by its name.
    ///
    /// # Errors
    /// What could not be written.
    pub fn marker(&mut self, path: &[u8]) -> Result<(), Fault> {
        let details = Details {
            kind: Kind::Regular,
            mode: 0,
            uid: 0,
            gid: 0,
            links: 1,
            device: 0,
            inode: 0,
            size: 0,
            stored: 0,
            modified: 0,
            fraction: 0,
        };
        self.member((path, &[]), details, (EntryType::Regular, 0), (Vec::new(), &mut io::empty()))
    }

    /// Adds the regular file, link or FIFO that is `name` in `parent`.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn other(&mut self, path: &[u8], details: Details, (parent, name): (&OwnedFd, &OsStr)) -> Result<(), Fault> {
        let failed = |errno| unread(path, errno);
        match details.kind {
            Kind::Symlink => {
                let target = file::read_link_at(parent, name).map_err(failed)?.into_vec();
                self.member((path, &target), details, (EntryType::Symlink, 0), (Vec::new(), &mut io::empty()))
            }
            Kind::Fifo => self.member((path, &[]), details, (EntryType::Fifo, 0), (Vec::new(), &mut io::empty())),
            _ => {
                if details.links > 1 {
                    let inode = (details.device, details.inode);
                    if let Some(first) = self.links.get(&inode).cloned() {
                        return self.member(
                            (path, &first),
                            details,
                            (EntryType::Link, 0),
                            (Vec::new(), &mut io::empty()),
                        );
                    }
                    self.links.insert(inode, path.to_vec());
                }
                let opened = file::open_at(parent, name, Access::Read).map_err(failed)?;
                let details = entry::details(&opened).map_err(failed)?;
                self.regular(path, details, opened)
            }
        }
    }

    /// Adds an open regular file, as long as `details` of it say.
    ///
    /// # Errors
    /// What could not be read or written.
    pub fn regular(&mut self, path: &[u8], details: Details, opened: OwnedFd) -> Result<(), Fault> {
        if details.kind != Kind::Regular {
            return Err(Fault::changed(outside(path)));
        }
        let mut records = self.attributes(&opened).map_err(|errno| unread(path, errno))?;
        let (map, pieces) = self.mapped(path, details, &opened)?;
        if !map.is_empty() {
            records.extend(holes::records(path, details.size));
        }
        let stored = pieces.iter().map(|piece| piece.end - piece.start).sum::<u64>();
        let size = stored + u64::try_from(map.len()).unwrap_or(0);
        let mut exact = Exact { path, file: File::from(opened), pieces: pieces.into(), fault: None };
        let mut content = map.as_slice().chain(&mut exact);
        let done = self.member((path, &[]), details, (EntryType::Regular, size), (records, &mut content));
        exact.fault.map_or(done, Err)
    }

    /// Returns the pieces of a file that are kept, and their map where that is not all of it.
    fn mapped(&mut self, path: &[u8], details: Details, opened: &OwnedFd) -> Result<(Vec<u8>, Pieces), Fault> {
        let whole = || Pieces::from_iter(std::iter::once(0..details.size));
        let missing = details.size.saturating_sub(details.stored);
        match &mut self.holes {
            Holes::Mapped if missing > 0 => {
                let pieces = holes::pieces(opened, details.size).map_err(|errno| unread(path, errno))?;
                // Less may be stored of a file without holes, too: one that is compressed.
                let map = if pieces == whole() { Vec::new() } else { holes::map(&pieces) };
                Ok((map, pieces))
            }
            Holes::Filled(bytes) if bytes.saturating_add(missing) > HOLES => {
                let why = "with those before it, it has more than 1 GiB of holes".to_owned();
                Err(Fault::Refused { path: outside(path), why })
            }
            Holes::Filled(bytes) => {
                *bytes += missing;
                Ok((Vec::new(), whole()))
            }
            Holes::Mapped => Ok((Vec::new(), whole())),
        }
    }

    /// Says which attributes were left out, if some were.
    pub fn tell(&self, warnings: &mut Vec<String>) {
        if self.unnamed > 0 {
            let what = "extended attributes are left out: their names are no text";
            pack::warn(warnings, &format!("{} {what}", self.unnamed));
        }
    }

    /// Ends the archive and what it was written to, which is returned.
    ///
    /// # Errors
    /// What could not be written.
    pub fn finish(self) -> Result<W, Fault> {
        let mut sink = self.builder.into_inner().map_err(|error| unwritten(&error))?;
        sink.flush().map_err(|error| unwritten(&error))?;
        Ok(sink)
    }

    fn member(
        &mut self,
        (path, target): (&[u8], &[u8]),
        details: Details,
        (kind, size): (EntryType, u64),
        (attributes, content): (Vec<(String, Vec<u8>)>, &mut dyn Read),
    ) -> Result<(), Fault> {
        let mut header = header(kind, details, size);
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if details.fraction > 0 || details.modified < 0 {
            records.push(("mtime".to_owned(), time(details).into_bytes()));
        }
        if header.set_path(Path::new(OsStr::from_bytes(path))).is_err() {
            records.push(("path".to_owned(), path.to_vec()));
            fill(&mut header.as_old_mut().name, path);
        }
        if target.len() <= NAME {
            fill(&mut header.as_old_mut().linkname, target);
        } else {
            records.push(("linkpath".to_owned(), target.to_vec()));
            fill(&mut header.as_old_mut().linkname, target);
        }
        records.extend(attributes);
        header.set_cksum();
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder
            .append_pax_extensions(records)
            .and_then(|()| self.builder.append(&header, content))
            .map_err(|error| unwritten(&error))
    }

    fn attributes(&mut self, file: impl AsFd) -> Sys<Vec<(String, Vec<u8>)>> {
        let mut attributes = Vec::new();
        let mut names = entry::attribute_names(&file)?;
        names.sort();
        for name in names.iter().filter(|name| pack::is_kept(name)) {
            let Some(text) = std::str::from_utf8(name).ok().filter(|text| !text.contains('=')) else {
                self.unnamed += 1;
                continue;
            };
            if let Some(value) = entry::attribute(&file, name)? {
                attributes.push((format!("SCHILY.xattr.{text}"), value));
            }
        }
        Ok(attributes)
    }
}

fn unread(path: &[u8], errno: Errno) -> Fault {
    Fault::unread(outside(path), errno)
}

fn unwritten(error: &io::Error) -> Fault {
    Fault::Write(errno(error))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The path of a member from the root of whoever packs.
fn outside(path: &[u8]) -> String {
    format!("/{}", shown(path))
}

fn fill(place: &mut [u8], text: &[u8]) {
    place.fill(0);
    place.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
}

/// Returns the time of change as PAX has it; that of the plain header counts whole seconds from 1970 on.
fn time(Details { modified, fraction, .. }: Details) -> String {
    match (modified, fraction) {
        (..0, 1..) => {
            // The fraction of a negative number counts downwards.
            let (seconds, fraction) = ((modified + 1).unsigned_abs(), 1_000_000_000 - fraction);
            format!("-{seconds}.{fraction:09}")
        }
        (_, 0) => modified.to_string(),
        _ => format!("{modified}.{fraction:09}"),
    }
}

fn header(kind: EntryType, details: Details, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(details.mode & 0o1777);
    header.set_uid(details.uid.into());
    header.set_gid(details.gid.into());
    header.set_mtime(u64::try_from(details.modified).unwrap_or(0));
    header.set_size(size);
    header
}

/// Where the bytes of a file are.
type Pieces = Vec<Range<u64>>;

/// Exactly as many bytes as the header says: a file that became shorter is an error, never a crooked archive.
struct Exact<'a> {
    path: &'a [u8],
    file: File,
    /// What is left of them.
    pieces: VecDeque<Range<u64>>,
    fault: Option<Fault>,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.pieces.front().is_some_and(Range::is_empty) {
            self.pieces.pop_front();
        }
        let Some(piece) = self.pieces.front_mut() else { return Ok(0) };
        let most = usize::try_from(piece.end - piece.start).unwrap_or(usize::MAX).min(buffer.len());
        let Some(room) = buffer.get_mut(..most).filter(|room| !room.is_empty()) else { return Ok(0) };
        let read = self.file.read_at(room, piece.start);
        match &read {
            Ok(0) => {
                self.fault = Some(Fault::changed(outside(self.path)));
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(count) => piece.start += u64::try_from(*count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.fault = Some(unread(self.path, errno(error))),
        }
        read
    }
}
