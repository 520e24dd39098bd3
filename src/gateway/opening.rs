//! The first bytes of a connection: whether they are TLS or HTTP, and which host they name. It decides nothing; what
//! it cannot read it says so of.

use crate::gateway::hello::hello;
use crate::gateway::request::request;
use crate::gateway::told::{LONGEST, Opening, Told};

/// Reads the beginning of a stream. Of a protocol that begins like HTTP no byte is decided before the end of its first
/// line or word tells it apart.
#[must_use]
pub fn read(bytes: &[u8]) -> Opening {
    let opening = match kind(bytes) {
        Kind::Unknown => Opening::Undecided,
        Kind::Tls => hello(bytes),
        Kind::Http => request(bytes),
        Kind::Other => Opening::Told(Told::Other),
    };
    match opening {
        Opening::Undecided if bytes.len() >= LONGEST => Opening::Told(Told::Unreadable),
        opening => opening,
    }
}

/// Judges a stream that ended before it was decided: half a hello or half a request is nothing that a server should see,
/// a word is.
#[must_use]
pub fn at_end(bytes: &[u8]) -> Told {
    match kind(bytes) {
        Kind::Tls | Kind::Http => Told::Unreadable,
        Kind::Unknown | Kind::Other => Told::Other,
    }
}

enum Kind {
    Unknown,
    Tls,
    Http,
    Other,
}

fn kind(bytes: &[u8]) -> Kind {
    match bytes {
        [] | [22] => Kind::Unknown,
        // A handshake record of SSL 3.0 or later (RFC 8446, 5.1).
        [22, 3, ..] => Kind::Tls,
        _ => http(bytes),
    }
}

/// A request line is a word, a space, and a target that begins with `/`, `*` or a scheme, or follows CONNECT (RFC 9112,
/// 3). Empty lines before it do not count.
fn http(bytes: &[u8]) -> Kind {
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let Some(bytes) = start.map(|start| &bytes[start..]) else { return Kind::Unknown };
    // HTTP/2 without TLS hides the host in a compressed header: it is carried as what it is, another protocol.
    const HTTP_2: &[u8] = b"PRI * HTTP/2";
    if bytes.starts_with(HTTP_2) {
        return Kind::Other;
    }
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = bytes.iter().position(|byte| !token(byte)).unwrap_or(bytes.len());
    if length == 0 || length > 32 {
        return Kind::Other;
    }
    let (method, rest) = bytes.split_at(length);
    match rest {
        [] => Kind::Unknown,
        [b' ' | b'\t', ..] => {
            let target = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t')).map(|at| &rest[at..]);
            match target {
                None => Kind::Unknown,
                Some(_) if HTTP_2.starts_with(bytes) => Kind::Unknown,
                Some([b'/' | b'*', ..]) => Kind::Http,
                Some(_) if method.eq_ignore_ascii_case(b"CONNECT") => Kind::Http,
                Some(target) => scheme(target),
            }
        }
        _ => Kind::Other,
    }
}

fn scheme(target: &[u8]) -> Kind {
    let starts = |scheme: &[u8]| {
        let common = target.len().min(scheme.len());
        target[..common].eq_ignore_ascii_case(&scheme[..common])
    };
    match starts(b"http:") || starts(b"https:") {
        true if target.len() < b"https:".len() && !target.contains(&b':') => Kind::Unknown,
        true => Kind::Http,
        false => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::gateway::told::{Opening, Told};

    #[test]
    fn other_protocols_are_told_as_soon_as_they_differ() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
            b"EHLO me.example\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"PING\r\n",
            b"\0\0\0\x08\x04\xd2\x16\x2f",
            b"NICK somebody\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"user http",
            b"\x16\x02",
            b"[",
            b"GET http;",
            b"a23456789012345678901234567890123",
        ] {
            let found = read(bytes);
            let open = bytes == b"user http";
            let expected = if open { Opening::Undecided } else { Opening::Told(Told::Other) };
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_may_yet_be_a_request_is_held() {
        for bytes in [
            &b""[..],
            b"\x16",
            b"\r\n",
            b"G",
            b"GET",
            b"GET ",
            b"GET h",
            b"GET HTTPS",
            b"GET /",
            b"PRI * H",
            b"PRI ",
            b"\x16\x03",
        ] {
            assert_eq!(read(bytes), Opening::Undecided, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_stream_that_ended_is_decided() {
        for (bytes, expected) in [
            (&b""[..], Told::Other),
            (b"quit", Told::Other),
            (b"\x16\x03", Told::Unreadable),
            (b"GET / HTTP/1.0\r\nHost: a.example", Told::Unreadable),
        ] {
            assert_eq!(super::at_end(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_head_without_an_end_is_refused() {
        let mut bytes = b"GET / HTTP/1.1\r\nX: ".to_vec();
        bytes.resize(crate::gateway::told::LONGEST - 1, b'a');
        assert_eq!(read(&bytes), Opening::Undecided);
        bytes.push(b'a');
        assert_eq!(read(&bytes), Opening::Told(Told::Unreadable));
    }
}
