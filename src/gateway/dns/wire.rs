//! Reads and writes messages of the domain name system (RFC 1035), with the crate that knows their form. Both sides are
//! hostile: the sandbox that asks, and whoever answers for a resolver.

use std::net::IpAddr;

use simple_dns::rdata::{A, AAAA, CNAME, OPT, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};

use crate::domain::DomainName;
use crate::gateway::dns::{Asked, Code, Found};

/// What a datagram may have for who does not say more (RFC 1035, 4.2.1), and for who does.
const SMALL: usize = 512;
const LARGE: u16 = 1232;
/// Names that one name may lead to.
const LONGEST_CHAIN: usize = 16;

/// A question of the sandbox.
#[derive(Debug, Clone)]
pub struct Query {
    id: u16,
    question: Question<'static>,
    recursion: bool,
    /// Bytes that an answer may have; `None` for who says nothing of EDNS (RFC 6891).
    room: Option<u16>,
    /// `None` if no host can have the name.
    pub name: Option<DomainName>,
    pub asked: Asked,
}

/// Reads a question.
///
/// # Errors
/// What to answer, or `None` to stay silent.
pub fn read(bytes: &[u8]) -> Result<Query, Option<Vec<u8>>> {
    let id = match bytes {
        // Answers are not answered.
        [a, b, flags, ..] if bytes.len() >= 12 && flags & 0x80 == 0 => u16::from_be_bytes([*a, *b]),
        _ => return Err(None),
    };
    let bare = |code| {
        let mut packet = Packet::new_reply(id);
        *packet.rcode_mut() = code;
        packet.build_bytes_vec().ok()
    };
    let Ok(packet) = Packet::parse(bytes) else { return Err(bare(RCODE::FormatError)) };
    if packet.opcode() != OPCODE::StandardQuery {
        return Err(bare(RCODE::NotImplemented));
    }
    let [question] = &packet.questions[..] else { return Err(bare(RCODE::FormatError)) };
    let internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN));
    let asked = match question.qtype {
        QTYPE::TYPE(TYPE::A) if internet => Asked::V4,
        QTYPE::TYPE(TYPE::AAAA) if internet => Asked::V6,
        QTYPE::TYPE(TYPE::HTTPS | TYPE::SVCB) if internet => Asked::Service,
        _ => Asked::Other,
    };
    Ok(Query {
        id,
        question: question.clone().into_owned(),
        recursion: packet.has_flags(PacketFlag::RECURSION_DESIRED),
        room: packet.opt().map(|opt| opt.udp_packet_size),
        name: domain(&question.qname),
        asked,
    })
}

fn domain(name: &Name<'_>) -> Option<DomainName> {
    DomainName::from_labels(name.as_bytes()).ok()
}

/// How an answer travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Travels {
    Datagram,
    Stream,
}

/// Writes the answer to a question; one that does not fit into a datagram is cut, so that it is asked for by TCP.
#[must_use]
pub fn answer(query: &Query, found: &Found, travels: Travels) -> Vec<u8> {
    let room = match (travels, query.room) {
        (Travels::Stream, _) => usize::from(u16::MAX),
        (Travels::Datagram, None) => SMALL,
        (Travels::Datagram, Some(room)) => usize::from(room.min(LARGE)).max(SMALL),
    };
    let mut packet = reply(query, found.code);
    let mut owner = query.question.qname.clone();
    for (alias, seconds) in &found.aliases {
        let next = Name::new_unchecked(alias.as_str());
        let data = RData::CNAME(CNAME(next.clone()));
        packet.answers.push(ResourceRecord::new(owner, CLASS::IN, *seconds, data));
        owner = next;
    }
    for (address, seconds) in &found.addresses {
        let data = match address {
            IpAddr::V4(v4) => RData::A(A { address: v4.to_bits() }),
            IpAddr::V6(v6) => RData::AAAA(AAAA { address: v6.to_bits() }),
        };
        packet.answers.push(ResourceRecord::new(owner.clone(), CLASS::IN, *seconds, data));
    }
    match packet.build_bytes_vec_compressed() {
        Ok(bytes) if bytes.len() <= room => bytes,
        _ => {
            let mut packet = reply(query, found.code);
            packet.set_flags(PacketFlag::TRUNCATION);
            packet.build_bytes_vec().unwrap_or_default()
        }
    }
}

fn reply<'q>(query: &'q Query, code: Code) -> Packet<'q> {
    let mut packet = Packet::new_reply(query.id);
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if query.recursion {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *packet.rcode_mut() = match code {
        Code::NoError => RCODE::NoError,
        Code::Failed => RCODE::ServerFailure,
        Code::NoSuchName => RCODE::NameError,
        Code::Refused => RCODE::Refused,
    };
    packet.questions.push(query.question.clone());
    if query.room.is_some() {
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: LARGE, version: 0 });
    }
    packet
}

/// Writes a question to a resolver; `None` if the name cannot be asked for.
#[must_use]
pub fn ask(id: u16, name: &DomainName, asked: Asked) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(question(name, asked)?);
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: LARGE, version: 0 });
    packet.build_bytes_vec().ok()
}

fn question(name: &DomainName, asked: Asked) -> Option<Question<'_>> {
    let kind = match asked {
        Asked::V4 => TYPE::A,
        Asked::V6 => TYPE::AAAA,
        Asked::Service | Asked::Other => return None,
    };
    Some(Question::new(Name::new_unchecked(name.as_str()), kind.into(), CLASS::IN.into(), false))
}

/// What a resolver sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// Nothing that belongs to the question.
    Foreign,
    /// A part: the whole is to be had by TCP.
    Cut,
    Found(Found),
}

/// Reads what a resolver sent to the question `(id, name, asked)`. Only what leads from the name asked for to an address
/// counts.
#[must_use]
pub fn read_answer(bytes: &[u8], id: u16, name: &DomainName, asked: Asked) -> Sent {
    let Ok(packet) = Packet::parse(bytes) else { return Sent::Foreign };
    let [question] = &packet.questions[..] else { return Sent::Foreign };
    let kind = match question.qtype {
        QTYPE::TYPE(TYPE::A) => Asked::V4,
        QTYPE::TYPE(TYPE::AAAA) => Asked::V6,
        _ => Asked::Other,
    };
    let about = domain(&question.qname).as_ref() == Some(name) && kind == asked;
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !about {
        return Sent::Foreign;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Sent::Cut;
    }
    match packet.rcode() {
        RCODE::NoError => Sent::Found(follow(&packet, name, asked)),
        RCODE::NameError => Sent::Found(Found::nothing(Code::NoSuchName)),
        _ => Sent::Found(Found::nothing(Code::Failed)),
    }
}

fn follow(packet: &Packet<'_>, name: &DomainName, asked: Asked) -> Found {
    let mut found = Found::nothing(Code::NoError);
    let mut at = name.clone();
    let answers = || packet.answers.iter().filter(|record| record.class == CLASS::IN);
    for _ in 0..=LONGEST_CHAIN {
        let own = || answers().filter(|record| domain(&record.name).as_ref() == Some(&at));
        for record in own() {
            let address = match &record.rdata {
                RData::A(a) => IpAddr::from(std::net::Ipv4Addr::from_bits(a.address)),
                RData::AAAA(aaaa) => IpAddr::from(std::net::Ipv6Addr::from_bits(aaaa.address)),
                _ => continue,
            };
            if asked.is_about(address) {
                found.addresses.push((address, record.ttl));
            }
        }
        let alias = own().find_map(|record| match &record.rdata {
            RData::CNAME(CNAME(next)) => Some((domain(next)?, record.ttl)),
            _ => None,
        });
        match alias {
            Some((next, seconds)) if found.addresses.is_empty() => {
                found.aliases.push((next.clone(), seconds));
                at = next;
            }
            _ => return found,
        }
    }
    Found::nothing(Code::Failed)
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{A, CNAME, RData};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

    use super::{Sent, Travels, answer, read, read_answer};
    use crate::domain::DomainName;
    use crate::gateway::dns::{Asked, Code, Found};

    fn name(text: &str) -> DomainName {
        DomainName::new(text).unwrap()
    }

    fn reply_with(records: &[(&str, RData<'static>)]) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        packet.questions =
            vec![Question::new(Name::new_unchecked("A.Example"), TYPE::A.into(), CLASS::IN.into(), false)];
        for (owner, data) in records {
            packet.answers.push(ResourceRecord::new(Name::new_unchecked(owner), CLASS::IN, 60, data.clone()));
        }
        packet.build_bytes_vec().unwrap()
    }

    fn a(last: u32) -> RData<'static> {
        RData::A(A { address: 0x0a00_0000 + last })
    }

    fn cname(to: &'static str) -> RData<'static> {
        RData::CNAME(CNAME(Name::new_unchecked(to)))
    }

    #[test]
    fn only_what_leads_from_the_name_counts() {
        let bytes = reply_with(&[
            ("other.example", a(1)),
            ("b.example", a(2)),
            ("a.example", cname("b.example")),
            ("B.EXAMPLE", a(3)),
            ("c.example", a(4)),
        ]);
        let found = Found {
            code: Code::NoError,
            aliases: vec![(name("b.example"), 60)],
            addresses: vec![([10, 0, 0, 2].into(), 60), ([10, 0, 0, 3].into(), 60)],
        };
        assert_eq!(read_answer(&bytes, 7, &name("a.example"), Asked::V4), Sent::Found(found));
        for (id, text, asked) in [(8, "a.example", Asked::V4), (7, "b.example", Asked::V4), (7, "a.example", Asked::V6)]
        {
            assert_eq!(read_answer(&bytes, id, &name(text), asked), Sent::Foreign, "{id} {text} {asked:?}");
        }
    }

    #[test]
    fn a_ring_of_aliases_ends() {
        let bytes = reply_with(&[("a.example", cname("b.example")), ("b.example", cname("a.example"))]);
        assert_eq!(read_answer(&bytes, 7, &name("a.example"), Asked::V4), Sent::Found(Found::nothing(Code::Failed)));
    }

    #[test]
    fn a_question_is_answered_in_its_own_letters() {
        let mut packet = Packet::new_query(99);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let question = Question::new(Name::new_unchecked("WwW.a.example"), TYPE::A.into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        let query = read(&packet.build_bytes_vec().unwrap()).unwrap();
        assert_eq!((query.name.as_ref(), query.asked), (Some(&name("www.a.example")), Asked::V4));
        let addresses: Vec<_> = (0..100u8).map(|last| ([10, 0, 0, last].into(), 60)).collect();
        let found = Found { code: Code::NoError, aliases: vec![(name("b.example"), 9)], addresses };
        let whole = answer(&query, &found, Travels::Stream);
        let whole = Packet::parse(&whole).unwrap();
        assert_eq!((whole.id(), whole.answers.len()), (99, 101));
        assert_eq!(whole.questions[0].qname.to_string(), "WwW.a.example");
        assert!(whole.has_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE));
        assert_eq!(whole.answers[1].name.to_string(), "b.example");
        let cut = answer(&query, &found, Travels::Datagram);
        assert!(cut.len() <= 512);
        let cut = Packet::parse(&cut).unwrap();
        assert!(cut.has_flags(PacketFlag::TRUNCATION) && cut.answers.is_empty());
    }

    #[test]
    fn what_is_no_question_gets_an_error_or_nothing() {
        assert!(matches!(read(b""), Err(None)));
        assert!(matches!(read(&[0; 11]), Err(None)));
        let response = reply_with(&[]);
        assert!(matches!(read(&response), Err(None)), "answers are not answered");
        let mut two = Packet::new_query(1);
        for _ in 0..2 {
            two.questions.push(Question::new(Name::new_unchecked("a"), QTYPE::ANY, QCLASS::ANY, false));
        }
        let refused = read(&two.build_bytes_vec().unwrap()).unwrap_err().unwrap();
        assert_eq!(refused[3] & 15, 1, "a format error");
        let mut zone = Packet::new_query(1);
        zone.questions.push(Question::new(Name::new_unchecked("a"), QTYPE::AXFR, CLASS::IN.into(), false));
        assert_eq!(read(&zone.build_bytes_vec().unwrap()).unwrap().asked, Asked::Other);
    }

    #[test]
    fn a_label_with_a_dot_or_a_nul_is_no_host() {
        for label in [&b"evil.a"[..], b"evil\0", b"a b", b"%41", b"\\046a"] {
            let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, u8::try_from(label.len()).unwrap()];
            bytes.extend_from_slice(label);
            bytes.extend_from_slice(b"\x07example\0\0\x01\0\x01");
            assert_eq!(read(&bytes).unwrap().name, None, "{}", label.escape_ascii());
        }
    }

    #[test]
    fn garbage_never_panics() {
        let base = reply_with(&[("a.example", cname("b.example")), ("b.example", a(1))]);
        arbtest::arbtest(|input| {
            let mut bytes = base.clone();
            for _ in 0..input.int_in_range(1..=16)? {
                let at = input.choose_index(bytes.len())?;
                bytes[at] = input.arbitrary()?;
            }
            bytes.truncate(input.int_in_range(0..=bytes.len())?);
            if let Ok(query) = read(&bytes) {
                assert!(answer(&query, &Found::nothing(Code::NoSuchName), Travels::Datagram).len() <= 1232);
            }
            if let Sent::Found(found) = read_answer(&bytes, 7, &name("a.example"), Asked::V4) {
                assert!(found.addresses.iter().all(|(address, _)| address.is_ipv4()));
            }
            Ok(())
        })
        .budget_ms(500);
    }
}
