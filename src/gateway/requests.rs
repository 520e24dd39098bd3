//! The requests of a stream that began with one: what is relayed goes as far as they were judged, and until the server agrees
//! to something else. What is not judged yet stays with its socket, so it takes no memory here.

use crate::gateway::Refusal;
use crate::gateway::flow::{Flow, Side, Wait};
use crate::gateway::http::answers::{Answers, Heard};
use crate::gateway::http::follow::{Follower, Next};
use crate::gateway::http::request::{Asked, Head};
use crate::gateway::means::Means;
use crate::sys::{Errno, socket};

/// How long the beginning of a hello or a request may stand without its end.
pub const HOLD: u64 = 10_000_000_000;

/// The requests of one stream, and their answers.
#[derive(Debug)]
pub struct Requests {
    follower: Follower,
    answers: Answers,
    /// What the server has of the first one already.
    word: Vec<u8>,
    /// Until when what stands there may stand without its end.
    until: Option<u64>,
}

/// Why a stream does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Refused(Refusal),
    Broken(Errno),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Broken(errno)
    }
}

/// Whether a stream is of requests still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    Http,
    /// The server has agreed to something else.
    Other,
    /// The server says that there is a tunnel, of which this is the beginning; not every server means it.
    Tunnel,
}

/// Judges a request by its head.
pub type Agree<'a> = &'a dyn Fn(&Head) -> Result<(), Refusal>;

/// One end, and what it says.
pub type Said<'a> = (&'a mut Side, &'a mut Flow);

impl Requests {
    /// Returns those of a stream whose first request came as far as it takes to tell, of which the server has `word`; from
    /// now on nothing goes before [`Requests::look`] lets it.
    #[must_use]
    pub fn new(word: Vec<u8>, (up, down): (&mut Flow, &mut Flow)) -> Self {
        let mut answers = Answers::new();
        up.bound(Some(0));
        // Who speaks first speaks of something else.
        if down.has_begun() {
            answers.lose()
        } else {
            down.bound(Some(0))
        }
        Self { follower: Follower::default(), answers, word, until: None }
    }

    /// Looks at what came from both, and lets go what may.
    ///
    /// # Errors
    /// Why the stream ends.
    pub fn look(
        &mut self,
        (client, up): Said<'_>,
        (server, down): Said<'_>,
        (judge, means): (Agree<'_>, &mut Means),
    ) -> Result<Spoken, Trouble> {
        let spoken = self.hear((server, down), means)?;
        if spoken != Spoken::Http {
            up.bound(None);
            return Ok(spoken);
        }
        self.judge((client, up), (judge, means))?;
        if self.answers.is_lost() {
            down.bound(None);
        }
        Ok(Spoken::Http)
    }

    /// Returns what is waited for besides the sockets, when all has gone that may.
    #[must_use]
    pub fn wait(&self, [(client, up), (server, down)]: [(&Side, &Flow); 2]) -> Wait {
        let goes_on = |side: &Side, flow: &Flow| side.readable && flow.is_at_bound() && !flow.is_stuck();
        if goes_on(server, down) || goes_on(client, up) && !self.awaits() {
            return Wait::Turn;
        }
        self.until.map_or(Wait::Sockets, Wait::Until)
    }

    /// Whether the client is held back until the server has answered.
    fn awaits(&self) -> bool {
        self.follower.awaits() && !self.answers.are_settled()
    }

    /// Looks at what the server answers. Where it breaks off or cannot be followed it is heard as it is.
    fn hear(&mut self, (server, down): Said<'_>, means: &mut Means) -> Result<Spoken, Trouble> {
        if !down.is_at_bound() || !server.readable {
            return Ok(Spoken::Http);
        }
        let mut ended = server.urgent;
        loop {
            let came = match socket::peek(&server.socket, &mut means.scratch) {
                Err(Errno::EAGAIN) => {
                    server.readable = false;
                    return Ok(Spoken::Http);
                }
                came => came?,
            };
            match self.answers.read(&means.scratch[..came]) {
                Heard::Go(count) => {
                    down.bound(Some(count));
                    return Ok(Spoken::Http);
                }
                Heard::Agreed(asked) => {
                    down.bound(None);
                    return Ok(if asked == Asked::Tunnel { Spoken::Tunnel } else { Spoken::Other });
                }
                Heard::More if came > 0 && !ended => {
                    // More may have come before the end, after this was read.
                    ended = socket::peer_ended(&server.socket);
                    if !ended {
                        server.readable = false;
                        return Ok(Spoken::Http);
                    }
                }
                Heard::More | Heard::Anything => {
                    self.answers.lose();
                    return Ok(Spoken::Http);
                }
            }
        }
    }

    /// Looks at what the client says, and lets go what was judged.
    fn judge(&mut self, (client, up): Said<'_>, (judge, means): (Agree<'_>, &mut Means)) -> Result<(), Trouble> {
        if self.until.is_some_and(|until| means.now >= until) || client.urgent {
            // Of urgent data, which no HTTP has, each reader makes something else.
            return Err(Trouble::Refused(Refusal::Unreadable));
        }
        if !up.is_at_bound() || !client.readable {
            return Ok(());
        }
        let said = self.word.len();
        let mut ended = false;
        loop {
            if self.answers.are_settled() {
                self.follower.answered();
            }
            means.scratch[..said].copy_from_slice(&self.word);
            let came = match socket::peek(&client.socket, &mut means.scratch[said..]) {
                Err(Errno::EAGAIN) => {
                    client.readable = false;
                    return Ok(());
                }
                Ok(0) => {
                    up.bound(None);
                    return Ok(());
                }
                came => came?,
            };
            let answers = &mut self.answers;
            let mut judged = |head: &Head| judge(head).map(|()| answers.ask(head.asked));
            match self.follower.read(&means.scratch[..said + came], &mut judged).map_err(Trouble::Refused)? {
                Next::Go(count) => {
                    up.bound(Some(count.saturating_sub(said as u64)));
                    self.word = Vec::new();
                    self.until = None;
                    return Ok(());
                }
                Next::Answer => return Ok(()),
                Next::More if ended => return Err(Trouble::Refused(Refusal::Unreadable)),
                // More may have come before the end, after this was read.
                Next::More if socket::peer_ended(&client.socket) => ended = true,
                Next::More => {
                    client.readable = false;
                    self.until.get_or_insert(means.now + HOLD);
                    return Ok(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use super::{HOLD, Requests, Spoken, Trouble};
    use crate::gateway::Refusal;
    use crate::gateway::flow::{Flow, Side, Wait};
    use crate::gateway::http::request::Head;
    use crate::gateway::means::Means;

    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";

    /// A stream with both its peers.
    struct Trial {
        client: UnixStream,
        server: UnixStream,
        sides: [Side; 2],
        flows: [Flow; 2],
        requests: Requests,
        means: Means,
    }

    impl Trial {
        fn new() -> Self {
            let ((client, one), (server, other)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
            let sides = [one, other].map(|socket| {
                socket.set_nonblocking(true).unwrap();
                Side { socket: socket.into(), readable: true, writable: true, ended: false, urgent: false }
            });
            let mut flows = [Flow::default(), Flow::default()];
            let [up, down] = &mut flows;
            let requests = Requests::new(Vec::new(), (up, down));
            Self { client, server, sides, flows, requests, means: Means::new(0) }
        }

        /// Has a turn at `now`, after something came from both.
        fn turn(&mut self, now: u64) -> Result<(Spoken, Wait), Trouble> {
            self.means.now = now;
            let ([client, server], [up, down]) = (&mut self.sides, &mut self.flows);
            (client.readable, server.readable) = (true, true);
            let judge = |_: &Head| Ok(());
            let spoken = self.requests.look((client, up), (server, down), (&judge, &mut self.means))?;
            down.carry(server, client, (&mut self.means, None))?;
            up.carry(client, server, (&mut self.means, None))?;
            Ok((spoken, self.requests.wait([(client, up), (server, down)])))
        }

        fn carried(&self) -> [u64; 2] {
            self.flows.each_ref().map(Flow::carried)
        }
    }

    #[test]
    fn a_beginning_stands_for_a_while_and_silence_for_ever() {
        let mut trial = Trial::new();
        trial.client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(trial.turn(0), Ok((Spoken::Http, Wait::Turn)));
        assert_eq!(trial.turn(0), Ok((Spoken::Http, Wait::Sockets)));
        assert_eq!(trial.turn(9 * HOLD), Ok((Spoken::Http, Wait::Sockets)), "nothing stands there");
        trial.client.write_all(b"GET / HT").unwrap();
        assert_eq!(trial.turn(9 * HOLD), Ok((Spoken::Http, Wait::Until(10 * HOLD))));
        trial.client.write_all(b"TP/1.0\r\n").unwrap();
        assert_eq!(trial.turn(10 * HOLD - 1), Ok((Spoken::Http, Wait::Until(10 * HOLD))));
        assert_eq!(trial.carried(), [18, 0]);
        assert_eq!(trial.turn(10 * HOLD), Err(Trouble::Refused(Refusal::Unreadable)));
    }

    #[test]
    fn a_part_of_a_request_is_never_the_end() {
        let mut trial = Trial::new();
        trial.client.write_all(b"GET / HTTP/1.0\r\n\r\nGET").unwrap();
        trial.client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(trial.turn(0), Ok((Spoken::Http, Wait::Turn)));
        assert_eq!(trial.turn(0), Err(Trouble::Refused(Refusal::Unreadable)));
        assert_eq!(trial.carried(), [18, 0]);
    }

    #[test]
    fn what_waits_for_an_answer_waits_for_ever() {
        let mut trial = Trial::new();
        trial.client.write_all(&[UPGRADE, b"\0\x01\x02"].concat()).unwrap();
        for now in [0, 0, 9 * HOLD] {
            assert_eq!(trial.turn(now), Ok((Spoken::Http, Wait::Sockets)));
        }
        let length = UPGRADE.len() as u64;
        trial.server.write_all(b"HTTP/1.1 101 So").unwrap();
        assert_eq!(trial.turn(9 * HOLD), Ok((Spoken::Http, Wait::Sockets)));
        assert_eq!(trial.carried(), [length, 0], "it may not be one");
        trial.server.write_all(b"\r\n\r\n\x03\x04").unwrap();
        assert_eq!(trial.turn(9 * HOLD).map(|(spoken, _)| spoken), Ok(Spoken::Other));
        assert_eq!(trial.carried(), [length + 3, 21]);
    }

    #[test]
    fn a_server_that_goes_away_has_not_agreed() {
        for said in [&b""[..], b"HTTP/1.1 101", b"HTTP/1.1 200 OK\r\n\r\n"] {
            let mut trial = Trial::new();
            trial.client.write_all(&[UPGRADE, b"\0\x01\x02"].concat()).unwrap();
            trial.turn(0).unwrap();
            trial.server.write_all(said).unwrap();
            trial.server.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(trial.turn(0), Err(Trouble::Refused(Refusal::Unreadable)), "{}", said.escape_ascii());
        }
    }
}
