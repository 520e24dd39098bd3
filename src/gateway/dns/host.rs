//! What the host knows of names: its table of hosts and its resolvers. The files are read by who owns them; here is what
//! they say.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::domain::DomainName;

/// The addresses of `/etc/hosts`, hosts(5).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Hosts(HashMap<DomainName, Vec<IpAddr>>);

impl Hosts {
    /// Reads the file; lines that say nothing are passed over, as every reader of it does.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words.filter_map(|word| DomainName::new(word).ok()) {
                let addresses = hosts.0.entry(name).or_default();
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
        }
        hosts
    }

    /// Returns the addresses of `name`; none if it is not in the table.
    #[must_use]
    pub fn addresses(&self, name: &DomainName) -> &[IpAddr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Returns the resolvers that `/etc/resolv.conf` names, at most three; without one it is the machine itself
/// (resolv.conf(5)).
#[must_use]
pub fn resolvers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // An address with a zone is of a link that the gateway does not choose.
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.parse::<IpAddr>().ok()
    });
    let mut resolvers: Vec<_> = named.take(3).map(|address| SocketAddr::new(address, 53)).collect();
    if resolvers.is_empty() {
        resolvers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    resolvers
}

#[cfg(test)]
mod tests {
    use super::{Hosts, resolvers};
    use crate::domain::DomainName;

    #[test]
    fn every_name_of_a_line_has_its_address() {
        let hosts = Hosts::read(
            "# comment\n127.0.0.1\tlocalhost\n10.0.0.1 a.example A # b.example\n10.0.0.2 a.example\n\
             fe80::1%eth0 c.example\n::1 a.example\nnonsense d.example\n10.0.0.1 a.example\n",
        );
        let addresses = |text: &str| -> Vec<_> {
            hosts.addresses(&DomainName::new(text).unwrap()).iter().map(ToString::to_string).collect()
        };
        assert_eq!(addresses("a.example"), ["10.0.0.1", "10.0.0.2", "::1"]);
        assert_eq!(addresses("a"), ["10.0.0.1"]);
        assert!(["b.example", "c.example", "d.example"].iter().all(|text| addresses(text).is_empty()));
    }

    #[test]
    fn resolvers_are_those_of_the_file_or_the_machine_itself() {
        let text = "search example\nnameserver 10.0.0.1\n nameserver 2001:db8::1 \nnameserver fe80::1%eth0\n#nameserver 10.0.0.2\noptions x\n";
        let read: Vec<_> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(read, ["10.0.0.1:53", "[2001:db8::1]:53"]);
        assert_eq!(resolvers("").iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:53"]);
    }
}
