//! What happened, as data. The files beside this one do the deed: they freeze a
//! plan, clone, play, watch, reap and clean up.

pub mod anchor;
pub mod bare;
pub mod bridge;
pub mod c_text;
pub mod cgroup;
pub mod child;
pub mod collect;
pub mod conclude;
pub mod counters;
pub mod drive;
pub mod fail;
pub mod fifo;
pub mod filter;
pub mod frozen;
pub mod garbage;
pub mod group_name;
pub mod harvest;
pub mod idmap;
pub mod init;
pub mod inlets;
pub mod landlock;
pub mod lasting;
pub mod links;
pub mod locks;
pub mod meter;
pub mod netlink;
pub mod numbers;
pub mod orphans;
pub mod parent;
pub mod posture;
pub mod procfs;
pub mod pty;
pub mod refusals;
pub mod relay;
pub mod removal;
pub mod secret;
pub mod seen;
pub mod setting;
pub mod sources;
pub mod stdio;
pub mod tape;
pub mod terminal;
pub mod traffic;
pub mod uplink;
pub mod verdict;
pub mod watch;
pub mod way;

use std::time::{Duration, SystemTime};

use crate::gateway::Ledger;
use crate::host::Version;

/// One run, ended. A sandbox that could not be built is an outcome too.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub ended: Ended,
    /// The signal by which the caller asked for the end before it came, if there was one.
    pub asked: Option<i32>,
    pub killed_by: Option<Killer>,
    pub timing: Timing,
    pub usage: Usage,
    /// Of the sandbox's own network namespace; `None` is not known, or the host's.
    pub interfaces: Option<Vec<Interface>>,
    /// What left the sandbox through the gateway, and what did not; `None` where there is none.
    pub ledger: Option<Ledger>,
    pub output: Output,
    /// The system calls that the filter refused, the most frequent first; `None` is not known.
    pub refused: Option<Vec<Refused>>,
    /// The run's cgroup, as a path below its mount, and the version of its hierarchy.
    pub cgroup: Option<(Version, String)>,
    /// What could not be removed from the host, as paths.
    pub leftovers: Vec<String>,
    /// What the run changed in its root, where that was asked for and could be had.
    pub changes: Option<harvest::Changed>,
    /// What was to be taken out and could not be: the run is sbx's failure then, whatever the command did.
    pub failed: Vec<crate::error::Error>,
    /// What was to be taken out and is not what was wanted, by what asked for it.
    pub unfit: Vec<(crate::units::Origin, harvest::Unfit)>,
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exited {
        code: u8,
    },
    Signaled {
        signal: i32,
        core_dumped: bool,
    },
    WallTimeout,
    CpuTimeout,
    OutOfMemory,
    OutputLimit,
    /// sbx was told to end by a signal before the command ended by itself.
    Canceled {
        signal: i32,
    },
    /// The command never started.
    NotStarted(Failure),
}

/// Why the command never started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Step number `step` of the plan answered `errno`.
    Step { step: usize, errno: i32 },
    /// A call of the parent, before or around the clone, answered `errno`.
    Parent { call: ParentCall, errno: i32 },
    /// Every candidate of the command answered an error; `errno` is the one that counts.
    Exec { errno: i32 },
    /// The child was killed before it could say anything.
    Killed { signal: i32 },
    /// The child ended by itself before it could say anything.
    Silent { code: u8 },
}

/// What the parent does for a run and can fail at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParentCall {
    Clone,
    MapIds,
    Fork,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killer {
    Kernel,
    Sbx,
    Caller,
}

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    pub started_at: SystemTime,
    pub finished_at: SystemTime,
    /// From the start of the command to its end; zero if it never started.
    pub wall: Duration,
    pub setup: Duration,
    pub teardown: Duration,
}

/// The figures of the whole tree of the command. `None` is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub user: Option<Duration>,
    pub system: Option<Duration>,
    pub time_source: Option<Source>,
    pub max_rss_bytes: Option<u64>,
    pub page_faults_minor: Option<u64>,
    pub page_faults_major: Option<u64>,
    pub switches_voluntary: Option<u64>,
    pub switches_involuntary: Option<u64>,
    pub memory: MemoryUsage,
    pub cpu: CpuUsage,
    pub pids: PidsUsage,
    pub io: IoUsage,
    pub pressure: Pressure,
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Cgroup1,
    Cgroup2,
    /// The sum of wait4(2) over all processes of the sandbox.
    Rusage,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    pub peak_bytes: Option<u64>,
    pub swap_peak_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub limit_hits: Option<u64>,
    /// The file that `peak_bytes` was read from.
    pub source: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CpuUsage {
    pub periods: Option<u64>,
    pub throttled_periods: Option<u64>,
    pub throttled: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsUsage {
    pub peak: Option<u64>,
    pub denied_forks: Option<u64>,
    /// Processes that were still there when the command ended, and were killed.
    pub left_at_exit: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IoUsage {
    pub read_bytes: Option<u64>,
    pub write_bytes: Option<u64>,
    pub read_ops: Option<u64>,
    pub write_ops: Option<u64>,
}

/// Stall times of cgroups v2 `*.pressure`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pressure {
    pub cpu_some: Option<Duration>,
    pub memory_some: Option<Duration>,
    pub memory_full: Option<Duration>,
    pub io_some: Option<Duration>,
    pub io_full: Option<Duration>,
}

/// What went through one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub tx_packets: u64,
}

/// One system call that the filter refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// As this architecture numbers the calls.
    pub number: u32,
    pub count: u64,
}

/// What the command wrote, as far as sbx saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    pub stdout_bytes: Option<u64>,
    pub stderr_bytes: Option<u64>,
    pub truncated: Truncated,
    /// Only with capture; at most [`CAPTURE_MAX`] bytes each.
    pub stdout: Option<Vec<u8>>,
    pub stderr: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Truncated {
    #[default]
    No,
    Yes,
}

/// How much of each stream a capture keeps.
pub const CAPTURE_MAX: usize = 1 << 20;
