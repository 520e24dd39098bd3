//! Relays datagrams that come to published ports. Inside, each who sends has an address that no host has, so that the
//! answers find their way back whoever else is answered. It judges nothing.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::gateway::flows::{Datagrams, FlowKind, Pair};
use crate::gateway::publish::inside;
use crate::gateway::state::State;
use crate::gateway::token::Kind;
use crate::gateway::{ConnectionKind, Heard, Verdict, What};
use crate::spec::{Protocol, Publish};
use crate::sys::Errno;
use crate::sys::socket::{self, Arrived};

/// Datagrams that are taken before others have their turn.
const AT_ONCE: usize = 64;
/// The port that they come from where the sandbox is not heard at all: that of the resolver, at which it always is.
const PORT: u16 = 53;

impl State {
    /// Returns the published ports of datagrams, as what is waited for.
    pub fn published(&self) -> impl Iterator<Item = (usize, &OwnedFd, Kind)> {
        let all = self.inlets.published.iter().enumerate();
        let datagrams = all.filter(|(_, bound)| bound.publish.protocol == Protocol::Udp);
        datagrams.map(|(number, bound)| (number, &bound.socket, Kind::PublishedDatagrams))
    }

    /// Takes what comes to a published port.
    pub fn take_published(&mut self, number: usize) {
        let mut buffer = std::mem::take(&mut self.datagram);
        for _ in 0..AT_ONCE {
            let Some(bound) = self.inlets.published.get(number) else { break };
            let publish = bound.publish;
            match socket::receive_from(&bound.socket, &mut buffer) {
                Ok(came) => self.inward((number, &publish), &came, &buffer[..came.length]),
                Err(Errno::EAGAIN) => break,
                Err(_) => {}
            }
        }
        self.datagram = buffer;
    }

    fn inward(&mut self, (number, publish): (usize, &Publish), came: &Arrived, payload: &[u8]) {
        let to = inside(publish);
        let kind = FlowKind::Published { number, at: came.to.map(|at| at.ip()) };
        let pair = Pair { client: came.from, to, kind };
        if let Some(key) = self.flows.by_pair.get(&pair).copied() {
            return self.carry(key, 1, payload.to_vec());
        }
        let what = What::of(to, &[], (ConnectionKind::Udp, Verdict::Published));
        let what = What { to: publish.outside.to_string(), ..what };
        let Some(key) = self.keep_flow((pair, what), None) else { return };
        let address = self.flows.free_address();
        // There are servers that answer nobody who comes from the port of a service.
        let port = match self.inlets.heard {
            Heard::All if came.from.port() != 0 => came.from.port(),
            Heard::All | Heard::Some => PORT,
        };
        self.flows.by_address.insert(address, key);
        if let Some(flow) = self.flows.slab.get_mut(key) {
            flow.inside = Some(SocketAddr::new(address, port));
        }
        self.carry(key, 1, payload.to_vec());
    }

    /// Takes what is an answer to somebody outside, from the port that was asked; returns whether it was.
    pub fn back_outside(&mut self, pair: Pair, payload: &[u8]) -> bool {
        let key = self.flows.by_address.get(&pair.to.ip()).copied();
        let answers = |flow: &Datagrams| flow.inside == Some(pair.to) && flow.pair.to.port() == pair.client.port();
        let key = key.filter(|key| self.flows.slab.get_mut(*key).is_some_and(|flow| answers(flow)));
        key.into_iter().for_each(|key| self.carry(key, 0, payload.to_vec()));
        key.is_some()
    }
}
