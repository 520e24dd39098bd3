//! From a failed trial to the one thing to change on this machine. Pure: what the machine
//! says of itself comes in as [`Switches`].

use std::path::{Path, PathBuf};

use crate::sys::attempt::Failure;
use crate::sys::probe::{EACCES, EAFNOSUPPORT, ENODEV, ENOENT, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};

/// The settings that forbid user namespaces, each `None` where this kernel has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Switches {
    /// `user.max_user_namespaces`.
    pub max_user_namespaces: Option<u64>,
    /// `kernel.unprivileged_userns_clone`, of Debian's and Arch's kernels.
    pub unprivileged_userns_clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu 23.10 and later.
    pub apparmor_restricts: Option<u64>,
    /// `Seccomp:` of /proc/self/status: 2 where a filter is already in force.
    pub seccomp: Option<u64>,
    /// This very binary, to which an AppArmor profile is bound.
    pub binary: PathBuf,
}

/// What Docker and podman need for a sandbox inside a container.
pub const NESTED: &str = "start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined \
     --security-opt systempaths=unconfined` (podman: `--security-opt seccomp=unconfined --security-opt unmask=ALL`)";

/// What root without its capabilities can do; it may map no id, its own least of all.
pub const POWERLESS: &str = "run sbx as another user (within a sandbox: `user 1000 1000` in the outer spec), or with CAP_SYS_ADMIN, \
     CAP_SETUID, CAP_SETGID and CAP_SETFCAP";

/// Returns what to change so that user namespaces work.
#[must_use]
pub fn user_namespace(failure: Failure, switches: &Switches) -> String {
    if switches.max_user_namespaces == Some(0) || failure.errno == ENOSPC {
        return "as root: `sysctl -w user.max_user_namespaces=15000`".to_owned();
    }
    if failure.errno == ENOSYS || switches.max_user_namespaces.is_none() {
        return "use a kernel with CONFIG_USER_NS, or, in a container, ".to_owned() + NESTED;
    }
    if switches.unprivileged_userns_clone == Some(0) {
        return "as root: `sysctl -w kernel.unprivileged_userns_clone=1`".to_owned();
    }
    if switches.apparmor_restricts.is_some_and(|value| value != 0) {
        return format!("as root: `{}`", apparmor_command(&switches.binary));
    }
    if switches.seccomp == Some(2) {
        return NESTED.to_owned();
    }
    match failure.errno {
        EPERM if failure.step == "clone" => {
            "leave the chroot that sbx is in, or ask the security module for `userns`".to_owned()
        }
        EPERM | EACCES => "ask the security module (`dmesg | grep -i denied`) what it forbids".to_owned(),
        _ => "raise the limits of processes and memory: `ulimit -u`, `free`".to_owned(),
    }
}

/// Returns the commands that let exactly `binary` make user namespaces with capabilities,
/// where `kernel.apparmor_restrict_unprivileged_userns` is on.
#[must_use]
pub fn apparmor_command(binary: &Path) -> String {
    let profile = apparmor_profile(binary).replace('\n', "\\n");
    format!("printf '{profile}' > /etc/apparmor.d/sbx && apparmor_parser -r /etc/apparmor.d/sbx")
}

/// Returns the text of the profile.
#[must_use]
pub fn apparmor_profile(binary: &Path) -> String {
    format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\nprofile sbx \"{}\" flags=(unconfined) {{\n  userns,\n  include if exists <local/sbx>\n}}\n",
        binary.display()
    )
}

/// Returns what to change so that one kind of namespace works although user namespaces do.
#[must_use]
pub fn namespace(kind: &str, errno: i32) -> String {
    match errno {
        ENOSPC => format!("as root: `sysctl -w user.max_{}_namespaces=15000`", sysctl_name(kind)),
        EPERM | EACCES => NESTED.to_owned(),
        _ => format!("use a kernel with CONFIG_{}_NS", sysctl_name(kind).to_ascii_uppercase()),
    }
}

fn sysctl_name(kind: &str) -> &str {
    match kind {
        "mount" => "mnt",
        other => other,
    }
}

/// Returns what to change so that a command can be let out, or put on a bridge, by the gateway.
#[must_use]
pub fn network(failure: Failure) -> String {
    match (failure.step, failure.errno) {
        ("clone" | "setgroups" | "uid_map" | "gid_map" | "lo", _) => {
            "first what `namespace: user` and `namespace: net` want".to_owned()
        }
        ("nftables", ENOENT | EOPNOTSUPP | EPROTONOSUPPORT | EAFNOSUPPORT) => {
            "as root: `modprobe -a nf_tables nft_tproxy`, or use a kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_TPROXY; \
             without it `network \"egress\"` knows only the ports that rules name"
                .to_owned()
        }
        ("links", EOPNOTSUPP) => {
            "as root: `modprobe -a bridge veth`, or use a kernel with CONFIG_BRIDGE and CONFIG_VETH".to_owned()
        }
        (_, EPERM | EACCES) => NESTED.to_owned(),
        _ => "look at `dmesg`".to_owned(),
    }
}

/// Returns what to change so that a file system can be mounted in a user namespace.
#[must_use]
pub fn file_system(kind: &str, failure: Failure) -> String {
    match (kind, failure.errno) {
        ("proc", EPERM) => {
            "in a container: `--security-opt systempaths=unconfined` (podman: `--security-opt unmask=ALL`); \
             elsewhere `umount` what is mounted below /proc"
                .to_owned()
        }
        (_, ENODEV) => format!("as root: `modprobe {kind}`"),
        ("overlay", EPERM) => "use Linux 5.11 or later".to_owned(),
        (_, EPERM | EACCES) => NESTED.to_owned(),
        (_, ENOSYS) => "use Linux 5.13 or later; in a container also ".to_owned() + NESTED,
        _ => "look at `dmesg`".to_owned(),
    }
}
