//! What to change when the kernel refuses a rule of Landlock. A part of the table of
//! hints; it decides nothing.

use nix::errno::Errno;

use crate::error::Kind;
use crate::plan::landlock;

/// landlock_create_ruleset(2), landlock_add_rule(2), landlock_restrict_self(2); openat(2) of a path.
#[must_use]
pub fn on_landlock(act: &landlock::Act, errno: Errno) -> Option<(Kind, &'static str)> {
    match (act, errno) {
        (landlock::Act::Path(..), Errno::ENOENT | Errno::ENOTDIR) => {
            Some((Kind::Spec, "there is no such path in the sandbox: look at the spelling, or make it with `dir`"))
        }
        (_, Errno::EMFILE) => {
            Some((Kind::Spec, "the rules need two descriptors above the standard streams: raise `open-files`"))
        }
        (_, Errno::E2BIG) => Some((
            Kind::Host,
            "the kernel takes 16 sets of rules one within the other: nest fewer sandboxes, or write `landlock none` in the \
             inner ones",
        )),
        (_, Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL) => Some((
            Kind::Host,
            "the kernel has no Landlock, or less than it says: `best-effort \"landlock\"` runs the command without, and the \
             report says so",
        )),
        _ => None,
    }
}
