//! All that one gateway keeps while it runs. The files that do something to it: `admit` and `room` (streams), `lookup`
//! (names), `datagrams`, and `turn`, which lets each have its turn.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use crate::gateway::flow::Wait;
use crate::gateway::flows::Flows;
use crate::gateway::lookups::{Askers, Lookups};
use crate::gateway::means::Means;
use crate::gateway::pins::Pins;
use crate::gateway::record::Record;
use crate::gateway::rules::Rules;
use crate::gateway::shape::Link;
use crate::gateway::slab::{Key, Slab};
use crate::gateway::stream::{Common, Stream, Way};
use crate::gateway::timers::Timers;
use crate::gateway::token::{Kind, Token};
use crate::gateway::{Inlets, Policy, Watcher};
use crate::sys::poller::{Files, Interest, Poller, raise_files};
use crate::sys::{Sys, random, socket, time};

/// Streams at once, where the caller may open so many files.
const MOST_STREAMS: u64 = 16_384;

/// One gateway.
#[derive(Debug)]
pub struct State {
    pub poller: Poller,
    pub rules: Rules,
    pub pins: Pins,
    pub record: Record,
    pub means: Means,
    /// From the sandbox, and to it.
    pub links: [Option<Link>; 2],
    pub streams: Slab<Stream>,
    pub lookups: Lookups,
    pub askers: Askers,
    pub flows: Flows,
    /// What was taken from a socket, while it is looked at.
    pub datagram: Vec<u8>,
    pub most_streams: usize,
    /// How many of them come from outside.
    pub inward: usize,
    /// Whether listeners are left alone until a stream ends, by [`Way`].
    pub left: [bool; 2],
    /// Listeners that listen no more.
    pub gone: BTreeSet<Token>,
    pub timers: Timers,
    /// Who has more to do at once.
    pub ready: BTreeSet<Token>,
    pub inlets: Inlets,
    pub files: Files,
    pub stop: OwnedFd,
    pub stopping: bool,
}

impl State {
    /// Returns the gateway of a policy, which waits for all its inlets and for `stop`.
    ///
    /// # Errors
    /// What the kernel did not give.
    pub fn new(policy: Policy, inlets: Inlets, (stop, watcher): (OwnedFd, Option<Watcher>)) -> Sys<Self> {
        let now = time::monotonic();
        let links =
            [Link::new(&policy.shaping, now, random::number()?), Link::new(&policy.shaping, now, random::number()?)];
        let files = raise_files();
        // Two for each, and a half of what is left for the flows, the lookups and the rest of sbx.
        let streams = (files.most / 4).clamp(16, MOST_STREAMS);
        let mut state = Self {
            poller: Poller::new()?,
            rules: Rules::new(policy.allow, policy.deny),
            pins: Pins::default(),
            record: Record::new(watcher),
            means: Means::new(now),
            links,
            streams: Slab::default(),
            lookups: Lookups::new(policy.resolvers, policy.neighbours),
            askers: Askers::default(),
            flows: Flows::new(usize::try_from(files.most / 8).unwrap_or(usize::MAX)),
            datagram: vec![0; 64 << 10],
            most_streams: usize::try_from(streams).unwrap_or(16),
            inward: 0,
            left: [false; 2],
            gone: BTreeSet::new(),
            timers: Timers::default(),
            ready: BTreeSet::new(),
            inlets,
            files,
            stop,
            stopping: false,
        };
        state.poller.add(&state.stop, Token::numbered(Kind::Stop, 0).bits(), Interest::Readable)?;
        for listener in state.inlets.tcp.iter().chain(state.inlets.published.iter().map(|bound| &bound.socket)) {
            socket::do_not_wait(listener)?;
        }
        state.inlets.tcp.iter().try_for_each(socket::no_delay)?;
        state.watch_datagrams()?;
        state.watch_listeners(Way::Outward)?;
        state.watch_listeners(Way::Inward)?;
        Ok(state)
    }

    /// Sets the time for all that happens in one turn.
    pub fn now_is(&mut self, now: u64) {
        self.means.now = now;
    }

    /// Returns the time for all that happens in one turn.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.means.now
    }

    /// Lets a stream go on, and ends it when it is over.
    pub fn turn_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let token = Token::of(Kind::Client, key);
        let mut common =
            Common { means: &mut self.means, links: &mut self.links, rules: &self.rules, record: &mut self.record };
        match stream.turn(&mut common) {
            Some(Wait::Turn) => drop(self.ready.insert(token)),
            Some(Wait::Until(time)) => self.timers.set(token, time),
            Some(Wait::Sockets | Wait::Done) => {}
            None => self.end_stream(key),
        }
    }

    /// Ends a stream, however far it came.
    pub fn end_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.remove(key) else { return };
        let inward = stream.way() == Way::Inward;
        let mut common =
            Common { means: &mut self.means, links: &mut self.links, rules: &self.rules, record: &mut self.record };
        stream.end(&mut common);
        self.timers.forget(Token::of(Kind::Client, key));
        self.inward -= usize::from(inward);
        self.make_room();
    }

    /// Takes what came before the sandbox ended, some of it; returns whether there may be more for which there is room.
    pub fn admit_last(&mut self) -> bool {
        if !self.has_room(Way::Outward) {
            self.end_settled();
        }
        // Each has its turn, whatever waits at the others.
        let mut more = false;
        for number in 0..self.inlets.tcp.len() {
            more |= self.admit(number);
        }
        for number in 0..self.inlets.udp.len() {
            more |= self.take_datagrams(number);
        }
        more
    }

    /// Stops waiting for what is new.
    pub fn begin_last(&mut self) {
        self.stopping = true;
        // It would be told of that again and again.
        self.poller.remove(&self.stop).ok();
        self.leave_listeners(Way::Outward);
        self.leave_listeners(Way::Inward);
    }

    /// Ends the streams that carry nothing of the sandbox any more.
    fn end_settled(&mut self) {
        for key in self.streams.keys() {
            if self.streams.get_mut(key).is_some_and(|stream| stream.owes().is_none()) {
                self.end_stream(key);
            }
        }
    }

    /// Returns how much of the sandbox is on its way, streams and datagrams, and how much of the streams has arrived.
    #[must_use]
    pub fn owes(&mut self) -> (usize, u64) {
        let keys = self.streams.keys();
        let owed = keys.into_iter().filter_map(|key| self.streams.get_mut(key)?.owes());
        owed.fold((self.flows.lanes[0].len(), 0), |(count, sum), arrived| (count + 1, sum + arrived))
    }

    /// Ends all streams; what did not arrive is a reset for its server, never the end of what it was sent.
    pub fn cut_streams(&mut self) {
        for key in self.streams.keys() {
            if let Some(stream) = self.streams.get_mut(key) {
                stream.cut();
            }
            self.end_stream(key);
        }
    }
}
