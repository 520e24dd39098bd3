//! What may leave a sandbox, and what did: the vocabulary of the gateway. The files beside this one do the deed: they
//! take the connections that a sandbox makes, judge them, dial from the host's side, relay and count. It knows no
//! plan and makes no namespace: the sockets that lead into one are handed over.

pub mod address;
pub mod admit;
pub mod asker;
pub mod congestion;
pub mod datagrams;
pub mod dns;
pub mod echo;
pub mod flow;
pub mod flows;
pub mod hello;
pub mod http;
pub mod lane;
pub mod line;
pub mod lookup;
pub mod lookups;
pub mod means;
pub mod opening;
pub mod packet;
pub mod pins;
pub mod publish;
pub mod published;
pub mod quic;
pub mod record;
pub mod requests;
pub mod room;
pub mod rules;
pub mod shape;
pub mod slab;
pub mod start;
pub mod state;
pub mod stream;
pub mod timers;
pub mod token;
pub mod told;
#[cfg(test)]
mod trial;
#[cfg(test)]
mod trial_crowd;
#[cfg(test)]
mod trial_end;
#[cfg(test)]
mod trial_hostile;
#[cfg(test)]
mod trial_shape;
pub mod turn;

pub use start::{Gateway, start};

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::domain::DomainName;
use crate::spec::{Bandwidth, Destination, Loss, Publish};

/// What may leave, and how fast.
#[derive(Debug)]
pub struct Policy {
    /// Empty lets nothing out.
    pub allow: Vec<Destination>,
    /// Beats `allow`.
    pub deny: Vec<Destination>,
    /// Who is asked for names, in this order; empty is the host's `/etc/hosts` and then its resolvers.
    pub resolvers: Vec<SocketAddr>,
    pub shaping: Shaping,
    /// Names that have an address beside the sandbox, on its own bridge.
    pub neighbours: Option<Box<dyn Neighbours>>,
}

/// Who else is on the bridge of a sandbox. Asked by the thread of the gateway at each query, so it must not wait.
pub trait Neighbours: fmt::Debug + Send {
    /// Returns the addresses of `name`; none if it is not a neighbour.
    fn addresses(&mut self, name: &DomainName) -> Vec<IpAddr>;
}

/// How the network is made slower than it is; each holds for each direction by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shaping {
    /// Of the payload of all connections together.
    pub bandwidth: Option<Bandwidth>,
    /// Of one direction: a round trip takes twice as long.
    pub latency: Option<Duration>,
    pub loss: Option<Loss>,
}

/// The sockets that lead into the network namespace of a sandbox, made there and handed out.
#[derive(Debug, Default)]
pub struct Inlets {
    /// Listening TCP sockets. The own address of what they accept is its destination, whatever address that is.
    pub tcp: Vec<OwnedFd>,
    /// UDP sockets with IP_RECVORIGDSTADDR or IPV6_RECVORIGDSTADDR of ip(7): each datagram carries its destination.
    pub udp: Vec<OwnedFd>,
    /// Raw sockets (IPPROTO_RAW), IPv4 and IPv6, to send whole packets with any source into the sandbox.
    pub raw: [Option<OwnedFd>; 2],
    /// Raw sockets, ICMP and ICMPv6 (this with IPV6_RECVPKTINFO), from which echo requests are read.
    pub icmp: [Option<OwnedFd>; 2],
    /// Where new sockets of the namespace come from.
    pub factory: Option<Factory>,
    /// The host's side of what is published, from [`publish::bind`].
    pub published: Vec<Bound>,
    pub heard: Heard,
}

/// At which ports of others these sockets hear what the sandbox sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Heard {
    /// At some, that of names among them.
    #[default]
    Some,
    /// At all.
    All,
}

/// A pair of TCP sockets (IPv4) of one namespace that makes more of them: what `listener`, on the loopback, accepts
/// from `spare` is of that namespace too and, disconnected, can be used for any connection.
#[derive(Debug)]
pub struct Factory {
    pub listener: OwnedFd,
    pub spare: OwnedFd,
}

/// A port of the host that is taken.
#[derive(Debug)]
pub struct Bound {
    pub publish: Publish,
    pub socket: OwnedFd,
}

/// What happened, for the report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// At most [`Ledger::MOST`], in the order in which they came first.
    pub connections: Vec<Connection>,
    /// What no place was left for.
    pub unlisted: Traffic,
}

impl Ledger {
    /// How many kinds of connections are told apart.
    pub const MOST: usize = 1024;

    /// How many of these only what was let through can have, so that nobody hides it behind what was refused.
    pub const RESERVE: usize = 256;
}

/// Connections (flows of datagrams, queries) that differ in nothing but their time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub what: What,
    pub traffic: Traffic,
}

/// What a connection is and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct What {
    /// The name by which the sandbox knows the host; without one, the address.
    pub to: String,
    /// `None` for a name that was not resolved.
    pub address: Option<IpAddr>,
    /// `None` for ICMP.
    pub port: Option<u16>,
    pub protocol: ConnectionKind,
    pub verdict: Verdict,
}

impl What {
    /// Returns how something that goes to `to` is written down; `names` are what the address stands for.
    #[must_use]
    pub fn of(to: SocketAddr, names: &[DomainName], (protocol, verdict): (ConnectionKind, Verdict)) -> Self {
        Self {
            to: names.first().map_or_else(|| to.ip().to_string(), DomainName::to_string),
            address: Some(to.ip()),
            port: (protocol != ConnectionKind::Icmp).then_some(to.port()),
            protocol,
            verdict,
        }
    }
}

/// How often, and how many bytes of payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    pub count: u64,
    /// From the sandbox.
    pub sent: u64,
    pub received: u64,
}

/// What the report calls its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionKind {
    Tcp,
    Udp,
    /// Echo requests.
    Icmp,
    /// A query for a name.
    Dns,
}

impl ConnectionKind {
    /// Returns the word of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::Dns => "dns",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allowed,
    Refused(Refusal),
    /// Allowed, but the host could not reach it; the number of errno(3).
    Unreachable(i32),
    /// From a port of the host into the sandbox.
    Published,
}

impl Verdict {
    /// Returns the word of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused(_) => "refused",
            Self::Unreachable(_) => "unreachable",
            Self::Published => "published",
        }
    }
}

/// Why something was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No rule allows it.
    NotAllowed,
    /// A rule denies it.
    Denied,
    /// The host's loopback, link-local, metadata or multicast: no rule writes it out.
    Special,
    /// The TLS hello or the HTTP request names another host than the address stands for.
    OtherName,
    /// TLS or HTTP that names no host, to an address that is allowed by name only.
    NoName,
    /// TLS or HTTP that cannot be read, or not by everybody as the same.
    Unreadable,
    /// QUIC, whose hello is not read, to an address that is allowed by name only.
    Quic,
    /// What the gateway does not carry: a kind of query, a ping where the host lets nobody ping.
    NotCarried,
}

impl Refusal {
    /// Returns the reason for people, a fragment.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "no rule allows it",
            Self::Denied => "a rule denies it",
            Self::Special => "an address of the host's own, written out by no rule",
            Self::OtherName => "the request names another host",
            Self::NoName => "the request names no host",
            Self::Unreadable => "the request cannot be read",
            Self::Quic => "QUIC is carried to allowed addresses only",
            Self::NotCarried => "the gateway does not carry it",
        }
    }
}

/// Told of each verdict when it falls, by the thread of the gateway: it must not wait.
pub type Watcher = Box<dyn FnMut(&What) + Send>;

#[cfg(test)]
mod tests {
    use super::{ConnectionKind, Refusal, Verdict};

    #[test]
    fn the_words_of_the_report_stay() {
        let verdicts =
            [Verdict::Allowed, Verdict::Refused(Refusal::Denied), Verdict::Unreachable(111), Verdict::Published];
        assert_eq!(verdicts.map(Verdict::as_str), ["allowed", "refused", "unreachable", "published"]);
        let protocols = [ConnectionKind::Tcp, ConnectionKind::Udp, ConnectionKind::Icmp, ConnectionKind::Dns];
        assert_eq!(protocols.map(ConnectionKind::as_str), ["tcp", "udp", "icmp", "dns"]);
    }
}
