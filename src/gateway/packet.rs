//! Whole packets that come from an address which the host does not have: the answers of the outside, as the sandbox has
//! to see them (RFC 791, 8200, 768, 792, 4443). It sends nothing.

use std::net::{IpAddr, SocketAddr};

const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;
const HOPS: u8 = 64;

/// Why a packet went nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody has that port.
    NoPort,
    /// There is no way to that host.
    NoHost,
    /// It is not allowed.
    Prohibited,
}

/// Returns a UDP packet. The kernel fills in the check sum and the identification of an IPv4 header.
#[must_use]
pub fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let datagram = datagram(from, to, payload)?;
    packet(from.ip(), to.ip(), (UDP, &datagram))
}

/// Returns the reply to an echo request: its identifier, sequence and data are the first bytes of `rest`.
#[must_use]
pub fn echo_reply(from: IpAddr, to: IpAddr, rest: &[u8]) -> Option<Vec<u8>> {
    icmp(from, to, if from.is_ipv4() { [0, 0] } else { [129, 0] }, rest)
}

/// Returns an echo request as a raw socket of ICMP sends it: `message` with another identifier. For IPv6 the kernel fills
/// in the sum.
#[must_use]
pub fn echo_request(to: IpAddr, identifier: u16, message: &[u8]) -> Option<Vec<u8>> {
    let mut message = message.to_vec();
    message.get_mut(2..4)?.fill(0);
    message.get_mut(4..6)?.copy_from_slice(&identifier.to_be_bytes());
    if to.is_ipv4() {
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    Some(message)
}

/// Returns the message of the reply to [`echo_request`], out of what a raw socket of ICMP reads.
#[must_use]
pub fn reply_to_request(from: IpAddr, identifier: u16, bytes: &[u8]) -> Option<&[u8]> {
    let (message, kind) = match from {
        IpAddr::V4(_) => (bytes.get(usize::from(bytes.first()? & 0x0f) * 4..)?, 0),
        IpAddr::V6(_) => (bytes, 129),
    };
    let own = message.get(4..6)? == identifier.to_be_bytes();
    (own && message.first() == Some(&kind)).then_some(message)
}

/// Returns what tells `client` that its datagram to `to` went nowhere; it comes from the destination itself.
#[must_use]
pub fn lost_datagram(client: SocketAddr, to: SocketAddr, payload: &[u8], why: Why) -> Option<Vec<u8>> {
    let head = &payload[..payload.len().min(64)];
    lost(client.ip(), to.ip(), (UDP, &datagram(client, to, head)?), why)
}

/// Returns what tells `client` that its echo request, of which `rest` is all but the type and the code, went nowhere.
#[must_use]
pub fn lost_echo(client: IpAddr, to: IpAddr, rest: &[u8], why: Why) -> Option<Vec<u8>> {
    let (protocol, kind) = if to.is_ipv4() { (ICMP, 8) } else { (ICMP_V6, 128) };
    let message = [&[kind, 0, 0, 0], &rest[..rest.len().min(64)]].concat();
    lost(client, to, (protocol, &message), why)
}

fn lost(client: IpAddr, to: IpAddr, sent: (u8, &[u8]), why: Why) -> Option<Vec<u8>> {
    let mut lost = packet(client, to, sent)?;
    if to.is_ipv4() {
        // The kernel compares nothing but addresses and ports, but others may.
        let sum = checksum(&[&lost[..20]]);
        lost[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let kind = match (to.is_ipv4(), why) {
        (true, Why::NoPort) => [3, 3],
        (true, Why::NoHost) => [3, 1],
        (true, Why::Prohibited) => [3, 13],
        (false, Why::NoPort) => [1, 4],
        (false, Why::NoHost) => [1, 3],
        (false, Why::Prohibited) => [1, 1],
    };
    let mut rest = vec![0; 4];
    rest.extend_from_slice(&lost);
    icmp(to, client, kind, &rest)
}

fn icmp(from: IpAddr, to: IpAddr, kind: [u8; 2], rest: &[u8]) -> Option<Vec<u8>> {
    let protocol = if from.is_ipv4() { ICMP } else { ICMP_V6 };
    let mut message = vec![kind[0], kind[1], 0, 0];
    message.extend_from_slice(rest);
    let sum = match from {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => checksum(&[&pseudo(from, to, protocol, message.len())?, &message]),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(from, to, (protocol, &message))
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len() + 8).ok()?;
    let mut datagram = Vec::with_capacity(payload.len() + 8);
    for word in [from.port(), to.port(), length, 0] {
        datagram.extend_from_slice(&word.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let sum = checksum(&[&pseudo(from.ip(), to.ip(), UDP, datagram.len())?, &datagram]);
    // Zero would say that there is none.
    let sum = if sum == 0 { u16::MAX } else { sum };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    Some(datagram)
}

fn packet(from: IpAddr, to: IpAddr, (protocol, payload): (u8, &[u8])) -> Option<Vec<u8>> {
    let mut packet = Vec::with_capacity(40 + payload.len());
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + payload.len()).ok()?.to_be_bytes();
            packet.extend_from_slice(&[0x45, 0, length[0], length[1], 0, 0, 0, 0, HOPS, protocol, 0, 0]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
            packet.extend_from_slice(&[0x60, 0, 0, 0, length[0], length[1], protocol, HOPS]);
            packet.extend_from_slice(&from.octets());
            packet.extend_from_slice(&to.octets());
        }
        _ => return None,
    }
    packet.extend_from_slice(payload);
    Some(packet)
}

/// What the check sum covers besides the payload.
fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Option<Vec<u8>> {
    let length = u32::try_from(length).ok()?;
    let mut bytes = Vec::with_capacity(40);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        _ => return None,
    }
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, protocol]);
    Some(bytes)
}

/// The sum of RFC 1071 over parts of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let words = part.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        sum += words.map(u64::from).sum::<u64>();
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Why, checksum, echo_reply, lost_datagram, pseudo, udp};

    #[test]
    fn the_sum_is_that_of_the_rfc() {
        // RFC 1071, 3.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[0x00, 0x01], &[0xf2]]), !0xf201);
    }

    #[test]
    fn a_datagram_is_whole_in_both_families() {
        for (from, to, header) in [("8.8.8.8:53", "127.0.0.1:4000", 20), ("[2001:db8::1]:53", "[::1]:4000", 40)] {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let packet = udp(from, to, b"abc").unwrap();
            assert_eq!(packet.len(), header + 8 + 3);
            let datagram = &packet[header..];
            assert_eq!(datagram[..6], [0, 53, 0x0f, 0xa0, 0, 11]);
            let sum = checksum(&[&pseudo(from.ip(), to.ip(), 17, datagram.len()).unwrap(), datagram]);
            assert_eq!(sum, 0, "the sum over all is zero");
        }
        assert_eq!(udp("8.8.8.8:53".parse().unwrap(), "[::1]:1".parse().unwrap(), b""), None);
        assert_eq!(udp("8.8.8.8:53".parse().unwrap(), "127.0.0.1:1".parse().unwrap(), &[0; 65_536]), None);
    }

    #[test]
    fn a_lost_datagram_is_told_with_its_own_head() {
        let (client, to) = ("127.0.0.1:4000".parse().unwrap(), "8.8.8.8:99".parse().unwrap());
        let packet = lost_datagram(client, to, &[7; 1000], Why::Prohibited).unwrap();
        assert_eq!(packet.len(), 20 + 8 + 20 + 8 + 64);
        assert_eq!(packet[12..20], [8, 8, 8, 8, 127, 0, 0, 1]);
        assert_eq!(packet[20..22], [3, 13]);
        assert_eq!(checksum(&[&packet[20..]]), 0);
        let lost = &packet[28..];
        assert_eq!(lost[12..20], [127, 0, 0, 1, 8, 8, 8, 8]);
        assert_eq!(lost[20..24], [0x0f, 0xa0, 0, 99]);
        assert_eq!(checksum(&[&lost[..20]]), 0);
    }

    #[test]
    fn a_raw_request_knows_its_own_reply() {
        let to = "8.8.8.8".parse().unwrap();
        let mut message = super::echo_request(to, 0x1234, &[8, 0, 9, 9, 0, 1, 0, 7, 5]).unwrap();
        assert_eq!(checksum(&[&message]), 0);
        assert_eq!(message[4..], [0x12, 0x34, 0, 7, 5]);
        message[0] = 0;
        let mut packet = vec![0x45; 20];
        packet.extend_from_slice(&message);
        assert_eq!(super::reply_to_request(to, 0x1234, &packet), Some(&message[..]));
        assert_eq!(super::reply_to_request(to, 0x1235, &packet), None, "another's");
        packet[20] = 8;
        assert_eq!(super::reply_to_request(to, 0x1234, &packet), None, "a request");
        assert_eq!(super::reply_to_request(to, 0x1234, &packet[..25]), None);
        assert_eq!(super::echo_request(to, 1, &[8, 0]), None);
    }

    #[test]
    fn an_echo_comes_back_with_its_rest() {
        let packet = echo_reply("8.8.8.8".parse().unwrap(), "127.0.0.1".parse().unwrap(), &[1, 2, 0, 3, 9, 9]).unwrap();
        assert_eq!((packet[20..22].to_vec(), packet[24..].to_vec()), (vec![0, 0], vec![1, 2, 0, 3, 9, 9]));
        assert_eq!(checksum(&[&packet[20..]]), 0);
        let (from, to) = ("2001:db8::1".parse().unwrap(), "::1".parse().unwrap());
        let packet = echo_reply(from, to, &[1, 2, 0, 3]).unwrap();
        assert_eq!(packet[40..42], [129, 0]);
        assert_eq!(checksum(&[&pseudo(from, to, 58, 8).unwrap(), &packet[40..]]), 0);
    }
}
