//! The calls of the built-in profiles, by what they are for. Names that an architecture
//! does not have are passed over there.

/// What both profiles let through whatever the arguments are.
pub(super) const COMMON: &[&[&str]] = &[FILES, MEMORY, PROCESSES, SIGNALS, TIME, WAITING, SOCKETS];

/// What `default` lets through beyond that.
pub(super) const MORE: &[&[&str]] = &[TRACING, SHARING, LIMITS, LOCKS, RARE];

/// What neither lets through and what answers EPERM, because programs expect it to be forbidden. Whatever
/// stands nowhere here answers ENOSYS: programs take it for an old kernel and do without. So do clone3 and
/// openat2, whose arguments lie in memory where no filter sees them, statmount and listmount, and what was
/// made for programs of another century.
pub(super) const REFUSED: &[&[&str]] = &[MOUNTS, MACHINE, SURFACE, NUMA, GONE];

/// Refused by `strict` and allowed by `default`.
pub(super) const REFUSED_BY_STRICT: &[&[&str]] = &[TRACING];

#[rustfmt::skip]
const FILES: &[&str] = &[
    "access", "chdir", "chown", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "faccessat",
    "faccessat2", "fadvise64", "fallocate", "fchdir", "fchown", "fchownat", "fdatasync", "fgetxattr",
    "file_getattr", "flistxattr", "fremovexattr", "fsetxattr", "fstat", "fstatat", "fstatfs", "fsync",
    "ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "getxattr", "getxattrat", "lchown",
    "lgetxattr", "link", "linkat", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lseek",
    "lsetxattr", "lstat", "memfd_create", "mkdir", "mkdirat", "newfstatat", "pipe", "pipe2", "pread64",
    "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
    "readv", "removexattr", "removexattrat", "rename", "renameat", "renameat2", "rmdir", "sendfile", "setxattr",
    "setxattrat", "stat", "statfs", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
    "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "write", "writev",
];

#[rustfmt::skip]
const MEMORY: &[&str] = &[
    "brk", "madvise", "map_shadow_stack", "membarrier", "mincore", "mlock", "mlock2", "mlockall", "mmap",
    "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free",
    "pkey_mprotect",
];

#[rustfmt::skip]
const PROCESSES: &[&str] = &[
    "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex",
    "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getegid",
    "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettid", "getuid", "landlock_add_rule",
    "landlock_create_ruleset", "landlock_restrict_self", "pidfd_open", "prctl", "prlimit64", "restart_syscall",
    "riscv_flush_icache", "riscv_hwprobe", "rseq", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval",
    "sched_setaffinity", "sched_yield", "seccomp", "set_robust_list", "set_tid_address", "setfsgid", "setfsuid",
    "setgid", "setgroups", "setpgid", "setpriority", "setregid", "setresgid", "setresuid", "setreuid",
    "setrlimit", "setsid", "setuid", "sysinfo", "times", "uname", "vfork", "wait4", "waitid",
];

#[rustfmt::skip]
const SIGNALS: &[&str] = &[
    "alarm", "kill", "pause", "pidfd_send_signal", "rt_sigaction", "rt_sigpending", "rt_sigprocmask",
    "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack",
    "signalfd", "signalfd4", "tgkill", "tkill",
];

#[rustfmt::skip]
const TIME: &[&str] = &[
    "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday", "nanosleep", "setitimer",
    "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
    "timerfd_create", "timerfd_gettime", "timerfd_settime",
];

#[rustfmt::skip]
const WAITING: &[&str] = &[
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd",
    "eventfd2", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "poll", "ppoll",
    "pselect6", "select",
];

#[rustfmt::skip]
const SOCKETS: &[&str] = &[
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom",
    "recvmmsg", "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
];

/// Debuggers and LeakSanitizer. Since Linux 4.8 a tracer cannot lead a call past the filter of its tracee.
#[rustfmt::skip]
const TRACING: &[&str] = &[
    "kcmp", "pidfd_getfd", "process_madvise", "process_mrelease", "process_vm_readv", "process_vm_writev",
    "ptrace", "uretprobe",
];

#[rustfmt::skip]
const SHARING: &[&str] = &[
    "memfd_secret", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
    "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl",
    "shmdt", "shmget", "splice", "tee",
];

#[rustfmt::skip]
const LIMITS: &[&str] = &[
    "ioprio_get", "ioprio_set", "sched_setattr", "sched_setparam", "sched_setscheduler",
];

/// Whoever can open the same file can signal by them: sandboxes that share an image could.
const LOCKS: &[&str] = &["fcntl", "flock"];

#[rustfmt::skip]
const RARE: &[&str] = &[
    "adjtimex", "cachestat", "clock_adjtime", "file_setattr", "get_mempolicy", "get_thread_area", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit", "lsm_get_self_attr",
    "lsm_list_modules", "remap_file_pages", "set_thread_area",
];

/// What only a process with capabilities could do anyway: the kernel's checks are not the only ones
/// (CVE-2022-0185, CVE-2021-3493, CVE-2023-0386).
#[rustfmt::skip]
pub(super) const MOUNTS: &[&str] = &[
    "chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount",
    "name_to_handle_at", "open_by_handle_at", "open_tree", "open_tree_attr", "pivot_root", "setdomainname",
    "sethostname", "setns", "umount2",
];

#[rustfmt::skip]
const MACHINE: &[&str] = &[
    "acct", "clock_settime", "delete_module", "finit_module", "init_module", "ioperm", "iopl",
    "kexec_file_load", "kexec_load", "lsm_set_self_attr", "modify_ldt", "quotactl", "quotactl_fd", "reboot",
    "settimeofday", "swapoff", "swapon", "syslog", "vhangup",
];

/// What many holes of kernels were reached through.
#[rustfmt::skip]
const SURFACE: &[&str] = &[
    "add_key", "bpf", "fanotify_init", "fanotify_mark", "io_uring_enter", "io_uring_register", "io_uring_setup",
    "keyctl", "lookup_dcookie", "perf_event_open", "request_key", "userfaultfd", "vmsplice",
];

#[rustfmt::skip]
const NUMA: &[&str] = &[
    "mbind", "migrate_pages", "move_pages", "set_mempolicy", "set_mempolicy_home_node",
];

/// No kernel has them any more. EPERM, as their neighbours: fewer ranges are a shorter search.
#[rustfmt::skip]
const GONE: &[&str] = &[
    "_sysctl", "afs_syscall", "create_module", "get_kernel_syms", "getpmsg", "nfsservctl", "putpmsg", "query_module",
    "security", "tuxcall", "vserver",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{COMMON, MORE, REFUSED};
    use crate::spec::Syscall;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_name_is_that_of_a_call() {
        let elsewhere = ["fstatat", "riscv_flush_icache", "riscv_hwprobe"];
        let mut seen = BTreeSet::new();
        for name in [COMMON, MORE, REFUSED].into_iter().flatten().flat_map(|names| names.iter()) {
            assert!(Syscall::named(name).is_some() || elsewhere.contains(name), "`{name}` is no call");
            assert!(seen.insert(name), "`{name}` stands twice");
        }
        assert!(seen.len() > 300);
    }
}
