//! Messages to the kernel about interfaces (rtnetlink(7)), as bytes: a bridge, a pair of interfaces of which one end
//! is in the sandbox, and what makes that end ready. Nothing here sends.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::plan::network::BESIDE;
use crate::run::netlink::Messages;

/// The name of the interface in the sandbox.
pub const INSIDE: &str = "eth0";

/// Its number there, and the least of a port of the bridge. The kernel counts from 1, and has interfaces of its own
/// after `lo` where modules for tunnels are loaded.
const INDEX: i32 = 1000;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
/// NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL.
const CREATE: u16 = 0x601;
const REQUEST: u16 = 1;
const NAME: u16 = libc::IFLA_IFNAME;
const LINK_INFO: u16 = libc::IFLA_LINKINFO;
const KIND: u16 = 1;
const DATA: u16 = 2;
/// VETH_INFO_PEER of linux/veth.h.
const PEER: u16 = 1;

/// struct ifinfomsg: the family and the type of any, the number of the interface, and the flags that are set.
fn interface(index: i32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

const UP: u32 = 1;

/// The length of the prefix of [`twin`].
pub const TWIN_PREFIX: u8 = 64;

/// Returns the IPv6 address beside an IPv4 address: unique and local (RFC 4193), with the IPv4 network in its prefix and
/// the address at its end, so that whoever knows the one knows the other. The prefix is not random: a bridge is
/// connected to nothing.
#[must_use]
pub fn twin((address, prefix): (Ipv4Addr, u8)) -> Ipv6Addr {
    let address = u32::from(address);
    let network = address & u32::MAX.checked_shr(prefix.into()).map_or(u32::MAX, |hosts| !hosts);
    Ipv6Addr::from(u128::from(BESIDE) << 96 | u128::from(network) << 64 | u128::from(address))
}

/// Makes a bridge, and brings it up.
#[must_use]
pub fn bridge(name: &str) -> Messages {
    let mut messages = Messages::default();
    messages.message((NEW_LINK, CREATE), &interface(0, UP), |messages| {
        messages.name(NAME, name);
        messages.nest(LINK_INFO, |messages| messages.name(KIND, "bridge"));
    });
    messages.acknowledge();
    messages
}

/// Makes a pair of interfaces: one is a port of the bridge with number `bridge`, the other is [`INSIDE`] in the
/// network of the process `inside`.
#[must_use]
pub fn pair(port: &str, bridge: u32, inside: u32) -> Messages {
    let mut messages = Messages::default();
    // Only where the one has a number may the other have one (veth_newlink() of the kernel).
    let own = inside.checked_add(INDEX.unsigned_abs()).and_then(|own| i32::try_from(own).ok()).unwrap_or(INDEX);
    messages.message((NEW_LINK, CREATE), &interface(own, UP), |messages| {
        messages.name(NAME, port);
        messages.attribute(libc::IFLA_MASTER, &bridge.to_ne_bytes());
        messages.nest(LINK_INFO, |messages| {
            messages.name(KIND, "veth");
            messages.nest(DATA, |messages| {
                messages.nest(PEER, |messages| {
                    messages.bytes.extend(interface(INDEX, 0));
                    messages.name(NAME, INSIDE);
                    messages.attribute(libc::IFLA_NET_NS_PID, &inside.to_ne_bytes());
                });
            });
        });
    });
    messages.acknowledge();
    messages
}

/// Makes a bridge and a pair of interfaces that lead nowhere, where it can be seen whether the kernel has both kinds.
#[must_use]
pub fn trial() -> Messages {
    let mut messages = bridge("bridge");
    messages.message((NEW_LINK, CREATE), &interface(0, 0), |messages| {
        messages.name(NAME, INSIDE);
        messages.nest(LINK_INFO, |messages| messages.name(KIND, "veth"));
    });
    messages.acknowledge();
    messages
}

/// Gives [`INSIDE`] its addresses and brings it up, from inside.
#[must_use]
pub fn ready((address, prefix): (Ipv4Addr, u8), twin: Option<Ipv6Addr>) -> Messages {
    let mut messages = Messages::default();
    let [first, second, third, fourth] = INDEX.to_ne_bytes();
    // struct ifaddrmsg: family, length of the prefix, flags, scope, number of the interface.
    let header = [2, prefix, 0, 0, first, second, third, fourth];
    messages.message((NEW_ADDRESS, CREATE), &header, |messages| {
        messages.attribute(libc::IFA_LOCAL, &address.octets());
        messages.attribute(libc::IFA_ADDRESS, &address.octets());
        let last = u32::from(address) | u32::MAX >> prefix;
        messages.attribute(libc::IFA_BROADCAST, &last.to_be_bytes());
    });
    messages.message((NEW_LINK, REQUEST), &interface(INDEX, UP), |_| ());
    if let Some(twin) = twin {
        // Nobody else can have it, so nobody is asked for a second (IFA_F_NODAD).
        let header = [10, TWIN_PREFIX, 2, 0, first, second, third, fourth];
        messages.message((NEW_ADDRESS, CREATE), &header, |messages| {
            messages.attribute(libc::IFA_LOCAL, &twin.octets());
            messages.attribute(libc::IFA_ADDRESS, &twin.octets());
        });
    }
    messages.acknowledge();
    messages
}

#[cfg(test)]
mod tests {
    use super::twin;

    #[test]
    fn a_twin_has_the_network_and_the_address() {
        let of = |text: &str, prefix| twin((text.parse().unwrap(), prefix)).to_string();
        assert_eq!(of("10.88.7.2", 24), "fd73:6278:a58:700::a58:702");
        assert_eq!(of("10.88.7.3", 24), "fd73:6278:a58:700::a58:703");
        assert_eq!(of("10.88.7.3", 16), "fd73:6278:a58::a58:703".parse::<std::net::Ipv6Addr>().unwrap().to_string());
        assert_eq!(of("10.88.7.3", 32), "fd73:6278:a58:703::a58:703");
    }
}
