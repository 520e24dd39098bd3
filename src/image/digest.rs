//! The digest by which everything of an image is known: SHA-256, and nothing else. What is not spelt exactly
//! so never becomes one, because a digest becomes a part of a path (CVE-2024-3727).

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};

/// A SHA-256: 64 lower-case hexadecimal digits. Written as `sha256:…`, the spelling of OCI's descriptor.md.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    hex: String,
}

impl Digest {
    /// Reads `sha256:` and 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Any other text, those of other algorithms included; of [`Kind::Image`].
    pub fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix("sha256:").and_then(Self::of_digits) {
            Some(digest) => Ok(digest),
            None => Err(refused(text, "it must read `sha256:` and 64 lower-case hexadecimal digits")),
        }
    }

    /// Reads the digits alone, as `sha256sum` prints them.
    ///
    /// # Errors
    /// Any other text; of [`Kind::Image`].
    pub fn from_hex(text: &str) -> Result<Self> {
        Self::of_digits(text).ok_or_else(|| refused(text, "it must have 64 lower-case hexadecimal digits"))
    }

    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// Returns the digest of all that went into `hash`.
    #[must_use]
    pub fn finish(hash: Sha256) -> Self {
        Self { hex: hex(&hash.finalize()) }
    }

    /// Returns the 64 digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.hex
    }

    fn of_digits(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 64 && digits).then(|| Self { hex: text.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex)
    }
}

/// Returns the digits of `bytes`.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // Not by `{:02x}`: an image of 64 layers has two thousand of them, and the list of a layer two for each byte of the
    // digest of each file.
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 0xf)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn refused(text: &str, hint: &str) -> Error {
    let shown: String = text.chars().take(140).collect();
    Error::new(Kind::Image, format!("`{}` is not a SHA-256 digest", crate::units::visible(&shown))).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::Digest;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn what_is_written_is_read() {
        let digest = Digest::of(b"");
        assert_eq!((digest.hex(), digest.to_string()), (EMPTY, format!("sha256:{EMPTY}")));
        assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
        assert_eq!(Digest::from_hex(EMPTY).unwrap(), digest);
        assert!(Digest::of(b"0") < Digest::of(b"1"));
    }

    #[test]
    fn no_other_spelling_is_a_digest() {
        let upper = EMPTY.to_uppercase();
        let words = [
            "".to_owned(),
            "sha256:".to_owned(),
            "sha256:../../../../etc/passwd".to_owned(),
            format!("sha256:{}", &EMPTY[1..]),
            format!("sha256:{EMPTY}0"),
            format!("sha256:{upper}"),
            format!("SHA256:{EMPTY}"),
            format!("sha256:sha256:{EMPTY}"),
            format!("sha512:{EMPTY}{EMPTY}"),
            format!("sha512:{EMPTY}"),
            format!("md5:{}", &EMPTY[..32]),
            format!("sha256:{EMPTY}\n"),
            format!(" sha256:{EMPTY}"),
            format!("sha256:{}/x", &EMPTY[..62]),
            format!("sha256:{}é", &EMPTY[..62]),
            format!("sha256+b64:{EMPTY}"),
            EMPTY.to_owned(),
        ];
        for word in words {
            let error = Digest::parse(&word).unwrap_err().to_string();
            assert!(error.ends_with("is not a SHA-256 digest") && !error.contains('\n'), "{word}: {error}");
        }
        assert!(Digest::from_hex(&upper).is_err() && Digest::from_hex(&format!("sha256:{EMPTY}")).is_err());
        assert!(Digest::parse(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 200);
    }
}
