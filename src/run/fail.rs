//! A knob for the tests of debug builds: which step of a plan fails instead of being
//! done. A release has no such knob.

use crate::sys::Errno;

/// What the kernel never answers to a step by itself.
pub const ERRNO: Errno = Errno::ENOTRECOVERABLE;

/// Returns the number of the step that `SBX_FAIL_STEP` names.
#[cfg(debug_assertions)]
#[must_use]
pub fn step() -> Option<usize> {
    std::env::var("SBX_FAIL_STEP").ok()?.parse().ok()
}

/// Returns nothing: this is a release.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn step() -> Option<usize> {
    None
}
