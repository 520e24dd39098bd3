//! The mounts of a sandbox whose processes are gone. The kernel takes them down with the last process, which stays until
//! no processor looks at them any more: half a millisecond. Who holds them takes them down later.

use std::os::fd::OwnedFd;

use crate::plan::{Devices, Op, Plan, Write};
use crate::sys::watch::own;
use crate::sys::{Fd, process};

/// The mounts, which go when this is dropped.
#[derive(Debug)]
pub struct LastingMounts {
    _namespace: OwnedFd,
}

impl LastingMounts {
    /// Returns those of the process behind `pidfd`, where nothing of the host is written through them: what was written
    /// is the next one's as soon as the run has ended. `None` before Linux 6.11, too.
    #[must_use]
    pub fn of(plan: &Plan, pidfd: Fd) -> Option<Self> {
        if writes_to_host(plan) {
            return None;
        }
        process::mounts_of(pidfd).map(|namespace| Self { _namespace: own(namespace) }).ok()
    }
}

/// Returns whether anything of the host is mounted writable. A device holds no files.
#[must_use]
pub fn writes_to_host(plan: &Plan) -> bool {
    let writes = |op: &Op| {
        matches!(op, Op::OpenTree { attributes, .. }
            if attributes.write == Write::ReadWrite && attributes.devices == Devices::Forbidden)
    };
    plan.steps.iter().any(|step| writes(&step.op))
}
