//! What an image is built for: the words of Go's GOOS, GOARCH and the variants of
//! containerd's `platforms`. The choice from an index is here, the index is not.

use std::fmt;

use crate::error::{Error, Kind, Result};
use crate::image::registry::Platform;
use crate::units::visible;

impl Platform {
    /// Parses `OS/ARCHITECTURE[/VARIANT]`, such as `linux/arm64/v8`.
    ///
    /// # Errors
    /// Another number of parts, an empty one, or an operating system whose programs Linux does not run.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(Kind::Spec, format!("`{}` is no platform: {why}", visible(text)))
                .with_hint("write it as `linux/amd64` or `linux/arm64/v8`")
        };
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(|part| word(part)) {
            return Err(wrong("its parts are words of small letters and digits"));
        }
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err(wrong("it has two or three parts")),
        };
        if os != "linux" {
            return Err(wrong("sbx runs programs for `linux`"));
        }
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }

    /// Returns the platform of this machine.
    #[must_use]
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Returns a platform that an index names, whatever words it uses.
    pub(super) fn named(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty()).map(str::to_owned);
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// Returns how well `offered` fits, 0 best, or `None`. A missing variant is the usual one of its architecture;
    /// the newest one that the machine runs is best.
    pub(super) fn fit(&self, offered: &Self) -> Option<usize> {
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

    fn level(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            (_, Some(variant)) => variant,
            ("arm64", None) => "v8",
            ("arm", None) => "v7",
            ("amd64", None) => "v1",
            (_, None) => "",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use crate::image::registry::Platform;

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
        assert_eq!(best("linux/arm64", &arm).as_deref(), Some("linux/arm64/v8"));
        assert_eq!(best("linux/arm64/v8", &["linux/arm64"]).as_deref(), Some("linux/arm64"));
        assert_eq!(best("linux/arm64/v9", &arm), None);
        assert_eq!(best("linux/amd64", &["linux/amd64/v3"]), None);
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]).as_deref(), Some("linux/amd64/v2"));
        assert_eq!(best("linux/386", &arm), None);
    }

    #[test]
    fn what_is_no_platform_says_why() {
        for (text, why) in [
            ("linux", "two or three parts"),
            ("linux/a/b/c", "two or three parts"),
            ("linux//v8", "small letters"),
            ("Linux/amd64", "small letters"),
            ("windows/amd64", "programs for `linux`"),
        ] {
            let error = Platform::parse(text).unwrap_err();
            assert!(error.message.contains(why), "{text}: {error}");
        }
    }
}
