//! Answers the names that a sandbox asks for: those that a rule lets it reach, with what the host's resolvers say, and
//! pins the addresses that it tells. All others do not exist. Shaping leaves answers alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::domain::DomainName;
use crate::gateway::address::meant;
use crate::gateway::dns::wire::{self, Query, Sent, Travels};
use crate::gateway::dns::{Asked, Code, Found};
use crate::gateway::lookups::{Pending, Whom};
use crate::gateway::slab::Key;
use crate::gateway::state::State;
use crate::gateway::token::{Kind, Token};
use crate::gateway::{ConnectionKind, Refusal, Verdict, What, packet};
use crate::spec::MOST_RESOLVERS;
use crate::sys::poller::Interest;
use crate::sys::socket::{self, Carries};
use crate::sys::{Errno, Sys, random};

/// How long a resolver may take before the next is asked.
const PATIENCE: u64 = 2_000_000_000;
/// Questions to resolvers at once.
const MOST_PENDING: usize = 128;
/// How long an address holds that the host itself knows, in seconds.
const OWN: u32 = 60;

impl State {
    /// Answers a question, now or when a resolver has.
    pub fn asked(&mut self, bytes: &[u8], whom: Whom) {
        let query = match wire::read(bytes) {
            Ok(query) => query,
            Err(Some(refusal)) => return self.reply(whom, &refusal),
            Err(None) => return,
        };
        match self.known(&query) {
            Ok(found) => self.answer(&query, whom, &found),
            Err(name) => self.ask(query, name, (whom, 0, Errno::ETIMEDOUT)),
        }
    }

    /// Returns what can be said at once, or the name that a resolver has to be asked for.
    fn known(&mut self, query: &Query) -> Result<Found, DomainName> {
        let Some(name) = &query.name else { return Ok(Found::nothing(Code::NoSuchName)) };
        let text = name.as_str();
        if text == "localhost" || text.ends_with(".localhost") {
            return Ok(told(query.asked, &[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
        }
        // Which names an address has is nobody's business here; many programs ask it of every peer.
        if text.ends_with(".in-addr.arpa") || text.ends_with(".ip6.arpa") {
            return Ok(Found::nothing(Code::NoSuchName));
        }
        let may = self.rules.may_resolve(name);
        // They need no rule, because what goes to them does not leave.
        if may != Err(Refusal::Denied) {
            let neighbours = self.lookups.neighbours.as_mut();
            let beside = neighbours.map(|neighbours| neighbours.addresses(name)).unwrap_or_default();
            if !beside.is_empty() {
                return Ok(told(query.asked, &beside));
            }
        }
        if let Err(refusal) = may {
            self.note(name, None, Verdict::Refused(refusal));
            return Ok(Found::nothing(Code::NoSuchName));
        }
        match query.asked {
            // So no program learns the keys with which it could hide the name in its hello.
            Asked::Service => return Ok(Found::nothing(Code::NoError)),
            Asked::Other => {
                self.note(name, None, Verdict::Refused(Refusal::NotCarried));
                return Ok(Found::nothing(Code::Refused));
            }
            Asked::V4 | Asked::V6 => {}
        }
        let (hosts, _) = self.lookups.sources();
        let own = hosts.map(|hosts| hosts.addresses(name)).unwrap_or_default();
        if own.is_empty() {
            return Err(name.clone());
        }
        let found = told(query.asked, own);
        Ok(self.pin(name, found))
    }

    /// Has the addresses of an answer stand for the name that was asked for. Those that a name may not stand for are
    /// left out.
    fn pin(&mut self, name: &DomainName, mut found: Found) -> Found {
        let now = self.now();
        found.addresses.retain(|(address, seconds)| {
            let address = meant(*address);
            if !self.rules.may_answer(address) {
                let what = What {
                    to: name.to_string(),
                    address: Some(address),
                    port: Some(53),
                    protocol: ConnectionKind::Dns,
                    verdict: Verdict::Refused(Refusal::Special),
                };
                self.record.count(what);
                return false;
            }
            self.pins.pin(address, name, *seconds, now);
            true
        });
        found
    }

    /// Asks a resolver; the `attempt`th, and whoever comes next if that cannot be asked at all. `trouble` is what the one
    /// before said.
    fn ask(&mut self, query: Query, name: DomainName, (whom, attempt, trouble): (Whom, usize, Errno)) {
        let resolvers = self.lookups.sources().1.to_vec();
        let last = (2 * resolvers.len()).clamp(2, MOST_RESOLVERS);
        let asked = attempt.checked_sub(1).and_then(|before| resolvers.get(before % resolvers.len()));
        let mut trouble = (asked.map(SocketAddr::ip), trouble);
        for attempt in attempt..last {
            let Some(resolver) = resolvers.get(attempt % resolvers.len()).copied() else { break };
            match socket::dial(Carries::Datagrams, resolver) {
                Ok(socket) if self.lookups.pending.len() < MOST_PENDING => {
                    return self.wait_for((query, name, whom), socket, attempt);
                }
                Ok(_) => break,
                Err(errno) => trouble = (Some(resolver.ip()), errno),
            }
        }
        self.note(&name, trouble.0, Verdict::Unreachable(trouble.1 as i32));
        self.answer(&query, whom, &Found::nothing(Code::Failed));
    }

    fn wait_for(&mut self, (query, name, whom): (Query, DomainName, Whom), socket: OwnedFd, attempt: usize) {
        let id = random::short().unwrap_or_default();
        let Some(bytes) = wire::ask(id, &name, query.asked) else {
            return self.answer(&query, whom, &Found::nothing(Code::Failed));
        };
        let until = self.now() + PATIENCE;
        // What does not go out is not answered, and the next one is asked in time.
        socket::send(&socket, &bytes).ok();
        let pending = Pending { query, name, whom, id, socket, until, attempt, stream: None };
        let key = self.lookups.pending.insert_with(|_| pending);
        self.watch(key);
    }

    fn watch(&mut self, key: Key) {
        let Some(pending) = self.lookups.pending.get_mut(key) else { return };
        let token = Token::of(Kind::Query, key);
        // Without the event there is the timer.
        self.poller.add(&pending.socket, token.bits(), Interest::Changes).ok();
        self.timers.set(token, pending.until);
    }

    /// Reads what a resolver sent, or gives it up when its time is over.
    pub fn look_at_query(&mut self, key: Key) {
        let now = self.now();
        let Some(pending) = self.lookups.pending.get_mut(key) else { return };
        let sent = match &mut pending.stream {
            None => datagram(pending, &mut self.means.scratch),
            Some(_) => stream(pending, &mut self.means.scratch),
        };
        match sent {
            Ok(Sent::Found(found)) if found.code != Code::Failed => {
                let Some(pending) = self.drop_query(key) else { return };
                let found = self.pin(&pending.name, routed(found));
                self.answer(&pending.query, pending.whom, &found);
            }
            Ok(Sent::Cut) => self.ask_by_stream(key),
            Ok(Sent::Foreign) if now < pending.until => self.timers.set(Token::of(Kind::Query, key), pending.until),
            failed => {
                let Some(pending) = self.drop_query(key) else { return };
                let trouble = match failed {
                    // It said that it could not find out.
                    Ok(Sent::Found(_)) => Errno::EREMOTEIO,
                    Ok(_) => Errno::ETIMEDOUT,
                    Err(errno) => errno,
                };
                self.ask(pending.query, pending.name, (pending.whom, pending.attempt + 1, trouble));
            }
        }
    }

    fn ask_by_stream(&mut self, key: Key) {
        let Some(mut pending) = self.drop_query(key) else { return };
        let (_, resolvers) = self.lookups.sources();
        let resolver = resolvers.get(pending.attempt % resolvers.len().max(1)).copied();
        let socket = resolver.map(|resolver| socket::dial(Carries::Stream, resolver));
        match (socket, wire::ask(pending.id, &pending.name, pending.query.asked)) {
            (Some(Ok(socket)), Some(bytes)) => {
                pending.socket = socket;
                pending.until = self.now() + PATIENCE;
                pending.stream = Some((framed(&bytes), Vec::new()));
                let key = self.lookups.pending.insert_with(|_| pending);
                self.watch(key);
            }
            _ => self.answer(&pending.query, pending.whom, &Found::nothing(Code::Failed)),
        }
    }

    fn drop_query(&mut self, key: Key) -> Option<Pending> {
        self.timers.forget(Token::of(Kind::Query, key));
        self.lookups.pending.remove(key)
    }

    fn note(&mut self, name: &DomainName, address: Option<IpAddr>, verdict: Verdict) {
        self.record.count(What {
            to: name.to_string(),
            address,
            port: Some(53),
            protocol: ConnectionKind::Dns,
            verdict,
        });
    }

    fn answer(&mut self, query: &Query, whom: Whom, found: &Found) {
        let travels = match whom {
            Whom::Datagram { .. } => Travels::Datagram,
            Whom::Stream(_) => Travels::Stream,
        };
        self.reply(whom, &wire::answer(query, found, travels));
    }

    fn reply(&mut self, whom: Whom, bytes: &[u8]) {
        match whom {
            Whom::Datagram { client, at } => {
                if let Some(packet) = packet::udp(at, client, bytes) {
                    self.send_inside(client, &packet);
                }
            }
            Whom::Stream(key) => self.tell_asker(key, &framed(bytes)),
        }
    }
}

/// Returns an answer of the host's own, or of none of the kind that was asked for.
fn told(asked: Asked, addresses: &[IpAddr]) -> Found {
    let addresses = addresses.iter().filter(|address| asked.is_about(**address)).map(|address| (*address, OWN));
    Found { addresses: addresses.collect(), ..Found::nothing(Code::NoError) }
}

/// Leaves out the addresses to which this machine has no way, so that nobody waits for them: IPv6 where there is none.
fn routed(mut found: Found) -> Found {
    found.addresses.retain(|(address, _)| {
        address.is_ipv4() || socket::dial(Carries::Datagrams, SocketAddr::new(*address, 53)).is_ok()
    });
    found
}

/// A message of a stream has its length before it.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(0);
    [&length.to_be_bytes()[..], &message[..usize::from(length)]].concat()
}

fn datagram(pending: &Pending, scratch: &mut [u8]) -> Sys<Sent> {
    loop {
        match socket::receive(&pending.socket, scratch) {
            Ok(count) => match wire::read_answer(&scratch[..count], pending.id, &pending.name, pending.query.asked) {
                Sent::Foreign => {}
                sent => return Ok(sent),
            },
            Err(Errno::EAGAIN) => return Ok(Sent::Foreign),
            Err(errno) => return Err(errno),
        }
    }
}

fn stream(pending: &mut Pending, scratch: &mut [u8]) -> Sys<Sent> {
    let Some((unsent, input)) = &mut pending.stream else { return Err(Errno::EINVAL) };
    while !unsent.is_empty() {
        match socket::send(&pending.socket, unsent) {
            Ok(count) => drop(unsent.drain(..count)),
            Err(Errno::EAGAIN | Errno::ENOTCONN) => return Ok(Sent::Foreign),
            Err(errno) => return Err(errno),
        }
    }
    loop {
        match socket::receive(&pending.socket, scratch) {
            Ok(0) => return Err(Errno::ECONNRESET),
            Ok(count) => input.extend_from_slice(&scratch[..count]),
            Err(Errno::EAGAIN) => return Ok(Sent::Foreign),
            Err(errno) => return Err(errno),
        }
        if let Some((length, rest)) = input.split_first_chunk::<2>()
            && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length)))
        {
            return match wire::read_answer(message, pending.id, &pending.name, pending.query.asked) {
                Sent::Found(found) => Ok(Sent::Found(found)),
                Sent::Foreign | Sent::Cut => Err(Errno::EBADMSG),
            };
        }
    }
}
