//! Messages to the kernel's network, as bytes: routes (rtnetlink(7)) and rules (nf_tables). Made in the parent, sent
//! by the child as they are. Nothing here is read back, and nothing sends.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use crate::plan::network::{MARK, PORT};
use crate::sys::net::Family;

/// Messages, one behind the other. Each answers if it fails, and the last one in any case.
#[derive(Debug, Default)]
pub struct Messages {
    pub bytes: Vec<u8>,
    /// Where the last one begins.
    last: usize,
}

/// NLM_F_REQUEST | NLM_F_CREATE
const CREATE: u16 = 0x401;
/// NLM_F_ACK
const ACKNOWLEDGE: u8 = 4;

impl Messages {
    /// Adds a message: the header of netlink(7), then `header`, then what `fill` adds.
    pub fn message(&mut self, (kind, flags): (u16, u16), header: &[u8], fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(header);
        self.pad();
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self.last = start;
    }

    /// Has the last message say that it was done.
    pub fn acknowledge(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.last + if cfg!(target_endian = "little") { 6 } else { 7 }) {
            *flags |= ACKNOWLEDGE;
        }
    }

    /// Adds an attribute (struct nlattr).
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |messages| messages.bytes.extend(value));
    }

    /// Adds an attribute that is made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// An attribute of nf_tables that is a number, in network order.
    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Adds an attribute that is a text of C.
    pub fn name(&mut self, kind: u16, name: &str) {
        self.nest(kind, |messages| {
            messages.bytes.extend(name.as_bytes());
            messages.bytes.push(0);
        });
    }
}

/// The number of `lo` in every network namespace.
const LO: u32 = 1;

/// Routes every address of `families` to `lo`, as one of its own: `ip route add local 0.0.0.0/0 dev lo`. In the main
/// table, so that what an interface is connected to comes first. Who does not choose an address of its own has that
/// of the loopback.
#[must_use]
pub fn any_address(families: &[Family]) -> Messages {
    const RTM_NEWROUTE: u16 = 24;
    let mut messages = Messages::default();
    for family in families {
        let (number, scope) = match family {
            Family::V4 => (2, libc::RT_SCOPE_HOST),
            Family::V6 => (10, libc::RT_SCOPE_UNIVERSE),
        };
        // struct rtmsg: family, lengths of the addresses, tos, table, protocol, scope, type, flags.
        let header = [number, 0, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_STATIC, scope, libc::RTN_LOCAL, 0, 0, 0, 0];
        messages.message((RTM_NEWROUTE, CREATE), &header, |messages| {
            messages.attribute(libc::RTA_OIF, &LO.to_ne_bytes());
            if *family == Family::V4 {
                messages.attribute(libc::RTA_PREFSRC, &Ipv4Addr::LOCALHOST.octets());
            }
        });
    }
    messages.acknowledge();
    messages
}

/// Leads TCP and UDP to any address to the inlets at [`PORT`], but for what goes to the loopback's own addresses and
/// to those `besides`; of the loopback's, too, what is in `host`. And silences the kernel's answers to pings of
/// addresses that are `lo`'s only by route.
#[must_use]
pub fn intercept(host: &[(IpAddr, u8, RangeInclusive<u16>)], besides: &[(IpAddr, u8)]) -> Messages {
    let mut messages = Messages::default();
    batch(&mut messages, 0x10);
    nft(&mut messages, (NEW_TABLE, CREATE), |messages| messages.name(1, TABLE));
    chain(&mut messages, ARRIVING, (0, -150));
    chain(&mut messages, LEAVING, (3, 0));
    // What sbx itself sends is for the sandbox, whatever of the loopback is the host's.
    rule(&mut messages, ARRIVING, |rule| {
        meta(rule, META_MARK);
        compare(rule, EQUAL, &MARK.to_ne_bytes());
        verdict(rule, RETURN);
    });
    // And so is what another sandbox sends.
    rule(&mut messages, ARRIVING, |rule| {
        meta(rule, META_IIF);
        compare(rule, NOT_EQUAL, &LO.to_ne_bytes());
        verdict(rule, RETURN);
    });
    for (address, prefix, ports) in host {
        proxied(&mut messages, |rule| {
            destination(rule, (*address, *prefix));
            payload(rule, 2, (2, 2));
            compare(rule, AT_LEAST, &ports.start().to_be_bytes());
            compare(rule, AT_MOST, &ports.end().to_be_bytes());
        });
    }
    let own = [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128)];
    for block in own.iter().chain(besides) {
        rule(&mut messages, ARRIVING, |rule| {
            destination(rule, *block);
            verdict(rule, RETURN);
        });
    }
    proxied(&mut messages, |_| ());
    for echo in [ECHO_REPLY, ECHO_REPLY_6] {
        silence(&mut messages, &echo);
    }
    messages.acknowledge();
    batch(&mut messages, 0x11);
    messages
}

/// Two rules, for TCP and UDP, that lead to the inlets what `which` lets through.
fn proxied(messages: &mut Messages, which: impl Fn(&mut Messages)) {
    for protocol in [libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
        rule(messages, ARRIVING, |rule| {
            meta(rule, META_L4PROTO);
            compare(rule, EQUAL, &protocol.to_ne_bytes()[..1]);
            which(rule);
            transparent_proxy(rule);
        });
    }
}

const TABLE: &str = "sbx";
const ARRIVING: &str = "arriving";
const LEAVING: &str = "leaving";
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// NFPROTO_INET: both families.
const INET: u8 = 1;
const META_MARK: u32 = 3;
const META_IIF: u32 = 4;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
/// NFT_RETURN, NF_DROP.
const RETURN: i32 = -5;
const DROP: i32 = 0;
/// NFT_REG_1.
const REGISTER: u32 = 1;

fn batch(messages: &mut Messages, kind: u16) {
    // struct nfgenmsg: family, version, and the subsystem in network order.
    messages.message((kind, 1), &[0, 0, 0, 10], |_| ());
}

fn nft(messages: &mut Messages, (kind, flags): (u16, u16), fill: impl FnOnce(&mut Messages)) {
    messages.message((10 << 8 | kind, flags), &[INET, 0, 0, 0], fill);
}

fn chain(messages: &mut Messages, name: &str, (hook, priority): (u32, i32)) {
    nft(messages, (NEW_CHAIN, CREATE), |messages| {
        messages.name(1, TABLE);
        messages.name(3, name);
        messages.nest(4 | NESTED, |messages| {
            messages.number(1, hook);
            messages.number(2, priority.cast_unsigned());
        });
        messages.name(7, "filter");
    });
}

/// NLA_F_NESTED
const NESTED: u16 = 1 << 15;

fn rule(messages: &mut Messages, chain: &str, expressions: impl FnOnce(&mut Messages)) {
    // NLM_F_APPEND keeps the order.
    nft(messages, (NEW_RULE, CREATE | 0x800), |messages| {
        messages.name(1, TABLE);
        messages.name(2, chain);
        messages.nest(4 | NESTED, expressions);
    });
}

fn expression(rule: &mut Messages, name: &str, data: impl FnOnce(&mut Messages)) {
    rule.nest(1 | NESTED, |rule| {
        rule.name(1, name);
        rule.nest(2 | NESTED, data);
    });
}

fn meta(rule: &mut Messages, key: u32) {
    expression(rule, "meta", |rule| {
        rule.number(2, key);
        rule.number(1, REGISTER);
    });
}

fn compare(rule: &mut Messages, how: u32, value: &[u8]) {
    expression(rule, "cmp", |rule| {
        rule.number(1, REGISTER);
        rule.number(2, how);
        rule.nest(3 | NESTED, |rule| rule.attribute(1, value));
    });
}

/// Loads bytes of the header of the network (1) or the transport (2).
fn payload(rule: &mut Messages, base: u32, (offset, length): (u32, u32)) {
    expression(rule, "payload", |rule| {
        rule.number(1, REGISTER);
        rule.number(2, base);
        rule.number(3, offset);
        rule.number(4, length);
    });
}

fn verdict(rule: &mut Messages, code: i32) {
    expression(rule, "immediate", |rule| {
        rule.number(1, 0);
        rule.nest(2 | NESTED, |rule| rule.nest(2 | NESTED, |rule| rule.number(1, code.cast_unsigned())));
    });
}

fn transparent_proxy(rule: &mut Messages) {
    expression(rule, "immediate", |rule| {
        rule.number(1, REGISTER);
        rule.nest(2 | NESTED, |rule| rule.attribute(1, &PORT.to_be_bytes()));
    });
    expression(rule, "tproxy", |rule| {
        rule.number(1, 0);
        rule.number(3, REGISTER);
    });
}

fn family(rule: &mut Messages, address: IpAddr) {
    meta(rule, META_NFPROTO);
    compare(rule, EQUAL, &[if address.is_ipv4() { 2 } else { 10 }]);
}

/// Goes on if the destination is in a block.
fn destination(rule: &mut Messages, (address, prefix): (IpAddr, u8)) {
    family(rule, address);
    match address {
        IpAddr::V4(address) => within(rule, 16, &address.octets(), prefix),
        IpAddr::V6(address) => within(rule, 24, &address.octets(), prefix),
    }
}

fn within(rule: &mut Messages, offset: u32, address: &[u8], prefix: u8) {
    let length = u32::try_from(address.len()).unwrap_or(0);
    let mask: Vec<u8> = (0..address.len())
        .map(|at| {
            let ones = usize::from(prefix).saturating_sub(at * 8).min(8);
            u8::try_from(0xff00u16 >> ones & 0xff).unwrap_or(0)
        })
        .collect();
    let masked: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
    payload(rule, 1, (offset, length));
    expression(rule, "bitwise", |rule| {
        rule.number(1, REGISTER);
        rule.number(2, REGISTER);
        rule.number(3, length);
        rule.nest(4 | NESTED, |rule| rule.attribute(1, &mask));
        rule.nest(5 | NESTED, |rule| rule.attribute(1, &vec![0; address.len()]));
    });
    compare(rule, EQUAL, &masked);
}

/// An answer to a ping: the family, the protocol, the type, and the source that may send it.
struct Echo {
    address: IpAddr,
    protocol: u8,
    kind: u8,
    /// Where the source stands in the header, and how much of it counts.
    source: (u32, u32),
}

const ECHO_REPLY: Echo = Echo { address: IpAddr::V4(Ipv4Addr::LOCALHOST), protocol: 1, kind: 0, source: (12, 1) };
const ECHO_REPLY_6: Echo =
    Echo { address: IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), protocol: 58, kind: 129, source: (8, 16) };

/// Drops the answers that the kernel gives in the name of others.
fn silence(messages: &mut Messages, echo: &Echo) {
    rule(messages, LEAVING, |rule| {
        family(rule, echo.address);
        meta(rule, META_L4PROTO);
        compare(rule, EQUAL, &[echo.protocol]);
        payload(rule, 2, (0, 1));
        compare(rule, EQUAL, &[echo.kind]);
        // Out of an interface that another sandbox is connected to, they are this one's own.
        meta(rule, META_OIF);
        compare(rule, EQUAL, &LO.to_ne_bytes());
        payload(rule, 1, echo.source);
        match echo.address {
            IpAddr::V4(own) => compare(rule, NOT_EQUAL, &own.octets()[..1]),
            IpAddr::V6(own) => compare(rule, NOT_EQUAL, &own.octets()),
        }
        meta(rule, META_MARK);
        compare(rule, NOT_EQUAL, &MARK.to_ne_bytes());
        verdict(rule, DROP);
    });
}

const META_OIF: u32 = 5;

#[cfg(test)]
mod tests {
    use super::{Family, any_address, intercept};

    #[test]
    fn messages_say_how_long_they_are() {
        for messages in [
            any_address(&[Family::V4, Family::V6]),
            intercept(&[("127.0.0.1".parse().unwrap(), 32, 80..=90)], &[("10.88.0.0".parse().unwrap(), 13)]),
        ] {
            let mut rest = messages.bytes.as_slice();
            let (mut count, mut asked) = (0, 0);
            while let Some(length) = rest.first_chunk::<4>() {
                let length = u32::from_ne_bytes(*length) as usize;
                assert!(length.is_multiple_of(4) && length >= 20 && length <= rest.len(), "{length}");
                asked += u16::from_ne_bytes(*rest[6..].first_chunk().unwrap()) >> 2 & 1;
                rest = &rest[length..];
                count += 1;
            }
            assert!(rest.is_empty() && count > 1 && asked == 1, "{count} {asked}");
        }
    }
}
