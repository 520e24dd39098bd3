//! The parent's part in the sandbox's network: takes the sockets that the child opens and gives them to the gateway,
//! with the rules of the plan. What becomes of a connection is decided there.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::domain::DomainName;
use crate::error::Result;
use crate::gateway::{self, Bound, Factory, Gateway, Heard, Inlets, Ledger, Policy, Shaping, Watcher};
use crate::plan::network::{self, Way};
use crate::plan::way::Doors;
use crate::run::bridge::{self, Member};
use crate::run::{inlets, links};
use crate::spec::{Publish, Rules};
use crate::sys::net::Family;
use crate::sys::process::Pid;
use crate::sys::rights::MOST;
use crate::sys::watch::own;
use crate::sys::{Fd, Sys};
use crate::units::Spanned;

/// The way out of one run, from before there is a sandbox until it is gone.
#[derive(Debug)]
pub struct Uplink<'a> {
    way: &'a Way,
    watcher: Option<Said>,
    state: State,
    member: Option<Member>,
}

/// Who is told of each verdict.
struct Said(Watcher);

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watcher")
    }
}

#[derive(Debug)]
enum State {
    /// The child opens the inlets; these sockets have come.
    Awaited(Inlets, Vec<OwnedFd>),
    Open(Gateway),
    /// There was no sandbox.
    Never,
}

impl<'a> Uplink<'a> {
    /// Takes the ports of the host that are published, so that one that is taken is an error before anything runs.
    ///
    /// # Errors
    /// A port of the host that cannot be had, with the line that names it; a place on the bridge that cannot.
    pub fn new(way: &'a Way, watcher: Option<Watcher>) -> Result<Self> {
        let published = way.rules.publish.iter().map(bind).collect::<Result<_>>()?;
        let heard = match way.doors {
            Doors::One => Heard::All,
            Doors::Each(_) => Heard::Some,
        };
        let inlets = Inlets { published, heard, ..Inlets::default() };
        let member = way.bridge.as_ref().map(|bridge| joined(way, bridge)).transpose()?;
        Ok(Self { way, watcher: watcher.map(Said), state: State::Awaited(inlets, Vec::new()), member })
    }

    /// Returns the address of the sandbox on its bridge.
    #[must_use]
    pub fn address(&self) -> Option<(Ipv4Addr, u8)> {
        self.member.as_ref().map(|member| member.address)
    }

    /// Connects the network of `child` to its bridge, if it has one.
    ///
    /// # Errors
    /// The errno of the kernel.
    pub fn connect(&self, child: Pid) -> Sys<()> {
        self.member.as_ref().map_or(Ok(()), |member| member.connect(child))
    }

    /// Returns whether the child has still something to hand over.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.state, State::Awaited(..))
    }

    /// Gives up: there is no sandbox.
    pub fn abandon(&mut self) {
        if self.is_awaited() {
            self.state = State::Never;
        }
    }

    /// Takes what the child has opened, in the order in which it did. When that is all, the gateway starts.
    ///
    /// # Errors
    /// Those of the gateway.
    fn take(&mut self, handed: [Option<Fd>; MOST]) -> Result<()> {
        let State::Awaited(_, came) = &mut self.state else {
            discard(handed);
            return Ok(());
        };
        came.extend(handed.into_iter().flatten().map(own));
        let Way { families, doors, published, .. } = self.way;
        if came.len() < inlets::count(families.len(), doors, *published) {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Never) {
            State::Awaited(mut inlets, came) => {
                fill(&mut inlets, self.way, came);
                self.open(inlets)
            }
            State::Open(_) | State::Never => Ok(()),
        }
    }

    fn open(&mut self, inlets: Inlets) -> Result<()> {
        let watcher = self.watcher.take().map(|said| said.0);
        self.state = State::Open(gateway::start(self.policy(), inlets, watcher)?);
        Ok(())
    }

    fn policy(&self) -> Policy {
        let neighbours = self.member.as_ref().map(|member| Neighbourhood {
            directory: member.directory().to_owned(),
            families: self.way.families.clone(),
        });
        let neighbours = neighbours.map(|it| -> Box<dyn gateway::Neighbours> { Box::new(it) });
        Policy { neighbours, ..policy(&self.way.rules) }
    }

    /// Ends the gateway when nothing of the sandbox is left; returns what went through it.
    #[must_use]
    pub fn finish(self) -> Option<Ledger> {
        match self.state {
            State::Open(gateway) => Some(gateway.finish()),
            State::Awaited(..) | State::Never => None,
        }
    }
}

/// Gives to `uplink` what the child has handed over; closes what nobody awaits.
///
/// # Errors
/// Those of the gateway.
pub fn take(uplink: Option<&mut Uplink<'_>>, handed: [Option<Fd>; MOST]) -> Result<()> {
    match uplink {
        Some(uplink) => uplink.take(handed),
        None => {
            discard(handed);
            Ok(())
        }
    }
}

fn discard(handed: [Option<Fd>; MOST]) {
    handed.into_iter().flatten().for_each(|handed| drop(own(handed)));
}

/// Who is on the bridge.
#[derive(Debug)]
struct Neighbourhood {
    /// That of the bridge, in which the others are listed.
    directory: PathBuf,
    families: Vec<Family>,
}

impl gateway::Neighbours for Neighbourhood {
    fn addresses(&mut self, name: &DomainName) -> Vec<IpAddr> {
        let all = bridge::neighbours(&self.directory).into_iter().filter(|it| it.name == name.as_str());
        let of = |it: bridge::Neighbour| {
            self.families.iter().map(move |family| match family {
                Family::V4 => IpAddr::V4(it.address.0),
                Family::V6 => IpAddr::V6(links::twin(it.address)),
            })
        };
        all.flat_map(of).collect()
    }
}

/// Takes a place on the bridge, whose addresses may be known only now.
fn joined(way: &Way, bridge: &network::Bridge) -> Result<Member> {
    let member = Member::join(bridge)?;
    let (address, prefix) = member.address;
    network::held(&way.rules, bridge, Some((address.into(), prefix)))?;
    Ok(member)
}

fn bind(publish: &Spanned<Publish>) -> Result<Bound> {
    gateway::publish::bind(publish.value).map_err(|error| error.at(publish.origin))
}

/// Takes the sockets in the order in which `inlets::open` hands them over.
fn fill(inlets: &mut Inlets, way: &Way, came: Vec<OwnedFd>) {
    let mut came = came.into_iter();
    for family in &way.families {
        for _ in 0..way.doors.count() {
            inlets.tcp.extend(came.next());
            inlets.udp.extend(came.next());
        }
        let place = match family {
            Family::V4 => 0,
            Family::V6 => 1,
        };
        inlets.raw[place] = came.next();
        inlets.icmp[place] = came.next();
    }
    inlets.factory = came.next().zip(came.next()).map(|(listener, spare)| Factory { listener, spare });
}

fn policy(rules: &Rules) -> Policy {
    let values = |list: &[Spanned<crate::spec::Destination>]| list.iter().map(|it| it.value.clone()).collect();
    Policy {
        allow: values(&rules.allow),
        deny: values(&rules.deny),
        resolvers: rules.dns.iter().map(|it| it.value).collect(),
        shaping: Shaping {
            bandwidth: rules.bandwidth.as_ref().map(|it| it.value),
            latency: rules.latency.as_ref().map(|it| it.value),
            loss: rules.loss.as_ref().map(|it| it.value),
        },
        neighbours: None,
    }
}
