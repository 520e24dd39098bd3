//! The decision: what will happen, in order, as plain data. No option and no
//! question is left in it; making one reads nothing and changes nothing.

pub mod caution;
pub mod exec;
pub mod facts;
pub mod ground;
pub mod group;
pub mod harvest;
pub mod identity;
pub mod landlock;
pub mod layers;
pub mod limits;
pub mod mounts;
pub mod network;
pub mod posture;
pub mod resolve;
pub mod root;
pub mod seccomp;
pub mod show;
pub mod show_network;
pub mod steps;
pub mod terminal;
pub mod view;
pub mod watch;
pub mod way;

pub use group::{CgroupPlan, Group, Setting, Value};
pub use view::{Attributes, Devices, Idmap, Links, Opener, Write};
pub use watch::{Capture, Counting, Watch};

use std::ffi::OsString;
use std::path::PathBuf;

use crate::spec::{Capability, Init, Namespace, Resource};
use crate::units::{AbsPath, Origin};

/// One run, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The namespaces that are new, in the order of [`Namespace::ALL`].
    pub namespaces: Vec<Namespace>,
    pub identity: Identity,
    /// What the child does between clone and exec, in order.
    pub steps: Vec<Step>,
    pub cgroup: Option<CgroupPlan>,
    pub exec: Exec,
    pub init: Init,
    pub stdin: StdinPlan,
    /// What the caller gave sbx.
    pub streams: facts::Streams,
    pub terminal: Option<terminal::Terminal>,
    pub watch: Watch,
    /// What is taken out at the end.
    pub harvest: Option<harvest::Harvest>,
    /// By which rules the command is let out.
    pub way: Option<network::Way>,
    pub landlock: landlock::InForce,
    /// What was asked for and what holds it, in the order written.
    pub limits: Vec<AppliedLimit>,
    /// What was asked for and is not in force, by leave of `best-effort`.
    pub weakened: Vec<Weakened>,
    pub warnings: Vec<String>,
}

impl Plan {
    /// Returns whether the namespace of this kind is made when the mounts are locked.
    #[must_use]
    pub fn locks(&self, kind: Namespace) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| matches!(&step.op, Op::LockMounts { namespaces } if namespaces.contains(&kind)))
    }
}

/// One act of the child and what asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    pub origin: Origin,
}

/// The number of a detached mount tree that a step makes and a later one attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree(pub u16);

/// Everything that the child can do. Up to [`Op::Pivot`] paths are the host's,
/// after it they are the sandbox's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Gets its ids: writes its own maps, or waits until the parent has.
    MapIds,
    /// Takes the ids of [`Identity::inside`], and [`Identity::groups`] instead of the caller's.
    SetIds,
    /// Dies with sbx, and dies now if sbx is gone already.
    DieWithParent,
    /// Makes every mount private, so that nothing travels to the host or back.
    PrivateMounts,
    /// Refuses a root on which something came to lie, because a link of the image leads to `/`: it would cover
    /// nothing, nor be covered, and be reached as `/..`.
    BareRoot,
    /// Makes every mount of the sandbox private and `nosuid`, whatever it was on the host.
    SealMounts,
    /// Clones the mounts at a host path into a detached tree.
    OpenTree {
        tree: Tree,
        source: PathBuf,
        attributes: Attributes,
        opener: Opener,
    },
    /// Makes a file system, not yet attached anywhere.
    NewFilesystem {
        tree: Tree,
        filesystem: Filesystem,
        options: Vec<(String, String)>,
        attributes: Attributes,
    },
    /// Makes one file with this content, on a file system of its own, not yet attached anywhere.
    NewFile {
        tree: Tree,
        mode: u32,
        content: Content,
    },
    /// Hands the namespaces of users and mounts to sbx, and these trees: what is in them outlives the run.
    HandOver {
        trees: Vec<Tree>,
    },
    /// Attaches a tree where only the child sees it, with these empty directories in it, as the
    /// place where the layers of an overlay lie while it is put together.
    Stage {
        tree: Tree,
        directories: Vec<String>,
    },
    /// Attaches a tree at a directory of the stage.
    AttachStaged {
        tree: Tree,
        directory: String,
    },
    /// Makes a directory of the stage; one that is there already is kept as it is. An overlay shows it in place
    /// of the layer's own, whose owner may be nobody inside.
    MakeStaged {
        directory: String,
        mode: u32,
    },
    /// Makes a tree the root and detaches the host, with the stage, for good.
    Pivot {
        tree: Tree,
    },
    /// Attaches a tree at a path of the sandbox, which exists.
    Attach {
        tree: Tree,
        destination: AbsPath,
    },
    /// Mounts a file system at a path of the sandbox, which exists.
    Mount {
        filesystem: Filesystem,
        destination: AbsPath,
        options: String,
        attributes: Attributes,
    },
    /// Makes a directory; one that is there already is kept as it is.
    MakeDir {
        path: AbsPath,
        mode: u32,
    },
    /// Makes an empty file; one that is there already is kept as it is.
    MakeFile {
        path: AbsPath,
        mode: u32,
    },
    /// Makes a symbolic link.
    MakeSymlink {
        path: AbsPath,
        target: String,
    },
    /// Makes the sandbox's terminal, on its own devpts and at `/dev/console`, and hands sbx the end to relay.
    OpenTerminal,
    /// Makes the mount at a path read-only.
    ReadOnly {
        path: AbsPath,
    },
    /// Mounts what is at a path on itself, so that nobody can move or remove it or put something else there, nor,
    /// with [`Write::ReadOnly`], change it: sbx reads it, or finds what it reads by it.
    Pin {
        path: AbsPath,
        write: Write,
    },
    /// One thing that the posture of the run asks for.
    Posture(posture::Deed),
    /// Moves the child into the run's cgroups (v1) or finds itself there (v2).
    JoinCgroup,
    /// Makes the run's cgroup the root of what the sandbox sees of cgroups.
    UnshareCgroup,
    /// Sets the clocks of a new time namespace, in nanoseconds, and has the command enter it.
    UnshareTime {
        monotonic: i64,
        boottime: i64,
    },
    Hostname {
        name: String,
    },
    LoopbackUp,
    /// One thing that lets the command out, and others in.
    Way(way::Deed),
    Rlimit {
        resource: Resource,
        value: u64,
    },
    /// Enters user and mount namespaces within those of the mounts, which locks each of them as it is
    /// (mount_namespaces(7)), and new ones of these kinds, so that the capabilities reach them. Ids stay as they are.
    LockMounts {
        namespaces: Vec<Namespace>,
    },
    /// Loses every capability but these, in all five sets, and any way to regain one.
    Capabilities {
        keep: Vec<Capability>,
    },
    NoNewPrivileges,
    /// Forbids by Landlock what the mounts forbid, and what the spec does; not for sbx's own init.
    Landlock {
        act: landlock::Act,
    },
    /// Filters the system calls of the command; the last thing before it starts, and not for sbx's own init.
    Seccomp {
        filter: seccomp::Filter,
    },
    Workdir {
        path: AbsPath,
    },
}

impl Op {
    /// Returns the tree that the step makes, if it makes one.
    #[must_use]
    pub fn tree(&self) -> Option<Tree> {
        match self {
            Self::OpenTree { tree, .. } | Self::NewFilesystem { tree, .. } | Self::NewFile { tree, .. } => Some(*tree),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    Proc,
    Tmpfs,
    Devpts,
    Overlay,
}

impl Filesystem {
    /// Returns the name that the kernel knows.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Tmpfs => "tmpfs",
            Self::Devpts => "devpts",
            Self::Overlay => "overlay",
        }
    }
}

/// What a file made by a step contains.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    Empty,
    Text(String),
    /// A secret: read from this host file when the run starts, shown nowhere.
    Secret(PathBuf),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Secret(_) => f.write_str("Secret"),
        }
    }
}

/// Who the command is, inside and outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub inside: Ids,
    pub outside: Ids,
    pub uid_map: Vec<IdRange>,
    pub gid_map: Vec<IdRange>,
    /// The supplementary groups inside.
    pub groups: Vec<u32>,
    pub writer: MapWriter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub uid: u32,
    pub gid: u32,
}

/// One line of user_namespaces(7) `uid_map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapWriter {
    /// There is no new user namespace.
    Nobody,
    /// The child maps the caller's own id.
    Child,
    /// sbx is root and maps ids of its choice.
    Parent,
    /// newuidmap(1) and newgidmap(1) map the caller's subordinate ids.
    Helpers,
}

/// What the child becomes. `candidates` are tried in turn, as execvp(3) does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    pub candidates: Vec<OsString>,
    /// Any bytes but NUL: names of files need not be text.
    pub argv: Vec<OsString>,
    /// `NAME=value`, in the order in which they are set.
    pub env: Vec<Variable>,
    pub workdir: AbsPath,
    /// What named the command.
    pub origin: Origin,
}

/// One variable of the command's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: VariableValue,
}

#[derive(Clone, PartialEq, Eq)]
pub enum VariableValue {
    Plain(String),
    /// Shown in no plan, report or error.
    Secret(String),
}

impl std::fmt::Debug for VariableValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(value) => write!(f, "{value:?}"),
            Self::Secret(_) => f.write_str("Secret"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StdinPlan {
    Inherit,
    Null,
    File(PathBuf, Origin),
}

/// One limit that was asked for and what holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedLimit {
    /// The word of the language; that of a property follows after a dot: `memory`, `memory.high`.
    pub name: &'static str,
    /// As written, in the language's units.
    pub requested: String,
    /// In the unit of the mechanism: bytes, bytes a second, processes, thousandths of a core, nanoseconds.
    pub applied: u64,
    /// The file of the kernel or the part of sbx that holds it.
    pub by: String,
}

/// One feature that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weakened {
    pub feature: &'static str,
    pub why: String,
}
