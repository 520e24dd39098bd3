//! The first bytes of a connection: whether they are TLS or HTTP, and which host they name. It decides nothing; what
//! it cannot read it says so of.

use crate::gateway::hello::hello;
use crate::gateway::http::request::request;
use crate::gateway::told::{LONGEST, Opening, Told};

/// Reads the beginning of a stream. Of a protocol that begins like HTTP no byte is decided before its first line, or a
/// byte that no request has, tells it apart. What is decided stays so whatever follows.
#[must_use]
pub fn read(bytes: &[u8]) -> Opening {
    let opening = match kind(bytes, More::MayCome) {
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
    match kind(bytes, More::Never) {
        Kind::Tls | Kind::Http => Told::Unreadable,
        Kind::Unknown | Kind::Other => Told::Other,
    }
}

/// Returns whether these bytes begin a request of HTTP/1 or older.
#[must_use]
pub fn is_request(bytes: &[u8]) -> bool {
    matches!(kind(bytes, More::MayCome), Kind::Http)
}

/// Returns whether these bytes are but the first part of a word: no server does anything with that before more comes,
/// but for one that waits for just this word.
#[must_use]
pub fn is_word(bytes: &[u8]) -> bool {
    bytes.len() <= LONGEST_WORD && bytes.iter().all(is_of_word)
}

/// As the names of all methods, and then some.
const LONGEST_WORD: usize = 64;

enum Kind {
    Unknown,
    Tls,
    Http,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum More {
    MayCome,
    Never,
}

fn kind(bytes: &[u8], more: More) -> Kind {
    match bytes {
        [] | [22] => Kind::Unknown,
        // A handshake record of SSL 3.0 or later (RFC 8446, 5.1).
        [22, 3, ..] => Kind::Tls,
        // The hello of SSL 2.0, which asks for a later one and names no host (RFC 5246, E.2). Some servers still read it.
        [128..=255, _, 1, 3, ..] => Kind::Tls,
        [128..=255] | [128..=255, _] | [128..=255, _, 1] => Kind::Unknown,
        _ => http(bytes, more),
    }
}

/// A request line is a word, a space, and a target that begins with `/`, `*` or a scheme, or follows CONNECT (RFC 9112,
/// 3). There are servers that take any other target too, any method, blanks before it and any blank for the space, so
/// what follows a word and a blank is held to the end of its line: `HTTP/` there makes it one.
fn http(bytes: &[u8], more: More) -> Kind {
    let Some(start) = bytes.iter().position(|byte| !is_blank(*byte)) else { return Kind::Unknown };
    let bytes = &bytes[start..];
    // HTTP/2 without TLS hides the host in a compressed header: it is carried as what it is, another protocol. What only
    // looks so may be a request to a server that reads no versions.
    const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if bytes.starts_with(HTTP_2) {
        return Kind::Other;
    }
    let length = bytes.iter().position(|byte| !is_of_word(byte)).unwrap_or(bytes.len());
    let (method, rest) = bytes.split_at(length);
    // Only numbers that happen to be digits and blanks have other bytes behind them.
    let ends = |byte: &u8| *byte == b'\n' || !method.iter().any(u8::is_ascii_alphabetic) && is_binary(*byte);
    let end = rest.iter().position(ends);
    let undecided = if end.is_none() && more == More::MayCome { Kind::Unknown } else { Kind::Other };
    let line = &rest[..end.unwrap_or(rest.len())];
    match line.first() {
        None => return undecided,
        Some(byte) if length == 0 || !is_blank(*byte) => return Kind::Other,
        Some(_) => {}
    }
    let target = line.iter().position(|byte| !is_blank(*byte)).map_or(&[][..], |at| &line[at..]);
    match target.first() {
        None => undecided,
        Some(_) if more == More::MayCome && HTTP_2.starts_with(bytes) => Kind::Unknown,
        Some(b'/' | b'*') => Kind::Http,
        Some(_) if method.eq_ignore_ascii_case(b"CONNECT") || has_scheme(target) => Kind::Http,
        Some(_) if matches!(undecided, Kind::Other) && names_http(line) => Kind::Http,
        Some(_) => undecided,
    }
}

fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// What servers take for a space, or for nothing before a line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

fn is_binary(byte: u8) -> bool {
    !is_blank(byte) && !(b' '..0x7f).contains(&byte)
}

fn has_scheme(target: &[u8]) -> bool {
    let length = target.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte));
    length.is_some_and(|length| target[length..].starts_with(b"://"))
}

fn names_http(line: &[u8]) -> bool {
    line.windows(5).any(|part| part.eq_ignore_ascii_case(b"HTTP/"))
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
            b"\x16\x02",
            b"[",
            b"{\"a\":",
            b"@RSYNCD:",
            b"AMQP\0\0\x09\x01",
            // LDAP, whose lengths may be spaces.
            b"0\x0c\x02\x01\x01`\x07",
            b"0 \x02",
            b"PASS a:b\r\n",
            b"GET http;\n",
        ] {
            assert_eq!(read(bytes), Opening::Told(Told::Other), "{}", bytes.escape_ascii());
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
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
            b"\x16\x03",
            b"\x80\x2e\x01",
            b"user http",
            b"GET x://evil.example",
            b"a2345678901234567890123456789012345678901234567890",
            b"a2345678901234567890123456789012345678901234567890 /",
            b" GET / HTTP/1.1\r\nHost:",
        ] {
            let found = read(bytes);
            assert!(matches!(found, Opening::Undecided | Opening::Told(Told::Unreadable)), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_some_server_takes_for_a_request_is_one() {
        for (bytes, named) in [
            (&b"GET x://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"[..], true),
            (b"GETTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT / HTTP/1.1\r\nHost: evil.example\r\n\r\n", true),
            (b"GET evil HTTP/1.1\r\nHost: evil.example\r\n\r\n", true),
            (b"GET ?x HTTP/1.1\nHost: evil.example\n\n", true),
            (b" GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", false),
            (b"GET\x0c/\x0chttp/1.1\r\nHost: evil.example\r\n\r\n", false),
            (b"GET\r/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", false),
            (b"GET \x01 HTTP/1.1\r\nHost: evil.example\r\n\r\n", false),
            (b"GET x://evil.example/\r\n", false),
            (b"PRI * HTTP/2.0\r\nHost: evil.example\r\n\r\n", false),
            (b"PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", false),
            (b"DESCRIBE rtsp://evil.example/ RTSP/1.0\r\n\r\n", false),
            // The hello of a client that speaks SSL 2.0 too.
            (b"\x80\x2e\x01\x03\x03\0\x15\0\0\0\x10", false),
        ] {
            match read(bytes) {
                Opening::Told(Told::Unreadable) if !named => {}
                Opening::Told(Told::Names(names)) if named => {
                    assert!(names.iter().any(|name| name.as_str() == "evil.example"), "{}", bytes.escape_ascii());
                }
                found => panic!("{}: {found:?}", bytes.escape_ascii()),
            }
        }
    }

    #[test]
    fn a_stream_that_ended_is_decided() {
        for (bytes, expected) in [
            (&b""[..], Told::Other),
            (b"quit", Told::Other),
            (b"\x16\x03", Told::Unreadable),
            (b"GET / HTTP/1.0\r\nHost: a.example", Told::Unreadable),
            (b"user http", Told::Other),
            (b"GET evil HTTP/1.0", Told::Unreadable),
        ] {
            assert_eq!(super::at_end(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn only_a_word_is_one() {
        for (bytes, expected) in [
            (&b"quit"[..], true),
            (b"GET", true),
            (b"0x2.1-a", true),
            (b"quit\n", false),
            (b"GET ", false),
            (b"\r\nquit", false),
            (b"\x16", false),
            (b"a\0", false),
            (&[b'a'; 64], true),
            (&[b'a'; 65], false),
        ] {
            assert_eq!(super::is_word(bytes), expected, "{}", bytes.escape_ascii());
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
