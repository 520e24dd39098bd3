//! The members of a tar stream, one after the other. The headers are read by the tar
//! crate, the walk is ours: it is bounded, and what two readers could read in two ways is refused.

use std::io::{BufRead, Read};

use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::error::{Error, Kind, Result};
use crate::image::pax::{self, Pax};
use crate::image::sparse::{Extent, Known, Lines, Map, Sparse};
use crate::sys::file::{Owner, Time};

const BLOCK: usize = 512;
/// Bytes of a PAX header or a GNU long name.
const EXTENSION: u64 = 1 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberKind {
    Regular,
    Directory,
    Symlink,
    Hardlink,
    Fifo,
    Device,
}

/// One member; its contents, those of the extents back to back, come next in the stream.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: MemberKind,
    pub(super) name: Vec<u8>,
    /// Target of a link.
    pub(super) link: Vec<u8>,
    /// Lower twelve bits.
    pub(super) mode: u32,
    pub(super) owner: Owner,
    pub(super) time: Time,
    /// Bytes of the file, holes included.
    pub(super) size: u64,
    pub(super) extents: Vec<Extent>,
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) other_attributes: u64,
}

/// A tar stream. Messages read on from "archive `x`: ".
pub(super) struct Members<R> {
    input: R,
    /// Bytes of the last member that nobody has taken, and those up to the next header.
    left: u64,
    padding: u64,
    ending: Ending,
}

/// How a stream may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With an end mark, as POSIX asks for: what comes without one may have been cut short.
    Marked,
    /// After any whole member too, as umoci writes layers and Go reads them: a digest says that nothing is missing.
    Any,
}

/// What the headers before a member said about it.
#[derive(Default)]
struct Ahead {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl<R: Read> Members<R> {
    /// Returns the members of `input`, which has to have an end mark.
    pub(super) fn new(input: R) -> Self {
        Self::ending(input, Ending::Marked)
    }

    /// Returns the members of `input`, which ends as `ending` says.
    pub(super) fn ending(input: R, ending: Ending) -> Self {
        Self { input, left: 0, padding: 0, ending }
    }

    /// Returns the next member, or `None` at the end, when the rest is read and was found
    /// to be zeros.
    ///
    /// # Errors
    /// What is wrong with the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut ahead = Ahead::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return match ahead {
                    Ahead { name: None, link: None, pax: None } => Ok(None),
                    _ => Err(bad("it ends after a header that describes a member to come")),
                };
            };
            match header.entry_type() {
                EntryType::GNULongName => set_once(&mut ahead.name, without_nul(self.extension(&header)?)?)?,
                EntryType::GNULongLink => set_once(&mut ahead.link, without_nul(self.extension(&header)?)?)?,
                EntryType::XHeader => set_once(&mut ahead.pax, pax::local(&self.extension(&header)?)?)?,
                EntryType::XGlobalHeader => pax::global(&self.extension(&header)?)?,
                _ => return self.member(&header, ahead).map(Some),
            }
        }
    }

    pub(super) fn input(&self) -> &R {
        &self.input
    }

    /// Gives up the rest of the current member: returns how many bytes the caller has to step over in the input.
    pub(super) fn pass(&mut self) -> (u64, &mut R) {
        (std::mem::take(&mut self.left) + std::mem::take(&mut self.padding), &mut self.input)
    }

    fn member(&mut self, header: &Header, ahead: Ahead) -> Result<Member> {
        let mut pax = ahead.pax.unwrap_or_default();
        // That of a sparse file is in a directory that does not exist, for those who know nothing of it.
        let name = only_one(ahead.name, pax.path)?.unwrap_or_else(|| header.path_bytes().into_owned());
        let name = pax.sparse.as_mut().and_then(|sparse| sparse.name.take()).unwrap_or(name);
        let link = only_one(ahead.link, pax.link)?
            .unwrap_or_else(|| header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default());
        let kind = kind(header, &name)?;
        let stored = pax::size(size(header)?, pax.size).ok_or_else(|| {
            bad(format!("the sizes in the two headers of `{}` differ", name.escape_ascii()))
                .with_hint("pack it with `tar --format=gnu`")
        })?;
        if stored != 0 && kind != MemberKind::Regular {
            return Err(bad(format!("`{}` has contents but is not a file", name.escape_ascii())));
        }
        let (size, left, extents) = match (header.entry_type(), pax.sparse) {
            (EntryType::GNUSparse, None) => {
                let (size, extents) = self.sparse(header, stored)?;
                (size, stored, extents)
            }
            (EntryType::Regular, Some(sparse)) => self.sparse_of_pax(sparse, stored)?,
            (_, Some(_)) => return Err(bad(format!("`{}` is sparse but is not a file", name.escape_ascii()))),
            (_, None) => (stored, stored, vec![Extent { offset: 0, length: stored }]),
        };
        (self.left, self.padding) = (left, padding(stored));
        let old = header.as_old();
        Ok(Member {
            kind,
            mode: number(header.mode())? & 0o7777,
            owner: Owner {
                uid: id("uid", pax.uid.map_or_else(|| blank(&old.uid, header.uid()), Ok)?)?,
                gid: id("gid", pax.gid.map_or_else(|| blank(&old.gid, header.gid()), Ok)?)?,
            },
            time: match pax.time {
                Some(time) => time,
                // GNU writes a time before 1970 as a negative number of base 256.
                None => Time { seconds: blank(&old.mtime, header.mtime())?.cast_signed(), nanoseconds: 0 },
            },
            size,
            extents,
            attributes: pax.attributes,
            other_attributes: pax.other_attributes,
            name,
            link,
        })
    }

    /// Reads the map of a file in the old GNU sparse format.
    fn sparse(&mut self, header: &Header, stored: u64) -> Result<(u64, Vec<Extent>)> {
        let gnu = header.as_gnu().ok_or_else(|| bad("it holds a sparse file without a GNU header"))?;
        let size = number(gnu.real_size())?;
        let mut map = Map::default();
        map.add_old(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = GnuExtSparseHeader::new();
            self.exact(next.as_mut_bytes())?;
            map.add_old(next.sparse())?;
            more = next.is_extended();
        }
        map.finish(size, stored).map(|extents| (size, extents))
    }

    /// Reads what its PAX records leave out of a sparse file; returns what of its `stored` bytes is contents too.
    fn sparse_of_pax(&mut self, sparse: Sparse, stored: u64) -> Result<(u64, u64, Vec<Extent>)> {
        let (map, size, left) = match sparse.known()? {
            Known::All(map, size) => (map, size, stored),
            Known::Size(size) => {
                let (mut lines, mut left) = (Lines::default(), stored);
                let mut block = [0; BLOCK];
                let map = loop {
                    left = left.checked_sub(512).ok_or_else(|| bad("it holds a sparse file that has no map"))?;
                    self.exact(&mut block)?;
                    if let Some(map) = lines.take(&block)? {
                        break map;
                    }
                };
                (map, size, left)
            }
        };
        map.finish(size, left).map(|extents| (size, left, extents))
    }

    /// Reads the next header, or the end mark and all that follows it.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        if self.exact_or_end(header.as_mut_bytes())? == 0 {
            return Ok(None);
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.end()?;
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let counted = bytes.iter().enumerate().map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        });
        match header.cksum() {
            Ok(sum) if sum == counted.sum::<u32>() => Ok(Some(header)),
            _ => Err(bad("is not a tar archive, or is damaged: the checksum of a header is wrong")),
        }
    }

    fn end(&mut self) -> Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let mut count = self.exact_or_end(&mut buffer[..BLOCK])?;
        while count > 0 {
            if buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(bad("there is something after its end mark")
                    .with_hint("concatenated archives are not read; pack the tree anew"));
            }
            count = self.input.read(&mut buffer).map_err(|error| unreadable(&error))?;
        }
        Ok(())
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = size(header)?;
        if size > EXTENSION {
            return Err(bad(format!("it holds a header of {size} bytes, more than {EXTENSION}")));
        }
        let mut data = vec![0; usize::try_from(size).map_err(|_| bad("it holds a header that is too large"))?];
        self.exact(&mut data)?;
        self.padding = padding(size);
        Ok(data)
    }

    fn skip(&mut self) -> Result<()> {
        let mut block = [0; BLOCK];
        let mut rest = std::mem::take(&mut self.left);
        while rest > 0 {
            let count = usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK));
            self.exact(&mut block[..count])?;
            rest -= u64::try_from(count).unwrap_or(rest);
        }
        let padding = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or(BLOCK);
        self.exact_or_end(&mut block[..padding]).map(drop)
    }

    /// Fills `buffer` and returns its length, or 0 where the input ends before it and may.
    fn exact_or_end(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut begun = 0;
        if self.ending == Ending::Any && !buffer.is_empty() {
            begun = self.input.read(&mut buffer[..1]).map_err(|error| unreadable(&error))?;
            if begun == 0 {
                return Ok(0);
            }
        }
        self.exact(&mut buffer[begun..])?;
        Ok(buffer.len())
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.input.read_exact(buffer).map_err(|error| unreadable(&error))
    }
}

impl<R: BufRead> Members<R> {
    /// Returns some of the contents that come next, at least one byte and at most `most`, without taking them.
    ///
    /// # Errors
    /// A stream that ends before.
    pub(super) fn some(&mut self, most: u64) -> Result<&[u8]> {
        if most == 0 || most > self.left {
            return Err(Error::new(Kind::Bug, "read past a member"));
        }
        let bytes = self.input.fill_buf().map_err(|error| unreadable(&error))?;
        match usize::try_from(most).map_or(bytes.len(), |most| most.min(bytes.len())) {
            0 => Err(unreadable(&std::io::ErrorKind::UnexpectedEof.into())),
            count => Ok(&bytes[..count]),
        }
    }

    /// Takes so many bytes of what [`Self::some`] has returned; returns the input, which stands behind them.
    pub(super) fn took(&mut self, count: usize) -> &mut R {
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.input.consume(count);
        &mut self.input
    }
}

fn kind(header: &Header, name: &[u8]) -> Result<MemberKind> {
    Ok(match header.entry_type() {
        // Before ustar, a slash at the end was what made a directory; readers differ on it.
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse if name.ends_with(b"/") => {
            return Err(bad(format!("`{}` is a file with the name of a directory", name.escape_ascii())));
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => MemberKind::Regular,
        EntryType::Directory => MemberKind::Directory,
        EntryType::Symlink => MemberKind::Symlink,
        EntryType::Link => MemberKind::Hardlink,
        EntryType::Fifo => MemberKind::Fifo,
        EntryType::Char | EntryType::Block => MemberKind::Device,
        other => {
            let letter = other.as_byte().escape_ascii();
            return Err(bad(format!("`{}` is of the unknown type `{letter}`", name.escape_ascii())));
        }
    })
}

/// Reads the size; one that needs more than 64 bits is not cut to them.
fn size(header: &Header) -> Result<u64> {
    let field = header.as_old().size;
    if field[0] & 0x80 != 0 && field[..4] != [0x80, 0, 0, 0] {
        return Err(bad("it holds a member of a negative or impossible size"));
    }
    number(header.entry_size())
}

fn id(word: &str, number: u64) -> Result<u32> {
    match u32::try_from(number) {
        // chown(2) reads the highest as "leave it as it is".
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(bad(format!("it holds the {word} {number}, which no file can have"))),
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % 512
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad("it holds two headers of one type for one member")),
    }
}

fn only_one(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match (gnu, pax) {
        (Some(_), Some(_)) => Err(bad("it holds a GNU and a PAX name for one member")),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}

/// A long name ends with a NUL; one in the middle is cut there by some readers.
fn without_nul(mut name: Vec<u8>) -> Result<Vec<u8>> {
    while name.last() == Some(&0) {
        name.pop();
    }
    if name.contains(&0) { Err(bad("it holds a name with a NUL character")) } else { Ok(name) }
}

/// Reads a number that not all who write archives know: to GNU tar and to Go nothing but NULs is 0.
fn blank(field: &[u8], read: std::io::Result<u64>) -> Result<u64> {
    if field.iter().all(|byte| *byte == 0) { Ok(0) } else { number(read) }
}

fn number<T>(read: std::io::Result<T>) -> Result<T> {
    read.map_err(|error| bad(format!("it holds a damaged header: {error}")))
}

fn unreadable(error: &std::io::Error) -> Error {
    match (error.raw_os_error(), error.kind()) {
        (Some(_), _) => Error::io("cannot be read", error),
        (None, std::io::ErrorKind::UnexpectedEof) => bad("it is truncated").with_hint("fetch it or pack it again"),
        (None, _) => bad(format!("it is damaged or too large: {error}")),
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
