//! What the user wrote, as types: the vocabulary of the language. Every leaf
//! remembers where it was written. Nothing here has looked at the machine.

mod agree;
mod assemble;
mod capability;
pub mod carried;
mod character;
mod decode;
mod decode_landlock;
mod decode_limits;
mod decode_mounts;
mod decode_network;
mod decode_process;
mod decode_seccomp;
mod decode_test;
pub mod destination;
pub mod diagnostic;
pub mod extend;
pub mod flat;
pub mod format;
pub mod format_carried;
pub mod input;
mod landlock;
mod layout;
mod limits;
mod literal;
mod merge;
mod network;
#[cfg(test)]
mod oracle;
pub mod param;
pub mod parse;
mod read;
pub mod relocate;
mod rootfs;
mod scan;
mod seccomp;
pub mod shaping;
mod syscall;
mod test;
mod tree;
mod user;
pub mod value;
pub mod value_network;
pub mod value_rootfs;
pub mod value_test;

pub use destination::{Destination, HostPattern, IpBlock, Ports};
pub use landlock::{Landlock, LandlockRule};
pub use limits::{Cpu, Disk, Hugetlb, Io, Limits, Memory, Resource, Rlimit, Wall};
pub use network::{Bridge, MOST_RESOLVERS, Network, Protocol, Publish, RESOLVER, Rules};
pub use rootfs::{ImagePath, Pull, Rootfs, RootfsSource, Writable};
pub use seccomp::{Compare, Condition, Seccomp, SeccompProfile, SeccompRule, SeccompVerdict};
pub use shaping::{Bandwidth, Loss};
pub use syscall::Syscall;
pub use test::{ConnectionRule, Expect, ExpectedOutcome, FileRule, Test, TextRule};
pub use user::{Ids, User, Who};

use crate::units::{AbsPath, Bytes, Spanned};

/// One spec. What was not written is `None` or empty; the defaults that depend on
/// the machine or the image are chosen by `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spec {
    pub rootfs: Option<Spanned<Rootfs>>,
    pub namespaces: Option<Spanned<Namespaces>>,
    pub user: Option<Spanned<User>>,
    pub hostname: Option<Spanned<String>>,
    pub workdir: Option<Spanned<AbsPath>>,
    /// In the order in which they are made.
    pub mounts: Vec<Spanned<Mount>>,
    pub network: Option<Spanned<Network>>,
    pub limits: Limits,
    /// In the order written; a name may come only once.
    pub env: Vec<Spanned<Variable>>,
    pub pass_env: Vec<Spanned<String>>,
    pub secrets: Vec<Spanned<Secret>>,
    pub profile: Option<Spanned<Profile>>,
    pub seccomp: Option<Spanned<Seccomp>>,
    pub landlock: Option<Spanned<Landlock>>,
    pub capabilities: Vec<Spanned<Capability>>,
    pub command: Option<Spanned<Command>>,
    pub stdin: Option<Spanned<Stdin>>,
    pub tty: Option<Spanned<Tty>>,
    pub init: Option<Spanned<Init>>,
    /// Where the changes of the root go, as a layer.
    pub changes: Option<Spanned<HostPath>>,
    /// In the order written; a destination may come only once.
    pub collect: Vec<Spanned<Collect>>,
    pub report: Option<Spanned<ReportTarget>>,
    pub best_effort: Vec<Spanned<Feature>>,
    /// In the order written; a name may come only once.
    pub tests: Vec<Spanned<Test>>,
}

/// A path in the host's tree as written: absolute, relative to the spec's
/// directory, or below `~/`. Never empty, without NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath(pub String);

/// One kind of namespace of namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    User,
    Mount,
    Pid,
    Net,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl Namespace {
    /// All kinds, in the order in which they are listed everywhere.
    pub const ALL: [Self; 8] =
        [Self::User, Self::Mount, Self::Pid, Self::Net, Self::Ipc, Self::Uts, Self::Cgroup, Self::Time];

    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}

/// The security posture as a whole; what each means is a table of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Default,
    Strict,
    Compat,
}

impl Profile {
    pub const ALL: [Self; 3] = [Self::Default, Self::Strict, Self::Compat];

    /// Returns the word of the language.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Strict => "strict",
            Self::Compat => "compat",
        }
    }
}

/// `namespaces NAME… { time boottime= monotonic= }`: exactly these are new.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// In the order of [`Namespace::ALL`], each at most once.
    pub new: Vec<Namespace>,
    /// Offsets of the clocks of time_namespaces(7), in whole nanoseconds, may be negative.
    pub boottime: Option<Spanned<i64>>,
    pub monotonic: Option<Spanned<i64>>,
}

/// One child of `mounts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    Bind(Bind),
    Tmpfs {
        destination: AbsPath,
        size: Option<Bytes>,
        inodes: Option<u64>,
        mode: Option<u32>,
    },
    Overlay {
        destination: AbsPath,
        lower: HostPath,
    },
    File {
        destination: AbsPath,
        text: String,
        mode: Option<u32>,
    },
    Dir {
        destination: AbsPath,
        mode: Option<u32>,
    },
    Symlink {
        destination: AbsPath,
        target: String,
    },
    Volume {
        name: String,
        destination: AbsPath,
    },
    /// A path below `/dev`, the same inside and outside.
    Device {
        path: AbsPath,
    },
    Mask {
        path: AbsPath,
    },
}

impl Mount {
    /// Returns the place inside the sandbox that the mount fills.
    #[must_use]
    pub fn destination(&self) -> &AbsPath {
        match self {
            Self::Bind(Bind { destination, .. })
            | Self::Tmpfs { destination, .. }
            | Self::Overlay { destination, .. }
            | Self::File { destination, .. }
            | Self::Dir { destination, .. }
            | Self::Symlink { destination, .. }
            | Self::Volume { destination, .. } => destination,
            Self::Device { path } | Self::Mask { path } => path,
        }
    }
}

/// `bind SRC DST access= optional= exec=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub source: HostPath,
    pub destination: AbsPath,
    pub access: Access,
    pub need: Need,
    pub exec: Exec,
}

/// `collect "/path/inside" to="host path" optional=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collect {
    pub source: AbsPath,
    pub to: HostPath,
    pub need: Need,
    pub wanted: Wanted,
}

/// What is taken out of a sandbox by one path; no spec can say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    FileOrDirectory,
    /// A regular file of no more bytes, for sbx to read: nothing else is copied, not even in part, and not its mode.
    FileUpTo(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    ReadOnly,
    ReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Need {
    #[default]
    Required,
    Optional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exec {
    #[default]
    Allowed,
    Forbidden,
}

/// One `NAME="value"` of `env`. The name is not empty and has no `=` or NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub value: String,
}

/// A value that no report, plan or error shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// `secret NAME env=VAR`: the caller's VAR becomes the command's NAME.
    Env { name: String, variable: String },
    /// `secret "/path/inside" file="host path"`.
    File { destination: AbsPath, source: HostPath },
}

/// A capability of capabilities(7): its number and its name without `CAP_`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    pub number: u8,
    pub name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Never empty.
    Argv(Vec<String>),
    /// Run as `interpreter PATH ARG…`, the text being a read-only file at PATH.
    Script { text: String, interpreter: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stdin {
    #[default]
    Inherit,
    Null,
    File(HostPath),
}

/// Whether the command gets a terminal of the sandbox's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tty {
    /// Where standard input and output of sbx are terminals.
    #[default]
    Auto,
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Init {
    /// sbx's own init is pid 1, reaps and forwards.
    #[default]
    Reaper,
    /// The command itself is pid 1.
    Command,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportTarget {
    Stderr,
    Stdout,
    None,
    Fd(u32),
    File(HostPath),
}

/// What `best-effort` may name: the features that a host may be unable to enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Memory,
    Cpu,
    Cpuset,
    Pids,
    Io,
    Hugetlb,
    CpuTime,
    Disk,
    Seccomp,
    Landlock,
}

impl Feature {
    /// All features, in the order in which they are listed everywhere.
    pub const ALL: [Self; 10] = [
        Self::Memory,
        Self::Cpu,
        Self::Cpuset,
        Self::Pids,
        Self::Io,
        Self::Hugetlb,
        Self::CpuTime,
        Self::Disk,
        Self::Seccomp,
        Self::Landlock,
    ];

    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Cpuset => "cpuset",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::Hugetlb => "hugetlb",
            Self::CpuTime => "cpu-time",
            Self::Disk => "disk",
            Self::Seccomp => "seccomp",
            Self::Landlock => "landlock",
        }
    }
}
