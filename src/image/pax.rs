//! The records of a PAX extended header, pax(1): read strictly, because two readers
//! that disagree on them see two archives (RUSTSEC-2026-0068). Nothing is skipped unread.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::image::pack;
use crate::image::sparse::Sparse;
use crate::sys::file::Time;

/// How records of a sparse file begin.
const SPARSE: &[u8] = b"GNU.sparse.";

/// What the records say about the next member.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) time: Option<Time>,
    pub(super) sparse: Option<Sparse>,
    /// Those in `user.` that are not overlayfs's own, by name.
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// How many attributes were left out.
    pub(super) other_attributes: u64,
}

/// Returns the size of a member whose first header says `first` and whose records say `second`; `None` where two readers
/// could see two archives (CVE-2025-62518). The first one has eleven octal digits: what needs more it cannot say.
pub(super) fn size(first: u64, second: Option<u64>) -> Option<u64> {
    const MOST: u64 = (1 << 33) - 1;
    match second {
        Some(second) if second > MOST || second == first => Some(second),
        Some(_) => None,
        None => Some(first),
    }
}

/// Reads the header of one member.
///
/// # Errors
/// A malformed record, a record twice, or one that changes how the archive is read and
/// is not understood here.
pub(super) fn local(data: &[u8]) -> Result<Pax> {
    let mut pax = Pax::default();
    let (records, pieces) = records(data)?;
    for (key, value) in records.into_iter().chain(pieces) {
        match key {
            b"path" => pax.path = Some(value.to_vec()),
            b"linkpath" => pax.link = Some(value.to_vec()),
            b"size" => pax.size = Some(number(key, value)?),
            b"uid" => pax.uid = Some(number(key, value)?),
            b"gid" => pax.gid = Some(number(key, value)?),
            b"mtime" => pax.time = Some(time(value)?),
            b"atime" | b"ctime" | b"uname" | b"gname" | b"comment" | b"charset" | b"hdrcharset" => {}
            _ if key.starts_with(SPARSE) => {
                let sparse = pax.sparse.get_or_insert_default();
                sparse.take(&key[SPARSE.len()..], value, &|| number(key, value))?;
            }
            _ => match key.strip_prefix(b"SCHILY.xattr.") {
                Some(name) if is_kept(name) => pax.attributes.push((name.to_vec(), value.to_vec())),
                Some(_) => pax.other_attributes += 1,
                // POSIX gives names with a dot to the vendors and keeps the others.
                None if key.contains(&b'.') => {}
                None => return Err(bad(format!("its PAX record `{}` is unknown", key.escape_ascii()))),
            },
        }
    }
    Ok(pax)
}

/// Checks a header that holds for all members that follow; git-archive(1) writes its
/// commit into one.
///
/// # Errors
/// A malformed record, or one that is more than a comment.
pub(super) fn global(data: &[u8]) -> Result<()> {
    let (records, pieces) = records(data)?;
    match records.keys().chain(pieces.first().map(|(key, _)| key)).find(|key| **key != b"comment") {
        Some(key) => Err(bad(format!("its global PAX record `{}` is not supported", key.escape_ascii()))),
        None => Ok(()),
    }
}

/// An archive may name what no file can have.
fn is_kept(name: &[u8]) -> bool {
    pack::is_kept(name) && name.len() <= 255 && !name.contains(&0)
}

/// Records by their keys, and those that may come more than once.
type Records<'a> = (BTreeMap<&'a [u8], &'a [u8]>, Vec<(&'a [u8], &'a [u8])>);

/// Returns the records, and those of a sparse file that may come more than once, in order.
fn records(mut data: &[u8]) -> Result<Records<'_>> {
    let (mut records, mut pieces) = (BTreeMap::new(), Vec::new());
    while !data.is_empty() {
        let (key, value, rest) = record(data).ok_or_else(|| bad("it holds a malformed PAX record"))?;
        if matches!(key.strip_prefix(SPARSE), Some(b"offset" | b"numbytes")) {
            pieces.push((key, value));
        } else if records.insert(key, value).is_some() {
            return Err(bad(format!("it holds the PAX record `{}` twice for one member", key.escape_ascii())));
        }
        data = rest;
    }
    Ok((records, pieces))
}

/// Takes one `LENGTH KEY=VALUE\n`; LENGTH counts the whole record.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let fields = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = fields.iter().position(|byte| *byte == b'=')?;
    (equals > 0).then_some((&fields[..equals], &fields[equals + 1..], rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn number(key: &[u8], value: &[u8]) -> Result<u64> {
    decimal(value).ok_or_else(|| {
        bad(format!("its PAX record `{}` is not a number: `{}`", key.escape_ascii(), value.escape_ascii()))
    })
}

/// Reads `[-]SECONDS[.FRACTION]`; beyond the ninth digit the fraction is cut.
fn time(value: &[u8]) -> Result<Time> {
    let parse = || -> Option<Time> {
        let (negative, text) = match value.strip_prefix(b"-") {
            Some(rest) => (-1, rest),
            None => (1, value),
        };
        let mut parts = text.splitn(2, |byte| *byte == b'.');
        let whole = i64::try_from(decimal(parts.next()?)?).ok()?;
        let mut nanoseconds = 0;
        let fraction = parts.next().unwrap_or_default();
        for index in 0..9 {
            let digit = fraction.get(index).copied().unwrap_or(b'0');
            nanoseconds = nanoseconds * 10 + char::from(digit).to_digit(10)?;
        }
        Some(match (negative, nanoseconds) {
            (1, _) => Time { seconds: whole, nanoseconds },
            (_, 0) => Time { seconds: -whole, nanoseconds: 0 },
            (_, _) => Time { seconds: -whole - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    };
    parse().ok_or_else(|| bad(format!("its PAX record `mtime` is not a time: `{}`", value.escape_ascii())))
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn what_the_first_header_cannot_say_the_second_does() {
        const GIB_8: u64 = 8 << 30;
        assert_eq!([size(0, Some(GIB_8)), size(GIB_8 - 1, Some(GIB_8))], [Some(GIB_8); 2]);
        assert_eq!([size(0, Some(GIB_8 - 1)), size(5, None), size(5, Some(5))], [None, Some(5), Some(5)]);
    }
}
