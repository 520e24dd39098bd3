//! Trying again: how often, how long between, and that a wish to end is heeded meanwhile.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::image::registry::failure::{Passing, Trouble};
use crate::image::registry::http::Line;
use crate::sys::random;

/// Attempts without any progress.
const ATTEMPTS: u32 = 6;

/// The pause after the first of them; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(250);

/// How many bytes are progress: a host that cuts every connection after a few must not keep us for ever.
const PROGRESS: u64 = 64 << 10;

/// Calls `attempt` until it succeeds, fails for good, or has failed too often in a row.
///
/// # Errors
/// That of the last attempt.
pub(super) fn persist<T>(line: &Line, mut attempt: impl FnMut() -> std::result::Result<T, Trouble>) -> Result<T> {
    let mut failed = 0;
    loop {
        line.check()?;
        let Passing { error, wait, received } = match attempt() {
            Ok(value) => return Ok(value),
            Err(Trouble::Lasting(error)) => return Err(error),
            Err(Trouble::Passing(passing)) => passing,
        };
        // A connection that we cut ourselves looks like one that broke.
        line.check()?;
        failed = if received >= PROGRESS { 1 } else { failed + 1 };
        if failed >= ATTEMPTS {
            return Err(Error { message: format!("{}, {failed} times in a row", error.message), ..error });
        }
        line.rest(wait.unwrap_or_else(|| pause(failed)))?;
    }
}

/// Many clients that failed at once shall not come back at once.
fn pause(failed: u32) -> Duration {
    let pause = PAUSE * 2u32.saturating_pow(failed - 1);
    let spread = random::number().map_or(0, |number| number % 256);
    pause + pause * u32::try_from(spread).unwrap_or(0) / 1024
}

/// Returns what a registry's wish that we come back later asks for.
///
/// # Errors
/// A pause that is longer than anybody wants to wait.
pub(super) fn asked_pause(header: Option<&str>, (host, longest): (&str, Duration)) -> Result<Option<Duration>> {
    // A date is as good as nothing: the clocks may differ.
    let Some(seconds) = header.and_then(|text| text.trim().parse::<u64>().ok()) else { return Ok(None) };
    let asked = Duration::from_secs(seconds);
    match asked <= longest {
        true => Ok(Some(asked)),
        false => Err(Error::new(Kind::Host, format!("`{host}` wants no requests for the next {seconds} seconds"))
            .with_hint("wait that long, or log in: registries allow more to whom they know")),
    }
}
