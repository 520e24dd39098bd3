//! The head of an HTTP request: the hosts that it names, what follows it, and what may come of it. It reads no body and
//! answers nothing.

use std::net::Ipv6Addr;

use httparse::{EMPTY_HEADER, Header, Status};

use crate::domain::{DomainName, NotDomainName};
use crate::gateway::http::body::{Body, Ends, MOST_FIELDS, Unreadable, body, ends};
use crate::gateway::told::{LONGEST, Opening, Told};

/// What a request asks for, as far as it says what the answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Something,
    /// An answer whose body stays away, whatever its head says (HEAD).
    Head,
    /// Another protocol on this connection, if the server agrees (101).
    Upgrade,
    /// A tunnel (CONNECT), if the server agrees (2xx).
    Tunnel,
}

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes of it.
    pub length: usize,
    pub told: Told,
    pub body: Body,
    pub asked: Asked,
}

/// Reads the first request of a stream.
pub(crate) fn request(bytes: &[u8]) -> Opening {
    match head(bytes) {
        Ok(None) => Opening::Undecided,
        Ok(Some(head)) => Opening::Told(head.told),
        Err(Unreadable) => Opening::Told(Told::Unreadable),
    }
}

/// Reads a request from its first byte on, or from empty lines before it; `None` if more of it has to come.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, Unreadable> {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let mut fields = [EMPTY_HEADER; MOST_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Partial) if bytes.len() < LONGEST => return Ok(None),
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) | Err(_) => return Err(Unreadable),
    };
    let ends = ends(&bytes[empty_lines(bytes)..length]);
    let body = body(request.headers, request.version.unwrap_or(0))?;
    let asked = asked(&request)?;
    // Who does not take LF alone for an end of a line finds other fields, and so another body.
    let is_bare = matches!(body, Body::Unsaid | Body::Length(0));
    match (ends, asked) {
        (Ends::Both, _) => Err(Unreadable),
        (Ends::Alone, _) | (_, Asked::Tunnel) if !is_bare => Err(Unreadable),
        _ => Ok(Some(Head { length, told: told(&request), body, asked })),
    }
}

/// Returns how many bytes of empty lines there are before anything else: readers skip them between requests.
pub(crate) fn empty_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let [b'\r', b'\n', more @ ..] | [b'\n', more @ ..] = rest {
        rest = more;
    }
    bytes.len() - rest.len()
}

fn asked(request: &httparse::Request<'_, '_>) -> Result<Asked, Unreadable> {
    let has = |name: &str| request.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    match request.method.unwrap_or_default() {
        "CONNECT" => Ok(Asked::Tunnel),
        "HEAD" => Ok(Asked::Head),
        // To some servers these are other methods, whose answers mean something else.
        method if ["CONNECT", "HEAD"].iter().any(|it| method.eq_ignore_ascii_case(it)) => Err(Unreadable),
        _ if has("upgrade") && request.headers.iter().any(wants_upgrade) => Ok(Asked::Upgrade),
        _ => Ok(Asked::Something),
    }
}

fn wants_upgrade(field: &Header<'_>) -> bool {
    field.name.eq_ignore_ascii_case("connection")
        && field.value.split(|byte| *byte == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn told(request: &httparse::Request<'_, '_>) -> Told {
    let mut named = Vec::new();
    let target = request.path.unwrap_or_default();
    if request.method.is_some_and(|method| method.eq_ignore_ascii_case("CONNECT")) {
        named.push(host(target.as_bytes()));
    } else if let Some((scheme, rest)) = target.split_once(':')
        && !scheme.contains('/')
    {
        // RFC 9112, 3.2.2: it beats the header, but not every server knows that.
        let Some(rest) = rest.strip_prefix("//") else { return Told::Unreadable };
        named.push(host(rest.split(['/', '?', '#']).next().unwrap_or_default().as_bytes()));
    }
    let mut hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    named.extend(hosts.next().map(|header| host(header.value.trim_ascii())));
    if hosts.next().is_some() {
        return Told::Unreadable;
    }
    let mut names = Vec::new();
    for host in named {
        match host {
            Host::Name(name) => names.push(name),
            Host::Address => {}
            Host::Unreadable => return Told::Unreadable,
        }
    }
    if names.is_empty() { Told::Nameless } else { Told::Names(names) }
}

enum Host {
    Name(DomainName),
    /// An address, or nothing at all.
    Address,
    Unreadable,
}

/// Reads `host[:port]`.
fn host(bytes: &[u8]) -> Host {
    if let Some(rest) = bytes.strip_prefix(b"[") {
        let literal = rest.split(|byte| *byte == b']').next().and_then(|inner| std::str::from_utf8(inner).ok());
        return match literal.map(str::parse::<Ipv6Addr>) {
            Some(Ok(_)) => Host::Address,
            _ => Host::Unreadable,
        };
    }
    let (name, port) = match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) => (&bytes[..colon], &bytes[colon + 1..]),
        None => (bytes, &[][..]),
    };
    if !port.iter().all(u8::is_ascii_digit) {
        return Host::Unreadable;
    }
    match DomainName::from_bytes(name) {
        Ok(name) => Host::Name(name),
        Err(NotDomainName::Address | NotDomainName::Empty) => Host::Address,
        Err(_) => Host::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::request;
    use crate::domain::DomainName;
    use crate::gateway::told::{Opening, Told};

    fn told(head: &str) -> Told {
        match request(head.as_bytes()) {
            Opening::Told(told) => told,
            Opening::Undecided => panic!("undecided: {head:?}"),
        }
    }

    fn names(list: &[&str]) -> Told {
        Told::Names(list.iter().map(|text| DomainName::new(text).unwrap()).collect())
    }

    #[test]
    fn every_host_of_a_request_counts() {
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", names(&["a.example"])),
            ("GET / HTTP/1.1\r\nhOsT:A.Example.:8080\r\nX: y\r\n\r\n", names(&["a.example"])),
            ("\r\nGET / HTTP/1.1\nHost: a.example\n\n", names(&["a.example"])),
            ("GET http://b.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", names(&["b.example", "a.example"])),
            ("GET HTTP://b.example:80?x HTTP/1.1\r\nHost: a.example\r\n\r\n", names(&["b.example", "a.example"])),
            ("CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", names(&["b.example", "a.example"])),
            ("GET /a:b HTTP/1.1\r\nHost: a.example\r\n\r\n", names(&["a.example"])),
        ] {
            assert_eq!(told(head), expected, "{head:?}");
        }
    }

    #[test]
    fn an_address_or_nothing_is_no_name() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        ] {
            assert_eq!(told(head), Told::Nameless, "{head:?}");
        }
    }

    #[test]
    fn what_two_readers_may_read_in_two_ways_is_refused() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\0.b.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example b.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example:80:80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
            "GET / HTTP/1.1\r\nX: y\rHost: a.example\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n",
            "GET http:a.example HTTP/1.1\r\n\r\n",
            "GET http://user@a.example/ HTTP/1.1\r\n\r\n",
            "GET /\r\n\r\n",
            "GET / HTTP/3.0\r\n\r\n",
        ] {
            assert_eq!(told(head), Told::Unreadable, "{head:?}");
        }
    }

    #[test]
    fn a_part_of_a_head_is_undecided() {
        let head = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        for end in 1..head.len() {
            assert_eq!(request(&head[..end]), Opening::Undecided, "{end}");
        }
    }
}
