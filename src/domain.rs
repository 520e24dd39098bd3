//! The name of a host as the domain name system knows it, with one reader for every place where such names come from:
//! a spec, a query, a TLS hello, an HTTP header. It never resolves anything, and it knows no patterns.

use std::fmt;

/// Bytes of a name without its last dot (RFC 1035, 3.1: 255 on the wire).
const LONGEST: usize = 253;
/// Bytes of one label (RFC 1035, 2.3.4).
const LONGEST_LABEL: usize = 63;

/// A name of the domain name system: lower case, without the last dot, of letters, digits, `-`, `_` and dots (RFC
/// 1123, 2.1; the underscore as programs have it). What could be read as an IP address is no name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(Box<str>);

/// Why a text is not a [`DomainName`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDomainName {
    Empty,
    /// Two dots side by side, or one at the start.
    EmptyLabel,
    LongLabel,
    LongName,
    /// A character of ASCII that has no place in a name.
    Character(char),
    /// A letter beyond ASCII, or a byte that is no text.
    NotAscii,
    /// A label that begins or ends with `-`.
    Hyphen,
    /// An address, in any of the forms that inet_aton(3) takes.
    Address,
}

impl DomainName {
    /// Returns the name that `text` is; one last dot and the case of letters make no difference.
    ///
    /// # Errors
    /// The first rule that the text breaks.
    pub fn new(text: &str) -> Result<Self, NotDomainName> {
        Self::from_bytes(text.as_bytes())
    }

    /// Returns the name that `bytes` are, as they stand in a TLS hello or an HTTP header.
    ///
    /// # Errors
    /// As [`DomainName::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotDomainName> {
        let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err(NotDomainName::Empty);
        }
        Self::from_labels(bytes.split(|byte| *byte == b'.'))
    }

    /// Returns the name that has these labels, as they stand in a DNS message, without the empty one of the root.
    ///
    /// # Errors
    /// As [`DomainName::new`]; a dot within a label is a [`NotDomainName::Character`].
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NotDomainName> {
        let mut name = String::with_capacity(32);
        for label in labels {
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(checked(label)?.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
            if name.len() > LONGEST {
                return Err(NotDomainName::LongName);
            }
        }
        match name.rsplit('.').next() {
            None | Some("") => Err(NotDomainName::Empty),
            Some(last) if is_number(last) => Err(NotDomainName::Address),
            Some(_) => Ok(Self(name.into_boxed_str())),
        }
    }

    /// Returns the name in lower case, without a last dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether `self` lies below `other`: `a.b.c` below `c` and `b.c`, never below itself.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_suffix(&*other.0).is_some_and(|head| head.ends_with('.'))
    }
}

/// Returns `label` if it may stand between two dots.
fn checked(label: &[u8]) -> Result<&[u8], NotDomainName> {
    if label.is_empty() {
        return Err(NotDomainName::EmptyLabel);
    }
    let stranger = label.iter().find(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    match stranger {
        Some(byte) if byte.is_ascii() => Err(NotDomainName::Character(char::from(*byte))),
        Some(_) => Err(NotDomainName::NotAscii),
        None if label.len() > LONGEST_LABEL => Err(NotDomainName::LongLabel),
        None if label.starts_with(b"-") || label.ends_with(b"-") => Err(NotDomainName::Hyphen),
        None => Ok(label),
    }
}

/// Whether programs take a text that ends with this label for an address: `127.1`, `0x7f.1`, `2130706433` (the rule
/// of the URL standard, "ends in a number").
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || label.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NotDomainName {
    /// Returns the one thing to change, where it is not in the message.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::NotAscii => {
                Some("write the form that is looked up, as in `xn--bcher-kva.example` for `bücher.example`")
            }
            Self::Address => Some("write an address in full: four numbers, or IPv6 in brackets"),
            _ => None,
        }
    }
}

impl fmt::Display for NotDomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a domain name must not be empty"),
            Self::EmptyLabel => f.write_str("a domain name must not have two dots in a row or begin with one"),
            Self::LongLabel => f.write_str("between two dots of a domain name may be 63 characters"),
            Self::LongName => f.write_str("a domain name may have 253 characters"),
            Self::Character(character) => {
                write!(f, "a domain name must not contain `{}`", crate::units::visible(&character.to_string()))
            }
            Self::NotAscii => f.write_str("a domain name must be of ASCII letters, digits, `-` and dots"),
            Self::Hyphen => f.write_str("no part of a domain name may begin or end with `-`"),
            Self::Address => f.write_str("a domain name must not end in a number"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DomainName, NotDomainName};

    #[test]
    fn case_and_the_last_dot_make_no_difference() {
        for text in ["crates.example", "Crates.EXAMPLE", "crates.example.", "CRATES.example."] {
            assert_eq!(DomainName::new(text).map(|name| name.to_string()), Ok("crates.example".to_owned()), "{text}");
        }
        let labels: [&[u8]; 2] = [b"Crates", b"example"];
        assert_eq!(DomainName::from_labels(labels), DomainName::new("crates.example"));
    }

    #[test]
    fn each_rule_is_told_by_its_name() {
        use NotDomainName::{Address, Character, Empty, EmptyLabel, Hyphen, LongLabel, LongName, NotAscii};
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}.example", ["abcdefgh"; 30].join("."));
        for (text, expected) in [
            ("", Empty),
            (".", Empty),
            ("..", EmptyLabel),
            ("a..b", EmptyLabel),
            (".a", EmptyLabel),
            ("a.b..", EmptyLabel),
            ("attacker\0.allowed.com", Character('\0')),
            ("a%00b", Character('%')),
            ("a b", Character(' ')),
            ("a\tb", Character('\t')),
            ("*.a", Character('*')),
            ("a:80", Character(':')),
            ("a/b", Character('/')),
            ("user@a", Character('@')),
            ("fe80::1%eth0", Character(':')),
            ("[::1]", Character('[')),
            ("bücher.example", NotAscii),
            ("ａ.example", NotAscii),
            ("a。example", NotAscii),
            ("-a.example", Hyphen),
            ("a-.example", Hyphen),
            ("10.1.2.3", Address),
            ("127.1", Address),
            ("2130706433", Address),
            ("0x7f.0.0.0x1", Address),
            ("0X7F000001", Address),
            ("a.0x", Address),
            ("a.1", Address),
            ("1.", Address),
            (&long_label, LongLabel),
            (&long_name, LongName),
        ] {
            assert_eq!(DomainName::new(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_looked_up_every_day_is_a_name() {
        let label = "a".repeat(63);
        let longest = [&label[..], &label, &label, &label[..61]].join(".");
        assert_eq!(longest.len(), 253);
        for text in
            ["localhost", "xn--bcher-kva.example", "r3---sn-4g5e.example", "_srv._tcp.example", "1.example", &longest]
        {
            assert!(DomainName::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_label_of_the_wire_cannot_hide_a_dot_or_a_nul() {
        let dot: [&[u8]; 2] = [b"evil.allowed", b"example"];
        assert_eq!(DomainName::from_labels(dot), Err(NotDomainName::Character('.')));
        let nul: [&[u8]; 2] = [b"evil\0", b"example"];
        assert_eq!(DomainName::from_labels(nul), Err(NotDomainName::Character('\0')));
        assert_eq!(DomainName::from_labels([] as [&[u8]; 0]), Err(NotDomainName::Empty));
    }

    #[test]
    fn below_is_by_whole_labels_and_never_oneself() {
        let name = |text: &str| DomainName::new(text).unwrap();
        for (name_, other, expected) in [
            ("a.debian.example", "debian.example", true),
            ("a.b.debian.example", "debian.example", true),
            ("debian.example", "debian.example", false),
            ("notdebian.example", "debian.example", false),
            ("debian.example.evil.example", "debian.example", false),
            ("example", "debian.example", false),
        ] {
            assert_eq!(name(name_).is_below(&name(other)), expected, "{name_} below {other}");
        }
    }
}
