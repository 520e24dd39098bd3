//! The vocabulary of `limits`: what the user wrote about memory, processors, time
//! and space, as types. Nothing here has looked at the machine.

use std::time::Duration;

use crate::spec::HostPath;
use crate::units::{Bytes, MilliCores, Spanned};

/// The children of `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    pub memory: Option<Spanned<Memory>>,
    pub cpu: Option<Spanned<Cpu>>,
    /// A list of cpuset(7), such as `0-3,7`, already checked.
    pub cpuset: Option<Spanned<String>>,
    pub pids: Option<Spanned<u64>>,
    pub io: Vec<Spanned<Io>>,
    pub hugetlb: Vec<Spanned<Hugetlb>>,
    pub wall: Option<Spanned<Wall>>,
    pub cpu_time: Option<Spanned<Duration>>,
    pub output: Option<Spanned<Bytes>>,
    pub disk: Option<Spanned<Disk>>,
    /// `open-files file-size core stack locked-memory`, in that order, each at most once.
    pub rlimits: Vec<Spanned<Rlimit>>,
    pub cgroup: Option<Spanned<HostPath>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub max: Bytes,
    pub swap: Option<Bytes>,
    pub high: Option<Bytes>,
}

/// At least one of the two is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    pub cores: Option<MilliCores>,
    /// 1 to 10000, as `cpu.weight` of cgroups v2.
    pub weight: Option<u32>,
}

/// `io DEVICE-OR-PATH read= write= read-iops= write-iops=`; at least one rate is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Io {
    pub device: HostPath,
    /// Bytes a second.
    pub read: Option<u64>,
    pub write: Option<u64>,
    pub read_iops: Option<u64>,
    pub write_iops: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hugetlb {
    pub page_size: Bytes,
    pub max: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    pub after: Duration,
    pub grace: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub size: Bytes,
    pub inodes: Option<u64>,
}

/// One limit of getrlimit(2), soft and hard alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    pub resource: Resource,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    OpenFiles,
    FileSize,
    Core,
    Stack,
    LockedMemory,
}

impl Resource {
    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenFiles => "open-files",
            Self::FileSize => "file-size",
            Self::Core => "core",
            Self::Stack => "stack",
            Self::LockedMemory => "locked-memory",
        }
    }
}
