//! The rows of the table of hints that are about starting: namespaces, processes, programs.
//! They know the kernel's reasons, not the machine.

use nix::errno::Errno;

use crate::error::Kind;

pub type Row = (Kind, &'static str);

pub const NAMESPACES: Row = (
    Kind::Host,
    "no more namespaces are allowed: raise the sysctl user.max_user_namespaces (and user.max_mnt_namespaces, \
     user.max_cgroup_namespaces and the like), or nest fewer than 32",
);
pub const SYMLINK: Row =
    (Kind::Spec, "the path leads through too many symbolic links, or through one where none is allowed");
pub const PROCESSES: Row = (
    Kind::Host,
    "no more processes are allowed: raise `ulimit -u` (RLIMIT_NPROC) or pids.max of the cgroup around sbx",
);

/// clone(2) and clone3(2), namespaces(7), user_namespaces(7).
#[must_use]
pub fn on_clone(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::EPERM => (
            Kind::Host,
            "user namespaces are forbidden here: look at the sysctls kernel.unprivileged_userns_clone (should be 1) and \
             kernel.apparmor_restrict_unprivileged_userns (should be 0); in a container start it with \
             `--security-opt seccomp=unconfined`, as Docker's seccomp profile forbids them; in a chroot they cannot be had",
        ),
        Errno::ENOSPC => NAMESPACES,
        Errno::EUSERS => (
            Kind::Host,
            "no more user namespaces are allowed: raise the sysctl user.max_user_namespaces, or nest fewer than 32",
        ),
        Errno::EINVAL => (
            Kind::Host,
            "this kernel lacks a kind of namespace: it needs CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS, \
             CONFIG_UTS_NS and CONFIG_CGROUPS; what the spec does not need can be left out of `namespaces`",
        ),
        Errno::ENOSYS => (
            Kind::Host,
            "clone3 is missing: the kernel is older than 5.7, or the seccomp profile around sbx hides it \
             (a container: `--security-opt seccomp=unconfined`; another sbx: `seccomp \"none\"` in its spec)",
        ),
        Errno::EACCES | Errno::EBUSY | Errno::EOPNOTSUPP => (
            Kind::Host,
            "the run's cgroup takes no process: `limits { cgroup PATH }` can name one that is delegated to you",
        ),
        errno => return on_fork(errno),
    })
}

/// fork(2).
#[must_use]
pub fn on_fork(errno: Errno) -> Option<Row> {
    match errno {
        Errno::EAGAIN => Some(PROCESSES),
        Errno::ENOMEM => Some((
            Kind::Host,
            "the kernel is out of memory, or the cgroup around sbx is at its memory.max: end something or raise it",
        )),
        _ => None,
    }
}

/// execve(2).
#[must_use]
pub fn on_exec(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::ENOENT => (
            Kind::Spec,
            "inside the sandbox there is no such file, or none in PATH; if there is, what its `#!` line or its ELF header names \
             as interpreter is missing in the rootfs",
        ),
        Errno::ENOTDIR => (Kind::Spec, "a part of its path is a file, not a directory"),
        Errno::EACCES => (
            Kind::Spec,
            "the file, its interpreter or a directory above it denies execution to the command's user: `chmod +x`, and no \
             `exec=#false` on its mount",
        ),
        Errno::EPERM => {
            (Kind::Spec, "the file has capabilities that the sandbox does not grant: `capabilities`, or a copy")
        }
        Errno::ENOEXEC => (
            Kind::Spec,
            "the file has no `#!` line, or it is a program for another processor: add the line, or take another rootfs",
        ),
        Errno::E2BIG => (Kind::Spec, "arguments and environment are too long together: pass the data in a file"),
        Errno::ETXTBSY => (Kind::Spec, "the file is open for writing: close it first"),
        Errno::EISDIR => (Kind::Spec, "the interpreter of the file is a directory"),
        Errno::ELIBBAD => (Kind::Spec, "the ELF header of its interpreter is damaged"),
        Errno::ELOOP => SYMLINK,
        Errno::EAGAIN => PROCESSES,
        Errno::ENOMEM => (Kind::Spec, "the memory limit is too small to start the command: raise `memory`"),
        _ => return None,
    })
}
