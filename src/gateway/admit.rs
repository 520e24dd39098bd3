//! Takes the connections that a sandbox makes and those to its published ports, judges them by their address, and
//! dials. What they say first is judged by the stream itself.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::gateway::address::meant;
use crate::gateway::congestion::handshake;
use crate::gateway::publish::inside;
use crate::gateway::rules::{Judgement, Read};
use crate::gateway::shape::Link;
use crate::gateway::state::State;
use crate::gateway::stream::{Stream, Way};
use crate::gateway::token::{Kind, Token};
use crate::gateway::{ConnectionKind, Verdict, What};
use crate::spec::RESOLVER;
use crate::sys::poller::Interest;
use crate::sys::socket::{self, Carries};
use crate::sys::{Errno, Sys};

/// Connections that are taken before others have their turn.
const AT_ONCE: usize = 64;
/// From how many streams on each has the kernel hold little, and how little, for a peer that does not read.
const CROWD: usize = 64;
const LITTLE: u32 = 64 << 10;

impl State {
    /// Takes what waits at a listener of the sandbox; returns whether there may be more for which there is room.
    pub fn admit(&mut self, number: usize) -> bool {
        for _ in 0..AT_ONCE {
            if !self.has_room(Way::Outward) {
                self.leave_listeners(Way::Outward);
                return false;
            }
            let accepted = self.inlets.tcp.get(number).map(socket::accept);
            let Some(client) = self.accepted(Token::numbered(Kind::Listener, number), accepted) else { return false };
            match client.map(|client| (socket::own_address(&client), client)) {
                Some((Ok(to), client)) => self.admit_one(client, to),
                // It was reset while it waited.
                Some((Err(_), _)) | None => {}
            }
        }
        true
    }

    /// Takes what waits at a published port.
    pub fn admit_published(&mut self, number: usize) {
        for _ in 0..AT_ONCE {
            if !self.has_room(Way::Inward) {
                return self.leave_listeners(Way::Inward);
            }
            let accepted = self.inlets.published.get(number).map(|bound| socket::accept(&bound.socket));
            let Some(client) = self.accepted(Token::numbered(Kind::Published, number), accepted) else { return };
            if let Some(client) = client {
                self.admit_inward(client, number);
            }
        }
    }

    /// Returns `None` if there are no more for now, and `Some(None)` if one was lost.
    fn accepted(&mut self, token: Token, accepted: Option<Sys<OwnedFd>>) -> Option<Option<OwnedFd>> {
        match accepted? {
            Ok(client) => Some(Some(client)),
            // What was wrong with the connection, not with the listener (accept(2)).
            Err(
                Errno::ECONNABORTED
                | Errno::EPROTO
                | Errno::EINTR
                | Errno::ENETDOWN
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::EHOSTUNREACH
                | Errno::ENONET
                | Errno::ENOPROTOOPT,
            ) => Some(None),
            Err(errno) => {
                self.accept_failed(token, errno);
                None
            }
        }
    }

    fn admit_one(&mut self, client: OwnedFd, to: SocketAddr) {
        let to = SocketAddr::new(meant(to.ip()), to.port());
        let known = self.pins.names(to.ip(), self.now());
        let judgement = self.rules.judge(to, &known);
        if is_for_resolver(to, &judgement) {
            return self.admit_asker(client);
        }
        let names = if let Judgement::ByName(names) = &judgement { names } else { &known };
        let what = What::of(to, names, (ConnectionKind::Tcp, Verdict::Allowed));
        if let Judgement::Refused(refusal) = judgement {
            return self.turn_away(&client, What { verdict: Verdict::Refused(refusal), ..what });
        }
        let server =
            if self.is_cut_off() { socket::open(Carries::Stream, to.ip()) } else { socket::dial(Carries::Stream, to) };
        match server {
            Ok(server) => self.begin(Way::Outward, (client, server), (judgement, what), to),
            Err(errno) => self.turn_away(&client, What { verdict: Verdict::Unreachable(errno as i32), ..what }),
        }
    }

    /// Returns whether no packet arrives, the first of a handshake neither: then nobody is dialed, and the time of who
    /// waits for an answer runs out.
    fn is_cut_off(&self) -> bool {
        self.links.iter().flatten().any(Link::is_dead)
    }

    fn turn_away(&mut self, client: &OwnedFd, what: What) {
        self.record.count(what);
        // It is closed in any case; this way its owner learns at once.
        socket::reset_on_close(client).ok();
    }

    fn admit_inward(&mut self, client: OwnedFd, number: usize) {
        let Some(publish) = self.inlets.published.get(number).map(|bound| bound.publish) else { return };
        let to = inside(&publish);
        let made = self.inlets.factory.as_ref().map_or(Err(Errno::ENOTSUP), |factory| {
            let server = factory.make()?;
            if !self.is_cut_off() {
                socket::begin_connect(&server, to)?;
            }
            Ok(server)
        });
        let verdict = made.as_ref().map_or_else(|errno| Verdict::Unreachable(*errno as i32), |_| Verdict::Published);
        let what = What { to: publish.outside.to_string(), ..What::of(to, &[], (ConnectionKind::Tcp, verdict)) };
        match made {
            Ok(server) => {
                let judgement = Judgement::ByAddress { read: Read::Nothing };
                self.begin(Way::Inward, (client, server), (judgement, what), to);
            }
            Err(_) => self.turn_away(&client, what),
        }
    }

    fn begin(&mut self, way: Way, sockets: (OwnedFd, OwnedFd), judged: (Judgement, What), to: SocketAddr) {
        let now = self.now();
        let begins = match way {
            Way::Outward => now + handshake(&mut self.links),
            Way::Inward => 0,
        };
        self.inward += usize::from(way == Way::Inward);
        let dials = !self.is_cut_off();
        if self.streams.len() >= CROWD {
            // Where it cannot be had the kernel bounds all sockets together (tcp_mem).
            socket::keep_little_unsent(&sockets.0, LITTLE).ok();
            socket::keep_little_unsent(&sockets.1, LITTLE).ok();
        }
        let poller = &self.poller;
        let mut added = Ok(());
        let key = self.streams.insert_with(|key| {
            let add = |socket: &OwnedFd, kind| poller.add(socket, Token::of(kind, key).bits(), Interest::Changes);
            added = add(&sockets.0, Kind::Client);
            if dials {
                added = added.and_then(|()| add(&sockets.1, Kind::Server));
            }
            let mut stream = Stream::new(way, sockets, judged, (to, now));
            stream.begin_at(begins);
            stream
        });
        match added {
            Ok(()) => self.turn_stream(key),
            Err(_) => self.end_stream(key),
        }
    }
}

/// Whether what goes there is a question for names: whatever resolver a program believes in, unless a rule allows its
/// very address.
#[must_use]
pub fn is_for_resolver(to: SocketAddr, judgement: &Judgement) -> bool {
    to.port() == 53 && (to.ip() == RESOLVER || !matches!(judgement, Judgement::ByAddress { .. }))
}
