//! The name of a run's groups: one for all hierarchies, never that of another run, and
//! told from what others make.

use std::ffi::OsStr;

use crate::sys::{Errno, random};

const PREFIX: &str = "sbx-";
/// How many hexadecimal digits the random part has.
const DIGITS: usize = 16;

/// Returns a new name: `sbx-PID-RANDOM`. The process id is for people and says nothing in another pid
/// namespace; the random part keeps two runs apart.
///
/// # Errors
/// Those of getrandom(2).
pub fn new() -> Result<String, Errno> {
    Ok(format!("{PREFIX}{}-{:0DIGITS$x}", std::process::id(), random::number()?))
}

/// Returns whether `name` is one that [`new`] gives.
#[must_use]
pub fn is_one(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
    parts.is_some_and(|(pid, random)| {
        let decimal = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        decimal
            && random.len() == DIGITS
            && random.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}
