//! The grammar of references (distribution/reference, as `docker run` takes them): one
//! parser, an error with its reason for each piece. Nothing is looked up.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::registry::{DEFAULT_HOST, Reference, SCHEME};
use crate::units::visible;

/// Where the API of [`DEFAULT_HOST`] answers, which its website does not.
const DEFAULT_API: &str = "registry-1.docker.io";

/// What [`DEFAULT_HOST`] was called in the first version of the API; credentials are still stored under it.
const DEFAULT_OLD: &str = "index.docker.io";

/// Bytes of a host and a repository together.
const NAME: usize = 255;

impl Reference {
    /// Parses `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`. Without a host (a first part with a dot or a colon, or
    /// `localhost`) the name is of [`DEFAULT_HOST`]; without a tag and a digest the tag is `latest`.
    ///
    /// # Errors
    /// The first piece that the grammar does not know, and why.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(Kind::Spec, format!("`{}` names no image: {why}", visible(text)))
                .with_hint("write `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`")
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(|| wrong(format!("it does not begin with `{SCHEME}`")))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest).map_err(|error| wrong(error.message))?)),
            None => (rest, None),
        };
        // A colon after the last slash is before a tag, any other before a port.
        let name_start = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[name_start..].split_once(':') {
            Some((_, tag)) => (&rest[..rest.len() - tag.len() - 1], Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag {
            check_tag(tag).map_err(wrong)?;
        }
        let (host, path) = split_host(name);
        check_host(host).map_err(wrong)?;
        check_path(path).map_err(wrong)?;
        let repository = match host == DEFAULT_HOST && !path.contains('/') {
            true => format!("library/{path}"),
            false => path.to_owned(),
        };
        if host.len() + 1 + repository.len() > NAME {
            return Err(wrong(format!("host and name have more than {NAME} characters")));
        }
        Ok(Self { host: host.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }

    /// Returns the host as it was named, with its port: what credentials are stored under.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the name at the host, such as `library/debian`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns what is asked for: the digest where there is one, else the tag.
    #[must_use]
    pub fn wanted(&self) -> String {
        self.digest.as_ref().map_or_else(|| self.tag().to_owned(), Digest::to_string)
    }

    /// Returns the tag, `latest` where none was written.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// Returns the digest that pins the image.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the host and port that answer the API.
    pub(super) fn api(&self) -> &str {
        match self.host == DEFAULT_HOST {
            true => DEFAULT_API,
            false => &self.host,
        }
    }

    /// Returns the names under which credentials for it may be stored, the closest first
    /// (containers-auth.json(5)): `host/a/b`, `host/a`, `host`.
    pub(super) fn credential_keys(&self) -> Vec<String> {
        let mut path = self.repository.as_str();
        let mut keys = vec![format!("{}/{path}", self.host)];
        while let Some(at) = path.rfind('/') {
            path = &path[..at];
            keys.push(format!("{}/{path}", self.host));
        }
        keys.push(self.host.clone());
        if self.host == DEFAULT_HOST {
            keys.push(DEFAULT_OLD.to_owned());
        }
        keys
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)?;
        if self.tag.is_some() || self.digest.is_none() {
            write!(f, ":{}", self.tag())?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// Returns whether nobody but this machine can listen there. `host` may have a port.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

fn split_host(name: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first.contains(['.', ':', '[']) || first == "localhost" || first.contains(|c: char| c.is_ascii_uppercase())
    };
    match name.split_once('/') {
        Some((DEFAULT_OLD, path)) => (DEFAULT_HOST, path),
        Some((first, path)) if is_host(first) => (first, path),
        _ => (DEFAULT_HOST, name),
    }
}

fn check_host(host: &str) -> std::result::Result<(), String> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or_else(|| format!("the host `{host}` has no `]`"))?;
            address.parse::<Ipv6Addr>().map_err(|_| format!("`{address}` is no IPv6 address"))?;
            (None, port.strip_prefix(':').or((!port.is_empty()).then_some(port)))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (Some(name), Some(port)),
            None => (Some(host), None),
        },
    };
    let part = |part: &str| {
        let inner = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
    };
    if name.is_some_and(|name| !name.split('.').all(part)) {
        return Err(format!("`{}` is no name of a host", visible(host)));
    }
    let number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|n: u16| n > 0);
    match port {
        Some(port) if !number(port) => Err(format!("`{}` is no port: a number from 1 to 65535 is due", visible(port))),
        _ => Ok(()),
    }
}

fn check_tag(tag: &str) -> std::result::Result<(), String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if tag.is_empty() {
        return Err("the tag is empty".to_owned());
    }
    if tag.len() > 128 {
        return Err("the tag has more than 128 characters".to_owned());
    }
    match tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-')) && tag.bytes().next().is_some_and(word) {
        true => Ok(()),
        false => Err(format!(
            "the tag `{}` has another character than letters, digits, `_`, `.` and `-`, or begins with one of the last two",
            visible(tag)
        )),
    }
}

fn check_path(path: &str) -> std::result::Result<(), String> {
    if path.is_empty() {
        return Err("it has no name".to_owned());
    }
    if path.len() == 64 && path.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hexadecimal digits are the number of an image, not its name".to_owned());
    }
    for part in path.split('/') {
        if part.is_empty() {
            return Err("a part of the name is empty".to_owned());
        }
        if part.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(format!("the name `{part}` has capital letters"));
        }
        if !is_component(part) {
            return Err(format!(
                "`{}` is no name: letters and digits are due, with `.`, `_`, `__` or dashes between them",
                visible(part)
            ));
        }
    }
    Ok(())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let known = part.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
    let mut between = part.split(plain).filter(|run| !run.is_empty());
    let separators = between.all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'));
    known && separators && part.starts_with(plain) && part.ends_with(plain)
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_OLD, is_loopback};
    use crate::image::registry::Reference;

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.9.9.9:5000", "[::1]", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "128.0.0.1", "10.0.0.1:5000", "[::2]:1", "127.0.0.1.example:80", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn credentials_are_looked_for_closest_first() {
        let reference = Reference::parse("docker://a.example:1/b/c/d:e").unwrap();
        let keys = ["a.example:1/b/c/d", "a.example:1/b/c", "a.example:1/b", "a.example:1"];
        assert_eq!(reference.credential_keys(), keys);
        let keys = Reference::parse("docker://b").unwrap().credential_keys();
        assert_eq!(keys.last().map(String::as_str), Some(DEFAULT_OLD));
    }
}
