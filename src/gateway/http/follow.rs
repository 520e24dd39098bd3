//! Follows a connection of HTTP/1.x from request to request: which of its bytes are of a request that was judged. It has no
//! socket and keeps no bytes; what it cannot follow nobody else has to.

use crate::gateway::Refusal;
use crate::gateway::http::body::{Body, Chunk, Chunks};
use crate::gateway::http::request::{Asked, Head, empty_lines, head};

/// How far the requests of one connection have been read.
#[derive(Debug, Default)]
pub struct Follower {
    at: At,
    /// Whether what is behind this request depends on what the server says to it.
    asks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum At {
    /// Before a request.
    #[default]
    Head,
    /// In a body of chunks.
    Chunks(Chunks),
    /// Behind a request that asks for another protocol.
    Answer,
}

/// What may be done with the bytes that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// So many may go, also of those that come yet.
    Go(u64),
    /// More have to come before any may.
    More,
    /// The server has to answer before any may.
    Answer,
}

/// Judges a request by its head.
pub type Judge<'a> = &'a mut dyn FnMut(&Head) -> Result<(), Refusal>;

impl Follower {
    /// Reads on, from the first byte that may not go yet. However the bytes are cut, the same ones may go.
    ///
    /// # Errors
    /// Why nothing may go any more: what `judge` says, or that the bytes cannot be read.
    pub fn read(&mut self, bytes: &[u8], judge: Judge<'_>) -> Result<Next, Refusal> {
        let mut count = 0;
        loop {
            let rest = usize::try_from(count).ok().and_then(|count| bytes.get(count..)).unwrap_or_default();
            // Behind what came there may be more of the same to go, and nothing to read.
            let next = if rest.is_empty() && count > 0 { Ok(Next::More) } else { self.step(rest, judge) };
            match next {
                Ok(Next::Go(more)) => count += more,
                // What is right goes first; what is wrong is found again.
                _ if count > 0 => return Ok(Next::Go(count)),
                other => return other,
            }
        }
    }

    /// Returns whether what follows depends on what the server says.
    #[must_use]
    pub fn awaits(&self) -> bool {
        self.at == At::Answer
    }

    /// Has what follows be requests again: the server has answered, and stays with HTTP.
    pub fn answered(&mut self) {
        if self.at == At::Answer {
            self.at = At::Head;
        }
        self.asks = false;
    }

    fn step(&mut self, bytes: &[u8], judge: Judge<'_>) -> Result<Next, Refusal> {
        match &mut self.at {
            At::Head => self.request(bytes, judge),
            At::Answer => Ok(Next::Answer),
            At::Chunks(chunks) => match chunks.read(bytes).map_err(|_| Refusal::Unreadable)? {
                Chunk::Undecided => Ok(Next::More),
                Chunk::Goes(count) => Ok(Next::Go(count)),
                Chunk::Ends(count) => {
                    self.end();
                    Ok(Next::Go(count))
                }
            },
        }
    }

    fn request(&mut self, bytes: &[u8], judge: Judge<'_>) -> Result<Next, Refusal> {
        let empty = empty_lines(bytes);
        if empty > 0 {
            return Ok(Next::Go(empty as u64));
        }
        let Some(head) = head(bytes).map_err(|_| Refusal::Unreadable)? else { return Ok(Next::More) };
        judge(&head)?;
        self.asks = matches!(head.asked, Asked::Upgrade | Asked::Tunnel);
        let mut count = head.length as u64;
        match head.body {
            Body::Chunked => self.at = At::Chunks(Chunks::default()),
            Body::Unsaid => self.end(),
            Body::Length(length) => {
                count += length;
                self.end();
            }
        }
        Ok(Next::Go(count))
    }

    /// Behind a whole request.
    fn end(&mut self) {
        self.at = if self.asks { At::Answer } else { At::Head };
    }
}

#[cfg(test)]
mod tests {
    use super::{Follower, Head, Next};
    use crate::gateway::Refusal::{self, OtherName, Unreadable};
    use crate::gateway::told::Told;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    const EVIL: &str = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";

    fn judge(head: &Head) -> Result<(), Refusal> {
        match &head.told {
            Told::Names(names) if names.iter().any(|name| name.as_str() == "evil.example") => Err(OtherName),
            Told::Unreadable => Err(Unreadable),
            _ => Ok(()),
        }
    }

    /// Returns how many bytes went and how it ended, where each read sees what came up to the next cut.
    fn follow(bytes: &[u8], cuts: &[usize]) -> (usize, Result<Next, Refusal>) {
        let (mut follower, mut gone) = (Follower::default(), 0u64);
        let mut last = Ok(Next::More);
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            while let Some(rest) = usize::try_from(gone).ok().and_then(|gone| bytes[..cut].get(gone..))
                && !rest.is_empty()
            {
                last = follower.read(rest, &mut judge);
                match last {
                    Ok(Next::Go(count)) => gone += count,
                    Ok(Next::More | Next::Answer) => break,
                    Err(_) => return (usize::try_from(gone).unwrap(), last),
                }
            }
        }
        let left = gone < bytes.len() as u64;
        (usize::try_from(gone).unwrap().min(bytes.len()), if left { last } else { Ok(Next::More) })
    }

    #[test]
    fn requests_follow_each_other_however_long_they_are() {
        for text in [
            [GET, GET].concat(),
            [GET, "\r\n\n", GET].concat(),
            ["POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello", GET].concat(),
            ["PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", GET]
                .concat(),
            ["GET / HTTP/1.0\r\n\r\n", GET].concat(),
            "GET / HTTP/1.0\nHost: a.example\n\n".repeat(3),
        ] {
            assert_eq!(follow(text.as_bytes(), &[]), (text.len(), Ok(Next::More)), "{text:?}");
            let then = [&text, EVIL].concat();
            assert_eq!(follow(then.as_bytes(), &[]), (text.len(), Err(OtherName)), "{then:?}");
        }
    }

    #[test]
    fn a_body_is_no_request() {
        let length = EVIL.len();
        let text = format!("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {length}\r\n\r\n{EVIL}{GET}");
        assert_eq!(follow(text.as_bytes(), &[]), (text.len(), Ok(Next::More)));
        // Of what is shorter the last bytes are a request, that has a first letter only.
        let shorter = text.replace(&format!(": {length}"), &format!(": {}", length - 5));
        assert_eq!(follow(shorter.as_bytes(), &[]), (text.len() - GET.len() - 5, Err(Unreadable)));
    }

    #[test]
    fn what_cannot_be_followed_is_refused_before_its_first_byte() {
        for head in [
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nX: y\r\n Content-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nX: y\rContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nX: y\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\nContent-Length: 5\n\nhello",
            "CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "\x16\x03\x01 a hello of TLS",
            " GET / HTTP/1.1\r\n\r\n",
            "GET /\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n",
        ] {
            assert_eq!(follow([GET, head].concat().as_bytes(), &[]), (GET.len(), Err(Unreadable)), "{head:?}");
        }
        let endless = format!("{GET}GET / HTTP/1.1\r\nX: {}", "x".repeat(crate::gateway::told::LONGEST));
        assert_eq!(follow(endless.as_bytes(), &[]), (GET.len(), Err(Unreadable)));
    }

    #[test]
    fn behind_an_upgrade_nothing_goes_before_the_answer() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
            "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
            "POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let text = [head, GET].concat();
            assert_eq!(follow(text.as_bytes(), &[]), (head.len(), Ok(Next::Answer)), "{head:?}");
            let mut follower = Follower::default();
            assert_eq!(follower.read(head.as_bytes(), &mut judge), Ok(Next::Go(head.len() as u64)));
            follower.answered();
            assert_eq!(follower.read(EVIL.as_bytes(), &mut judge), Err(OtherName), "{head:?}");
        }
        let unasked = "GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(follow([unasked, EVIL].concat().as_bytes(), &[]), (unasked.len(), Err(OtherName)));
    }

    #[test]
    fn however_it_is_cut_the_same_bytes_go() {
        let parts = [
            GET,
            EVIL,
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 7\r\n\r\n",
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "0\r\nX: y\r\n\r\n",
            "\r\n",
            "\n",
            "\r",
            "x",
        ];
        let mut ended = [0; 4];
        arbtest::arbtest(|input| {
            let mut bytes = Vec::new();
            for _ in 0..input.int_in_range(1..=8)? {
                bytes.extend(input.choose(&parts)?.as_bytes());
            }
            if input.ratio(1, 4)? {
                let at = input.choose_index(bytes.len())?;
                bytes[at] = input.arbitrary()?;
            }
            let mut cuts = Vec::new();
            for _ in 0..input.int_in_range(1..=6)? {
                cuts.push(input.int_in_range(0..=bytes.len())?);
            }
            cuts.sort_unstable();
            let whole = follow(&bytes, &[]);
            let every: Vec<_> = (0..bytes.len()).collect();
            assert_eq!(follow(&bytes, &cuts), whole, "{} cut at {cuts:?}", bytes.escape_ascii());
            assert_eq!(follow(&bytes, &every), whole, "{} byte by byte", bytes.escape_ascii());
            ended[match whole.1 {
                Ok(Next::Answer) => 0,
                Ok(_) => 1,
                Err(OtherName) => 2,
                Err(_) => 3,
            }] += 1;
            Ok(())
        })
        .budget_ms(1000);
        assert!(ended.iter().all(|count| *count > 0), "{ended:?}");
    }
}
