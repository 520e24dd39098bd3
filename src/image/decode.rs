//! The bytes of an archive file, hashed, counted and decompressed in one read. It
//! never starts a program to decompress and never trusts a file's name.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::error::{Error, Kind, Result};
use crate::image::Bounds;
use crate::image::digest::Digest;
use crate::sys::watch::asked_to_end;

/// The logarithm of the memory that the sender of an archive may claim for the window of a decoder: 128 MiB, as
/// `zstd` takes without being told to.
const WINDOW_LOG: u32 = 27;
/// `xz -9` has a dictionary of 64 MiB, and the decoder keeps more than that.
const XZ_MEMORY_KIB: u32 = 192 << 10;
const BUFFER: usize = 256 << 10;

/// Where the packed bytes of an archive are: a file, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) file: &'a File,
    pub(super) offset: u64,
    pub(super) length: u64,
}

impl<'a> Packed<'a> {
    /// Returns a reader from the start; `read` is kept up to date.
    pub(super) fn reader(&self, read: &'a AtomicU64) -> Stored<'a> {
        Stored {
            file: self.file,
            at: self.offset,
            end: self.offset.saturating_add(self.length),
            hash: Sha256::new(),
            read,
        }
    }
}

/// The bytes as stored: each goes through the hash once.
pub(super) struct Stored<'a> {
    file: &'a File,
    at: u64,
    end: u64,
    hash: Sha256,
    read: &'a AtomicU64,
}

impl Stored<'_> {
    /// Returns the digest of all that was read.
    pub(super) fn digest(self) -> Digest {
        Digest::finish(self.hash)
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if asked_to_end().is_some() {
            return Err(io::Error::other("the reading was canceled"));
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..left], self.at)?;
        if count == 0 && left > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.hash.update(&buffer[..count]);
        let count64 = u64::try_from(count).unwrap_or(u64::MAX);
        self.at += count64;
        self.read.fetch_add(count64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Returns a buffered reader of the packed bytes.
pub(super) fn buffered(packed: Stored<'_>) -> BufReader<Stored<'_>> {
    BufReader::with_capacity(BUFFER, packed)
}

/// Returns a reader of the tar inside, bounded as `bounds` says.
///
/// # Errors
/// A file that begins like no archive that is read here.
pub(super) fn unpacked<'a>(
    source: &'a mut BufReader<Stored<'_>>,
    read: &'a AtomicU64,
    bounds: &Bounds,
) -> Result<Unpacked<'a>> {
    let start = source.fill_buf().map_err(|error| Error::io("cannot be read", &error))?;
    let inner: Box<dyn Read + 'a> = match Format::of(start)? {
        Format::Plain => Box::new(source),
        Format::Gzip => Box::new(Gzip::Between(source)),
        Format::Zstd => Box::new(zstd(source)?),
        Format::Xz => Box::new(XzReader::new_mem_limit(source, true, XZ_MEMORY_KIB)),
    };
    Ok(Unpacked { inner, packed: read, count: 0, bounds: *bounds })
}

/// Returns whether a file that begins so has to be unpacked.
///
/// # Errors
/// A file that begins like no archive that is read here.
pub(super) fn is_packed(start: &[u8]) -> Result<bool> {
    Ok(!matches!(Format::of(start)?, Format::Plain))
}

enum Format {
    Plain,
    Gzip,
    Zstd,
    Xz,
}

impl Format {
    /// Tells the format by the first bytes: RFC 1952, RFC 8878 (also a skippable frame), the
    /// .xz file format 1.2.
    fn of(start: &[u8]) -> Result<Self> {
        const OTHERS: [(&[u8], &str); 5] = [
            (b"BZh", "a bzip2 file"),
            (b"PK\x03\x04", "a zip file"),
            (b"7z\xbc\xaf\x27\x1c", "a 7-zip file"),
            (b"LZIP", "an lzip file"),
            (b"\x04\x22\x4d\x18", "an lz4 file"),
        ];
        match start {
            [] => return Err(Error::new(Kind::Image, "is empty")),
            [0x1f, 0x8b, ..] => return Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Ok(Self::Xz),
            _ => {}
        }
        match OTHERS.iter().find(|(magic, _)| start.starts_with(magic)) {
            Some((_, name)) => Err(Error::new(Kind::Image, format!("is {name}"))
                .with_hint("pack it as tar, plain or compressed with gzip, zstd or xz")),
            None => Ok(Self::Plain),
        }
    }
}

/// The bytes of the tar, counted against the bounds.
pub(super) struct Unpacked<'a> {
    inner: Box<dyn Read + 'a>,
    packed: &'a AtomicU64,
    count: u64,
    bounds: Bounds,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count = self.count.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        // Headers and padding come on top of the contents, which are counted where they are placed.
        if self.count > self.bounds.unpacked.saturating_mul(2) {
            return Err(io::Error::other(format!("it unpacks to more than {} bytes", self.bounds.unpacked)));
        }
        // Zeros at the start shrink a thousandfold in honest archives too.
        let ratio = self.bounds.ratio;
        if self.count > self.bounds.unpacked / 64
            && self.count > self.packed.load(Ordering::Relaxed).saturating_mul(ratio)
        {
            return Err(io::Error::other(format!("it unpacks to more than {ratio} times its size")));
        }
        Ok(count)
    }
}

/// All members of a gzip file. What follows the last one may be zeros, as tapes have them; flate2's own reader
/// of many members takes anything for the start of one more and calls the file cut short.
enum Gzip<R> {
    Between(R),
    InMember(Box<GzDecoder<R>>),
    End,
}

impl<R: BufRead> Gzip<R> {
    fn next_member(mut source: R) -> io::Result<Self> {
        loop {
            let rest = source.fill_buf()?;
            let zeros = rest.iter().take_while(|byte| **byte == 0).count();
            match rest.get(zeros) {
                Some(0x1f) if zeros == 0 => return Ok(Self::InMember(Box::new(GzDecoder::new(source)))),
                Some(_) => return Err(io::Error::other("there is something after its compressed data")),
                None if rest.is_empty() => return Ok(Self::End),
                None => source.consume(zeros),
            }
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            *self = match std::mem::replace(self, Self::End) {
                Self::End => return Ok(0),
                Self::Between(source) => Self::next_member(source)?,
                Self::InMember(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => Self::Between((*decoder).into_inner()),
                    count => {
                        *self = Self::InMember(decoder);
                        return Ok(count);
                    }
                },
            };
        }
    }
}

/// Returns a reader of all frames of a zstd stream, of which some may be there to be skipped.
fn zstd<R: BufRead>(source: R) -> Result<ZstdDecoder<'static, R>> {
    let broken = |error| Error::io("there is no zstd decoder", &error).with_kind(Kind::Host);
    let mut decoder = ZstdDecoder::with_buffer(source).map_err(broken)?;
    decoder.window_log_max(WINDOW_LOG).map_err(broken)?;
    Ok(decoder)
}
