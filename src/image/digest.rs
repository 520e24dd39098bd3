//! The name of content: SHA-256, the one algorithm that sbx knows. A digest becomes a
//! part of a path, so nothing else is ever let through (CVE-2024-3727).

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::units::visible;

/// SHA-256 of some bytes: 64 lower-case hexadecimal digits. `Display` writes `sha256:…`, as the OCI image
/// specification does (descriptor.md).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Parses `sha256:` and 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Anything else, other algorithms included.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = |hex: &&str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        text.strip_prefix("sha256:").filter(digits).map(|hex| Self(hex.to_owned())).ok_or_else(|| {
            Error::new(Kind::Image, format!("`{}` is not a SHA-256 digest", visible(text)))
                .with_hint("a digest is `sha256:` and 64 hexadecimal digits in lower case")
        })
    }

    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// Returns the digest of what was fed to `hasher`.
    #[must_use]
    pub fn finish(hasher: Sha256) -> Self {
        let hash: [u8; 32] = hasher.finalize().into();
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        Self(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Returns the 64 digits, without the algorithm: the name of a file.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_what_sha256sum_says() {
        assert_eq!(Digest::of(b"").hex(), EMPTY);
        assert_eq!(Digest::parse(&format!("sha256:{EMPTY}")).unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), format!("sha256:{EMPTY}"));
    }

    #[test]
    fn what_could_be_a_path_is_no_digest() {
        let short = &EMPTY[..63];
        for text in [
            "",
            EMPTY,
            "sha256:",
            "sha256:../../x",
            &format!("sha256:{short}"),
            &format!("sha256:{short}/"),
            &format!("sha256:{short}A"),
            &format!("sha256:{EMPTY}0"),
            &format!(" sha256:{EMPTY}"),
            &format!("sha512:{EMPTY}"),
            &format!("SHA256:{EMPTY}"),
        ] {
            let error = Digest::parse(text).unwrap_err();
            assert!(error.message.ends_with("is not a SHA-256 digest"), "{text}: {error}");
        }
    }
}
