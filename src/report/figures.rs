//! The groups of figures in a report. The unit is in the name of each member; it
//! is `null` where no source for it was there, never 0 instead.

use std::borrow::Cow;

use serde::Serialize;

/// When the run was and how long its parts took.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Time {
    /// When sbx began to build the sandbox, RFC 3339 in UTC; null when it did not begin.
    pub started_at: Option<String>,
    /// When everything was torn down, RFC 3339 in UTC.
    pub finished_at: Option<String>,
    /// From the start of the command to its end, in nanoseconds; null if it never started.
    pub wall_ns: Option<u64>,
    /// Building the sandbox, in nanoseconds.
    pub setup_ns: Option<u64>,
    /// Removing the sandbox, in nanoseconds.
    pub teardown_ns: Option<u64>,
    /// Processor time of the whole tree in user mode, in nanoseconds.
    pub user_ns: Option<u64>,
    /// Processor time of the whole tree in the kernel, in nanoseconds.
    pub system_ns: Option<u64>,
    /// Where `user_ns` and `system_ns` come from.
    pub source: Option<TimeSource>,
}

/// Where processor time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum TimeSource {
    /// `cpuacct` of cgroups version 1.
    Cgroup1,
    /// `cpu.stat` of cgroups version 2.
    Cgroup2,
    /// The sum of wait4(2) over the processes that were waited for.
    Rusage,
}

/// The share of the processors.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cpu {
    /// The limit in cores; null: none.
    pub limit_cores: Option<f64>,
    /// Periods of the scheduler that the limit was enforced in.
    pub periods: Option<u64>,
    /// Periods in which the limit was reached.
    pub throttled_periods: Option<u64>,
    /// Time that processes waited because of the limit, in nanoseconds.
    pub throttled_ns: Option<u64>,
}

/// Memory of the whole tree.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Memory {
    /// The limit in bytes; null: none.
    pub limit_bytes: Option<u64>,
    /// The most that was charged at one time, in bytes, file cache included.
    pub peak_bytes: Option<u64>,
    /// The most swap at one time, in bytes.
    pub swap_peak_bytes: Option<u64>,
    /// The largest resident set of one process, in bytes.
    pub max_rss_bytes: Option<u64>,
    /// Processes that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
    /// How many times the limit was reached.
    pub limit_hits: Option<u64>,
    /// Page faults that needed no reading.
    pub page_faults_minor: Option<u64>,
    /// Page faults that needed reading.
    pub page_faults_major: Option<u64>,
    /// The file of the kernel that `peak_bytes` was read from.
    pub source: Option<&'static str>,
}

/// Processes and threads.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pids {
    /// The limit; null: none.
    pub limit: Option<u64>,
    /// The most at one time.
    pub peak: Option<u64>,
    /// Forks that the limit refused.
    pub denied_forks: Option<u64>,
    /// Processes that were still there when the command ended, and were killed.
    pub left_at_exit: Option<u64>,
}

/// Block devices.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Io {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Read operations.
    pub read_ops: Option<u64>,
    /// Write operations.
    pub write_ops: Option<u64>,
}

/// How the processes gave up the processor.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContextSwitches {
    /// They waited for something.
    pub voluntary: Option<u64>,
    /// Their time slice was over.
    pub involuntary: Option<u64>,
}

/// Time lost to waiting for a resource, of the pressure files of cgroups version 2.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pressure {
    /// Some process waited for a processor, in nanoseconds.
    pub cpu_some_ns: Option<u64>,
    /// Some process waited for memory, in nanoseconds.
    pub memory_some_ns: Option<u64>,
    /// All processes waited for memory, in nanoseconds.
    pub memory_full_ns: Option<u64>,
    /// Some process waited for input or output, in nanoseconds.
    pub io_some_ns: Option<u64>,
    /// All processes waited for input or output, in nanoseconds.
    pub io_full_ns: Option<u64>,
}

/// The network as the command had it.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Network<'a> {
    /// `none`: a namespace of its own with `lo`; `host`: the host's; `egress`, `bridge`: what leaves goes through sbx.
    /// Null: there was no plan.
    pub mode: Option<&'a str>,
    /// What went through the interfaces of the sandbox's own namespace; null when it was not counted, as the
    /// host's are not.
    pub interfaces: Option<Vec<Interface<'a>>>,
    /// Connections that sbx saw, in the order in which they came first; null when it saw none because they did not go
    /// through it, as with `host`. Refused ones leave a part of the list to others.
    pub connections: Option<Vec<Connection<'a>>>,
    /// How many more there were than the list has room for; null as `connections` is.
    pub unlisted_connections: Option<u64>,
}

/// One network interface of the sandbox.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Interface<'a> {
    /// Name, as in `lo`.
    pub name: &'a str,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

/// Connections to one place with one verdict.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Connection<'a> {
    /// The name that was asked for; null when only an address was.
    pub to: Option<&'a str>,
    /// The address; null for a name that was not resolved.
    pub address: Option<String>,
    /// The port; null for an echo request.
    pub port: Option<u16>,
    /// `tcp`, `udp`, `icmp` (echo requests) or `dns` (queries for the name).
    pub protocol: &'a str,
    /// `allowed`, `refused` by the rules, `unreachable` from the host, or `published`: from the host into the sandbox.
    pub verdict: &'a str,
    /// Why it was refused or unreachable, for people.
    pub reason: Option<Cow<'a, str>>,
    /// How many there were.
    pub count: u64,
    /// Bytes that the sandbox sent.
    pub sent_bytes: Option<u64>,
    /// Bytes that the sandbox received.
    pub received_bytes: Option<u64>,
}

/// What the command wrote to its standard streams.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Output<'a> {
    /// Bytes on standard output; null when they did not pass through sbx.
    pub stdout_bytes: Option<u64>,
    /// Bytes on standard error; null when they did not pass through sbx.
    pub stderr_bytes: Option<u64>,
    /// Whether `stdout` or `stderr` lacks its end, or the limit `output` cut it.
    pub truncated: bool,
    /// The text, with `--capture`. Bytes that are not UTF-8 are U+FFFD,
    /// values of secret variables are `…` (those of secret files are not known here).
    pub stdout: Option<Cow<'a, str>>,
    /// The text, with `--capture`, as for `stdout`.
    pub stderr: Option<Cow<'a, str>>,
}

/// What the run changed in its root; null members: it was not looked at.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Changes<'a> {
    /// The archive that holds them.
    pub path: Option<&'a str>,
    /// Files added.
    pub added: Option<u64>,
    /// Files modified.
    pub modified: Option<u64>,
    /// Files deleted.
    pub deleted: Option<u64>,
    /// Size of the archive in bytes.
    pub bytes: Option<u64>,
}
