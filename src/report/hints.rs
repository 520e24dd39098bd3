//! The one table from what was tried and what the kernel answered to the one thing
//! to change. It knows the kernel's reasons, not the machine: where an answer has
//! several reasons the hint names the switch of each.

use nix::errno::Errno;

use crate::error::Kind;
use crate::plan::posture::Deed;
use crate::plan::{Filesystem, Idmap, Links, Op, Opener, way};
use crate::report::hints_landlock;
use crate::report::hints_start::{NAMESPACES, PROCESSES, Row, SYMLINK, on_clone, on_exec, on_fork};
use crate::run::ParentCall;

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub enum Act<'a> {
    Op(&'a Op),
    Parent(ParentCall),
    Exec,
}

/// Who has to act, and what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    pub kind: Kind,
    pub hint: &'static str,
}

/// Returns what to do when `act` is answered with `errno`, where that is known.
#[must_use]
pub fn advice(act: Act<'_>, errno: Errno) -> Option<Advice> {
    let special = match act {
        Act::Exec => on_exec(errno),
        Act::Parent(ParentCall::Clone) => on_clone(errno),
        Act::Parent(ParentCall::Fork) => on_fork(errno),
        Act::Parent(ParentCall::MapIds) | Act::Op(Op::MapIds) => on_map_ids(errno),
        Act::Op(op) => on_op(op, errno),
    };
    special.or_else(|| anywhere(errno)).map(|(kind, hint)| Advice { kind, hint })
}

// Ubuntu lets the namespace be made and then takes its privileges, so the answer
// comes late, from the first act that needs one (bubblewrap issue 632).
const APPARMOR: Row = (
    Kind::Host,
    "on Ubuntu 23.10 and later AppArmor takes the privileges of new user namespaces: set the sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0, or allow sbx alone with the line \
     `abi <abi/4.0>, profile sbx /path/to/sbx flags=(unconfined) { userns, }` in /etc/apparmor.d/sbx and `apparmor_parser -r` on it",
);
// The files below /proc/self belong to root where the caller may not read the program (proc(5), PR_SET_DUMPABLE).
const UNREADABLE: Row = (
    Kind::Host,
    "the kernel does not let sbx write below /proc/self: its binary must be readable for the caller (`chmod a+r` on it) and \
     /proc mounted writable",
);
const MOUNT_MAX: Row = (Kind::Host, "the namespace holds as many mounts as the sysctl fs.mount-max allows: raise it");
const KEPT: Row = (
    Kind::Host,
    "a kept layer needs Linux 5.14, and for root a file system that can map ids: ext4 and xfs, btrfs since 5.15, tmpfs since 6.3",
);

/// Writes to uid_map and gid_map, user_namespaces(7); newuidmap(1).
fn on_map_ids(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::EPERM => APPARMOR,
        Errno::EACCES | Errno::EROFS => UNREADABLE,
        Errno::EINVAL => (
            Kind::Host,
            "the kernel takes no such map: the subordinate ids of the caller overlap or leave the ids of this namespace; \
             look at /etc/subuid and /etc/subgid, or write `ids=\"single\"`",
        ),
        Errno::ENOENT => (
            Kind::Host,
            "newuidmap and newgidmap are missing: install them (Debian: `uidmap`), or write `ids=\"single\"`",
        ),
        _ => return None,
    })
}

fn on_op(op: &Op, errno: Errno) -> Option<Row> {
    match op {
        Op::NewFilesystem { filesystem, .. } => on_filesystem(*filesystem, errno),
        Op::Mount { filesystem, .. } => on_filesystem(*filesystem, errno).or_else(|| on_destination(errno)),
        Op::OpenTree { attributes, .. } if (attributes.links, errno) == (Links::Refused, Errno::EINVAL) => Some(KEPT),
        Op::OpenTree { opener, .. } => on_source(*opener, errno),
        Op::PrivateMounts | Op::Pivot { .. } | Op::Stage { .. } if matches!(errno, Errno::EPERM | Errno::EACCES) => {
            Some((
                Kind::Host,
                "something around sbx forbids mounts: AppArmor on Ubuntu 23.10 and later (set the sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0), or another sbx (write `landlock none` in its spec, or `profile \"compat\"`)",
            ))
        }
        Op::Attach { .. }
        | Op::ReadOnly { .. }
        | Op::Pin { .. }
        | Op::Posture(Deed::Hide { .. } | Deed::Freeze { .. })
        | Op::Pivot { .. } => on_destination(errno),
        Op::MakeStaged { .. }
        | Op::MakeDir { .. }
        | Op::MakeFile { .. }
        | Op::MakeSymlink { .. }
        | Op::NewFile { .. } => on_make(errno),
        Op::Stage { .. } if errno == Errno::ENOSPC => on_make(errno),
        Op::Stage { .. } | Op::AttachStaged { .. } => on_destination(errno),
        Op::Workdir { .. } => on_workdir(errno),
        Op::BareRoot if errno == Errno::EXDEV => Some((
            Kind::Image,
            "one of `/proc`, `/dev`, `/tmp`, `/run` or of the destinations in `mounts` is a link to `/` in the image: take it away",
        )),
        Op::Way(way::Deed::Intercept { .. }) if !matches!(errno, Errno::EPERM | Errno::EACCES) => Some((
            Kind::Host,
            "this kernel has no nf_tables with `tproxy` (CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY), or may not load it: \
             load the module `nft_tproxy`, or write `network \"none\"` or `\"host\"`",
        )),
        Op::LoopbackUp | Op::Hostname { .. } | Op::Way(_) if matches!(errno, Errno::EPERM | Errno::EACCES) => {
            Some(APPARMOR)
        }
        Op::SetIds if matches!(errno, Errno::EINVAL | Errno::EPERM) => {
            Some((Kind::Spec, "the id of `user` is not mapped: write `ids=\"range\"`, or take `user \"caller\"`"))
        }
        Op::Rlimit { .. } if errno == Errno::EPERM => {
            Some((Kind::Host, "the caller's own hard limit is lower: raise it (`ulimit -H`), or ask for less"))
        }
        Op::JoinCgroup if matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EBUSY | Errno::EOPNOTSUPP) => Some((
            Kind::Host,
            "the run's cgroup takes no process: `limits { cgroup PATH }` can name one that is delegated to you",
        )),
        Op::Landlock { act } => hints_landlock::on_landlock(act, errno),
        Op::Seccomp { .. } => on_seccomp(errno),
        Op::Posture(Deed::NoUserNamespaces { .. }) if matches!(errno, Errno::EROFS | Errno::EACCES) => {
            Some(MASKED_PROC)
        }
        Op::Posture(Deed::NewKeyring) if errno == Errno::EDQUOT => Some((
            Kind::Host,
            "the caller has as many keyrings as it may: raise `kernel.keys.maxkeys` with sysctl(8), or use `seccomp \
             \"default\"`, which needs none",
        )),
        Op::UnshareTime { .. } => on_time(errno),
        Op::LockMounts { .. } => on_lock(errno),
        Op::UnshareCgroup if errno == Errno::ENOSPC => Some(NAMESPACES),
        _ => None,
    }
}

/// seccomp(2).
fn on_seccomp(errno: Errno) -> Option<Row> {
    match errno {
        Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP => Some((
            Kind::Host,
            "this kernel cannot filter system calls: it needs CONFIG_SECCOMP_FILTER; `best-effort \"seccomp\"` runs the \
             command without, and the report says so",
        )),
        // MAX_INSNS_PER_PATH of kernel/seccomp.c.
        Errno::ENOMEM => Some((
            Kind::Host,
            "the filters around sbx are so long that the kernel takes no more: nest fewer sandboxes, or write \
             `seccomp \"none\"` in the inner ones",
        )),
        _ => None,
    }
}

/// A container's /proc, with masks over parts of it and a read-only /proc/sys.
const MASKED_PROC: Row = (
    Kind::Host,
    "the /proc around sbx is partly masked, so no new one can be mounted: start the container with \
     `--security-opt systempaths=unconfined` (Docker), `--security-opt unmask=ALL` (Podman) or \
     `procMount: Unmasked` (Kubernetes)",
);

/// fsconfig(2), fsmount(2), mount(2) of a new file system.
fn on_filesystem(filesystem: Filesystem, errno: Errno) -> Option<Row> {
    Some(match (filesystem, errno) {
        (_, Errno::ENOSPC) => MOUNT_MAX,
        // mount_too_revealing() of the kernel: a new /proc must not show what the old one hides.
        (Filesystem::Proc, Errno::EPERM) => MASKED_PROC,
        (Filesystem::Overlay, Errno::ENODEV) => {
            (Kind::Host, "the kernel has no overlay file system: `modprobe overlay` as root")
        }
        (Filesystem::Overlay, Errno::EPERM) => {
            (Kind::Host, "an unprivileged overlay needs Linux 5.11 or later; without it write `writable=\"no\"`")
        }
        (Filesystem::Overlay, Errno::EINVAL) => (
            Kind::Host,
            "the kernel refuses this overlay: the upper directory must be on a file system with extended attributes and \
             d_type (ext4, xfs, btrfs, tmpfs; not NFS, not an overlay), no more than two overlays may be stacked, and who is not \
             root can lay nothing over a directory with mounts below it: give such a rootfs `writable=\"no\"`",
        ),
        (Filesystem::Overlay, Errno::ELOOP) => {
            (Kind::Host, "upper and lower directory of the overlay overlap: put `upper` elsewhere")
        }
        (Filesystem::Overlay, Errno::ENOENT) => {
            (Kind::Spec, "a directory of the overlay does not exist: look at `rootfs`, `upper` and `lower`")
        }
        (_, Errno::ENODEV) => (Kind::Host, "this kernel was built without the file system"),
        (_, Errno::EPERM | Errno::EACCES) => APPARMOR,
        (Filesystem::Tmpfs, Errno::EINVAL) => (Kind::Spec, "the kernel refuses `size`, `inodes` or `mode`"),
        _ => return None,
    })
}

/// open_tree(2) and mount_setattr(2) of a path of the host.
fn on_source(opener: Opener, errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::ENOENT => {
            (Kind::Spec, "the source does not exist on the host: create it, or write `optional=#true` at the `bind`")
        }
        Errno::ENOTDIR => (Kind::Spec, "a part of the source path is a file, not a directory"),
        Errno::EACCES => (Kind::Spec, "you may not enter a directory of the source path: look at its permissions"),
        Errno::ELOOP => SYMLINK,
        Errno::ENODEV => (Kind::Spec, "it is no device: for a file or a directory write `bind`"),
        Errno::ENOSPC => MOUNT_MAX,
        Errno::EINVAL if matches!(opener, Opener::Parent(Idmap::Inside | Idmap::Caller)) => (
            Kind::Host,
            "the file system of the source cannot map ids: ext4 and xfs can since Linux 5.12, btrfs since 5.15, tmpfs since 6.3",
        ),
        Errno::EINVAL => (Kind::Spec, "the source is within a mount that cannot be cloned: bind the mount itself"),
        Errno::EPERM => APPARMOR,
        Errno::ENOSYS => (
            Kind::Host,
            "the kernel is older than 5.12, or the container's seccomp profile hides open_tree and mount_setattr \
             (`--security-opt seccomp=unconfined`)",
        ),
        _ => return None,
    })
}

/// move_mount(2), mount(2) at a path of the sandbox.
fn on_destination(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::ENOENT => (
            Kind::Spec,
            "the destination does not exist in the sandbox: make it with `dir` or `file`, or give the rootfs `writable=\"ephemeral\"`",
        ),
        Errno::ENOTDIR => {
            (Kind::Spec, "a directory meets a file: source and destination must both be directories or both be files")
        }
        Errno::ELOOP => SYMLINK,
        Errno::ENOSPC => MOUNT_MAX,
        Errno::EPERM | Errno::EACCES => APPARMOR,
        _ => return None,
    })
}

/// mkdirat(2), openat2(2), symlinkat(2) at a path of the sandbox.
fn on_make(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::EROFS | Errno::EACCES | Errno::EPERM => (
            Kind::Spec,
            "nothing can be made there: put it below a `tmpfs`, or give the rootfs `writable=\"ephemeral\"`",
        ),
        Errno::EEXIST | Errno::EISDIR => (Kind::Spec, "something else is there already: choose another path"),
        Errno::ENOTDIR => (Kind::Spec, "a part of the path is a file where a directory is due"),
        Errno::ENOENT => (Kind::Spec, "the directory above it does not exist: make it first with `dir`"),
        Errno::ELOOP => SYMLINK,
        Errno::ENOSPC | Errno::EDQUOT => {
            (Kind::Spec, "the writable part of the sandbox is full: raise `size`, `disk` or `inodes`")
        }
        _ => return None,
    })
}

/// chdir(2).
fn on_workdir(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::ENOENT => (Kind::Spec, "`workdir` does not exist in the sandbox: bind or make it, or name another"),
        Errno::ENOTDIR => (Kind::Spec, "`workdir` names a file, or a path through one: name a directory"),
        Errno::EACCES => (Kind::Spec, "the command's user may not enter `workdir`: change its mode or `user`"),
        Errno::ELOOP => SYMLINK,
        _ => return None,
    })
}

/// unshare(2) and the offsets of time_namespaces(7).
fn on_time(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::EINVAL | Errno::ENOENT => {
            (Kind::Host, "this kernel has no time namespaces: it needs Linux 5.6 and CONFIG_TIME_NS")
        }
        Errno::ENOSPC => NAMESPACES,
        Errno::ERANGE => (Kind::Spec, "the offset puts a clock below zero or beyond 146 years: choose a smaller one"),
        Errno::EPERM => (
            Kind::Host,
            "new clocks need rights over a user namespace: add `user` to `namespaces`, or run as root; in a container start \
             it with `--security-opt seccomp=unconfined`",
        ),
        Errno::EACCES => UNREADABLE,
        _ => return None,
    })
}

/// unshare(2) of namespaces within those of the run, and their maps.
fn on_lock(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::ENODEV | Errno::ENOENT | Errno::ENOTDIR => {
            (Kind::Spec, "`SYS_ADMIN` needs the `/proc` that sbx mounts: mount nothing over it")
        }
        Errno::ENOSPC | Errno::EUSERS => NAMESPACES,
        Errno::EPERM | Errno::EACCES => APPARMOR,
        _ => return None,
    })
}

/// What an errno means whoever gets it.
fn anywhere(errno: Errno) -> Option<Row> {
    Some(match errno {
        Errno::EMFILE => (Kind::Host, "sbx has no file descriptor left: raise `ulimit -n` (RLIMIT_NOFILE)"),
        Errno::ENFILE => (Kind::Host, "the machine has no file descriptor left: raise the sysctl fs.file-max"),
        Errno::ENOMEM => {
            (Kind::Host, "no memory was left for the kernel: raise `memory`, or end something on the machine")
        }
        Errno::EAGAIN => PROCESSES,
        Errno::ENAMETOOLONG => (Kind::Spec, "a path may have 4095 bytes and each of its parts 255"),
        Errno::ENOSYS => (
            Kind::Host,
            "the kernel is older than 5.12, or the seccomp profile around sbx hides the call (`--security-opt seccomp=unconfined`)",
        ),
        Errno::EDQUOT => (Kind::Host, "the disk quota of the caller is used up"),
        Errno::ENOSPC => (Kind::Host, "the file system is full"),
        Errno::EIO => (Kind::Host, "the disk does not answer: look at the kernel's log"),
        _ => return None,
    })
}
