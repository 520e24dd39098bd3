//! The figures of a run, read when all its processes are dead and before its groups go.

use std::time::Duration;

use crate::host::{Controller, Version};
use crate::run::cgroup::{Groups, LiveGroup};
use crate::run::counters::field;
use crate::run::{CpuUsage, IoUsage, MemoryUsage, PidsUsage, Pressure, Source, Usage};
use crate::spec::Init;
use crate::sys::process::Rusage;

/// What wait4(2) and the init said.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    /// The sum over the command and its descendants.
    pub command: Rusage,
    /// What the child spent on building the sandbox and as init.
    pub own: Rusage,
    pub init: Init,
    pub left: Option<u64>,
}

/// Collects all figures.
#[must_use]
pub fn usage(groups: Option<&Groups>, waited: &Waited) -> Usage {
    let command = &waited.command;
    let mut usage = Usage {
        user: Some(Duration::from_micros(command.user)),
        system: Some(Duration::from_micros(command.system)),
        time_source: Some(Source::Rusage),
        max_rss_bytes: Some(command.max_rss.saturating_mul(1024)),
        page_faults_minor: Some(command.minor_faults),
        page_faults_major: Some(command.major_faults),
        switches_voluntary: Some(command.voluntary),
        switches_involuntary: Some(command.involuntary),
        pids: PidsUsage { left_at_exit: waited.left, ..PidsUsage::default() },
        ..Usage::default()
    };
    let Some(groups) = groups else { return usage };
    let v2 = groups.groups.iter().find(|group| group.version == Version::V2);
    let v2_stat = v2.map(|group| group.counters.text("cpu.stat"));
    times(groups, v2_stat.as_deref(), waited, &mut usage);
    match groups.with(Controller::Cpu) {
        Some(group) if group.version == Version::V1 => usage.cpu = cpu(Version::V1, &group.counters.text("cpu.stat")),
        Some(_) => usage.cpu = cpu(Version::V2, v2_stat.as_deref().unwrap_or_default()),
        None => {}
    }
    if let Some(group) = groups.with(Controller::Memory) {
        usage.memory = memory(group);
    }
    if let Some(group) = groups.with(Controller::Pids) {
        pids(group, waited.init, &mut usage.pids);
    }
    if let Some(group) = v2 {
        usage.pressure = pressure(group);
    }
    if let Some(group) = groups.with(Controller::Io) {
        usage.io = io(group);
    }
    usage
}

/// Takes the times and counts of `part` off; the largest memory stays.
#[must_use]
pub fn less(all: &Rusage, part: &Rusage) -> Rusage {
    Rusage {
        user: all.user.saturating_sub(part.user),
        system: all.system.saturating_sub(part.system),
        max_rss: all.max_rss,
        minor_faults: all.minor_faults.saturating_sub(part.minor_faults),
        major_faults: all.major_faults.saturating_sub(part.major_faults),
        voluntary: all.voluntary.saturating_sub(part.voluntary),
        involuntary: all.involuntary.saturating_sub(part.involuntary),
    }
}

/// A group also counts processes that nobody waited for, so its sum is the better one. It has the child in
/// it, v2 from its birth and v1 from when it joined: what that spent on the sandbox is taken off, though never
/// so much that less is left than wait4(2) knows of. v1 splits the sum by clock ticks, so it is split as
/// wait4(2) splits its own (which the kernel scales to the exact sum).
fn times(groups: &Groups, v2_stat: Option<&str>, waited: &Waited, usage: &mut Usage) {
    if let Some(group) = groups.with(Controller::Cpuacct).filter(|group| group.version == Version::V1) {
        let Some(total) = group.counters.number("cpuacct.usage") else { return };
        let nanoseconds = |usage: &Rusage| (usage.user + usage.system).saturating_mul(1000);
        let total = total.saturating_sub(nanoseconds(&waited.own)).max(nanoseconds(&waited.command));
        let (user, both) = (waited.command.user, waited.command.user + waited.command.system);
        let user = if both == 0 { total } else { scale(total, user, both) };
        usage.user = Some(Duration::from_nanos(user));
        usage.system = Some(Duration::from_nanos(total - user));
        usage.time_source = Some(Source::Cgroup1);
    } else if let Some(stat) = v2_stat {
        let (Some(user), Some(system)) = (field(stat, "user_usec"), field(stat, "system_usec")) else { return };
        let own = waited.own.user + waited.own.system;
        let total = (user + system).saturating_sub(own).max(waited.command.user + waited.command.system);
        let user = if user + system == 0 { 0 } else { scale(total, user, user + system) };
        let user = user.max(waited.command.user.min(total));
        usage.user = Some(Duration::from_micros(user));
        usage.system = Some(Duration::from_micros(total - user));
        usage.time_source = Some(Source::Cgroup2);
    }
}

fn scale(total: u64, part: u64, whole: u64) -> u64 {
    let scaled = u128::from(total) * u128::from(part) / u128::from(whole);
    u64::try_from(scaled).unwrap_or(total)
}

fn cpu(version: Version, stat: &str) -> CpuUsage {
    let throttled = match version {
        Version::V1 => field(stat, "throttled_time").map(Duration::from_nanos),
        Version::V2 => field(stat, "throttled_usec").map(Duration::from_micros),
    };
    CpuUsage { periods: field(stat, "nr_periods"), throttled_periods: field(stat, "nr_throttled"), throttled }
}

fn memory(group: &LiveGroup) -> MemoryUsage {
    let counters = &group.counters;
    match group.version {
        Version::V1 => {
            let peak = counters.number("memory.max_usage_in_bytes");
            MemoryUsage {
                peak_bytes: peak,
                // The peak of both together less that of memory alone is neither more nor less than that of swap.
                swap_peak_bytes: None,
                oom_kills: field(&counters.text("memory.oom_control"), "oom_kill"),
                limit_hits: counters.number("memory.failcnt"),
                source: peak.map(|_| "memory.max_usage_in_bytes"),
            }
        }
        Version::V2 => {
            let peak = counters.number("memory.peak");
            let events = counters.text("memory.events");
            MemoryUsage {
                peak_bytes: peak,
                swap_peak_bytes: counters.number("memory.swap.peak"),
                oom_kills: field(&events, "oom_kill"),
                limit_hits: field(&events, "max"),
                source: peak.map(|_| "memory.peak"),
            }
        }
    }
}

/// sbx's own init was there all the time; before it could start anything it was alone.
fn pids(group: &LiveGroup, init: Init, usage: &mut PidsUsage) {
    let own = match init {
        Init::Reaper => 1,
        Init::Command => 0,
    };
    usage.peak = group.counters.number("pids.peak").map(|peak| peak.saturating_sub(own));
    usage.denied_forks = field(&group.counters.text("pids.events"), "max");
}

fn io(group: &LiveGroup) -> IoUsage {
    match group.version {
        Version::V2 => {
            let text = group.counters.text("io.stat");
            let sum = |key: &str| {
                let values = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
                Some(values.filter_map(|value| value.parse::<u64>().ok()).sum())
            };
            IoUsage {
                read_bytes: sum("rbytes"),
                write_bytes: sum("wbytes"),
                read_ops: sum("rios"),
                write_ops: sum("wios"),
            }
        }
        Version::V1 => {
            let sum = |file: &str, kind: &str| {
                let text = group.counters.text(file);
                let values = text.lines().filter_map(|line| {
                    let mut words = line.split_whitespace();
                    words.next().filter(|device| device.contains(':'))?;
                    words.next().filter(|word| *word == kind)?;
                    words.next()?.parse::<u64>().ok()
                });
                (!text.is_empty()).then(|| values.sum())
            };
            let (bytes, ops) = ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced");
            IoUsage {
                read_bytes: sum(bytes, "Read"),
                write_bytes: sum(bytes, "Write"),
                read_ops: sum(ops, "Read"),
                write_ops: sum(ops, "Write"),
            }
        }
    }
}

fn pressure(group: &LiveGroup) -> Pressure {
    let total = |file: &str, kind: &str| {
        let text = group.counters.text(file);
        let line = text.lines().find(|line| line.starts_with(kind))?;
        let micros = line.split_whitespace().find_map(|word| word.strip_prefix("total="))?;
        micros.parse().ok().map(Duration::from_micros)
    };
    Pressure {
        cpu_some: total("cpu.pressure", "some"),
        memory_some: total("memory.pressure", "some"),
        memory_full: total("memory.pressure", "full"),
        io_some: total("io.pressure", "some"),
        io_full: total("io.pressure", "full"),
    }
}
