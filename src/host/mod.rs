//! What this machine and this caller are, as facts. Probing never fails: a fact
//! that cannot be had says why, so that `plan` can refuse with the right hint.

use std::path::PathBuf;

/// The facts that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    pub caller: Caller,
    pub cgroups: Cgroups,
}

/// Who runs sbx. Real and effective ids are the same: sbx refuses to run set-id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

impl Caller {
    /// Returns whether the caller is the host's root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.uid == 0
    }
}

/// One resource controller of cgroups(7), by its v2 name; `Cpuacct` is v1 only and
/// `Io` is v1's `blkio`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    Memory,
    Cpu,
    Cpuacct,
    Cpuset,
    Pids,
    Io,
    Hugetlb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    V1,
    V2,
}

/// Where groups can be made, hierarchy by hierarchy, and where not and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cgroups {
    /// Hierarchies under which this caller can make a group; each controller is in at most one.
    pub hierarchies: Vec<Hierarchy>,
    /// What stands in the way of every controller that is in none of them.
    pub refusals: Vec<Refusal>,
}

/// A mounted hierarchy with a directory under which a group can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    pub version: Version,
    pub controllers: Vec<Controller>,
    /// The directory that becomes the parent of the run's group, on the host.
    pub parent: PathBuf,
    pub preparation: Preparation,
}

/// What has to be done to `parent` before a group below it has the controllers (v2 only).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// Nothing: they are enabled for its children already.
    Ready,
    /// Write `+controller` to its `cgroup.subtree_control`.
    Enable,
    /// The same, after moving sbx itself to a leaf below it (no internal processes, cgroups(7)).
    MoveSelfThenEnable,
}

/// Why a controller cannot be used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub controllers: Vec<Controller>,
    /// A lower-case fragment: what is so.
    pub why: String,
    pub errno: Option<i32>,
    /// The one thing to change.
    pub hint: String,
}

impl Cgroups {
    /// Returns the hierarchy in which groups with `controller` can be made.
    ///
    /// # Errors
    /// The reason that is known, or `None` where this kernel does not have the controller at all.
    pub fn find(&self, controller: Controller) -> Result<&Hierarchy, Option<&Refusal>> {
        self.hierarchies
            .iter()
            .find(|hierarchy| hierarchy.controllers.contains(&controller))
            .ok_or_else(|| self.refusals.iter().find(|refusal| refusal.controllers.contains(&controller)))
    }
}
