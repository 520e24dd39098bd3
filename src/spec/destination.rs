//! What a rule of the network is about: a host or many, and ports. Text in, types out; it knows no node, resolves no
//! name and decides nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::domain::DomainName;

/// Where connections may go or may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub host: HostPattern,
    pub ports: Ports,
}

/// The hosts that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`
    Any,
    Name(DomainName),
    /// `*.debian.example`: whatever lies below the name, not the name itself.
    Below(DomainName),
    Block(IpBlock),
}

/// Addresses with a common prefix; one address is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpBlock {
    network: IpAddr,
    prefix: u8,
}

/// The ports that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    All,
    /// Sorted, without overlaps, never empty, never port 0.
    Some(Vec<RangeInclusive<u16>>),
}

/// Why a text is no [`Destination`]: what is wrong, a fragment with the text in backticks, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDestination {
    pub message: String,
    pub hint: String,
}

/// What a destination looks like.
pub const FORM: &str = "a host or an address, and ports: `crates.example:443`, `*.debian.example:80,443`, `10.1.0.0/16:5432`, `[2001:db8::1]:443`, `*:443`, `*`";

impl Destination {
    /// Reads `HOST[:PORTS]`. HOST is a name, `*.NAME`, an IPv4 address or block, an IPv6 address in brackets, an IPv6
    /// block with or without them, or `*`; PORTS are numbers and ranges with commas, `*` or nothing for all.
    ///
    /// # Errors
    /// What is wrong with `text`, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, NotDestination> {
        let (host, ports) = halves(text)?;
        let ports = ports.map_or(Ok(Ports::All), |ports| Ports::parse(ports, text))?;
        Ok(Self { host: HostPattern::parse(host, text)?, ports })
    }
}

/// Returns the host, without brackets, and the ports, where they are written.
fn halves(text: &str) -> Result<(&str, Option<&str>), NotDestination> {
    if text.contains("://") {
        return Err(wrong(text, "is a URL", FORM));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| wrong(text, "has no `]`", FORM))?;
        return match after.strip_prefix(':') {
            Some(ports) if host.contains(':') => Ok((host, Some(ports))),
            None if after.is_empty() && host.contains(':') => Ok((host, None)),
            _ => Err(wrong(text, "is no destination", FORM)),
        };
    }
    match text.matches(':').count() {
        0 | 1 => Ok(text.split_once(':').map_or((text, None), |(host, ports)| (host, Some(ports)))),
        // Behind the prefix of a block a colon can only begin the ports.
        _ => match text.rsplit_once('/') {
            Some((_, prefix)) => Ok(match prefix.split_once(':') {
                Some((_, ports)) => (&text[..text.len() - ports.len() - 1], Some(ports)),
                None => (text, None),
            }),
            None => {
                let what = "may be an address or an address and a port";
                Err(wrong(text, what, "write IPv6 in brackets: `[2001:db8::1]:443`"))
            }
        },
    }
}

impl HostPattern {
    fn parse(host: &str, text: &str) -> Result<Self, NotDestination> {
        if host == "*" {
            return Ok(Self::Any);
        }
        if host.contains(['/', ':']) || host.parse::<IpAddr>().is_ok() {
            return IpBlock::parse(host, text).map(Self::Block);
        }
        let (below, name) = host.strip_prefix("*.").map_or((false, host), |name| (true, name));
        let name = DomainName::new(name).map_err(|why| NotDestination {
            message: format!("`{text}` is no destination: {why}"),
            hint: why.hint().unwrap_or(FORM).to_owned(),
        })?;
        if name.as_str() == "localhost" || name.as_str().ends_with(".localhost") {
            return Err(wrong(
                text,
                "is the sandbox itself",
                "for the host's loopback write its address, `127.0.0.1:8080`",
            ));
        }
        Ok(if below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl IpBlock {
    /// Returns the block of one address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self { network: address, prefix: width(address) }
    }

    /// Returns the addresses that share the first `prefix` bits of `network`, whose other bits are zero.
    #[must_use]
    pub fn new(network: IpAddr, prefix: u8) -> Option<Self> {
        (prefix <= width(network) && masked(network, prefix) == network).then_some(Self { network, prefix })
    }

    /// Returns the block of `prefix` bits that `address` is in.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(width(address));
        Self { network: masked(address, prefix), prefix }
    }

    fn parse(host: &str, text: &str) -> Result<Self, NotDestination> {
        if host.contains('%') {
            return Err(wrong(text, "has a zone", "write the address without `%`: zones are the host's"));
        }
        let (address, prefix) = host.split_once('/').map_or((host, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong(text, "has no address before the `/` or `:`", FORM))?;
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            return Err(wrong(text, "is an IPv4 address", &format!("write `{v4}`")));
        }
        let Some(prefix) = prefix else { return Ok(Self::of(address)) };
        let digits = !prefix.is_empty() && prefix.len() <= 3 && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let width = width(address);
        match prefix.parse::<u8>() {
            Ok(prefix) if digits && prefix <= width => {
                let network = masked(address, prefix);
                if network == address {
                    return Ok(Self { network, prefix });
                }
                let hint = format!("write `{network}/{prefix}` for the block, or the address without `/{prefix}`");
                Err(wrong(text, "is an address within a block", &hint))
            }
            _ => Err(wrong(text, "has no prefix length behind the `/`", &format!("write a number from 0 to {width}"))),
        }
    }

    /// Returns whether `address` is in the block.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.network.is_ipv4() == address.is_ipv4() && masked(address, self.prefix) == self.network
    }

    /// Returns whether every address of `self` is in `other`.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.prefix >= other.prefix && other.contains(self.network)
    }

    /// Returns the first address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// Returns how many bits all addresses share.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let zeros = u32::from(width(address)).saturating_sub(prefix.into());
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(zeros).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(zeros).unwrap_or(0))),
    }
}

impl Ports {
    fn parse(list: &str, text: &str) -> Result<Self, NotDestination> {
        const PORTS: &str = "ports are numbers from 1 to 65535 and ranges: `80,443`, `8000-8100`, or `*`";
        if list == "*" {
            return Ok(Self::All);
        }
        let number = |word: &str| {
            let digits = word.bytes().all(|byte| byte.is_ascii_digit());
            word.parse::<u16>().ok().filter(|port| digits && *port > 0)
        };
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(number(first)?..=number(last)?).filter(|range| !range.is_empty())
        };
        let mut ranges = Vec::new();
        for part in list.split(',') {
            ranges.push(range(part).ok_or_else(|| wrong(text, &format!("has `{part}` as a port"), PORTS))?);
        }
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Ok(Self::Some(merged))
    }

    /// Returns whether `port` is one of them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Some(ranges) => ranges.iter().any(|range| range.contains(&port)),
        }
    }
}

fn wrong(text: &str, what: &str, hint: &str) -> NotDestination {
    NotDestination { message: format!("`{text}` {what}"), hint: hint.to_owned() }
}

impl fmt::Display for Destination {
    /// Writes the shortest text that reads back as the same: `crates.example:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.ports) {
            (HostPattern::Block(block), Ports::Some(_)) if block.network.is_ipv6() => write!(f, "[{block}]")?,
            (HostPattern::Block(block), Ports::All) if block.network.is_ipv6() && block.prefix == 128 => {
                write!(f, "[{block}]")?;
            }
            (host, _) => write!(f, "{host}")?,
        }
        match &self.ports {
            Ports::All => Ok(()),
            ports @ Ports::Some(_) => write!(f, ":{ports}"),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Name(name) => write!(f, "{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Block(block) => write!(f, "{block}"),
        }
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix == width(self.network) {
            true => write!(f, "{}", self.network),
            false => write!(f, "{}/{}", self.network, self.prefix),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Some(ranges) = self else { return f.write_str("*") };
        for (index, range) in ranges.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match range.start() == range.end() {
                true => write!(f, "{}", range.start())?,
                false => write!(f, "{}-{}", range.start(), range.end())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Destination, HostPattern, IpBlock, Ports};

    #[test]
    fn what_is_written_short_reads_back_as_itself() {
        for (text, shown) in [
            ("crates.example:443", "crates.example:443"),
            ("Crates.Example.:443", "crates.example:443"),
            ("crates.example", "crates.example"),
            ("crates.example:*", "crates.example"),
            ("*.debian.example:80,443", "*.debian.example:80,443"),
            ("*.debian.example:443,80,79-81", "*.debian.example:79-81,443"),
            ("10.1.0.0/16:5432", "10.1.0.0/16:5432"),
            ("169.254.0.0/16", "169.254.0.0/16"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32:1-65535", "10.0.0.1:1-65535"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:db8::/32:443", "[2001:db8::/32]:443"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
            ("::/0:80", "[::/0]:80"),
            ("*:443", "*:443"),
            ("*", "*"),
            ("*:*", "*"),
        ] {
            let read = Destination::parse(text).unwrap_or_else(|wrong| panic!("{text}: {}", wrong.message));
            assert_eq!(read.to_string(), shown, "{text}");
            assert_eq!(Destination::parse(shown), Ok(read), "{shown}");
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (text, part, hint) in [
            ("", "must not be empty", "crates.example"),
            ("https://crates.example", "is a URL", "crates.example"),
            ("crates.example:", "has `` as a port", "1 to 65535"),
            ("crates.example:0", "has `0` as a port", "1 to 65535"),
            ("crates.example:65536", "has `65536` as a port", "1 to 65535"),
            ("crates.example:+80", "has `+80` as a port", "1 to 65535"),
            ("crates.example:90-80", "has `90-80` as a port", "1 to 65535"),
            ("crates.example:80,", "has `` as a port", "1 to 65535"),
            ("crates.example:http", "has `http` as a port", "1 to 65535"),
            ("2001:db8::1:443", "may be an address or an address and a port", "brackets"),
            ("[2001:db8::1", "has no `]`", "crates.example"),
            ("[2001:db8::1]443", "is no destination", "crates.example"),
            ("[crates.example]:443", "is no destination", "crates.example"),
            ("[fe80::1%eth0]:80", "has a zone", "without `%`"),
            ("[::ffff:10.0.0.1]:80", "is an IPv4 address", "`10.0.0.1`"),
            ("10.1.2.3/16", "is an address within a block", "`10.1.0.0/16`"),
            ("10.1.0.0/33", "has no prefix length", "from 0 to 32"),
            ("10.1.0.0/", "has no prefix length", "from 0 to 32"),
            ("10.1.0.0/+8", "has no prefix length", "from 0 to 32"),
            ("2001:db8::/129", "has no prefix length", "from 0 to 128"),
            ("crates.example/8", "has no address", "crates.example"),
            ("127.1:80", "must not end in a number", "four numbers"),
            ("010.0.0.1", "must not end in a number", "four numbers"),
            ("*crates.example", "must not contain `*`", "crates.example"),
            ("a.*.example", "must not contain `*`", "crates.example"),
            ("*.*.example", "must not contain `*`", "crates.example"),
            ("bücher.example", "must be of ASCII", "xn--"),
            ("localhost:80", "is the sandbox itself", "127.0.0.1"),
            ("a b:80", "must not contain ` `", "crates.example"),
        ] {
            let wrong = Destination::parse(text).expect_err(text);
            assert!(wrong.message.contains(part), "{text}: {}", wrong.message);
            assert!(wrong.hint.contains(hint), "{text}: {}", wrong.hint);
        }
    }

    #[test]
    fn a_block_holds_its_addresses_and_no_others() {
        let block = |text: &str| match Destination::parse(text).unwrap().host {
            HostPattern::Block(block) => block,
            other => panic!("{text} is {other:?}"),
        };
        for (text, address, expected) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.0.0/16", "::ffff:10.1.0.1", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.0", false),
        ] {
            assert_eq!(block(text).contains(address.parse().unwrap()), expected, "{address} in {text}");
        }
        assert!(block("169.254.169.254").is_within(block("169.254.0.0/16")));
        assert!(!block("0.0.0.0/0").is_within(block("169.254.0.0/16")));
        assert_eq!(IpBlock::new("10.1.2.3".parse().unwrap(), 16), None);
        assert!(Ports::All.contains(0));
    }
}
