//! How fast and how well a network carries: rates in bits and losses in percent, as network people write them. It
//! shapes nothing.

use std::fmt;
use std::time::Duration;

use crate::spec::value;

/// Bits a second, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(pub u64);

/// How many of a million packets get lost; at most a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss(pub u32);

/// What a bandwidth looks like.
pub const BANDWIDTH: &str = "bits a second with their unit: `512kbit`, `10mbit`, `1.5gbit`";
/// What a loss looks like.
pub const LOSS: &str = "a part of the packets in percent: `0.5%`";

/// What a latency looks like.
pub const LATENCY: &str = "a time of up to an hour: `20ms`, `1.5s`";

/// Longer than the way of any packet to any planet, so that sums of times stay in range.
const SLOWEST: Duration = Duration::from_secs(3600);

const UNITS: [(&str, u64); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
/// A tenth of a terabit: what no network of a sandbox reaches, so that sums of bits and nanoseconds stay in range.
const FASTEST: u64 = 100_000_000_000;

/// Reads how long a packet is under way.
///
/// # Errors
/// What is wrong with `text`.
pub fn latency(text: &str) -> Result<Duration, String> {
    match value::time(text)? {
        time if time <= SLOWEST => Ok(time),
        _ => Err(format!("the latency `{text}` is too long: at most an hour")),
    }
}

impl Bandwidth {
    /// Reads a number with a unit of tc(8): powers of 1000, in any case.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (number, unit) = UNITS
            .iter()
            .find_map(|(word, unit)| lower.strip_suffix(word).map(|number| (number, *unit)))
            .ok_or_else(|| format!("`{text}` is not a bandwidth"))?;
        match decimal(number, unit) {
            Some(0) => Err("a bandwidth of zero would block for ever".to_owned()),
            Some(bits) if bits <= FASTEST => Ok(Self(bits)),
            Some(_) => Err(format!("the bandwidth `{text}` is too large: at most 100gbit")),
            None => Err(format!("`{text}` is not a bandwidth")),
        }
    }
}

impl Loss {
    /// Reads a percentage with at most four digits behind the point.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').ok_or_else(|| format!("`{text}` is not a loss"))?;
        match decimal(number, 10_000).map(u32::try_from) {
            Some(Ok(part @ 0..=1_000_000)) => Ok(Self(part)),
            Some(_) => Err(format!("the loss `{text}` is more than all")),
            None => Err(format!("`{text}` is not a loss")),
        }
    }
}

/// Returns `number`, which may have a fraction, times `unit`; `None` if that is no whole number.
fn decimal(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?;
    if part % scale != 0 {
        return None;
    }
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(part / scale)
}

impl fmt::Display for Bandwidth {
    /// Writes the largest unit that divides the number: `10mbit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, unit) = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).unwrap_or(&("bit", 1));
        write!(f, "{}{word}", self.0 / unit)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        if rest == 0 {
            return write!(f, "{whole}%");
        }
        let digits = format!("{rest:04}");
        write!(f, "{whole}.{}%", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bandwidth, Loss, latency};

    #[test]
    fn a_bandwidth_is_in_bits_and_reads_back() {
        for (text, bits, shown) in [
            ("10mbit", 10_000_000, "10mbit"),
            ("10Mbit", 10_000_000, "10mbit"),
            ("1.5gbit", 1_500_000_000, "1500mbit"),
            ("512kbit", 512_000, "512kbit"),
            ("100gbit", 100_000_000_000, "100gbit"),
            ("7bit", 7, "7bit"),
        ] {
            assert_eq!(Bandwidth::parse(text), Ok(Bandwidth(bits)), "{text}");
            assert_eq!(Bandwidth(bits).to_string(), shown);
            assert_eq!(Bandwidth::parse(shown), Ok(Bandwidth(bits)), "{shown}");
        }
        for text in [
            "10",
            "10mb",
            "mbit",
            "-1mbit",
            "0mbit",
            "0.0kbit",
            "1.mbit",
            ".5mbit",
            "1e3mbit",
            "101gbit",
            "0.5bit",
            "10 mbit",
            "9999999999999gbit",
        ] {
            assert!(Bandwidth::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_latency_is_a_time_that_can_be_waited_for() {
        assert_eq!(latency("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(latency("1h"), Ok(Duration::from_secs(3600)));
        for text in ["3601s", "11000w", "20", "-1s"] {
            assert!(latency(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_loss_is_a_percentage_and_reads_back() {
        for (text, parts) in [("0.5%", 5_000), ("0%", 0), ("100%", 1_000_000), ("0.0001%", 1), ("12.25%", 122_500)] {
            assert_eq!(Loss::parse(text), Ok(Loss(parts)), "{text}");
            assert_eq!(Loss(parts).to_string(), text);
        }
        for text in ["0.5", "%", "-1%", "101%", "100.1%", "0.00001%", "1.%", "1 %"] {
            assert!(Loss::parse(text).is_err(), "{text}");
        }
    }
}
