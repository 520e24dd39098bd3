//! What this machine and this caller are, as facts. Probing never fails: a fact
//! that cannot be had says why, so that `plan` can refuse with the right hint.

pub mod advice;
pub mod cgroup;
pub mod delegation;
pub mod doctor;
pub mod doctor_text;
pub mod membership;
pub mod probe;
pub mod refusal;
pub mod scope;
pub mod subordinate;
pub mod trial;

use std::fmt;
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
    pub rights: Rights,
}

/// What a uid is worth: that of root can be a name only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// The host's root, with its capabilities.
    Root,
    /// Any other user, the root of a container among them.
    User,
    /// Root without the capabilities that a sandbox needs, as in a sandbox: no other id is to be had, and its
    /// own may not be mapped.
    Powerless,
}

impl Caller {
    /// Returns whether the caller has the rights of the host's root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.rights == Rights::Root
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

impl Controller {
    /// Every controller that a limit or a figure of the report can need.
    pub const ALL: [Self; 7] =
        [Self::Memory, Self::Cpu, Self::Cpuacct, Self::Cpuset, Self::Pids, Self::Io, Self::Hugetlb];

    /// Returns the name that the kernel uses in a hierarchy of `version`.
    #[must_use]
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Memory, _) => "memory",
            (Self::Cpu, _) => "cpu",
            (Self::Cpuacct, _) => "cpuacct",
            (Self::Cpuset, _) => "cpuset",
            (Self::Pids, _) => "pids",
            (Self::Io, Version::V1) => "blkio",
            (Self::Io, Version::V2) => "io",
            (Self::Hugetlb, _) => "hugetlb",
        }
    }

    /// Returns the controller that the kernel calls `name` in a hierarchy of `version`,
    /// or `None` for one that sbx has no use for (`devices`, `rdma`, `name=systemd`).
    #[must_use]
    pub fn from_name(name: &str, version: Version) -> Option<Self> {
        let known = |controller: &Self| match version {
            Version::V1 => true,
            Version::V2 => *controller != Self::Cpuacct,
        };
        Self::ALL.into_iter().filter(known).find(|controller| controller.name(version) == name)
    }
}

impl fmt::Display for Controller {
    /// Writes the v2 name, the word of the language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name(Version::V2))
    }
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
    /// What to execute instead, once, where the caller's systemd would give a group that
    /// this process cannot make; `None` where that would not help or was done already.
    pub scope: Option<ScopeCommand>,
}

/// A command that starts sbx again inside a group of its own: `program arguments… sbx ARGS…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeCommand {
    /// Absolute, from a fixed list, never from `PATH`.
    pub program: PathBuf,
    /// All that comes before the path of sbx.
    pub arguments: Vec<String>,
    /// Set in addition to the caller's environment; the guard against a loop is one of them.
    pub environment: Vec<(String, String)>,
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
    /// The same, after moving sbx itself to the leaf [`delegation::LEAF`] below it (no
    /// internal processes, cgroups(7)).
    MoveSelfThenEnable,
    /// Make `parent` (it may exist), then write `+controller` to the `cgroup.subtree_control`
    /// of the directory above it and then to its own.
    MakeThenEnable,
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
