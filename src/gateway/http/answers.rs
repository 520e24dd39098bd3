//! Follows the answers of a server, to learn whether it agrees to what a request asked for: another protocol, a tunnel.
//! It refuses nothing: where it cannot follow, nobody is believed to have agreed from then on.

use std::collections::VecDeque;

use httparse::{EMPTY_HEADER, Status};

use crate::gateway::http::body::{Body, Chunk, Chunks, MOST_FIELDS, Unreadable, body};
use crate::gateway::http::request::Asked;
use crate::gateway::told::LONGEST;

/// Requests that wait for their answers at once; who sends more is not followed any more.
const MOST: usize = 1024;

/// How far the answers of one connection have been read.
#[derive(Debug)]
pub struct Answers {
    at: At,
    /// What was asked and not answered yet.
    asked: VecDeque<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Head,
    Chunks(Chunks),
    /// It is not known where the next one begins.
    Lost,
}

/// What came from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes, also of those that come yet, are of answers.
    Go(u64),
    /// More have to come.
    More,
    /// Anything, until the end.
    Anything,
    /// That it agrees to what this asked for: what follows is that, in both directions.
    Agreed(Asked),
}

impl Answers {
    /// Returns those of a connection on which nothing was said yet.
    #[must_use]
    pub fn new() -> Self {
        Self { at: At::Head, asked: VecDeque::new() }
    }

    /// Returns whether it is unknown what the server answers.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.at == At::Lost
    }

    /// Follows no further.
    pub fn lose(&mut self) {
        *self = Self { at: At::Lost, asked: VecDeque::new() };
    }

    /// Takes note of a request that goes to the server.
    pub fn ask(&mut self, asked: Asked) {
        if self.asked.len() >= MOST {
            self.lose();
        }
        if !self.is_lost() {
            self.asked.push_back(asked);
        }
    }

    /// Returns whether no request waits for an answer of which anything would be learnt.
    #[must_use]
    pub fn are_settled(&self) -> bool {
        self.asked.is_empty()
    }

    /// Reads on, from the first byte that was not heard of yet.
    pub fn read(&mut self, bytes: &[u8]) -> Heard {
        let mut count = 0;
        loop {
            let rest = usize::try_from(count).ok().and_then(|count| bytes.get(count..)).unwrap_or_default();
            let heard = if rest.is_empty() { Ok(Heard::More) } else { self.step(rest) };
            match heard {
                Ok(Heard::Go(more)) => count += more,
                Ok(Heard::More) if count > 0 => return Heard::Go(count),
                Ok(Heard::More) if bytes.len() < LONGEST => return Heard::More,
                Ok(Heard::Agreed(asked)) => return Heard::Agreed(asked),
                Ok(Heard::More | Heard::Anything) | Err(Unreadable) => {
                    self.lose();
                    return Heard::Anything;
                }
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Heard, Unreadable> {
        match &mut self.at {
            At::Lost => Ok(Heard::Anything),
            At::Head => self.answer(&bytes[..bytes.len().min(LONGEST)]),
            At::Chunks(chunks) => match chunks.read(bytes)? {
                Chunk::Undecided => Ok(Heard::More),
                Chunk::Goes(count) => Ok(Heard::Go(count)),
                Chunk::Ends(count) => {
                    self.at = At::Head;
                    Ok(Heard::Go(count))
                }
            },
        }
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<Heard, Unreadable> {
        let mut fields = [EMPTY_HEADER; MOST_FIELDS];
        let mut answer = httparse::Response::new(&mut fields);
        let Status::Complete(length) = answer.parse(bytes).map_err(|_| Unreadable)? else { return Ok(Heard::More) };
        // What nobody asked for is the answer to nothing.
        let asked = *self.asked.front().ok_or(Unreadable)?;
        let code = answer.code.unwrap_or_default();
        if matches!(code, 100 | 102..=199) {
            return Ok(Heard::Go(length as u64));
        }
        self.asked.pop_front();
        match (code, asked) {
            (101, Asked::Upgrade) | (200..=299, Asked::Tunnel) => return Ok(Heard::Agreed(asked)),
            (101, _) => return Err(Unreadable),
            (204 | 304, _) | (_, Asked::Head) => return Ok(Heard::Go(length as u64)),
            _ => {}
        }
        match body(answer.headers, answer.version.unwrap_or(0))? {
            Body::Unsaid => Err(Unreadable),
            Body::Length(body) => Ok(Heard::Go(length as u64 + body)),
            Body::Chunked => {
                self.at = At::Chunks(Chunks::default());
                Ok(Heard::Go(length as u64))
            }
        }
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Heard};
    use crate::gateway::http::request::Asked::{self, Head, Something, Tunnel, Upgrade};

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n";

    /// Returns how many bytes were heard before the last thing, and that; every byte by itself.
    fn hear(asked: &[Asked], bytes: &[u8]) -> (usize, Heard) {
        let mut answers = Answers::new();
        asked.iter().for_each(|asked| answers.ask(*asked));
        let mut gone = 0;
        for end in 1..=bytes.len() {
            if gone >= end {
                continue;
            }
            match answers.read(&bytes[gone..end]) {
                Heard::Go(count) => gone += usize::try_from(count).unwrap(),
                Heard::More => {}
                last => return (gone, last),
            }
        }
        let mut at_once = Answers::new();
        asked.iter().for_each(|asked| at_once.ask(*asked));
        assert_eq!(at_once.read(bytes), if gone > 0 { Heard::Go(gone as u64) } else { Heard::More });
        assert_eq!(at_once.are_settled(), answers.are_settled());
        (gone, Heard::More)
    }

    #[test]
    fn a_server_agrees_in_answer_to_the_request_only() {
        for (asked, before) in [
            (&[Upgrade][..], ""),
            (&[Upgrade], "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
            (&[Something, Upgrade], OK),
            (&[Head, Upgrade], "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
            (&[Something, Upgrade], "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
            (&[Something, Upgrade], "HTTP/1.1 204 No Content\r\n\r\n"),
            (
                &[Something, Upgrade],
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\n",
            ),
            (&[Upgrade, Upgrade], OK),
            (&[Tunnel, Upgrade], "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"),
        ] {
            assert_eq!(
                hear(asked, [before, AGREED].concat().as_bytes()),
                (before.len(), Heard::Agreed(Upgrade)),
                "{before:?}"
            );
        }
        assert_eq!(hear(&[Tunnel], b"HTTP/1.1 200 OK\r\n\r\n").1, Heard::Agreed(Tunnel));
        // The body of an answer is no answer.
        let echo = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{AGREED}", AGREED.len());
        assert_eq!(hear(&[Something, Upgrade], echo.as_bytes()), (echo.len(), Heard::More));
        assert_eq!(hear(&[Upgrade], OK.as_bytes()), (OK.len(), Heard::More));
    }

    #[test]
    fn who_cannot_be_followed_never_agrees() {
        for text in [
            "220 hello\r\n",
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhi",
            AGREED,
            "HTTP/2 200\r\n\r\n",
        ] {
            assert_eq!(hear(&[Something, Upgrade], [text, AGREED].concat().as_bytes()).1, Heard::Anything, "{text:?}");
        }
        assert_eq!(hear(&[], OK.as_bytes()).1, Heard::Anything, "nobody asked");
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(super::LONGEST));
        let mut answers = Answers::new();
        answers.ask(Upgrade);
        assert_eq!(answers.read(endless.as_bytes()), Heard::Anything);
        assert!(answers.is_lost() && answers.are_settled());
        let mut answers = Answers::new();
        (0..=super::MOST).for_each(|_| answers.ask(Something));
        answers.ask(Upgrade);
        assert_eq!((answers.read(AGREED.as_bytes()), answers.asked.capacity()), (Heard::Anything, 0));
    }
}
