//! Where the sandbox's network leads to: what the child hands over of it goes to somebody who carries it on. Who
//! that is, this room does not know.

use std::fmt;
use std::os::fd::OwnedFd;

use crate::error::Result;
use crate::plan::network::{Published, Way};
use crate::sys::net::Family;
use crate::sys::rights::MOST;
use crate::sys::watch::own;
use crate::sys::{Fd, fd};

/// Who lets out what arrives.
pub trait Uplink: fmt::Debug {
    /// Begins to carry; called once, before the command starts or soon after.
    ///
    /// # Errors
    /// What prevents it: the run ends then.
    fn open(&mut self, inlets: Inlets) -> Result<()>;
}

/// The uplink of a sandbox that has none.
#[derive(Debug)]
pub struct Nowhere;

impl Uplink for Nowhere {
    fn open(&mut self, _: Inlets) -> Result<()> {
        Ok(())
    }
}

/// The sockets of one family, all of the sandbox's namespace and non-blocking.
#[derive(Debug)]
pub struct Sockets {
    pub family: Family,
    /// It listens; the own address of what it accepts is where that was sent to.
    pub connections: OwnedFd,
    /// With IP_RECVORIGDSTADDR or IPV6_RECVORIGDSTADDR.
    pub datagrams: OwnedFd,
    /// IPPROTO_RAW: whole packets into the sandbox, from any address.
    pub answers: OwnedFd,
    /// Echo requests come in here; for IPv6 with IPV6_RECVPKTINFO.
    pub pings: OwnedFd,
}

/// What the child has handed over.
#[derive(Debug, Default)]
pub struct Inlets {
    pub sockets: Vec<Sockets>,
    /// One that listens on the loopback inside, and one to connect to it.
    pub factory: Option<(OwnedFd, OwnedFd)>,
    /// Unbound, for datagrams.
    pub pool: Vec<OwnedFd>,
}

/// What is still to come of the inlets of a way.
#[derive(Debug)]
pub struct Awaited<'a> {
    way: &'a Way,
    uplink: &'a mut (dyn Uplink + 'static),
    inlets: Inlets,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Inlets,
    Pool,
    Open,
    Never,
}

impl<'a> Awaited<'a> {
    #[must_use]
    pub fn new(way: &'a Way, uplink: &'a mut (dyn Uplink + 'static)) -> Self {
        Self { way, uplink, inlets: Inlets::default(), state: State::Inlets }
    }

    /// Returns whether the child has still something to hand over.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.state, State::Inlets | State::Pool)
    }

    /// Gives up: the sandbox could not be built.
    pub fn abandon(&mut self) {
        if self.is_awaited() {
            self.state = State::Never;
        }
    }

    /// Takes what the child opened first, in the order in which it did.
    ///
    /// # Errors
    /// Those of the uplink.
    pub fn take(&mut self, handed: [Option<Fd>; MOST]) -> Result<()> {
        let mut handed = handed.into_iter().flatten().map(own);
        let mut next = || handed.next();
        for family in &self.way.families {
            if let (Some(connections), Some(datagrams), Some(answers), Some(pings)) = (next(), next(), next(), next()) {
                self.inlets.sockets.push(Sockets { family: *family, connections, datagrams, answers, pings });
            }
        }
        self.inlets.factory = next().zip(next());
        self.state = State::Pool;
        if self.way.published == Published::Udp { Ok(()) } else { self.open() }
    }

    /// Takes the pool.
    ///
    /// # Errors
    /// Those of the uplink.
    pub fn take_pool(&mut self, handed: [Option<Fd>; MOST]) -> Result<()> {
        self.inlets.pool = handed.into_iter().flatten().map(own).collect();
        self.open()
    }

    fn open(&mut self) -> Result<()> {
        self.state = State::Open;
        self.uplink.open(std::mem::take(&mut self.inlets))
    }
}

/// Closes what nobody awaits.
pub fn discard(handed: [Option<Fd>; MOST]) {
    for handed in handed.into_iter().flatten() {
        fd::close(handed).ok();
    }
}
