//! One relayed stream: dialed at once, so that a server may speak first, while what the client says first is held back
//! until it is judged. It opens nothing; whoever has it ends it when it says so.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::gateway::flow::{Flow, Side, Wait};
use crate::gateway::http::request::Head;
use crate::gateway::means::Means;
use crate::gateway::opening;
use crate::gateway::record::{Place, Record};
use crate::gateway::requests::{HOLD, Requests, Spoken, Trouble};
use crate::gateway::rules::{Judgement, Read, Rules};
use crate::gateway::shape::Link;
use crate::gateway::told::{LONGEST, Opening, Told};
use crate::gateway::{Refusal, Verdict, What};
use crate::sys::poller::Happened;
use crate::sys::{Errno, socket};

/// How long a server may take to answer. Linux itself would try for two minutes.
const DIAL: u64 = 15_000_000_000;

/// Who began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Outward,
    /// From a published port.
    Inward,
}

/// What streams work with.
#[derive(Debug)]
pub struct Common<'a> {
    pub means: &'a mut Means,
    /// From the sandbox, and to it.
    pub links: &'a mut [Option<Link>; 2],
    pub rules: &'a Rules,
    pub record: &'a mut Record,
}

/// A stream that lives.
#[derive(Debug)]
pub struct Stream {
    to: SocketAddr,
    way: Way,
    client: Side,
    server: Side,
    /// Until when the server may answer.
    dialing: Option<u64>,
    /// Whether something went wrong with the server's end.
    troubled: bool,
    judgement: Judgement,
    holds: Holds,
    /// What the client said and the server has, though it is still to be judged.
    word: Vec<u8>,
    /// So many bytes more are to be let go in the same way.
    lets: usize,
    /// Where the client speaks HTTP and each of its requests is judged.
    requests: Option<Requests>,
    up: Flow,
    down: Flow,
    what: What,
    place: Option<Place>,
    /// Before then nothing is under way: the handshake takes its time too.
    begins: u64,
}

/// Whether the client is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Nothing,
    Client,
    /// It has said something, which may not stand for ever.
    Until(u64),
}

/// Which end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Client,
    Server,
}

impl Stream {
    /// Returns the stream of a client and a server that is being dialed; `what` is how it will be written down.
    #[must_use]
    pub fn new(
        way: Way,
        sockets: (OwnedFd, OwnedFd),
        (judgement, what): (Judgement, What),
        (to, now): (SocketAddr, u64),
    ) -> Self {
        let side = |socket| Side { socket, readable: false, writable: false, ended: false, urgent: false };
        let reads = matches!(judgement, Judgement::ByName(_) | Judgement::ByAddress { read: Read::First });
        Self {
            to,
            way,
            client: side(sockets.0),
            server: side(sockets.1),
            dialing: Some(now + DIAL),
            troubled: false,
            judgement,
            holds: if reads { Holds::Client } else { Holds::Nothing },
            word: Vec::new(),
            lets: 0,
            requests: None,
            up: Flow::default(),
            down: Flow::default(),
            what,
            place: None,
            begins: 0,
        }
    }

    /// Has nothing be under way before `time`.
    pub fn begin_at(&mut self, time: u64) {
        self.begins = time;
    }

    /// Returns who began it.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// Takes note of what happened to an end.
    pub fn happened(&mut self, end: End, happened: Happened) {
        let side = match end {
            End::Client => &mut self.client,
            End::Server => &mut self.server,
        };
        side.readable |= happened.readable();
        side.writable |= happened.writable();
        side.ended |= happened.ended();
        side.urgent |= happened.urgent();
        self.troubled |= end == End::Server && happened.troubled();
    }

    /// Goes on as far as it can. `None` is the end of it: then it is to be dropped, after [`Stream::end`].
    pub fn turn(&mut self, common: &mut Common<'_>) -> Option<Wait> {
        let now = common.means.now;
        if let Err(errno) = self.dial(now) {
            return self.refuse(Verdict::Unreachable(errno as i32), common);
        }
        match self.judge(common) {
            Ok(()) => {}
            Err(Some(refusal)) => return self.refuse(Verdict::Refused(refusal), common),
            // The client is gone, and the kernel says so but once.
            Err(None) => return self.reset(),
        }
        let held = if let Holds::Until(end) = self.holds { Wait::Until(end) } else { Wait::Sockets };
        let mut wait = self.dialing.map_or(held, |end| Wait::Until(end).or(held));
        if self.dialing.is_none() {
            match self.carry(common) {
                Ok(carried) => wait = wait.or(carried),
                Err(Trouble::Refused(refusal)) => return self.refuse(Verdict::Refused(refusal), common),
                Err(Trouble::Broken(_)) => return self.reset(),
            }
            if self.holds == Holds::Nothing || self.down.carried() > 0 {
                self.settle(common);
            }
        }
        if self.up.is_done() && self.down.is_done() { None } else { Some(wait) }
    }

    /// Returns how much of what the sandbox sent has arrived, if there is more of it.
    #[must_use]
    pub fn owes(&self) -> Option<u64> {
        let sent = match self.way {
            Way::Outward => &self.up,
            Way::Inward => &self.down,
        };
        (!sent.is_done()).then(|| sent.carried())
    }

    /// Has its end be a reset where something did not arrive.
    pub fn cut(&self) {
        if self.owes().is_some() {
            let _: Option<Wait> = self.reset();
        }
    }

    /// Writes down what it carried and gives back what it held.
    pub fn end(mut self, common: &mut Common<'_>) {
        if self.place.is_none() {
            self.settle(common);
        }
        let (up, down) = (self.up.carried(), self.down.carried());
        let (sent, received) = if self.way == Way::Outward { (up, down) } else { (down, up) };
        if let Some(place) = self.place {
            common.record.carried(place, sent, received);
        }
        self.up.let_go(common.means);
        self.down.let_go(common.means);
    }

    fn dial(&mut self, now: u64) -> Result<(), Errno> {
        let Some(until) = self.dialing else { return Ok(()) };
        if self.server.readable || self.server.writable {
            if self.troubled {
                socket::trouble(&self.server.socket)?;
            }
            self.dialing = None;
        } else if now >= until {
            return Err(Errno::ETIMEDOUT);
        }
        Ok(())
    }

    /// Reads what the client says first, and leaves it there. A word alone may be all that it says before it waits for an
    /// answer: that is let go, and judged again together with what follows, so that a request in pieces is one. The error
    /// is why it is refused; without one the client broke it off.
    fn judge(&mut self, common: &mut Common<'_>) -> Result<(), Option<Refusal>> {
        let now = common.means.now;
        if self.holds == Holds::Nothing || !self.client.readable {
            return if matches!(self.holds, Holds::Until(end) if now >= end) {
                Err(Some(Refusal::Unreadable))
            } else {
                Ok(())
            };
        }
        let said = self.word.len();
        let scratch = &mut common.means.scratch[..LONGEST];
        scratch[..said].copy_from_slice(&self.word);
        self.lets = 0;
        let mut ended = false;
        let (told, is_request) = loop {
            let came = match socket::peek(&self.client.socket, &mut scratch[said..]) {
                Ok(came) => came,
                Err(Errno::EAGAIN) => {
                    self.client.readable = false;
                    return Ok(());
                }
                Err(_) => return Err(None),
            };
            let bytes = &scratch[..said + came];
            match opening::read(bytes) {
                Opening::Told(told) => break (told, opening::is_request(bytes)),
                Opening::Undecided if came == 0 || ended => break (opening::at_end(bytes), false),
                // More may have come before the end, after this was read.
                Opening::Undecided if socket::peer_ended(&self.client.socket) => ended = true,
                Opening::Undecided if opening::is_word(bytes) => {
                    self.client.readable = false;
                    self.lets = came;
                    return Ok(());
                }
                Opening::Undecided => return Ok(self.hold(now)?),
            }
        };
        common.rules.agree(&self.judgement, self.to.port(), &told)?;
        self.holds = Holds::Nothing;
        if is_request {
            let word = std::mem::take(&mut self.word);
            self.requests = Some(Requests::new(word, (&mut self.up, &mut self.down)));
        }
        if let (Judgement::ByName(_), Told::Names(names)) = (&self.judgement, &told)
            && let Some(name) = names.first()
        {
            self.what.to = name.to_string();
        }
        Ok(())
    }

    /// Waits for more of what the client says first, but not for ever.
    fn hold(&mut self, now: u64) -> Result<(), Refusal> {
        self.client.readable = false;
        if self.holds == Holds::Client {
            self.holds = Holds::Until(now + HOLD);
        }
        if matches!(self.holds, Holds::Until(end) if now >= end) { Err(Refusal::Unreadable) } else { Ok(()) }
    }

    fn carry(&mut self, common: &mut Common<'_>) -> Result<Wait, Trouble> {
        if common.means.now < self.begins {
            return Ok(Wait::Until(self.begins));
        }
        self.look(common)?;
        let [from_sandbox, to_sandbox] = common.links;
        let (up, down) = match self.way {
            Way::Outward => (from_sandbox, to_sandbox),
            Way::Inward => (to_sandbox, from_sandbox),
        };
        // What the server said before it went away is worth more than what it will not hear.
        let wait = self.down.carry(&mut self.server, &mut self.client, (common.means, down.as_mut()))?;
        if self.holds != Holds::Nothing {
            if self.lets > 0 {
                let count = std::mem::take(&mut self.lets);
                self.word.extend(self.up.let_pass(&self.client, &self.server, (count, common.means, up.as_mut()))?);
            }
            // At the beginning of a tunnel what it holds may have come before.
            let wait = if self.client.readable { Wait::Turn } else { wait };
            let Some(link) = up else { return Ok(wait) };
            let under_way = self.up.arrive(&mut self.server, (common.means, link))?;
            return Ok(under_way.map_or(wait, |under_way| wait.or(under_way)));
        }
        let wait = wait.or(self.up.carry(&mut self.client, &mut self.server, (common.means, up.as_mut()))?);
        let ends = [(&self.client, &self.up), (&self.server, &self.down)];
        Ok(self.requests.as_ref().map_or(wait, |requests| requests.wait(ends).or(wait)))
    }

    /// Lets go what may of the requests that came.
    fn look(&mut self, common: &mut Common<'_>) -> Result<(), Trouble> {
        let Some(requests) = &mut self.requests else { return Ok(()) };
        let (rules, judgement, port) = (common.rules, &self.judgement, self.to.port());
        let judge = |head: &Head| rules.agree(judgement, port, &head.told);
        let (client, server) = ((&mut self.client, &mut self.up), (&mut self.server, &mut self.down));
        match requests.look(client, server, (&judge, common.means))? {
            Spoken::Http => return Ok(()),
            Spoken::Other => {}
            // What goes through it is judged as what a stream begins with.
            Spoken::Tunnel => self.holds = Holds::Client,
        }
        self.requests = None;
        Ok(())
    }

    fn settle(&mut self, common: &mut Common<'_>) {
        if self.place.is_none() {
            self.place = Some(common.record.count(self.what.clone()));
        }
    }

    /// Ends it with a reset for both ends.
    fn refuse(&mut self, verdict: Verdict, common: &mut Common<'_>) -> Option<Wait> {
        self.what.verdict = verdict;
        self.place = Some(match self.place {
            Some(place) => common.record.turn(place, self.what.clone()),
            None => common.record.count(self.what.clone()),
        });
        self.reset()
    }

    fn reset(&self) -> Option<Wait> {
        // They are closed in any case; a reset is what tells the other end why.
        socket::reset_on_close(&self.client.socket).ok();
        socket::reset_on_close(&self.server.socket).ok();
        None
    }
}
