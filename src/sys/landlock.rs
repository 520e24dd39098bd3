//! Landlock, landlock(7): makes a set of rules and has this thread obey it. What the
//! rules are is decided elsewhere.
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Fd, Sys, check, check_fd};

/// `struct landlock_ruleset_attr` of Linux 6.12: what a set of rules is about. Zeros at its end are as good as
/// absent, so older kernels take it as well.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handled {
    /// LANDLOCK_ACCESS_FS_*.
    pub files: u64,
    /// LANDLOCK_ACCESS_NET_*.
    pub ports: u64,
    /// LANDLOCK_SCOPE_*.
    pub scopes: u64,
}

/// LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF (Linux 6.15): what is denied by rules that the command makes itself is
/// not logged, so that it cannot flood the host's audit log.
pub const FLAG_LOG_SUBDOMAINS_OFF: u32 = 1 << 2;

/// The rights of LANDLOCK_ACCESS_FS_* that a rule on anything but a directory can give: EXECUTE, WRITE_FILE,
/// READ_FILE, TRUNCATE, IOCTL_DEV.
pub const FILE_RIGHTS: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15;

const RULE_PATH_BENEATH: u32 = 1;
const RULE_NET_PORT: u32 = 2;

/// `struct landlock_path_beneath_attr`, which the kernel declares packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// Returns the version of the interface that this kernel has, from 1 on. ENOSYS: not built in. EOPNOTSUPP: not
/// switched on.
pub fn version() -> Sys<u32> {
    const VERSION: u32 = 1;
    let none = std::ptr::null::<Handled>();
    // SAFETY: with this flag no attributes are read.
    let returned = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0usize, VERSION) };
    check(returned).and_then(|version| u32::try_from(version).map_err(|_| Errno::EOVERFLOW))
}

/// Makes an empty set of rules about `handled`; close-on-exec.
pub fn ruleset(handled: &Handled) -> Sys<Fd> {
    let (attributes, size) = (std::ptr::from_ref(handled), size_of::<Handled>());
    // SAFETY: `attributes` is live and has `size` bytes; landlock_create_ruleset(2) only reads it.
    check_fd(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, attributes, size, 0u32) })
}

/// Allows `allowed` of what `place` is, and of all below it. EINVAL: a right of directories for a file. EBADFD: a
/// pipe or a socket, which has no place.
pub fn allow_beneath(ruleset: Fd, place: Fd, allowed: u64) -> Sys<()> {
    let rule = PathBeneath { allowed, parent: place.0 };
    // SAFETY: landlock_add_rule(2) reads a landlock_path_beneath_attr, which is live.
    let returned =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.0, RULE_PATH_BENEATH, &raw const rule, 0u32) };
    check(returned).map(drop)
}

/// Allows `allowed` on a TCP port.
pub fn allow_port(ruleset: Fd, port: u16, allowed: u64) -> Sys<()> {
    let rule = NetPort { allowed, port: u64::from(port) };
    // SAFETY: landlock_add_rule(2) reads a landlock_net_port_attr, which is live.
    let returned =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.0, RULE_NET_PORT, &raw const rule, 0u32) };
    check(returned).map(drop)
}

/// Has this thread, and all that it starts, obey `ruleset` for ever. Needs no_new_privs.
pub fn restrict_self(ruleset: Fd, flags: u32) -> Sys<()> {
    // SAFETY: landlock_restrict_self(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.0, flags) }).map(drop)
}
