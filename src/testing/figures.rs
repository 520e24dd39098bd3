//! What a run used, as far as anybody knows, and how it is told.

use std::time::Duration;

use crate::report::figures::{Time, TimeSource};
use crate::units::duration;

/// Why a figure is not known.
pub const UNCOUNTED: &str = "no group of this host counts it";

/// Whether anybody waits for what the command leaves behind: where no group counts, nobody else knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    Awaited,
    Abandoned,
}

/// Returns the processor time of a run that is to take less than `below`.
///
/// # Errors
/// Why nobody knows.
pub fn cpu_time(time: &Time, orphans: Orphans, below: Duration) -> Result<Duration, &'static str> {
    let (user, system) = time.user_ns.zip(time.system_ns).ok_or(UNCOUNTED)?;
    let counted = Duration::from_nanos(user.saturating_add(system));
    // Less than there was, which is enough where it is too much.
    if counted < below && time.source == Some(TimeSource::Rusage) && orphans == Orphans::Abandoned {
        return Err("no group of this host counts it, and without an init nobody waits for what is left");
    }
    Ok(counted)
}

/// Returns a time that was measured, in thousandths of a second, or in full where these would look as if it were below.
#[must_use]
pub fn rounded(time: Duration, below: Duration) -> String {
    let coarse = Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000);
    match coarse < below {
        true => duration(time),
        false => format!("{}.{:03}s", time.as_secs(), time.subsec_millis()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::rounded;

    #[test]
    fn a_time_is_as_fine_as_its_bound() {
        for (time, below, shown) in [
            (1_234_567, 1000, "1.234s"),
            (2526, 1000, "0.002s"),
            (2526, 1, "0.002s"),
            (870, 1, "870us"),
            (1600, 1500, "1ms600us"),
            (1_000_100, 1_000_000, "1.000s"),
        ] {
            assert_eq!(rounded(Duration::from_micros(time), Duration::from_micros(below)), shown);
        }
    }
}
