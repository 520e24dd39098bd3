//! Where in a sparse file the bytes of its member belong: the maps of GNU tar, in its old format and in the three
//! of PAX (GNU tar manual, "Sparse Formats"). A map that two readers could read in two ways is refused.

use tar::GnuSparseHeader;

use crate::error::{Error, Kind, Result};

/// Pieces of one sparse file.
pub(super) const EXTENTS: usize = 4096;

/// A run of bytes of a file; what lies between two is a hole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// Where the pieces of a file are, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Map {
    extents: Vec<Extent>,
    end: u64,
    stored: u64,
}

impl Map {
    /// Adds pieces of the old format.
    ///
    /// # Errors
    /// Pieces that overlap, are too many, or begin where readers differ.
    pub(super) fn add_old(&mut self, blocks: &[GnuSparseHeader]) -> Result<()> {
        let number = |read: std::io::Result<u64>| read.map_err(|error| bad(&format!("has a damaged map: {error}")));
        blocks
            .iter()
            .filter(|block| !block.is_empty())
            .try_for_each(|block| self.add(number(block.offset())?, number(block.length())?))
    }

    fn add(&mut self, offset: u64, length: u64) -> Result<()> {
        // GNU tar reads each piece from the start of a block, others back to back.
        let ambiguous = length > 0 && !self.stored.is_multiple_of(512);
        if offset < self.end || ambiguous || self.extents.len() >= EXTENTS {
            return Err(bad("has an overlapping, unaligned or too long map"));
        }
        let wrong = || bad("has a piece beyond all bounds");
        self.end = offset.checked_add(length).ok_or_else(wrong)?;
        self.stored = self.stored.checked_add(length).ok_or_else(wrong)?;
        self.extents.push(Extent { offset, length });
        Ok(())
    }

    /// Returns the pieces of a file of `size` bytes, `stored` of which follow in the archive.
    ///
    /// # Errors
    /// A map that says otherwise.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Extent>> {
        match self.stored == stored && self.end <= size {
            true => Ok(self.extents),
            false => Err(bad("has a map that does not add up")),
        }
    }
}

/// What PAX records say of a sparse file.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// That of the member is made up.
    pub(super) name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    real_size: Option<u64>,
    count: Option<u64>,
    map: Option<Vec<u64>>,
    /// Of version 0.0, where they are records of their own: an offset, then a length.
    pieces: Vec<u64>,
}

/// What there is of the map before the contents.
pub(super) enum Known {
    /// All of it, and the size.
    All(Map, u64),
    /// The size: the map stands before the contents.
    Size(u64),
}

impl Sparse {
    /// Takes a record, `key` without `GNU.sparse.` in front; `number` reads its value.
    ///
    /// # Errors
    /// A record that is none of a sparse file, or a value that is none.
    pub(super) fn take(&mut self, key: &[u8], value: &[u8], number: &dyn Fn() -> Result<u64>) -> Result<()> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.major = Some(number()?),
            b"minor" => self.minor = Some(number()?),
            b"size" => self.size = Some(number()?),
            b"realsize" => self.real_size = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            b"map" => {
                let text = std::str::from_utf8(value).unwrap_or_default();
                let numbers = text.split(',').filter(|_| !text.is_empty()).map(|text| decimal(text.as_bytes()));
                let numbers: Option<Vec<u64>> = numbers.take(2 * EXTENTS + 1).collect();
                self.map = Some(numbers.ok_or_else(|| bad("has a damaged map"))?);
            }
            b"offset" | b"numbytes" => {
                let is_turn = self.pieces.len().is_multiple_of(2) == (key == b"offset");
                if !is_turn || self.pieces.len() > 2 * EXTENTS {
                    return Err(bad("has a damaged or too long map"));
                }
                self.pieces.push(number()?);
            }
            _ => return Err(bad(&format!("has the unknown record `{}`", key.escape_ascii()))),
        }
        Ok(())
    }

    /// Returns what the records say together.
    ///
    /// # Errors
    /// Records that do not go together.
    pub(super) fn known(self) -> Result<Known> {
        let unclear = || bad("has records that do not go together");
        let Self { major, minor, size, real_size, count, map, pieces, .. } = self;
        match (major, minor, size, real_size) {
            (Some(1), Some(0), None, Some(size)) if count.is_none() && map.is_none() && pieces.is_empty() => {
                Ok(Known::Size(size))
            }
            (None, None, Some(size), None) | (Some(0), Some(0 | 1), Some(size), None) => {
                let numbers = match map {
                    Some(map) if pieces.is_empty() => map,
                    Some(_) => return Err(unclear()),
                    None => pieces,
                };
                if !numbers.len().is_multiple_of(2) || u64::try_from(numbers.len() / 2).ok() != count {
                    return Err(bad("has a map that does not add up"));
                }
                filled(&numbers).map(|map| Known::All(map, size))
            }
            _ => Err(unclear()),
        }
    }
}

/// The map that stands before the contents: decimal numbers, a line each, the number of pieces first.
#[derive(Debug, Default)]
pub(super) struct Lines {
    numbers: Vec<u64>,
    begun: Vec<u8>,
}

impl Lines {
    /// Takes one block of it; returns the map when it is whole. What follows in that block is padding.
    ///
    /// # Errors
    /// Anything but such lines.
    pub(super) fn take(&mut self, block: &[u8]) -> Result<Option<Map>> {
        let wrong = || bad("has a damaged or too long map");
        for byte in block {
            if *byte != b'\n' {
                self.begun.push(*byte);
                if self.begun.len() > 20 {
                    return Err(wrong());
                }
                continue;
            }
            self.numbers.push(decimal(&std::mem::take(&mut self.begun)).ok_or_else(wrong)?);
            let count = self.numbers.first().and_then(|count| usize::try_from(*count).ok());
            let count = count.filter(|count| *count <= EXTENTS).ok_or_else(wrong)?;
            if self.numbers.len() == 1 + 2 * count {
                return filled(&self.numbers[1..]).map(Some);
            }
        }
        Ok(None)
    }
}

fn filled(numbers: &[u64]) -> Result<Map> {
    let mut map = Map::default();
    let (pairs, _) = numbers.as_chunks();
    for [offset, size] in pairs {
        map.add(*offset, *size)?;
    }
    Ok(map)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn bad(what: &str) -> Error {
    Error::new(Kind::Image, format!("it holds a sparse file that {what}")).with_hint("pack it without `--sparse`")
}
