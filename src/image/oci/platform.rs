//! For which machine an image is made, in Go's words as images have them. Whether another machine's programs would
//! run here is not asked: what is wanted must be what is there.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::image::oci::shown;

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
pub(super) struct Words {
    pub(super) os: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) variant: Option<String>,
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
            _ => Err(Error::new(Kind::Spec, format!("`{}` is not a platform", shown(text)))
                .with_hint("write it as `linux/amd64` or `linux/arm/v7`")),
        }
    }

    /// Returns this machine's.
    #[must_use]
    pub fn of_machine() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Returns whether what an index lists for `self` is what is `wanted`.
    #[must_use]
    pub fn is_for(&self, wanted: &Self) -> bool {
        // `arm` alone is no machine: whoever asks for it takes what there is.
        let any = wanted.variant.is_none() && wanted.architecture == "arm";
        self.os == wanted.os && self.architecture == wanted.architecture && (any || self.variant == wanted.variant)
    }

    /// Returns whether an image whose config says `self` may be what is `wanted`: most configs leave the variant out.
    #[must_use]
    pub fn may_be_for(&self, wanted: &Self) -> bool {
        match self.variant {
            None => self.os == wanted.os && self.architecture == wanted.architecture,
            Some(_) => self.is_for(wanted),
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
    pub(super) fn platform(&self) -> Option<Platform> {
        let word = |word: &'_ Option<String>| word.clone().filter(|word| !word.is_empty());
        Some(Platform::new(&word(&self.os)?, &word(&self.architecture)?, self.variant.as_deref()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        match &self.variant {
            Some(variant) => write!(f, "/{}", shown(variant)),
            None => Ok(()),
        }
    }
}
