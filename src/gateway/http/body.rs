//! How long the body of an HTTP message is, by its head, and where one in chunks ends (RFC 9112, 6 and 7). What two readers
//! may read in two ways is not read at all: a difference of one byte makes a request of what is none.

use httparse::{EMPTY_HEADER, Header, Status};

use crate::gateway::told::LONGEST;

/// The most fields that a head or a trailer may have.
pub(crate) const MOST_FIELDS: usize = 128;
/// The most that the line before a chunk may have: its size, and extensions that nobody sends.
const LONGEST_LINE: usize = 256;
/// Digits of the size of a chunk, and of a length: so that no reader has too few bits for it.
const LONGEST_SIZE: usize = 15;
const LONGEST_LENGTH: usize = 18;

/// Something that cannot be read, or not by everybody as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// What a head says of the body behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Nothing: a request has none then, and an answer goes on until its end.
    Unsaid,
    Length(u64),
    Chunked,
}

/// Reads what the fields of a message of HTTP/1.`minor` say of its body.
pub(crate) fn body(fields: &[Header<'_>], minor: u8) -> Result<Body, Unreadable> {
    let length = only(fields, "content-length")?;
    let coding = only(fields, "transfer-encoding")?;
    match (length, coding) {
        (None, None) => Ok(Body::Unsaid),
        (Some(digits), None) => Ok(Body::Length(number(digits, (10, LONGEST_LENGTH))?)),
        (None, Some(coding)) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Ok(Body::Chunked),
        _ => Err(Unreadable),
    }
}

/// Returns the value of a field that may stand there once.
fn only<'h>(fields: &[Header<'h>], name: &str) -> Result<Option<&'h [u8]>, Unreadable> {
    let mut named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    let first = named.next().map(|field| field.value.trim_ascii());
    if named.next().is_none() { Ok(first) } else { Err(Unreadable) }
}

fn number(digits: &[u8], (radix, most): (u32, usize)) -> Result<u64, Unreadable> {
    let are_digits = digits.iter().all(|byte| char::from(*byte).is_digit(radix));
    let text = str::from_utf8(digits).ok().filter(|_| are_digits && digits.len() <= most);
    text.and_then(|text| u64::from_str_radix(text, radix).ok()).ok_or(Unreadable)
}

/// How the lines of a head end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// All with CR LF, as they should.
    Pairs,
    /// All with LF alone. Not every reader takes that for the end of a line.
    Alone,
    Both,
}

/// Returns how the lines of a head end that has no CR but at the end of a line.
pub(crate) fn ends(head: &[u8]) -> Ends {
    let count = |wanted: u8| head.iter().filter(|byte| **byte == wanted).count();
    match (count(b'\r'), count(b'\n')) {
        (0, _) => Ends::Alone,
        (pairs, all) if pairs == all => Ends::Pairs,
        _ => Ends::Both,
    }
}

/// Where in a body of chunks the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Chunks {
    /// In the line before a chunk.
    #[default]
    Line,
    /// Behind the bytes of a chunk.
    Behind,
    /// Behind the last chunk, which is empty.
    Trailer,
}

/// How far a body goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// More have to come.
    Undecided,
    /// So many bytes are of the body, also those that did not come yet.
    Goes(u64),
    /// With so many bytes it ends.
    Ends(u64),
}

impl Chunks {
    /// Reads on, from `bytes`.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Chunk, Unreadable> {
        match self {
            Self::Line => self.line(bytes),
            Self::Behind => match bytes {
                [b'\r', b'\n', ..] => {
                    *self = Self::Line;
                    Ok(Chunk::Goes(2))
                }
                [] | [b'\r'] => Ok(Chunk::Undecided),
                _ => Err(Unreadable),
            },
            Self::Trailer => trailer(&bytes[..bytes.len().min(LONGEST)]),
        }
    }

    fn line(&mut self, bytes: &[u8]) -> Result<Chunk, Unreadable> {
        let bytes = &bytes[..bytes.len().min(LONGEST_LINE)];
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() < LONGEST_LINE { Ok(Chunk::Undecided) } else { Err(Unreadable) };
        };
        let line = bytes[..end].strip_suffix(b"\r").ok_or(Unreadable)?;
        let (digits, extension) = line.split_at(line.iter().position(|byte| *byte == b';').unwrap_or(line.len()));
        if !extension.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(Unreadable);
        }
        let size = number(digits, (16, LONGEST_SIZE))?;
        *self = if size == 0 { Self::Trailer } else { Self::Behind };
        Ok(Chunk::Goes(size + end as u64 + 1))
    }
}

/// Reads the fields behind the last chunk. Some servers add them to those of the head, so none may say what only a head
/// may (RFC 9110, 6.5.1).
fn trailer(bytes: &[u8]) -> Result<Chunk, Unreadable> {
    const OF_HEADS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    match httparse::parse_headers(bytes, &mut fields) {
        Ok(Status::Partial) if bytes.len() < LONGEST => Ok(Chunk::Undecided),
        Ok(Status::Complete((length, fields))) => {
            let of_a_head = |field: &Header<'_>| OF_HEADS.iter().any(|name| field.name.eq_ignore_ascii_case(name));
            if ends(&bytes[..length]) != Ends::Pairs || fields.iter().any(of_a_head) {
                return Err(Unreadable);
            }
            Ok(Chunk::Ends(length as u64))
        }
        Ok(Status::Partial) | Err(_) => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::{Body, Chunk, Chunks, Unreadable, body};

    fn of(fields: &[(&str, &str)], minor: u8) -> Result<Body, Unreadable> {
        let fields: Vec<_> = fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        body(&fields, minor)
    }

    #[test]
    fn a_body_has_one_length_or_is_in_chunks() {
        assert_eq!(of(&[("Host", "a.example")], 1), Ok(Body::Unsaid));
        assert_eq!(of(&[("Content-Length", "0")], 0), Ok(Body::Length(0)));
        assert_eq!(of(&[("content-length", " 0012\t")], 1), Ok(Body::Length(12)));
        assert_eq!(of(&[("Transfer-Encoding", "Chunked")], 1), Ok(Body::Chunked));
    }

    #[test]
    fn what_two_readers_may_read_in_two_ways_is_no_length() {
        for value in ["", "+1", "-1", "0x1", "1, 1", "1 1", "1,", "a", "9999999999999999999", "18446744073709551617"] {
            assert_eq!(of(&[("Content-Length", value)], 1), Err(Unreadable), "{value:?}");
        }
        for value in
            ["", "identity", "gzip, chunked", "chunked, chunked", "chunked,", "xchunked", "chunked;q=1", "\"chunked\""]
        {
            assert_eq!(of(&[("Transfer-Encoding", value)], 1), Err(Unreadable), "{value:?}");
        }
        let (one, chunked) = (("Content-Length", "1"), ("Transfer-Encoding", "chunked"));
        for (fields, minor) in [
            (&[one, one][..], 1),
            (&[chunked, chunked], 1),
            (&[one, chunked], 1),
            (&[chunked, one], 1),
            (&[chunked], 0),
        ] {
            assert_eq!(of(fields, minor), Err(Unreadable), "{fields:?}");
        }
    }

    /// Returns how many bytes are of the body, if all of it came.
    fn length(bytes: &[u8]) -> Result<Option<u64>, Unreadable> {
        let (mut chunks, mut at) = (Chunks::default(), 0);
        loop {
            let rest = usize::try_from(at).unwrap().min(bytes.len());
            match chunks.read(&bytes[rest..])? {
                Chunk::Undecided => return Ok(None),
                Chunk::Goes(count) => at += count,
                Chunk::Ends(count) => return Ok(Some(at + count)),
            }
        }
    }

    #[test]
    fn chunks_end_with_an_empty_one_and_a_trailer() {
        for text in [
            "0\r\n\r\n",
            "000\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "1a\r\nabcdefghijklmnopqrstuvwxyz\r\n00F\r\n123456789012345\r\n0\r\n\r\n",
            "5;name=value; other=\"x\"\r\nhello\r\n0;last\r\n\r\n",
            "5\r\n\r\n0\r\n\r\n0\r\nETag: x\r\nX: y\r\n\r\n",
        ] {
            let more = [text.as_bytes(), b"GET"].concat();
            assert_eq!(length(&more), Ok(Some(text.len() as u64)), "{text:?}");
            for end in 0..text.len() {
                assert_eq!(length(&text.as_bytes()[..end]), Ok(None), "{end} of {text:?}");
            }
        }
    }

    #[test]
    fn chunks_that_two_readers_may_read_in_two_ways_are_refused() {
        for text in [
            "\r\n",
            "g\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-0\r\n\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5 ;x\r\nhello\r\n",
            ";x\r\n",
            "5\nhello\r\n",
            "5\rhello\r\n",
            "5;a\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;\0\r\nhello\r\n",
            "5\r\nhello\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\rx",
            "1234567890123456\r\n",
            "0000000000000000\r\n\r\n",
            "0\r\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\r\n\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: y\r\n z\r\n\r\n",
            "0\r\nX: y\rz\r\n\r\n",
            "0\r\nhOsT: evil.example\r\n\r\n",
            "0\r\nContent-Length: 5\r\n\r\n",
            "0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "0\r\nConnection: close\r\n\r\n",
        ] {
            assert_eq!(length(text.as_bytes()), Err(Unreadable), "{text:?}");
        }
        let long = format!("5;{}\r\nhello\r\n", "x".repeat(super::LONGEST_LINE));
        assert_eq!(length(long.as_bytes()), Err(Unreadable));
        let endless = format!("0\r\nX: {}", "x".repeat(super::LONGEST));
        assert_eq!(length(endless.as_bytes()), Err(Unreadable));
    }
}
