//! The members of a plain archive by their names, each with its place in the file: nothing is read twice and
//! nothing is extracted. A packed archive is unpacked into a file without a name first.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::image::decode::{self, Packed};
use crate::image::members::{Member, MemberKind, Members};
use crate::image::oci::place::Part;
use crate::image::oci::{Scratch, bad};
use crate::image::{Bounds, Progress, Step};
use crate::sys::watch::asked_to_end;

/// Members of one archive. An image has three a layer at most.
const MEMBERS: usize = 65_536;
/// Bytes of all their names.
const NAMES: usize = 8 << 20;
/// As many as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;
/// A header and the start of what follows: most of an archive is stepped over.
const BUFFER: usize = 1024;

/// A plain archive.
pub(super) struct Archive {
    file: Arc<File>,
    members: BTreeMap<Vec<u8>, Entry>,
}

enum Entry {
    File {
        offset: u64,
        length: u64,
    },
    /// To another member, by its full name.
    Link(Vec<u8>),
    /// Why it cannot be read.
    Other(&'static str),
}

impl Archive {
    /// Reads the headers of an archive; a packed one is unpacked before, within the default bounds.
    ///
    /// # Errors
    /// What is wrong with it, or a place to unpack to that is full.
    pub(super) fn open(file: File, scratch: &mut Scratch<'_>) -> Result<Self> {
        let file = match decode::is_packed(&start(&file)?)? {
            true => unpack(&file, scratch)?,
            false => file,
        };
        let (mut members, mut held) = (BTreeMap::new(), 0);
        walk(&file, &mut |member, offset| {
            let Some((name, entry)) = entry(member, offset)? else {
                return Ok(ControlFlow::Continue(()));
            };
            held += name.len();
            if members.len() >= MEMBERS || held > NAMES {
                return Err(bad(format!("it has more than {MEMBERS} members, or too long names"))
                    .with_hint("if it is a root file system, write `tar:` before its path"));
            }
            match members.insert(name, entry) {
                None => Ok(ControlFlow::Continue(())),
                Some(_) => Err(bad(format!("it holds the member `{}` twice", member.name.escape_ascii()))),
            }
        })?;
        Ok(Self { file: Arc::new(file), members })
    }

    /// Returns whether there is a member of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name.as_bytes())
    }

    /// Returns the contents of a member; links are followed inside the archive, as `docker save` needs it for layers
    /// that several images share.
    ///
    /// # Errors
    /// A member that is no file, or a link that leads to none.
    pub(super) fn file(&self, name: &str) -> Result<Option<Part>> {
        let wanted = name.as_bytes().escape_ascii();
        let Some(mut name) = resolve(&[], name.as_bytes()) else {
            return Err(bad(format!("`{wanted}` leads out of the archive")));
        };
        let mut found = match self.members.get(&name) {
            Some(found) => found,
            None => return Ok(None),
        };
        for _ in 0..LINKS {
            match found {
                Entry::File { offset, length } => {
                    return Ok(Some(Part { file: Arc::clone(&self.file), offset: *offset, length: *length }));
                }
                Entry::Other(why) => return Err(bad(format!("`{}` {why}", name.escape_ascii()))),
                Entry::Link(target) => {
                    let missing =
                        || bad(format!("`{wanted}` is a link to `{}`, which is missing", target.escape_ascii()));
                    found = self.members.get(target).ok_or_else(missing)?;
                    name.clone_from(target);
                }
            }
        }
        Err(bad(format!("`{wanted}` leads through more than {LINKS} links")))
    }
}

/// Calls `each` for every member of a plain archive with the offset of its contents, and steps over these.
///
/// # Errors
/// What is wrong with the archive, or what `each` says.
pub(super) fn walk(file: &File, each: &mut dyn FnMut(&Member, u64) -> Result<ControlFlow<()>>) -> Result<()> {
    let mut members = Members::new(BufReader::with_capacity(BUFFER, Cursor { file, at: 0 }));
    while let Some(member) = members.next()? {
        if asked_to_end().is_some() {
            return Err(bad("the reading was canceled"));
        }
        let (length, input) = members.pass();
        let failed = |error| Error::io("cannot be read", &error);
        let offset = input.stream_position().map_err(failed)?;
        if each(&member, offset)?.is_break() {
            return Ok(());
        }
        let length = i64::try_from(length).map_err(|_| bad("it holds a member beyond all bounds"))?;
        input.seek_relative(length).map_err(failed)?;
    }
    Ok(())
}

/// Returns the first bytes of a file, which stays where it is.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn start(file: &File) -> Result<Vec<u8>> {
    let mut start = vec![0; 16];
    let count = file.read_at(&mut start, 0).map_err(|error| Error::io("cannot be read", &error))?;
    start.truncate(count);
    Ok(start)
}

/// Returns the name of a member from the top of the archive, without `.` and double slashes.
///
/// # Errors
/// A name with `..`.
pub(super) fn name(member: &Member) -> Result<Vec<u8>> {
    match member.name.split(|byte| *byte == b'/').any(|part| part == b"..") {
        true => Err(bad(format!("the name of `{}` leads out of it", member.name.escape_ascii()))),
        false => Ok(resolve(&[], &member.name).unwrap_or_default()),
    }
}

fn entry(member: &Member, offset: u64) -> Result<Option<(Vec<u8>, Entry)>> {
    let name = name(member)?;
    let parent = name.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &name[..slash]);
    let link = |from: &[u8]| match member.link.starts_with(b"/") {
        true => None,
        false => resolve(from, &member.link),
    };
    let link = |from| link(from).map_or(Entry::Other("is a link that leads out of the archive"), Entry::Link);
    let whole = matches!(member.extents[..], [extent] if extent.offset == 0 && extent.length == member.size);
    let entry = match member.kind {
        MemberKind::Directory => return Ok(None),
        MemberKind::Regular if whole => Entry::File { offset, length: member.size },
        MemberKind::Regular => Entry::Other("is stored as a sparse file"),
        MemberKind::Symlink => link(parent),
        MemberKind::Hardlink => link(&[]),
        MemberKind::Fifo | MemberKind::Device => Entry::Other("is not a regular file"),
    };
    Ok(Some((name, entry)))
}

/// Returns where `path` leads from the directory `from`, or `None` if that is above the top.
fn resolve(from: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = from.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn unpack(file: &File, scratch: &mut Scratch<'_>) -> Result<File> {
    let total = file.metadata().map_err(|error| Error::io("cannot be looked at", &error))?.len();
    let mut target = (scratch.file)()?;
    let read = AtomicU64::new(0);
    let packed = Packed { file, offset: 0, length: total };
    let mut source = decode::buffered(packed.reader(&read));
    let mut unpacked = decode::unpacked(&mut source, &read, &Bounds::default())?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = unpacked.read(&mut buffer).map_err(|error| damaged(&error))?;
        if count == 0 {
            break;
        }
        target.write_all(&buffer[..count]).map_err(|error| Error::io("cannot be unpacked into the store", &error))?;
        (scratch.progress)(Progress { step: Step::Extract, read: read.load(Ordering::Relaxed), total });
    }
    drop(unpacked);
    match source.fill_buf() {
        Ok([]) => Ok(target),
        Ok(_) => Err(bad("there is something after its compressed data")),
        Err(error) => Err(damaged(&error)),
    }
}

fn damaged(error: &std::io::Error) -> Error {
    match error.raw_os_error() {
        Some(_) => Error::io("cannot be read", error),
        None => bad(format!("it is damaged or too large: {error}")),
    }
}

/// A file with a position of its own, so that stepping over contents calls nobody.
struct Cursor<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at = self.at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(_) => None,
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
