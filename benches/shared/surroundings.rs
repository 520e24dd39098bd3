//! What the peers need, and do, around a run on this machine, whoever starts them.

use std::fs;
use std::os::unix::fs::MetadataExt;

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// An unprivileged user that every system has.
pub(crate) const NOBODY: u32 = 65534;

/// The caller's user id.
pub(crate) fn uid() -> u32 {
    fs::metadata("/proc/self").map_or(NOBODY, |self_| self_.uid())
}

pub(crate) fn is_root() -> bool {
    uid() == 0
}

/// The words before a program that runs as root: crun refuses a hybrid host that has
/// a controller in the v2 tree, so there that tree is out of sight, for all alike.
pub(crate) fn surroundings() -> Vec<String> {
    let controllers = fs::read_to_string(format!("{UNIFIED}/cgroup.controllers")).unwrap_or_default();
    if !is_root() || controllers.trim().is_empty() {
        return Vec::new();
    }
    let script = format!("umount {UNIFIED} && exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).into()
}
