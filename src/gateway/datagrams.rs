//! Relays datagrams: each pair of a program's socket and a destination is a flow with a socket of its own on the other
//! side, so that an answer finds its way back. Flows are judged when they begin.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::gateway::address::meant;
use crate::gateway::admit::is_for_resolver;
use crate::gateway::flows::{Datagrams, FlowKind, Pair};
use crate::gateway::lookups::Whom;
use crate::gateway::packet::{self, Why};
use crate::gateway::quic::is_quic;
use crate::gateway::rules::{Judgement, Read};
use crate::gateway::slab::Key;
use crate::gateway::state::State;
use crate::gateway::token::{Kind, Token};
use crate::gateway::{ConnectionKind, Refusal, Verdict, What};
use crate::sys::poller::Interest;
use crate::sys::socket::{self, Carries};
use crate::sys::{Errno, Sys, random};

/// How long a flow may be silent (RFC 4787, 4.3 asks for two minutes).
const IDLE: u64 = 120_000_000_000;
/// Datagrams that are taken before others have their turn.
const AT_ONCE: usize = 64;

impl State {
    /// Waits for datagrams.
    ///
    /// # Errors
    /// What the kernel did not give.
    pub fn watch_datagrams(&self) -> Sys<()> {
        let udp = self.inlets.udp.iter().enumerate().map(|(number, socket)| (number, socket, Kind::Datagrams));
        let icmp = self.inlets.icmp.iter().enumerate();
        let icmp = icmp.filter_map(|(number, socket)| Some((number, socket.as_ref()?, Kind::Echoes)));
        udp.chain(icmp).chain(self.published()).try_for_each(|(number, socket, kind)| {
            socket::do_not_wait(socket)?;
            self.poller.add(socket, Token::numbered(kind, number).bits(), Interest::Readable)
        })
    }

    /// Takes what the sandbox sends; returns whether there may be more.
    pub fn take_datagrams(&mut self, number: usize) -> bool {
        let mut buffer = std::mem::take(&mut self.datagram);
        let mut more = true;
        for _ in 0..AT_ONCE {
            match self.inlets.udp.get(number).map(|socket| socket::receive_from(socket, &mut buffer)) {
                Some(Ok(came)) => {
                    if let Some(to) = came.to {
                        let to = SocketAddr::new(meant(to.ip()), to.port());
                        let pair = Pair { client: came.from, to, kind: FlowKind::Udp };
                        self.outward(pair, &buffer[..came.length]);
                    }
                }
                None | Some(Err(Errno::EAGAIN)) => {
                    more = false;
                    break;
                }
                // An error of an earlier datagram.
                Some(Err(_)) => {}
            }
        }
        self.datagram = buffer;
        more
    }

    fn outward(&mut self, pair: Pair, payload: &[u8]) {
        if self.back_outside(pair, payload) {
            return;
        }
        let flow = self.flows.by_pair.get(&pair).copied();
        if let Some(flow) = flow
            && self.flows.slab.get_mut(flow).is_some_and(|flow| flow.read == Read::First)
            && is_quic(payload)
        {
            // It may begin at any time, so it is judged as if it were the first.
            self.end_flow(flow);
        } else if self.continue_flow(pair, payload) {
            return;
        }
        let known = self.pins.names(pair.to.ip(), self.now());
        let judgement = self.rules.judge(pair.to, &known);
        if is_for_resolver(pair.to, &judgement) {
            return self.asked(payload, Whom::Datagram { client: pair.client, at: pair.to });
        }
        let names = if let Judgement::ByName(names) = &judgement { names } else { &known };
        let what = What::of(pair.to, names, (ConnectionKind::Udp, Verdict::Allowed));
        let read = if let Judgement::ByAddress { read } = judgement { read } else { Read::First };
        let hidden = read == Read::First && is_quic(payload);
        let refusal = match judgement {
            Judgement::Refused(refusal) => Some(refusal),
            _ => hidden.then_some(Refusal::Quic),
        };
        if let Some(refusal) = refusal {
            self.record.count(What { verdict: Verdict::Refused(refusal), ..what });
            return self.tell_lost(pair, payload, Why::Prohibited);
        }
        self.begin_flow((pair, what, read), Carries::Datagrams, payload);
    }

    /// Opens the other side of a flow, and sends its first datagram.
    pub fn begin_flow(&mut self, (pair, what, read): (Pair, What, Read), carries: Carries, payload: &[u8]) {
        let open = |carries| {
            let socket = socket::open(carries, pair.to.ip())?;
            socket::connect(&socket, pair.to).map(|()| socket)
        };
        let mut raw = None;
        let socket = match open(carries) {
            // Root is not in the group of those who may ping, but may more.
            Err(Errno::EACCES) if carries == Carries::Echo => {
                raw = random::short().ok();
                open(Carries::Icmp)
            }
            socket => socket,
        };
        let errno = match socket {
            Ok(socket) => {
                if let Some(key) = self.keep_flow((pair, what), Some(socket)) {
                    if let Some(flow) = self.flows.slab.get_mut(key) {
                        (flow.raw, flow.read) = (raw, read);
                    }
                    self.carry(key, 0, payload.to_vec());
                }
                return;
            }
            Err(errno) => errno,
        };
        let verdict = match (errno, carries) {
            // Who may ping is the host's business.
            (Errno::EACCES | Errno::EPERM, Carries::Echo) => Verdict::Refused(Refusal::NotCarried),
            _ => Verdict::Unreachable(errno as i32),
        };
        self.record.count(What { verdict, ..what });
        self.tell_lost(pair, payload, Why::NoHost);
    }

    /// Sends a datagram on in the flow that it belongs to, if there is one.
    pub fn continue_flow(&mut self, pair: Pair, payload: &[u8]) -> bool {
        let key = self.flows.by_pair.get(&pair).copied();
        key.into_iter().for_each(|key| self.carry(key, 0, payload.to_vec()));
        key.is_some()
    }

    /// Keeps a flow; who was silent longest of its like makes room for it.
    pub fn keep_flow(&mut self, (pair, what): (Pair, What), socket: Option<OwnedFd>) -> Option<Key> {
        let oldest = self.flows.too_many(pair.kind);
        oldest.into_iter().for_each(|key| self.end_flow(key));
        let place = self.record.count(what);
        let until = self.now() + IDLE;
        let (poller, mut added) = (&self.poller, Ok(()));
        let key = self.flows.slab.insert_with(|key| {
            let add = |socket| poller.add(socket, Token::of(Kind::Flow, key).bits(), Interest::Readable);
            added = socket.as_ref().map_or(Ok(()), add);
            Datagrams { pair, socket, place, until, read: Read::Nothing, raw: None, inside: None }
        });
        self.flows.by_pair.insert(pair, key);
        self.timers.set(Token::of(Kind::Flow, key), until);
        if added.is_err() {
            self.end_flow(key);
        }
        added.is_ok().then_some(key)
    }

    /// Takes what comes back in a flow, and ends it when it was silent for long.
    pub fn look_at_flow(&mut self, key: Key) {
        let now = self.now();
        let mut buffer = std::mem::take(&mut self.datagram);
        for _ in 0..AT_ONCE {
            let Some(flow) = self.flows.slab.get_mut(key) else { break };
            let Some(socket) = &flow.socket else { break };
            match socket::receive(socket, &mut buffer) {
                Ok(count) => {
                    let whole = Some(&buffer[..count]);
                    let came = flow
                        .raw
                        .map_or(whole, |own| packet::reply_to_request(flow.pair.to.ip(), own, &buffer[..count]));
                    came.map(<[u8]>::to_vec).into_iter().for_each(|bytes| self.carry(key, 1, bytes));
                }
                Err(Errno::EAGAIN) => break,
                Err(errno) => self.flow_failed(key, errno),
            }
        }
        self.datagram = buffer;
        let Some(flow) = self.flows.slab.get_mut(key) else { return };
        if now >= flow.until {
            return self.end_flow(key);
        }
        let until = flow.until;
        self.timers.set(Token::of(Kind::Flow, key), until);
    }

    /// Sends a datagram of a flow on its way; direction 0 is from the sandbox.
    pub fn carry(&mut self, key: Key, direction: usize, bytes: Vec<u8>) {
        let now = self.now();
        if let Some(flow) = self.flows.slab.get_mut(key) {
            flow.until = now + IDLE;
        }
        match &mut self.links[direction] {
            Some(link) => {
                self.flows.lanes[direction].enter(link, (key, bytes), now);
                self.move_lane(direction);
            }
            None => self.deliver(key, direction, &bytes),
        }
    }

    /// Delivers what has arrived.
    pub fn move_lane(&mut self, direction: usize) {
        let now = self.now();
        loop {
            let Some(link) = &mut self.links[direction] else { return };
            match self.flows.lanes[direction].arrived(link, now) {
                Some((key, bytes)) => self.deliver(key, direction, &bytes),
                None => {
                    if let Some(next) = self.flows.lanes[direction].next(link, now) {
                        self.timers.set(Token::numbered(Kind::Lane, direction), next.max(now + 1));
                    }
                    return;
                }
            }
        }
    }

    fn deliver(&mut self, key: Key, direction: usize, bytes: &[u8]) {
        let Some(flow) = self.flows.slab.get_mut(key) else { return };
        let (pair, place) = (flow.pair, flow.place);
        let sent = match (direction, pair.kind) {
            (0, FlowKind::Published { number, at }) => {
                let socket = self.inlets.published.get(number).map(|bound| &bound.socket);
                socket.map_or(Err(Errno::EBADF), |socket| socket::send_from(socket, bytes, (at, pair.client)))
            }
            (_, FlowKind::Published { .. }) => {
                let packet = flow.inside.and_then(|from| packet::udp(from, pair.to, bytes));
                self.send_packet(pair.to, packet)
            }
            (0, FlowKind::Echo) if flow.raw.is_some() => {
                let request = packet::echo_request(pair.to.ip(), flow.raw.unwrap_or_default(), bytes);
                request.map_or(Err(Errno::EMSGSIZE), |request| sent_by(flow, &request))
            }
            (0, _) => sent_by(flow, bytes),
            (_, FlowKind::Udp) => self.send_packet(pair.client, packet::udp(pair.to, pair.client, bytes)),
            (_, FlowKind::Echo) => self.send_packet(pair.client, echoed(pair, bytes)),
        };
        let (up, down) = if direction == 0 { (bytes.len() as u64, 0) } else { (0, bytes.len() as u64) };
        match sent {
            Ok(_) => self.record.carried(place, up, down),
            // Like every router: what there is no room for is lost.
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EMSGSIZE) => {}
            Err(errno) => self.flow_failed(key, errno),
        }
    }

    /// Tells who sent into a flow what its other side was told.
    fn flow_failed(&mut self, key: Key, errno: Errno) {
        let Some(flow) = self.flows.slab.get_mut(key) else { return };
        let pair = flow.pair;
        let why = if errno == Errno::ECONNREFUSED { Why::NoPort } else { Why::NoHost };
        self.tell_lost(pair, &[], why);
    }

    /// Tells a program that its datagram went nowhere.
    pub fn tell_lost(&mut self, pair: Pair, payload: &[u8], why: Why) {
        let packet = match pair.kind {
            FlowKind::Udp => packet::lost_datagram(pair.client, pair.to, payload, why),
            FlowKind::Echo => {
                let rest = payload.get(4..).unwrap_or_default();
                let rest = [&pair.client.port().to_be_bytes(), rest.get(2..).unwrap_or_default()].concat();
                packet::lost_echo(pair.client.ip(), pair.to.ip(), &rest, why)
            }
            FlowKind::Published { .. } => None,
        };
        if let Some(packet) = packet {
            self.send_inside(pair.client, &packet);
        }
    }

    fn send_packet(&self, client: SocketAddr, packet: Option<Vec<u8>>) -> Sys<usize> {
        match (self.raw(client), packet) {
            (Some(raw), Some(packet)) => socket::send_to(raw, &packet, SocketAddr::new(client.ip(), 0)),
            _ => Err(Errno::EMSGSIZE),
        }
    }

    /// Sends a whole packet into the sandbox; it is lost where there is no room for it.
    pub fn send_inside(&self, client: SocketAddr, packet: &[u8]) {
        if let Some(raw) = self.raw(client) {
            socket::send_to(raw, packet, SocketAddr::new(client.ip(), 0)).ok();
        }
    }

    fn raw(&self, client: SocketAddr) -> Option<&OwnedFd> {
        self.inlets.raw[usize::from(client.is_ipv6())].as_ref()
    }

    fn end_flow(&mut self, key: Key) {
        self.timers.forget(Token::of(Kind::Flow, key));
        let Some(flow) = self.flows.slab.remove(key) else { return };
        self.flows.by_pair.remove(&flow.pair);
        if let Some(address) = flow.inside {
            self.flows.by_address.remove(&address.ip());
        }
    }
}

fn sent_by(flow: &Datagrams, bytes: &[u8]) -> Sys<usize> {
    flow.socket.as_ref().map_or(Err(Errno::EBADF), |socket| socket::send(socket, bytes))
}

/// Returns the reply to a ping of the sandbox, with the identifier that it knows; the host's is another.
fn echoed(pair: Pair, message: &[u8]) -> Option<Vec<u8>> {
    let rest = message.get(6..)?;
    let rest = [&pair.client.port().to_be_bytes(), rest].concat();
    packet::echo_reply(pair.to.ip(), pair.client.ip(), &rest)
}
