//! Gathers the facts for one run. It is on the way to every start, so it asks for
//! nothing that the run does not need, and never fails: a missing fact says why.

use std::path::PathBuf;

use crate::host::cgroup;
use crate::host::{Caller, Cgroups, Controller, Host};
use crate::sys;

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

/// Returns the facts; two system calls for [`Depth::Caller`], about twenty otherwise (fewer the fewer controllers are wanted).
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
    Caller { uid: sys::probe::uid(), gid: sys::probe::gid() }
}
