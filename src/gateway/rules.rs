//! Judges a destination by the rules of a policy. Deny beats allow, and what no rule allows is refused. It keeps no
//! state and speaks to nobody.

use std::net::{IpAddr, SocketAddr};

use crate::domain::DomainName;
use crate::gateway::Refusal;
use crate::gateway::address::{behind, special};
use crate::gateway::told::Told;
use crate::spec::{Destination, HostPattern, IpBlock, Ports};

/// The rules of one policy.
#[derive(Debug)]
pub struct Rules {
    allow: Vec<Destination>,
    deny: Vec<Destination>,
}

/// What is known of a connection before its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Refused(Refusal),
    /// The address itself is allowed.
    ByAddress {
        /// A name may still be denied, so the first bytes have to be read.
        read: Read,
    },
    /// The address is allowed because it stands for one of these names; the first bytes must not name another.
    ByName(Vec<DomainName>),
}

/// Whether the first bytes matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    First,
    Nothing,
}

impl Rules {
    /// Returns the rules of these lists.
    #[must_use]
    pub fn new(allow: Vec<Destination>, deny: Vec<Destination>) -> Self {
        Self { allow, deny }
    }

    /// Judges a connection to `to`, which stands for the names in `known` because they were resolved here.
    #[must_use]
    pub fn judge(&self, to: SocketAddr, known: &[DomainName]) -> Judgement {
        let at_port = |rule: &&Destination| rule.ports.contains(to.port());
        let denied = self.deny.iter().filter(at_port).any(|rule| covers(rule, to.ip()));
        if denied {
            return Judgement::Refused(Refusal::Denied);
        }
        let allowed: Vec<_> = self.allow.iter().filter(at_port).collect();
        if let Some(special) = special(to.ip()) {
            let written = allowed.iter().any(|rule| writes_out(rule, to.ip(), special));
            return if written { self.by_address(to.port()) } else { Judgement::Refused(Refusal::Special) };
        }
        let (denied, known): (Vec<_>, Vec<_>) = known.iter().partition(|name| self.denies(name, to.port()));
        if known.is_empty() && !denied.is_empty() {
            return Judgement::Refused(Refusal::Denied);
        }
        if allowed.iter().any(|rule| rule.host == HostPattern::Any || holds(rule, to.ip())) {
            return self.by_address(to.port());
        }
        let names: Vec<_> =
            known.into_iter().filter(|name| allowed.iter().any(|rule| names(rule, name))).cloned().collect();
        if names.is_empty() { Judgement::Refused(Refusal::NotAllowed) } else { Judgement::ByName(names) }
    }

    fn by_address(&self, port: u16) -> Judgement {
        let by_name = |rule: &Destination| matches!(rule.host, HostPattern::Name(_) | HostPattern::Below(_));
        let watched = self.deny.iter().any(|rule| by_name(rule) && rule.ports.contains(port));
        Judgement::ByAddress { read: if watched { Read::First } else { Read::Nothing } }
    }

    /// Returns whether a connection that was allowed to `port` may go on now that its first bytes are known.
    ///
    /// # Errors
    /// Why not.
    pub fn agree(&self, judgement: &Judgement, port: u16, told: &Told) -> Result<(), Refusal> {
        let denied = |list: &[DomainName]| list.iter().any(|name| self.denies(name, port));
        match (judgement, told) {
            (Judgement::Refused(refusal), _) => Err(*refusal),
            (_, Told::Names(list)) if denied(list) => Err(Refusal::Denied),
            (Judgement::ByName(names), Told::Names(list)) => {
                if list.iter().all(|name| names.contains(name)) {
                    Ok(())
                } else {
                    Err(Refusal::OtherName)
                }
            }
            (Judgement::ByName(_), Told::Nameless) => Err(Refusal::NoName),
            // What cannot be read may be a denied name to somebody who reads less strictly.
            (Judgement::ByName(_) | Judgement::ByAddress { read: Read::First }, Told::Unreadable) => {
                Err(Refusal::Unreadable)
            }
            _ => Ok(()),
        }
    }

    /// Returns whether `name` may be looked up: some port of it is allowed, and not all are denied.
    ///
    /// # Errors
    /// Why not.
    pub fn may_resolve(&self, name: &DomainName) -> Result<(), Refusal> {
        let about = |rule: &Destination| rule.host == HostPattern::Any || names(rule, name);
        if self.deny.iter().any(|rule| rule.ports == Ports::All && about(rule)) {
            return Err(Refusal::Denied);
        }
        if self.allow.iter().any(about) { Ok(()) } else { Err(Refusal::NotAllowed) }
    }

    /// Returns whether a name may stand for `address`: names are other people's, so none stands for an address of the
    /// host's own, unless a rule writes that out.
    #[must_use]
    pub fn may_answer(&self, address: IpAddr) -> bool {
        special(address).is_none_or(|block| self.allow.iter().any(|rule| writes_out(rule, address, block)))
    }

    /// Judges an echo request, which has no port: only rules about all ports allow it.
    #[must_use]
    pub fn judge_echo(&self, to: IpAddr, known: &[DomainName]) -> Judgement {
        let whole = |rules: &[Destination]| -> Vec<_> {
            rules.iter().filter(|rule| rule.ports == Ports::All).cloned().collect()
        };
        let rules = Self { allow: whole(&self.allow), deny: whole(&self.deny) };
        rules.judge(SocketAddr::new(to, 0), known)
    }

    fn denies(&self, name: &DomainName, port: u16) -> bool {
        self.deny.iter().any(|rule| rule.ports.contains(port) && names(rule, name))
    }
}

/// Whether a rule about addresses, or about all, is about this one or about what lies behind it.
fn covers(rule: &Destination, address: IpAddr) -> bool {
    rule.host == HostPattern::Any || holds(rule, address) || behind(address).is_some_and(|v4| holds(rule, v4))
}

fn holds(rule: &Destination, address: IpAddr) -> bool {
    matches!(rule.host, HostPattern::Block(block) if block.contains(address))
}

/// Whether a rule names this special address or a block that has nothing else in it: `0.0.0.0/0` does not.
fn writes_out(rule: &Destination, address: IpAddr, special: IpBlock) -> bool {
    matches!(rule.host, HostPattern::Block(block) if block.contains(address) && block.is_within(special))
}

fn names(rule: &Destination, name: &DomainName) -> bool {
    match &rule.host {
        HostPattern::Name(named) => named == name,
        HostPattern::Below(parent) => name.is_below(parent),
        HostPattern::Any | HostPattern::Block(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Judgement, Read, Rules};
    use crate::domain::DomainName;
    use crate::gateway::Refusal::{Denied, NoName, NotAllowed, OtherName, Special, Unreadable};
    use crate::gateway::told::Told;
    use crate::spec::Destination;

    const FREE: Judgement = Judgement::ByAddress { read: Read::Nothing };
    const WATCHED: Judgement = Judgement::ByAddress { read: Read::First };

    fn name(text: &str) -> DomainName {
        DomainName::new(text).unwrap()
    }

    fn rules(allow: &[&str], deny: &[&str]) -> Rules {
        let read = |list: &[&str]| list.iter().map(|text| Destination::parse(text).unwrap()).collect();
        Rules { allow: read(allow), deny: read(deny) }
    }

    fn judge(rules: &Rules, to: &str, known: &[&str]) -> Judgement {
        rules.judge(to.parse().unwrap(), &known.iter().map(|text| name(text)).collect::<Vec<_>>())
    }

    fn by_name(list: &[&str]) -> Judgement {
        Judgement::ByName(list.iter().map(|text| name(text)).collect())
    }

    #[test]
    fn an_empty_list_lets_nothing_out() {
        assert_eq!(judge(&rules(&[], &[]), "8.8.8.8:443", &["crates.example"]), Judgement::Refused(NotAllowed));
        assert_eq!(rules(&[], &[]).may_resolve(&name("crates.example")), Err(NotAllowed));
    }

    #[test]
    fn deny_beats_allow_whatever_is_more_exact() {
        for (allow, deny, known) in [
            ("*", "8.8.8.8", &[][..]),
            ("8.8.8.8:443", "*:443", &[]),
            ("8.8.8.8:443", "8.0.0.0/8", &[]),
            ("8.8.8.8:443", "evil.example", &["evil.example"]),
            ("evil.example", "*.example:443", &["evil.example"]),
        ] {
            let found = judge(&rules(&[allow], &[deny]), "8.8.8.8:443", known);
            assert_eq!(found, Judgement::Refused(Denied), "allow {allow}, deny {deny}");
        }
        assert_eq!(judge(&rules(&["*"], &["8.8.8.8:80"]), "8.8.8.8:443", &[]), FREE);
        assert_eq!(judge(&rules(&["*"], &["10.0.0.0/8"]), "[64:ff9b::a00:1]:443", &[]), Judgement::Refused(Denied));
    }

    #[test]
    fn an_address_counts_as_a_name_only_if_it_was_resolved_here() {
        let rules = rules(&["crates.example:443", "*.debian.example:80"], &[]);
        for (to, known, expected) in [
            ("8.8.8.8:443", &[][..], Judgement::Refused(NotAllowed)),
            ("8.8.8.8:443", &["other.example"], Judgement::Refused(NotAllowed)),
            ("8.8.8.8:443", &["other.example", "crates.example"], by_name(&["crates.example"])),
            ("8.8.8.8:80", &["crates.example"], Judgement::Refused(NotAllowed)),
            ("8.8.8.8:80", &["a.debian.example"], by_name(&["a.debian.example"])),
            ("8.8.8.8:80", &["debian.example"], Judgement::Refused(NotAllowed)),
        ] {
            assert_eq!(judge(&rules, to, known), expected, "{to} {known:?}");
        }
    }

    #[test]
    fn what_is_the_hosts_own_is_reached_only_if_written_out() {
        for to in
            ["127.0.0.1:80", "169.254.169.254:80", "[::1]:80", "0.0.0.0:80", "[64:ff9b::7f00:1]:80", "[fe80::1]:80"]
        {
            for allow in [&["*"][..], &["*:80"], &["0.0.0.0/0", "::/0"], &["rebound.example"]] {
                let found = judge(&rules(allow, &[]), to, &["rebound.example"]);
                assert_eq!(found, Judgement::Refused(Special), "{to} by {allow:?}");
            }
        }
        for (allow, to) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("127.0.0.0/8", "127.0.0.1:80"),
            ("169.254.169.254", "169.254.169.254:80"),
            ("[::1]:80", "[::1]:80"),
            ("[64:ff9b::7f00:1]", "[64:ff9b::7f00:1]:80"),
        ] {
            assert_eq!(judge(&rules(&[allow], &[]), to, &[]), FREE, "{to} by {allow}");
        }
        assert!(!rules(&["*"], &[]).may_answer("127.0.0.1".parse().unwrap()));
        assert!(rules(&["127.0.0.1:80"], &[]).may_answer("127.0.0.1".parse().unwrap()));
        assert!(rules(&["a.example"], &[]).may_answer("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_first_bytes_must_not_name_another_host() {
        let rules = rules(&["*.example:443"], &[]);
        let judged = by_name(&["a.example"]);
        let names = |list: &[&str]| Told::Names(list.iter().map(|text| name(text)).collect());
        for (told, expected) in [
            (names(&["a.example"]), Ok(())),
            (names(&["b.example"]), Err(OtherName)),
            (names(&["a.example", "b.example"]), Err(OtherName)),
            (Told::Nameless, Err(NoName)),
            (Told::Unreadable, Err(Unreadable)),
            (Told::Other, Ok(())),
        ] {
            assert_eq!(rules.agree(&judged, 443, &told), expected, "{told:?}");
        }
        for told in [names(&["b.example"]), Told::Nameless, Told::Unreadable, Told::Other] {
            assert_eq!(rules.agree(&FREE, 443, &told), Ok(()), "{told:?}");
        }
    }

    #[test]
    fn a_denied_name_is_found_behind_an_allowed_address() {
        let rules = rules(&["*"], &["evil.example:443"]);
        assert_eq!(judge(&rules, "8.8.8.8:443", &[]), WATCHED);
        assert_eq!(judge(&rules, "8.8.8.8:80", &[]), FREE);
        let told = Told::Names(vec![name("evil.example")]);
        assert_eq!(rules.agree(&WATCHED, 443, &told), Err(Denied));
        assert_eq!(rules.agree(&WATCHED, 443, &Told::Unreadable), Err(Unreadable));
        assert_eq!(rules.agree(&WATCHED, 443, &Told::Nameless), Ok(()));
        assert_eq!(rules.may_resolve(&name("evil.example")), Ok(()), "other ports of it are allowed");
    }

    #[test]
    fn a_name_is_looked_up_if_some_rule_lets_it_be_reached() {
        let rules = rules(&["crates.example:443", "*.debian.example", "10.0.0.0/8"], &["bad.debian.example"]);
        for (text, expected) in [
            ("crates.example", Ok(())),
            ("a.crates.example", Err(NotAllowed)),
            ("a.debian.example", Ok(())),
            ("debian.example", Err(NotAllowed)),
            ("bad.debian.example", Err(Denied)),
        ] {
            assert_eq!(rules.may_resolve(&name(text)), expected, "{text}");
        }
    }

    #[test]
    fn an_echo_needs_a_rule_about_all_ports() {
        let rules = rules(&["10.0.0.1:443", "10.0.0.2", "a.example"], &["10.0.0.2:80"]);
        let judge = |to: &str, known: &[DomainName]| rules.judge_echo(to.parse().unwrap(), known);
        assert_eq!(judge("10.0.0.1", &[]), Judgement::Refused(NotAllowed));
        assert_eq!(judge("10.0.0.2", &[]), FREE);
        assert_eq!(judge("10.0.0.3", &[name("a.example")]), by_name(&["a.example"]));
    }
}
