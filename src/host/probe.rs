//! Gathers the facts for one run. It is on the way to every start, so it asks for
//! nothing that the run does not need, and never fails: a missing fact says why.

use std::path::{Path, PathBuf};

use crate::host::cgroup;
use crate::host::{Caller, Cgroups, Controller, Host, Rights};
use crate::sys;
use crate::sys::net::Family;
use crate::sys::probe::Namespace;

/// CAP_SETFCAP, without which nobody maps the id 0 (verify_root_map() of the kernel, Linux 5.12).
const SETFCAP: u64 = 1 << 31;

/// The same, CAP_SETGID, CAP_SETUID and CAP_SYS_ADMIN.
const MAP_ANYBODY: u64 = SETFCAP | 1 << 6 | 1 << 7 | 1 << 21;

/// How much of the host a run has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depth {
    /// No limit needs a group.
    Caller,
    /// Groups with these controllers, wherever this caller can make them. A hierarchy that
    /// has none of them is not looked at.
    Cgroups(Vec<Controller>),
    /// Groups under this one only (`limits { cgroup PATH }`): a directory of a mounted
    /// hierarchy, or a group as /proc/self/cgroup writes it, in every hierarchy that has it.
    CgroupsUnder(PathBuf),
}

/// Returns the facts; four system calls for [`Depth::Caller`], about twenty otherwise (fewer the fewer controllers are wanted).
#[must_use]
pub fn probe(depth: &Depth) -> Host {
    let caller = caller();
    let cgroups = match depth {
        Depth::Caller => Cgroups::default(),
        Depth::Cgroups(wanted) => cgroup::discover(caller, wanted),
        Depth::CgroupsUnder(path) => cgroup::under(caller, path),
    };
    Host { caller, cgroups }
}

/// Returns who runs sbx.
#[must_use]
pub fn caller() -> Caller {
    let uid = sys::probe::uid();
    // The text is read anyway for a run; without a procfs the kernel is asked.
    let effective = || sys::status::status().map_or_else(|_| sys::security::effective(), |status| status.effective);
    let may = |capabilities: u64| effective() & capabilities == capabilities;
    let rights = match (uid, sys::probe::user_namespace()) {
        (0, Namespace::Initial) if may(MAP_ANYBODY) => Rights::Root,
        (0, Namespace::Other) if may(SETFCAP) => Rights::User,
        (0, _) => Rights::Powerless,
        _ => Rights::User,
    };
    Caller { uid, gid: sys::probe::gid(), rights }
}

/// Returns what the kernel speaks. IPv4 is always there; a kernel without IPv6, or one that was told not to, has no
/// table of its addresses.
#[must_use]
pub fn families() -> Vec<Family> {
    match Path::new("/proc/net/if_inet6").exists() {
        true => vec![Family::V4, Family::V6],
        false => vec![Family::V4],
    }
}
