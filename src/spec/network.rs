//! The vocabulary of `network`: what the user wrote about the way out and the way in, as types. Nothing here has
//! looked at the machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::spec::destination::Destination;
use crate::spec::shaping::{Bandwidth, Loss};
use crate::units::Spanned;

/// The address at which a sandbox finds the resolver: one that no host has (RFC 7600, the "IPv4 dummy address").
pub const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8));

/// How many resolvers are asked for a name, one after the other, until none is waited for any more.
pub const MOST_RESOLVERS: usize = 6;

/// `network none`, `host`, `egress { … }`, `bridge NAME address= { … }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    #[default]
    None,
    Host,
    /// A network of its own; what leaves it goes through sbx, by rules.
    Egress(Rules),
    Bridge(Bridge),
}

impl Network {
    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Host => "host",
            Self::Egress(_) => "egress",
            Self::Bridge(_) => "bridge",
        }
    }

    /// Returns the rules by which something leaves, where sbx lets it out.
    #[must_use]
    pub fn rules(&self) -> Option<&Rules> {
        match self {
            Self::None | Self::Host => None,
            Self::Egress(rules) | Self::Bridge(Bridge { rules, .. }) => Some(rules),
        }
    }

    /// The same, to be changed.
    pub fn rules_mut(&mut self) -> Option<&mut Rules> {
        match self {
            Self::None | Self::Host => None,
            Self::Egress(rules) | Self::Bridge(Bridge { rules, .. }) => Some(rules),
        }
    }
}

/// The children of `egress` and of `bridge`. Empty lists let nothing out, and nothing in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    pub allow: Vec<Spanned<Destination>>,
    /// Beats `allow`.
    pub deny: Vec<Spanned<Destination>>,
    pub publish: Vec<Spanned<Publish>>,
    /// In each direction.
    pub bandwidth: Option<Spanned<Bandwidth>>,
    /// Added to each direction.
    pub latency: Option<Spanned<Duration>>,
    /// In each direction.
    pub loss: Option<Spanned<Loss>>,
    /// Resolvers of the host's side; none is the host's own.
    pub dns: Vec<Spanned<SocketAddr>>,
}

/// `publish HOST-ADDRESS PORT-INSIDE protocol=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    pub outside: SocketAddr,
    /// The port on the loopback inside.
    pub inside: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

impl Protocol {
    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// `bridge NAME address=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub name: String,
    /// The address of `eth0` and how many bits the addresses of the bridge share; picked where it is not written.
    pub address: Option<Spanned<(IpAddr, u8)>>,
    pub rules: Rules,
}
