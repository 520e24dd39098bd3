//! What is looked up and for whom. What is done about it is `lookup`'s and `asker`'s.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::domain::DomainName;
use crate::gateway::Neighbours;
use crate::gateway::dns::host::{Hosts, resolvers};
use crate::gateway::dns::wire::Query;
use crate::gateway::slab::{Key, Slab};

/// Who asked, and where the answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Datagram {
        client: SocketAddr,
        /// The address that was asked, which is the one that answers.
        at: SocketAddr,
    },
    Stream(Key),
}

/// What is looked up, and who asks by TCP.
#[derive(Debug)]
pub struct Lookups {
    pub pending: Slab<Pending>,
    resolvers: Vec<SocketAddr>,
    /// The host's own files, once they were needed.
    own: Option<Own>,
    pub neighbours: Option<Box<dyn Neighbours>>,
}

#[derive(Debug)]
struct Own {
    hosts: Hosts,
    resolvers: Vec<SocketAddr>,
}

/// A question to a resolver.
#[derive(Debug)]
pub struct Pending {
    pub query: Query,
    pub name: DomainName,
    pub whom: Whom,
    pub id: u16,
    pub socket: OwnedFd,
    pub until: u64,
    /// How many resolvers were asked before this one.
    pub attempt: usize,
    /// What is still to be written and what was read, where it is asked by TCP.
    pub stream: Option<(Vec<u8>, Vec<u8>)>,
}

impl Lookups {
    /// Returns lookups at `resolvers`, or where there are none as the host looks things up.
    #[must_use]
    pub fn new(resolvers: Vec<SocketAddr>, neighbours: Option<Box<dyn Neighbours>>) -> Self {
        Self { pending: Slab::default(), resolvers, own: None, neighbours }
    }

    /// Returns the host's table of names and the resolvers to ask.
    pub fn sources(&mut self) -> (Option<&Hosts>, &[SocketAddr]) {
        if !self.resolvers.is_empty() {
            return (None, &self.resolvers);
        }
        let own = self.own.get_or_insert_with(|| {
            // Without them the host itself has no names and asks itself.
            let text = |path| std::fs::read_to_string(path).unwrap_or_default();
            Own { hosts: Hosts::read(&text("/etc/hosts")), resolvers: resolvers(&text("/etc/resolv.conf")) }
        });
        (Some(&own.hosts), &own.resolvers)
    }
}

/// All programs that ask by TCP.
pub type Askers = Slab<Asker>;

/// One that asks.
#[derive(Debug)]
pub struct Asker {
    pub socket: OwnedFd,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    pub until: u64,
    /// Questions that are not answered yet.
    pub waiting: usize,
    pub ended: bool,
}
