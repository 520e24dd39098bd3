//! The flows of datagrams that there are. What is done with them is `datagrams`' and `echo`'s.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::gateway::lane::Lane;
use crate::gateway::record::Place;
use crate::gateway::rules::Read;
use crate::gateway::slab::{Key, Slab};

/// Flows at once, of those that come from outside and of all others each; the one that was silent longest makes room.
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
    /// From the published port of this number; `at` is the host's address that was asked, and that answers.
    Published {
        number: usize,
        at: Option<IpAddr>,
    },
}

impl FlowKind {
    fn is_from_outside(self) -> bool {
        matches!(self, Self::Published { .. })
    }
}

/// One flow.
#[derive(Debug)]
pub struct Datagrams {
    pub pair: Pair,
    /// None of those that come from outside.
    pub socket: Option<OwnedFd>,
    pub place: Place,
    pub until: u64,
    /// Whether a datagram that hides the name of a host may not go out.
    pub read: Read,
    /// The identifier of pings that go out by a raw socket.
    pub raw: Option<u16>,
    /// From where the sandbox is told what comes from outside.
    pub inside: Option<SocketAddr>,
}

/// All flows, and what is under way in them.
#[derive(Debug)]
pub struct Flows {
    pub slab: Slab<Datagrams>,
    pub by_pair: HashMap<Pair, Key>,
    /// Those that came from outside, by their address inside.
    pub by_address: HashMap<IpAddr, Key>,
    /// How many addresses were given: one that was somebody's is not another's soon.
    given: u32,
    pub most: usize,
    /// From the sandbox, and to it.
    pub lanes: [Lane<Key>; 2],
}

impl Flows {
    /// Returns no flows; there may be `most` of each way.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.clamp(16, MOST);
        let lanes = [Lane::default(), Lane::default()];
        Self { slab: Slab::default(), by_pair: HashMap::new(), by_address: HashMap::new(), given: 0, most, lanes }
    }

    /// Returns the flow that has to make room for one more of this kind, if one has to. Strangers who send to a published
    /// port end no flow of the sandbox, nor it theirs.
    pub fn too_many(&mut self, kind: FlowKind) -> Option<Key> {
        if self.slab.len() < self.most {
            return None;
        }
        let keys = self.slab.keys();
        let like = |key| {
            let flow = self.slab.get_mut(key)?;
            (flow.pair.kind.is_from_outside() == kind.is_from_outside()).then_some((flow.until, key))
        };
        let like: Vec<_> = keys.into_iter().filter_map(like).collect();
        let oldest = like.iter().min_by_key(|(until, _)| *until)?;
        (like.len() >= self.most).then_some(oldest.1)
    }

    /// Returns an address that no flow has, of those that no host has either (RFC 1112, 4).
    pub fn free_address(&mut self) -> IpAddr {
        loop {
            self.given = (self.given + 1) & 0x07ff_ffff;
            let address = IpAddr::from((0xf000_0000 | self.given).to_be_bytes());
            if !self.by_address.contains_key(&address) {
                return address;
            }
        }
    }
}
