//! The flows of datagrams that there are. What is done with them is `datagrams`' and `echo`'s.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use crate::gateway::lane::Lane;
use crate::gateway::record::Place;
use crate::gateway::rules::Read;
use crate::gateway::slab::{Key, Slab};

/// Flows at once; the one that was silent longest makes room.
const MOST: usize = 1024;

/// Who speaks with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    pub client: SocketAddr,
    pub to: SocketAddr,
    pub kind: FlowKind,
}

/// What a flow carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowKind {
    Udp,
    /// Echo requests; the port of the client is their identifier.
    Echo,
    /// From the published port of this number.
    Published(usize),
}

/// One flow.
#[derive(Debug)]
pub struct Datagrams {
    pub pair: Pair,
    pub socket: OwnedFd,
    pub place: Place,
    pub until: u64,
    /// Whether a datagram that hides the name of a host may not go out.
    pub read: Read,
    /// The identifier of pings that go out by a raw socket.
    pub raw: Option<u16>,
}

/// All flows, and what is under way in them.
#[derive(Debug)]
pub struct Flows {
    pub slab: Slab<Datagrams>,
    pub by_pair: HashMap<Pair, Key>,
    pub most: usize,
    /// From the sandbox, and to it.
    pub lanes: [Lane<Key>; 2],
}

impl Flows {
    /// Returns no flows; there may be `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(16, MOST);
        Self { slab: Slab::default(), by_pair: HashMap::new(), most, lanes: [Lane::default(), Lane::default()] }
    }
}
