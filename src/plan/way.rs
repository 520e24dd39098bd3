//! What the child does so that whatever the command sends anywhere arrives at sbx, as data.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::sys::net::Family;

/// What the inlets need for what of the host leads into the sandbox. Datagrams need nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    Nothing,
    /// A pair of sockets that makes more of them.
    Tcp,
}

/// At which ports the inlets listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doors {
    /// At one, to which all others are led ([`Deed::Intercept`]).
    One,
    /// At these, each by itself. What goes to others is refused by the kernel, and nobody hears of it.
    Each(Vec<u16>),
}

impl Doors {
    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::One => 1,
            Self::Each(ports) => ports.len(),
        }
    }
}

/// One thing that is done for the way out; with all capabilities, before the command starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Makes every address one of `lo`'s own, so that whatever is sent anywhere arrives here.
    AnyAddress { families: Vec<Family> },
    /// Leads connections and datagrams to the inlets, but for those to the loopback's own addresses and to these
    /// `besides`. What of the loopback a rule writes out is the host's.
    Intercept { host: Vec<(IpAddr, u8, RangeInclusive<u16>)>, besides: Vec<(IpAddr, u8)> },
    /// Keeps the kernel from answering pings of addresses that are `lo`'s only by route, and of its own besides; where
    /// [`Deed::Intercept`] cannot.
    SilencePings { families: Vec<Family> },
    /// Lets the command ping (`ping_group_range` of icmp(7)), where the kernel's files can be written to.
    AllowPings,
    /// Makes ready the interface by which the sandbox is on a bridge, which sbx has made.
    JoinBridge { name: String, address: Option<(IpAddr, u8)> },
    /// Opens the inlets, and what sbx needs to reach the command, and hands them to sbx.
    OpenInlets { families: Vec<Family>, doors: Doors, published: Published },
}

impl Deed {
    /// Returns the word of the plan for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AnyAddress { .. } => "any-address",
            Self::Intercept { .. } => "intercept",
            Self::SilencePings { .. } => "silence-pings",
            Self::AllowPings => "allow-pings",
            Self::JoinBridge { .. } => "join-bridge",
            Self::OpenInlets { .. } => "open-inlets",
        }
    }
}

impl fmt::Display for Deed {
    /// Writes what stands after the word, with a space before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyAddress { families } => {
                families.iter().try_for_each(|family| write!(f, " {}", everything(*family)))
            }
            Self::Intercept { host, besides } => {
                host.iter().try_for_each(|it| write!(f, " host={}", ports(it)))?;
                besides.iter().try_for_each(|it| write!(f, " besides={}", block(it)))
            }
            Self::SilencePings { families } => families.iter().try_for_each(|family| write!(f, " {}", word(*family))),
            Self::AllowPings => Ok(()),
            Self::JoinBridge { name, address } => {
                write!(f, " {name}")?;
                address.as_ref().map_or(Ok(()), |address| write!(f, " {}", block(address)))
            }
            Self::OpenInlets { families, doors, published } => {
                families.iter().try_for_each(|family| write!(f, " {}", word(*family)))?;
                if let Doors::Each(ports) = doors {
                    ports.iter().try_for_each(|port| write!(f, " port={port}"))?;
                }
                published.as_str().map_or(Ok(()), |published| write!(f, " published={published}"))
            }
        }
    }
}

impl Published {
    /// Returns the word of the plan; `None` is nothing.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Tcp => Some("tcp"),
        }
    }
}

/// Returns the word of the plan for a family.
#[must_use]
pub fn word(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// Returns the block of all its addresses.
#[must_use]
pub fn everything(family: Family) -> &'static str {
    match family {
        Family::V4 => "0.0.0.0/0",
        Family::V6 => "::/0",
    }
}

/// Writes a block with its ports as `127.0.0.1/32:80-90`.
#[must_use]
pub fn ports((address, prefix, ports): &(IpAddr, u8, RangeInclusive<u16>)) -> String {
    format!("{address}/{prefix}:{}-{}", ports.start(), ports.end())
}

/// Writes a block as `10.0.0.0/8`.
#[must_use]
pub fn block((address, prefix): &(IpAddr, u8)) -> String {
    format!("{address}/{prefix}")
}
