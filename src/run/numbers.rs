//! The words of a plan as the kernel's numbers and names. One table each, no decision.

use std::ffi::CStr;

use crate::plan::{Attributes, Devices, Filesystem, Links, Write};
use crate::spec::{Exec, Resource};
use crate::sys::mount;

/// Returns the name of a file system as the kernel takes it.
#[must_use]
pub fn name(filesystem: Filesystem) -> &'static CStr {
    match filesystem {
        Filesystem::Proc => c"proc",
        Filesystem::Tmpfs => c"tmpfs",
        Filesystem::Devpts => c"devpts",
        Filesystem::Overlay => c"overlay",
    }
}

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
    if attributes.links == Links::Refused {
        bits |= mount::NO_SYMLINKS;
    }
    bits
}

/// Returns the MS_* of mount(2) of `attributes`, which for these four have the values of MOUNT_ATTR_*.
#[must_use]
pub fn mount_flags(attributes: Attributes) -> u64 {
    attribute_bits(attributes)
}

/// Returns the RLIMIT_* of a resource.
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
