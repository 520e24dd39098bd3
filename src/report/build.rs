//! Puts a report together from what was asked, what was decided and what happened.
//! Copies figures and names their units; computes none and hides none.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;

use crate::error::Error;
use crate::gateway::{self, Ledger};
use crate::host::Version;
use crate::plan::{Op, Plan};
use crate::report::exit::not_found;
use crate::report::explain::{Explained, failure, reason, signal_name};
use crate::report::figures::{
    Changes, Connection, ContextSwitches, Cpu, Interface, Io, Memory, Network, Output, Pids, Pressure, Time, TimeSource,
};
use crate::report::secrets::without_secrets;
use crate::report::{
    Cgroup, DeniedCall, ErrorMember, Isolation, KilledBy, Landlock, Limit, OutcomeKind, OutcomeMember, Report,
    SCHEMA_NAME, Seccomp, SpecMember, Subject, User, WeakenedMember,
};
use crate::run;
use crate::run::harvest::{Changed, Counts};
use crate::run::{Ended, Failure, Killer, Outcome, Source, Truncated, Usage};
use crate::spec::{Namespace, Syscall};
use crate::units::{Origin, SpecText};

impl<'a> Report<'a> {
    /// Returns the report on a run that ended, or on what prevented one. There is no
    /// plan when the spec was wrong or the host cannot do what it asks.
    #[must_use]
    pub fn new(subject: &'a Subject<'a>, plan: Option<&'a Plan>, happened: Result<&'a Outcome, &'a Error>) -> Self {
        let ended = happened.ok();
        let usage = ended.map(|outcome| outcome.usage).unwrap_or_default();
        let argv = plan.map_or(subject.command, |plan| &plan.exec.argv);
        let planned = plan.iter().flat_map(|plan| &plan.warnings);
        let (connections, unlisted_connections) = connections(plan, ended).unzip();
        let met = ended.iter().flat_map(|outcome| &outcome.warnings);
        Self {
            schema: SCHEMA_NAME,
            sbx: env!("CARGO_PKG_VERSION"),
            spec: SpecMember {
                path: subject.spec.map(|spec| spec.name),
                sha256: subject.sha256,
                labels: &subject.labels,
            },
            command: (!argv.is_empty()).then(|| argv.iter().map(|word| word.to_string_lossy()).collect()),
            workdir: plan.map(|plan| plan.exec.workdir.as_str()),
            rootfs: subject.rootfs.clone(),
            outcome: match happened {
                Ok(outcome) => ended_member(outcome, plan, subject.spec),
                Err(error) => prevented_member(error, subject.spec),
            },
            time: ended.map(time).unwrap_or_default(),
            cpu: cpu(&usage, plan),
            memory: memory(&usage, plan),
            pids: pids(&usage, plan),
            io: io(&usage),
            context_switches: ContextSwitches {
                voluntary: usage.switches_voluntary,
                involuntary: usage.switches_involuntary,
            },
            pressure: pressure(&usage),
            network: Network {
                mode: plan.map(network_mode),
                interfaces: ended.and_then(|outcome| outcome.interfaces.as_deref()).map(interfaces),
                connections,
                unlisted_connections,
            },
            output: ended.map(|outcome| output(&outcome.output, plan)).unwrap_or_default(),
            changes: ended.and_then(|outcome| outcome.changes.as_ref()).map(changes).unwrap_or_default(),
            isolation: isolation(plan, ended),
            leftovers: ended.map_or(&[], |outcome| &outcome.leftovers),
            warnings: planned.chain(met).map(String::as_str).collect(),
        }
    }
}

fn ended_member<'a>(outcome: &'a Outcome, plan: Option<&Plan>, spec: Option<SpecText<'a>>) -> OutcomeMember<'a> {
    let reason = reason(outcome, plan);
    let (exit_code, signal, core_dumped) = match outcome.ended {
        Ended::Exited { code } => (Some(code), None, false),
        Ended::Signaled { signal, core_dumped } => (None, Some(signal_name(signal)), core_dumped),
        Ended::Canceled { signal } => (None, Some(signal_name(signal)), false),
        _ => (None, None, false),
    };
    OutcomeMember {
        kind: kind(outcome.ended),
        exit_code,
        signal,
        core_dumped,
        killed_by: outcome.killed_by.map(|killer| match killer {
            Killer::Kernel => KilledBy::Kernel,
            Killer::Sbx => KilledBy::Sbx,
            Killer::Caller => KilledBy::Caller,
        }),
        reason,
        error: match outcome.ended {
            Ended::NotStarted(why) => {
                let Explained { step, error } = failure(why, plan);
                let place = place(&error, spec);
                Some(ErrorMember {
                    step: step.map(Cow::Owned),
                    message: Cow::Owned(error.message),
                    hint: error.hint.map(Cow::Owned),
                    ..place
                })
            }
            _ => outcome.failed.first().map(|error| error_member(error, spec)),
        },
        mistakes: Vec::new(),
    }
}

fn prevented_member<'a>(error: &'a Error, spec: Option<SpecText<'a>>) -> OutcomeMember<'a> {
    OutcomeMember {
        kind: OutcomeKind::SetupFailed,
        exit_code: None,
        signal: None,
        core_dumped: false,
        killed_by: None,
        reason: Some(error.to_string()),
        error: Some(error_member(error, spec)),
        mistakes: Vec::new(),
    }
}

/// Returns `error` as the report has it.
#[must_use]
pub fn error_member<'a>(error: &'a Error, spec: Option<SpecText<'a>>) -> ErrorMember<'a> {
    ErrorMember {
        message: Cow::Borrowed(&error.message),
        hint: error.hint.as_deref().map(Cow::Borrowed),
        ..place(error, spec)
    }
}

/// The members of an error that say who, what errno and where.
fn place<'a>(error: &Error, spec: Option<SpecText<'a>>) -> ErrorMember<'a> {
    let at = match (error.origin, spec) {
        (Origin::Spec(span), Some(spec)) => Some(spec.place(span)),
        _ => None,
    };
    ErrorMember {
        kind: error.kind.as_str(),
        step: None,
        errno: error.errno.map(|errno| format!("{:?}", Errno::from_raw(errno))),
        message: Cow::Borrowed(""),
        hint: None,
        file: at.map(|(file, _)| file),
        line: at.map(|(_, (line, _))| line),
        column: at.map(|(_, (_, column))| column),
    }
}

fn kind(ended: Ended) -> OutcomeKind {
    match ended {
        Ended::Exited { .. } => OutcomeKind::Exited,
        Ended::Signaled { .. } => OutcomeKind::Signaled,
        Ended::WallTimeout => OutcomeKind::WallTimeout,
        Ended::CpuTimeout => OutcomeKind::CpuTimeout,
        Ended::OutOfMemory => OutcomeKind::OutOfMemory,
        Ended::OutputLimit => OutcomeKind::OutputLimit,
        Ended::Canceled { .. } => OutcomeKind::Canceled,
        Ended::NotStarted(Failure::Exec { errno }) if not_found(errno) => OutcomeKind::NotFound,
        Ended::NotStarted(Failure::Exec { .. }) => OutcomeKind::NotExecutable,
        Ended::NotStarted(
            Failure::Step { .. } | Failure::Parent { .. } | Failure::Killed { .. } | Failure::Silent { .. },
        ) => OutcomeKind::SetupFailed,
    }
}

fn time(outcome: &Outcome) -> Time {
    let run::Timing { started_at, finished_at, wall, setup, teardown } = outcome.timing;
    let Usage { user, system, time_source, .. } = outcome.usage;
    Time {
        started_at: Some(stamp(started_at)),
        finished_at: Some(stamp(finished_at)),
        wall_ns: match outcome.ended {
            Ended::NotStarted(_) => None,
            _ => ns(wall),
        },
        setup_ns: ns(setup),
        teardown_ns: ns(teardown),
        user_ns: user.and_then(ns),
        system_ns: system.and_then(ns),
        source: time_source.map(|source| match source {
            Source::Cgroup1 => TimeSource::Cgroup1,
            Source::Cgroup2 => TimeSource::Cgroup2,
            Source::Rusage => TimeSource::Rusage,
        }),
    }
}

fn cpu(usage: &Usage, plan: Option<&Plan>) -> Cpu {
    let run::CpuUsage { periods, throttled_periods, throttled } = usage.cpu;
    let cores = plan.and_then(|plan| plan.watch.cores);
    Cpu {
        limit_cores: cores.map(|cores| f64::from(cores.0) / 1000.0),
        periods,
        throttled_periods,
        throttled_ns: throttled.and_then(ns),
    }
}

fn memory(usage: &Usage, plan: Option<&Plan>) -> Memory {
    let run::MemoryUsage { peak_bytes, swap_peak_bytes, oom_kills, limit_hits, source } = usage.memory;
    Memory {
        limit_bytes: applied(plan, "memory"),
        peak_bytes,
        swap_peak_bytes,
        max_rss_bytes: usage.max_rss_bytes,
        oom_kills,
        limit_hits,
        page_faults_minor: usage.page_faults_minor,
        page_faults_major: usage.page_faults_major,
        source,
    }
}

fn pids(usage: &Usage, plan: Option<&Plan>) -> Pids {
    let run::PidsUsage { peak, denied_forks, left_at_exit } = usage.pids;
    Pids { limit: applied(plan, "pids"), peak, denied_forks, left_at_exit }
}

fn io(usage: &Usage) -> Io {
    let run::IoUsage { read_bytes, write_bytes, read_ops, write_ops } = usage.io;
    Io { read_bytes, write_bytes, read_ops, write_ops }
}

fn pressure(usage: &Usage) -> Pressure {
    let run::Pressure { cpu_some, memory_some, memory_full, io_some, io_full } = usage.pressure;
    Pressure {
        cpu_some_ns: cpu_some.and_then(ns),
        memory_some_ns: memory_some.and_then(ns),
        memory_full_ns: memory_full.and_then(ns),
        io_some_ns: io_some.and_then(ns),
        io_full_ns: io_full.and_then(ns),
    }
}

fn network_mode(plan: &Plan) -> &'static str {
    match (&plan.way, plan.namespaces.contains(&Namespace::Net)) {
        (Some(way), _) => way.mode,
        (None, true) => "none",
        (None, false) => "host",
    }
}

fn interfaces(counted: &[run::Interface]) -> Vec<Interface<'_>> {
    let figures = counted.iter().map(|run::Interface { name, rx_bytes, tx_bytes, rx_packets, tx_packets }| Interface {
        name,
        rx_bytes: *rx_bytes,
        tx_bytes: *tx_bytes,
        rx_packets: *rx_packets,
        tx_packets: *tx_packets,
    });
    figures.collect()
}

/// Returns the list, and how many more there were; nothing where connections do not go through sbx.
fn connections<'a>(plan: Option<&Plan>, ended: Option<&'a Outcome>) -> Option<(Vec<Connection<'a>>, u64)> {
    match ended.and_then(|outcome| outcome.ledger.as_ref()) {
        Some(ledger) => Some((listed(ledger), ledger.unlisted.count)),
        None => (plan.map(network_mode) == Some("none")).then(|| (Vec::new(), 0)),
    }
}

fn listed(ledger: &Ledger) -> Vec<Connection<'_>> {
    let listed = ledger.connections.iter().map(|gateway::Connection { what, traffic }| Connection {
        // Without a name it is the address again.
        to: Some(what.to.as_str()).filter(|to| to.parse::<std::net::IpAddr>().is_err()),
        address: what.address.map(|address| address.to_string()),
        port: what.port,
        protocol: what.protocol.as_str(),
        verdict: what.verdict.as_str(),
        reason: match what.verdict {
            gateway::Verdict::Refused(why) => Some(Cow::Borrowed(why.as_str())),
            gateway::Verdict::Unreachable(errno) => Some(Cow::Owned(Errno::from_raw(errno).desc().to_lowercase())),
            gateway::Verdict::Allowed | gateway::Verdict::Published => None,
        },
        count: traffic.count,
        sent_bytes: Some(traffic.sent),
        received_bytes: Some(traffic.received),
    });
    listed.collect()
}

fn changes(changed: &Changed) -> Changes<'_> {
    let Counts { added, modified, deleted } = changed.counts;
    Changes {
        path: Some(&changed.path),
        added: Some(added),
        modified: Some(modified),
        deleted: Some(deleted),
        bytes: Some(changed.bytes),
    }
}

fn output<'a>(output: &'a run::Output, plan: Option<&Plan>) -> Output<'a> {
    let secrets = plan.map_or(&[][..], |plan| &plan.exec.env);
    let text = |bytes: &'a Option<Vec<u8>>| bytes.as_deref().map(|bytes| without_secrets(bytes, secrets));
    Output {
        stdout_bytes: output.stdout_bytes,
        stderr_bytes: output.stderr_bytes,
        truncated: matches!(output.truncated, Truncated::Yes),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

fn isolation<'a>(plan: Option<&'a Plan>, outcome: Option<&'a Outcome>) -> Isolation<'a> {
    let cgroup = outcome.and_then(|outcome| outcome.cgroup.as_ref());
    let mut ops = plan.iter().flat_map(|plan| &plan.steps).map(|step| &step.op);
    let limits = plan.iter().flat_map(|plan| &plan.limits);
    let weakened = plan.iter().flat_map(|plan| &plan.weakened);
    Isolation {
        namespaces: plan.map(|plan| plan.namespaces.iter().map(|namespace| namespace.as_str()).collect()),
        cgroup: cgroup.map_or_else(Cgroup::default, |(version, path)| Cgroup {
            version: Some(match version {
                Version::V1 => 1,
                Version::V2 => 2,
            }),
            path: Some(path),
        }),
        seccomp: Seccomp {
            profile: ops
                .clone()
                .find_map(|op| match op {
                    Op::Seccomp { filter } => Some(filter.profile.as_ref()),
                    _ => None,
                })
                .unwrap_or("none"),
            denied: outcome.and_then(|outcome| outcome.refused.as_deref()).map(denied),
        },
        landlock: plan.map_or(Landlock { abi: None, status: "none" }, |plan| Landlock {
            abi: plan.landlock.abi,
            status: plan.landlock.status.as_str(),
        }),
        capabilities: ops.clone().find_map(|op| match op {
            Op::Capabilities { keep } => Some(keep.iter().map(|capability| capability.name).collect()),
            _ => None,
        }),
        no_new_privileges: plan.map(|_| ops.any(|op| matches!(op, Op::NoNewPrivileges))),
        user: plan.map_or_else(User::default, |plan| User {
            inside: Some([plan.identity.inside.uid, plan.identity.inside.gid]),
            outside: Some([plan.identity.outside.uid, plan.identity.outside.gid]),
        }),
        limits: limits
            .map(|limit| Limit { name: limit.name, requested: &limit.requested, applied: limit.applied, by: &limit.by })
            .collect(),
        weakened: weakened.map(|it| WeakenedMember { feature: it.feature, why: &it.why }).collect(),
    }
}

fn denied(refused: &[run::Refused]) -> Vec<DeniedCall> {
    let name = |number: u32| usize::try_from(number).ok().and_then(Syscall::at).map(|call| Cow::Borrowed(call.name));
    let call = |run::Refused { number, count }: &run::Refused| DeniedCall {
        syscall: name(*number).unwrap_or_else(|| Cow::Owned(format!("#{number}"))),
        count: *count,
    };
    refused.iter().map(call).collect()
}

fn applied(plan: Option<&Plan>, name: &str) -> Option<u64> {
    plan?.limits.iter().find(|limit| limit.name == name).map(|limit| limit.applied)
}

fn ns(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

fn stamp(time: SystemTime) -> String {
    // humantime cannot write times before 1970 or after 9999; a clock that wrong is shown as its nearest bound.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_micros(time.clamp(SystemTime::UNIX_EPOCH, last)).to_string()
}
