//! The name of a run's groups: one for all hierarchies, never that of another run, and
//! told from what others make.

use std::ffi::OsStr;

use crate::sys::process::Pid;
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
    process(name).is_some()
}

/// Returns the process id in a name that [`new`] gave.
#[must_use]
pub fn process(name: &OsStr) -> Option<Pid> {
    let (pid, random) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_ours =
        random.len() == DIGITS && random.bytes().all(hexadecimal) && pid.bytes().all(|it| it.is_ascii_digit());
    pid.parse().ok().filter(|_| is_ours).map(Pid)
}
