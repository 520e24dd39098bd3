//! For which machine an image is made, in Go's words as images have them, and which of several fits best, as
//! containerd's `platforms` orders them. Whether programs of another architecture would run here is not asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::units::visible;

/// An operating system and an architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    /// `v7` of `arm/v7`; absent where it is the architecture's first, `amd64/v1` and `arm64/v8`.
    pub variant: Option<String>,
}

/// As it stands in a descriptor or a config.
#[derive(Debug, Deserialize)]
pub(in crate::image) struct Words {
    pub(in crate::image) os: Option<String>,
    pub(in crate::image) architecture: Option<String>,
    pub(in crate::image) variant: Option<String>,
}

impl Platform {
    /// Reads `OS/ARCHITECTURE[/VARIANT]`, as `platform` has it.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let good = |part: &str| {
            (1..=32).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match parts[..] {
            [os, architecture] if parts.iter().all(|part| good(part)) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(|part| good(part)) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(Error::new(Kind::Spec, format!("`{}` is not a platform", short(text)))
                .with_hint("write it as `linux/amd64` or `linux/arm/v7`")),
        }
    }

    /// Returns this machine's.
    #[must_use]
    pub fn of_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Returns how well what is for `offered` fits where `self` is wanted, 0 best, or `None`. A missing variant is the
    /// usual one of its architecture; the newest one that the machine runs is best.
    #[must_use]
    pub fn fit(&self, offered: &Self) -> Option<usize> {
        if (&self.os, &self.architecture) != (&offered.os, &offered.architecture) {
            return None;
        }
        let wanted = self.level();
        let order: &[&str] = match (self.architecture.as_str(), wanted) {
            ("arm", "v8") => &["v8", "v7", "v6", "v5"],
            ("arm", "v7") => &["v7", "v6", "v5"],
            ("arm", "v6") => &["v6", "v5"],
            ("amd64", "v4") => &["v4", "v3", "v2", "v1"],
            ("amd64", "v3") => &["v3", "v2", "v1"],
            ("amd64", "v2") => &["v2", "v1"],
            _ => return (wanted == offered.level()).then_some(0),
        };
        order.iter().position(|level| *level == offered.level())
    }

    /// Returns whether an image whose config says `self` may be what is `wanted`: most configs leave the variant out.
    #[must_use]
    pub fn may_be_for(&self, wanted: &Self) -> bool {
        match self.variant {
            None => self.os == wanted.os && self.architecture == wanted.architecture,
            Some(_) => wanted.fit(self).is_some(),
        }
    }

    fn level(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            (_, Some(variant)) => variant,
            ("arm64", None) => "v8",
            ("arm", None) => "v7",
            ("amd64", None) => "v1",
            (_, None) => "",
        }
    }

    /// Brings the spellings of one platform together, as containerd's `platforms.Normalize` does.
    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = match architecture {
            "x86_64" | "x86-64" => ("amd64", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "i386" | "i686" => ("386", None),
            other => (other, None),
        };
        let variant = variant.filter(|word| !word.is_empty()).or(implied);
        let variant = match (architecture, variant) {
            ("amd64", Some("v1")) | ("arm64", Some("v8" | "8")) => None,
            (_, variant) => variant,
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }
}

impl Words {
    /// Returns the platform, or `None` where one of the two words is missing.
    pub(in crate::image) fn platform(&self) -> Option<Platform> {
        let word = |word: &'_ Option<String>| word.clone().filter(|word| !word.is_empty());
        Some(Platform::new(&word(&self.os)?, &word(&self.architecture)?, self.variant.as_deref()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", short(&self.os), short(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", short(variant)),
            None => Ok(()),
        }
    }
}

/// A word of an image is as long as it likes.
fn short(word: &str) -> std::borrow::Cow<'_, str> {
    const LONGEST: usize = 40;
    visible(word.char_indices().nth(LONGEST).map_or(word, |(end, _)| &word[..end]))
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn best(wanted: &str, offered: &[&str]) -> Option<String> {
        let wanted = Platform::parse(wanted).unwrap();
        let offered = offered.iter().map(|text| Platform::parse(text).unwrap());
        offered
            .filter_map(|offer| Some((wanted.fit(&offer)?, offer)))
            .min_by_key(|(fit, _)| *fit)
            .map(|(_, p)| p.to_string())
    }

    #[test]
    fn the_newest_variant_that_runs_is_chosen() {
        let arm = ["linux/arm/v5", "linux/arm/v7", "linux/arm/v6", "linux/arm64/v8", "linux/amd64"];
        assert_eq!(best("linux/arm", &arm).as_deref(), Some("linux/arm/v7"));
        assert_eq!(best("linux/arm/v6", &arm).as_deref(), Some("linux/arm/v6"));
        assert_eq!(best("linux/arm/v8", &arm).as_deref(), Some("linux/arm/v7"));
        assert_eq!(best("linux/arm64", &arm).as_deref(), Some("linux/arm64"));
        assert_eq!(best("linux/arm64/v8", &["linux/arm64"]).as_deref(), Some("linux/arm64"));
        assert_eq!(best("linux/arm64/v9", &arm), None);
        assert_eq!(best("linux/amd64", &["linux/amd64/v3"]), None);
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]).as_deref(), Some("linux/amd64/v2"));
        assert_eq!(best("linux/386", &arm), None);
    }
}
