//! Which boot of the machine this is, and what counts in it of what was made in another. It changes nothing.

use std::path::Path;

/// The file that says that a tree is on the disk.
pub(super) const MARK: &str = "settled";

/// Where the kernel tells which boot this is, random(4).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The boot where the kernel does not say which one it is.
pub(super) const UNKNOWN: &str = "-";

/// Returns what tells this boot from all others; [`UNKNOWN`] where the kernel does not say.
pub(super) fn boot() -> String {
    match std::fs::read_to_string(BOOT) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// Returns whether the tree at `place`, made in the boot `made`, is as it was made.
pub(super) fn holds(place: &Path, made: &str) -> bool {
    // The usual answer costs one call.
    place.join(MARK).exists() || (made != UNKNOWN && made == boot())
}
