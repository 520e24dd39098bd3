//! The steps of the way out, frozen and played: messages to the kernel, the inlets, a file of the kernel. The parts
//! that play are child side: the contract of [`crate::sys`] holds there.

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::Result;
use crate::host::trial::Asked;
use crate::plan::Plan;
use crate::plan::way::{Deed, Doors, Published};
use crate::run::c_text::text;
use crate::run::netlink::{self, Messages};
use crate::run::{inlets, links, procfs};
use crate::sys::net::Family;
use crate::sys::{Errno, Fd, Sys, net};

/// One step, ready to be played.
#[derive(Debug)]
pub enum Act {
    AskKernel {
        protocol: i32,
        messages: Messages,
    },
    /// `deaf` is a file of the kernel to be set to 0 before.
    Join {
        deaf: Option<&'static CStr>,
        messages: Messages,
    },
    SilencePings {
        families: Vec<Family>,
    },
    AllowPings {
        groups: CString,
    },
    OpenInlets {
        families: Vec<Family>,
        doors: Doors,
        published: Published,
    },
}

/// Freezes `deed`; `address` is that on the bridge, which was picked when the plan was made already. Nothing is to
/// be done where there is none.
///
/// # Errors
/// None: numbers have no NUL.
pub fn freeze(plan: &Plan, deed: &Deed, address: Option<(Ipv4Addr, u8)>) -> Result<Option<Act>> {
    let route = |messages| Act::AskKernel { protocol: libc::NETLINK_ROUTE, messages };
    Ok(Some(match deed {
        Deed::AnyAddress { families } => route(netlink::any_address(families)),
        Deed::Intercept { host, besides } => {
            let own = address.map(|(address, prefix)| {
                let twin = twin(plan, (address, prefix)).map(|twin| (IpAddr::V6(twin), links::TWIN_PREFIX));
                [(IpAddr::V4(address), prefix)].into_iter().chain(twin).collect::<Vec<_>>()
            });
            let messages = netlink::intercept(host, own.as_ref().unwrap_or(besides));
            Act::AskKernel { protocol: libc::NETLINK_NETFILTER, messages }
        }
        Deed::JoinBridge { .. } => {
            return Ok(address.map(|address| {
                let twin = twin(plan, address);
                Act::Join { deaf: twin.is_some().then_some(ACCEPT_RA), messages: links::ready(address, twin) }
            }));
        }
        Deed::AllowPings => {
            let group = plan.identity.inside.gid;
            Act::AllowPings { groups: text(&format!("{group} {group}"))? }
        }
        Deed::SilencePings { families } => Act::SilencePings { families: families.clone() },
        Deed::OpenInlets { families, doors, published } => {
            Act::OpenInlets { families: families.clone(), doors: doors.clone(), published: *published }
        }
    }))
}

/// The step of [`trials`] that a run can do without, in part.
pub const REDIRECTION: &str = "nftables";

/// Returns what the doctor asks the kernel in a network of its own: the same that a run would, byte for byte.
#[must_use]
pub fn trials(families: &[Family]) -> [Vec<Asked>; 2] {
    let asked = |step, protocol, messages: Messages| Asked { step, protocol, messages: messages.bytes };
    let egress = vec![
        asked("routes", libc::NETLINK_ROUTE, netlink::any_address(families)),
        asked(REDIRECTION, libc::NETLINK_NETFILTER, netlink::intercept(&[], &[])),
    ];
    [egress, vec![asked("links", libc::NETLINK_ROUTE, links::trial())]]
}

/// The IPv6 address on the bridge, where the kernel speaks it.
fn twin(plan: &Plan, address: (Ipv4Addr, u8)) -> Option<Ipv6Addr> {
    let speaks = plan.way.as_ref().is_some_and(|way| way.families.contains(&Family::V6));
    speaks.then(|| links::twin(address))
}

/// Whether a neighbour may tell of routes (router advertisements, Documentation/networking/ip-sysctl.rst).
const ACCEPT_RA: &CStr = c"/proc/sys/net/ipv6/conf/eth0/accept_ra";

/// Plays one step; child-safe.
///
/// # Errors
/// The errno of the call that failed.
pub fn perform(act: &Act, status: Fd) -> Sys<()> {
    match act {
        Act::AskKernel { protocol, messages } => net::ask_kernel(*protocol, &messages.bytes),
        // A container around sbx may have made the files of the kernel read-only: then nobody inside can ping.
        Act::AllowPings { groups } => match procfs::write(c"/proc/sys/net/ipv4/ping_group_range", groups.to_bytes()) {
            Err(Errno::EROFS | Errno::ENOENT | Errno::EACCES) => Ok(()),
            other => other,
        },
        Act::Join { deaf, messages } => {
            deaf.map_or(Ok(()), |file| procfs::write(file, b"0"))?;
            net::ask_kernel(libc::NETLINK_ROUTE, &messages.bytes)
        }
        Act::SilencePings { families } => families.iter().try_for_each(|family| {
            let file = match family {
                Family::V4 => c"/proc/sys/net/ipv4/icmp_echo_ignore_all",
                Family::V6 => c"/proc/sys/net/ipv6/icmp/echo_ignore_all",
            };
            procfs::write(file, b"1")
        }),
        Act::OpenInlets { families, doors, published } => inlets::open(families, (doors, *published), status),
    }
}
