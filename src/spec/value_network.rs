//! Reads the values of `network` that are written as text: addresses and names. The flags of the command line
//! are read by the same functions. It knows no node and no span.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What stands at the caret under a value that cannot be read.
pub mod form {
    pub const OUTSIDE: &str =
        "an address and a port of the host: `127.0.0.1:8080`, `[::1]:8080`; `8080` is on 127.0.0.1";
    pub const RESOLVER: &str = "the address of a resolver: `10.0.0.2`, `[2001:db8::1]:5353`";
    pub const BRIDGE: &str = "a name of up to 11 letters, digits, `-` and `_`, a letter first";
    pub const ADDRESS: &str = "an address and the length of its prefix: `10.88.0.2/24`";
}

/// Reads where something of the sandbox is reached on the host: on its loopback, unless an address is written.
///
/// # Errors
/// What is wrong with `text`.
pub fn outside(text: &str) -> Result<SocketAddr, String> {
    let found = match text.parse::<u16>() {
        Ok(port) => Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text.parse().ok(),
    };
    match found {
        Some(address) if address.port() == 0 => Err(format!("`{text}` names no port")),
        Some(address) => Ok(address),
        None => Err(format!("`{text}` is not an address with a port")),
    }
}

/// Reads the address of a resolver, whose port is 53 unless it is written.
///
/// # Errors
/// What is wrong with `text`.
pub fn resolver(text: &str) -> Result<SocketAddr, String> {
    let found = text.parse::<IpAddr>().map(|address| SocketAddr::from((address, 53))).or_else(|_| text.parse());
    match found {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => Ok(address),
        _ => Err(format!("`{text}` is not the address of a resolver")),
    }
}

/// Reads the name of a bridge, which is that of a directory, and short enough for that of an interface (`IFNAMSIZ`).
///
/// # Errors
/// What is wrong with `text`.
pub fn bridge(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if plain && letter && text.len() <= 11 {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not the name of a bridge"))
    }
}

/// Reads an address with the length of its prefix. An IPv4 address that a host can have: not that of the block
/// itself, not its last.
///
/// # Errors
/// What is wrong with `text`.
pub fn address(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("`{text}` is not an address with a prefix");
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let (address, prefix): (Ipv4Addr, u8) = match (address.parse(), prefix.parse()) {
        (Ok(address), Ok(prefix)) => (address, prefix),
        _ => return Err(wrong()),
    };
    if !(8..=30).contains(&prefix) {
        return Err(format!("the prefix of `{text}` must have 8 to 30 bits"));
    }
    let hosts = u32::MAX >> prefix;
    let host = u32::from(address) & hosts;
    if host == 0 || host == hosts || address.is_loopback() || address.is_multicast() {
        return Err(format!("`{text}` is not an address that a sandbox can have"));
    }
    Ok((IpAddr::V4(address), prefix))
}

#[cfg(test)]
mod tests {
    use super::{address, bridge, outside, resolver};

    #[test]
    fn addresses_are_the_hosts_own_loopback_unless_written() {
        assert_eq!(outside("8080").unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!(outside("[::]:80").unwrap().to_string(), "[::]:80");
        for text in ["", "0", "127.0.0.1", "127.0.0.1:0", "localhost:80", "::1:80", "65536"] {
            assert!(outside(text).is_err(), "{text}");
        }
        assert_eq!(resolver("::1").unwrap().to_string(), "[::1]:53");
        assert!(resolver("0.0.0.0").is_err() && resolver("dns.example").is_err());
    }

    #[test]
    fn a_bridge_fits_into_the_name_of_an_interface() {
        assert!(bridge("tests").is_ok() && bridge("abcdefghijk").is_ok());
        for text in ["", "abcdefghijkl", "1a", "a/b", "a b", "ä", ".."] {
            assert!(bridge(text).is_err(), "{text}");
        }
        assert!(address("10.88.0.2/24").is_ok());
        for text in ["10.88.0.0/24", "10.88.0.255/24", "10.88.0.2", "10.88.0.2/31", "127.0.0.2/8", "::1/64"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
