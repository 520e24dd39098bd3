//! The words of a plan as the kernel's numbers and names. One table each, no decision.

use std::ffi::CStr;

use crate::plan::{Attributes, Devices, Filesystem, Links, Write};
use crate::spec::{Exec, Namespace, Resource};
use crate::sys::mount;

/// What happens to a tree once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    /// It gets these MOUNT_ATTR_*.
    Attributes(u64),
    /// A device of sbx's own choice: it is taken as it is on the host.
    Device,
    /// The same of the spec's choice: it has to be one.
    AskedDevice,
}

impl Dress {
    /// Returns what `attributes` ask for.
    #[must_use]
    pub fn of(attributes: Attributes) -> Self {
        match attributes.devices {
            Devices::Forbidden => Self::Attributes(attribute_bits(attributes)),
            Devices::Allowed => Self::Device,
            Devices::Required => Self::AskedDevice,
        }
    }
}

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

/// Returns the CLONE_NEW* of `namespaces`. Only unshare(2) takes that of the clocks.
#[must_use]
pub fn namespace_flags(namespaces: &[Namespace]) -> u64 {
    let flag = |namespace: &Namespace| match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Net => libc::CLONE_NEWNET,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Cgroup => libc::CLONE_NEWCGROUP,
        Namespace::Time => libc::CLONE_NEWTIME,
    };
    namespaces.iter().fold(0, |flags, namespace| flags | u64::from(flag(namespace).unsigned_abs()))
}

/// Returns the RLIMIT_* of a resource.
#[must_use]
pub fn resource_number(resource: Resource) -> u32 {
    // `int` in musl, `unsigned` in glibc.
    let number = i64::from(match resource {
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Stack => libc::RLIMIT_STACK,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
    });
    u32::try_from(number).unwrap_or(u32::MAX)
}
