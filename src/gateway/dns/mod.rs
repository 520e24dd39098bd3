//! The messages of the domain name system, and what the host itself knows of names. Nothing here opens a socket or
//! judges a name.

pub mod host;
pub mod wire;

use std::net::IpAddr;

use crate::domain::DomainName;

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A
    V4,
    /// AAAA
    V6,
    /// HTTPS and SVCB: how to reach a service, among it the keys of encrypted hellos.
    Service,
    Other,
}

impl Asked {
    /// Returns whether `address` answers it.
    #[must_use]
    pub fn is_about(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Service | Self::Other => false,
        }
    }
}

/// How a question was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    NoError,
    Failed,
    NoSuchName,
    Refused,
}

/// What a name leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub code: Code,
    /// The names that the name asked for stands for, one after the other (CNAME), with their seconds to live.
    pub aliases: Vec<(DomainName, u32)>,
    /// Of the last of them, with their seconds to live.
    pub addresses: Vec<(IpAddr, u32)>,
}

impl Found {
    /// Returns an answer without anything in it.
    #[must_use]
    pub fn nothing(code: Code) -> Self {
        Self { code, aliases: Vec::new(), addresses: Vec::new() }
    }
}
