//! The numbers and names that the kernel has for words of a plan.

use std::ffi::CStr;

use crate::plan::{Attributes, Devices, Filesystem, Write};
use crate::spec::{Exec, Resource};
use crate::sys::mount;

/// Returns the MOUNT_ATTR_* of `attributes`.
#[must_use]
pub fn attribute_bits(attributes: Attributes) -> u64 {
    let mut bits = mount::NO_SUID;
    if attributes.write == Write::ReadOnly {
        bits |= mount::READ_ONLY;
    }
    if attributes.devices == Devices::Forbidden {
        bits |= mount::NO_DEV;
    }
    if attributes.exec == Exec::Forbidden {
        bits |= mount::NO_EXEC;
    }
    bits
}

/// Returns the MS_* of mount(2), which for these four have the values of MOUNT_ATTR_*.
#[must_use]
pub fn mount_flags(attributes: Attributes) -> u64 {
    attribute_bits(attributes)
}

/// Returns the name of a file system.
#[must_use]
pub fn name(filesystem: Filesystem) -> &'static CStr {
    match filesystem {
        Filesystem::Proc => c"proc",
        Filesystem::Tmpfs => c"tmpfs",
        Filesystem::Devpts => c"devpts",
        Filesystem::Overlay => c"overlay",
    }
}

/// Returns the RLIMIT_* of getrlimit(2).
#[must_use]
pub fn resource_number(resource: Resource) -> u32 {
    let number = match resource {
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
    };
    number.unsigned_abs()
}
