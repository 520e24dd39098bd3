//! Addresses that no rule means unless it writes them out: the host's own, those of the link it stands on, and those
//! at which clouds keep the credentials of a machine. It judges no rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::IpBlock;

/// Address and prefix length of the special blocks (IANA's registries of special-purpose addresses).
const SPECIAL: [(IpAddr, u8); 15] = [
    // This host on this network; Linux takes 0.0.0.0 for the loopback.
    (v4(0, 0, 0, 0), 8),
    // Loopback.
    (v4(127, 0, 0, 0), 8),
    // Link-local, and with 169.254.169.254 the metadata of most clouds.
    (v4(169, 254, 0, 0), 16),
    // The metadata of Oracle's, Alibaba's and Microsoft's clouds.
    (v4(192, 0, 0, 192), 32),
    (v4(100, 100, 100, 200), 32),
    (v4(168, 63, 129, 16), 32),
    // Multicast, reserved, broadcast.
    (v4(224, 0, 0, 0), 4),
    (v4(240, 0, 0, 0), 4),
    // Unspecified, loopback and IPv4 within IPv6 of old, all of which begin with 96 zeros.
    (v6(0, 0), 96),
    // Link-local, and site-local of old.
    (v6(0xfe80, 0), 10),
    (v6(0xfec0, 0), 10),
    (v6(0xff00, 0), 8),
    // What Amazon's cloud has for its machines: metadata, credentials of pods, names, time.
    (v6(0xfd00, 0xec2), 32),
    // The metadata of Google's.
    (IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), 128),
    // Local-use translation: what it leads to is the business of this network.
    (IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0)), 48),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(first: u16, second: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0))
}

/// Returns the address that is meant: IPv4 also where it is written within IPv6 (`::ffff:10.0.0.1`).
#[must_use]
pub fn meant(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Returns the IPv4 address that an IPv6 address leads to by translation or a tunnel: NAT64 (RFC 6052), an
/// address that is translated as it is (RFC 7915), 6to4 (RFC 3056), Teredo (RFC 4380).
#[must_use]
pub fn behind(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    let octets = v6.octets();
    let at = |first: usize| Ipv4Addr::new(octets[first], octets[first + 1], octets[first + 2], octets[first + 3]);
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Some(at(12).into()),
        [0x2002, ..] => Some(at(2).into()),
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!at(12).to_bits()).into()),
        _ => None,
    }
}

/// Returns the special block that `address`, or what lies behind it, is in.
#[must_use]
pub fn special(address: IpAddr) -> Option<IpBlock> {
    let of = |address: IpAddr| {
        SPECIAL
            .iter()
            .filter_map(|(network, prefix)| IpBlock::new(*network, *prefix))
            .find(|block| block.contains(address))
    };
    // What has such an address is written out by that address, whatever block its IPv4 address is in.
    of(address).or_else(|| behind(address).and_then(of).map(|_| IpBlock::of(address)))
}

#[cfg(test)]
mod tests {
    use super::{SPECIAL, behind, meant, special};
    use crate::spec::IpBlock;

    #[test]
    fn every_block_of_the_table_is_one() {
        for (network, prefix) in SPECIAL {
            assert!(IpBlock::new(network, prefix).is_some(), "{network}/{prefix}");
        }
    }

    #[test]
    fn what_is_the_hosts_own_is_special_in_every_disguise() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:ec2::253",
            "fd20:ce::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:80ff:fffe",
            "::ffff:0:7f00:1",
            "::ffff:0:169.254.169.254",
        ] {
            assert!(special(meant(text.parse().unwrap())).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_out_there_is_not() {
        for text in [
            "8.8.8.8",
            "10.0.0.1",
            "192.168.1.1",
            "100.100.100.201",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::8.8.8.8",
            "::ffff:0:8.8.8.8",
            "fd00:ec3::1",
            "2002:808:808::1",
        ] {
            assert_eq!(special(meant(text.parse().unwrap())), None, "{text}");
        }
        assert_eq!(behind("64:ff9b::8.8.8.8".parse().unwrap()), Some("8.8.8.8".parse().unwrap()));
        assert_eq!(behind("2002:808:808::1".parse().unwrap()), Some("8.8.8.8".parse().unwrap()));
        assert_eq!(behind("::ffff:0:8.8.8.8".parse().unwrap()), Some("8.8.8.8".parse().unwrap()));
        assert_eq!(behind("2001:db8::1".parse().unwrap()), None);
    }
}
