//! Ties a run together on the parent's side: groups, tape, clone, maps, watch, reap,
//! figures, removal.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Result};
use crate::host::Version;
use crate::plan::{MapWriter, Plan, StdinPlan};
use crate::run::cgroup::{self, Groups};
use crate::run::collect::{self, Waited};
use crate::run::relay::Relay;
use crate::run::sources::{self, Source, StepFailed};
use crate::run::tape::{Opened, Pipes, freeze, path_text};
use crate::run::verdict::{self, Ending, Verdict};
use crate::run::watch::{self, Seen, Stop, Watched};
use crate::run::{Ended, Failure, Killer, Outcome, Output, ParentCall, Timing, Truncated, child, garbage, idmap, init};
use crate::spec::{Init, Namespace};
use crate::sys::process::{Cloned, Pid, Reaped, Rusage, Wait};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Fd, fd, process, time};

/// Runs `plan`: builds the sandbox, runs the command in it, tears it down. `started` is when sbx started,
/// on CLOCK_MONOTONIC in nanoseconds.
///
/// # Errors
/// What prevented sbx from trying at all: a group that could not be made, a file that could not be opened.
/// A sandbox that could not be built is an [`Outcome`].
pub fn run(plan: &Plan, started: u64) -> Result<Outcome> {
    let clocks = (SystemTime::now(), started);
    process::block_signals().map_err(|errno| host("cannot block signals", errno))?;
    let groups = plan.cgroup.as_ref().map(cgroup::make).transpose()?;
    if let Some(plan) = &plan.cgroup {
        // What the last run that was killed here left; one hierarchy shows them all.
        plan.groups.iter().for_each(|group| drop(garbage::collect_below(&group.parent)));
    }
    let parts = Parts::open(plan, groups)?;
    let sources = match sources::open(plan) {
        Ok(sources) => sources,
        Err(failed) => return Ok(not_started(step_failure(failed), clocks, parts)),
    };
    let mut tape = freeze(plan, parts.opened(plan, &sources)?)?;
    match process::clone3(clone_flags(plan), parts.groups.as_ref().and_then(Groups::born_in)) {
        Ok(Cloned::Child) => child::play(&mut tape),
        Ok(Cloned::Parent { child, pidfd }) => {
            drop(tape);
            parent(plan, Side { child, pidfd: own(pidfd), sources }, parts, clocks)
        }
        Err(errno) => {
            let failure = Failure::Parent { call: ParentCall::Clone, errno: errno as i32 };
            Ok(not_started(failure, clocks, parts))
        }
    }
}

fn host(message: &str, errno: Errno) -> Error {
    Error::new(crate::error::Kind::Host, message).with_errno(errno as i32)
}

/// When sbx started, on both clocks.
type Clocks = (SystemTime, u64);

/// What the parent holds while the run lives.
#[derive(Debug)]
struct Parts {
    groups: Option<Groups>,
    status: (OwnedFd, Option<OwnedFd>),
    mapped: Option<(OwnedFd, OwnedFd)>,
    signals: OwnedFd,
    stdin: Option<OwnedFd>,
    /// The reading and the writing ends of the output streams, where sbx relays them.
    streams: Vec<(OwnedFd, OwnedFd)>,
}

/// The clone, seen from the parent.
#[derive(Debug)]
struct Side {
    child: Pid,
    pidfd: OwnedFd,
    sources: Vec<Source>,
}

impl Parts {
    fn open(plan: &Plan, groups: Option<Groups>) -> Result<Self> {
        let pipe = || {
            fd::pipe()
                .map(|(reader, writer)| (own(reader), own(writer)))
                .map_err(|errno| host("cannot make a pipe", errno))
        };
        let (reader, writer) = pipe()?;
        let waits = plan.steps.iter().any(|step| matches!(step.op, crate::plan::Op::MapIds))
            && plan.identity.writer != MapWriter::Child;
        let streams = if watch::relays_output(&plan.watch) { vec![pipe()?, pipe()?] } else { Vec::new() };
        let signals = crate::sys::watch::signals().map_err(|errno| host("cannot watch signals", errno))?;
        Ok(Self {
            groups,
            status: (reader, Some(writer)),
            mapped: if waits { Some(pipe()?) } else { None },
            signals: own(signals),
            stdin: stdin(&plan.stdin)?,
            streams,
        })
    }

    fn opened(&self, plan: &Plan, sources: &[Source]) -> Result<Opened> {
        let trees = plan.steps.iter().filter_map(|step| step.op.tree()).map(|tree| usize::from(tree.0) + 1).max();
        let mut numbers = vec![None; trees.unwrap_or(0)];
        for source in sources {
            numbers[usize::from(source.tree.0)] = Some(number(&source.handle));
        }
        let output = |index: usize| self.streams.get(index).map(|(_, writer)| number(writer));
        let status = self.status.1.as_ref().map_or(Fd(-1), number);
        Ok(Opened {
            trees: numbers,
            stdio: [self.stdin.as_ref().map(number), output(0), output(1)],
            pipes: Pipes {
                status,
                status_reader: number(&self.status.0),
                mapped: self.mapped.as_ref().map(|(reader, writer)| (number(reader), number(writer))),
                tasks: self.groups.as_ref().map(Groups::tasks).unwrap_or_default(),
                death_signal: if plan.namespaces.contains(&Namespace::Pid) { libc::SIGKILL } else { init::END },
            },
            ignored: ignored_signals()?,
        })
    }
}

fn stdin(plan: &StdinPlan) -> Result<Option<OwnedFd>> {
    let path = match plan {
        StdinPlan::Inherit => return Ok(None),
        StdinPlan::Null => std::path::Path::new("/dev/null"),
        StdinPlan::File(path) => path,
    };
    let opened = fd::open(&path_text(path)?, libc::O_RDONLY, 0);
    opened.map(|fd| Some(own(fd))).map_err(|errno| {
        let message = format!("cannot open `{}` as standard input", path.display());
        Error::new(crate::error::Kind::Io, message).with_errno(errno as i32)
    })
}

/// Reads which signals this process ignores: `SigIgn` of proc_pid_status(5). The Rust runtime ignores
/// SIGPIPE, and a shell or nohup(1) others; the command starts with the default actions.
fn ignored_signals() -> Result<Vec<i32>> {
    let path = "/proc/self/status";
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::io(format_args!("cannot read `{path}`"), &source))?;
    let mask = text.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.ok_or_else(|| Error::new(crate::error::Kind::Host, format!("`{path}` has no `SigIgn`")))?;
    Ok((1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0).collect())
}

/// A new time namespace is entered later, by unshare(2); so is the cgroup namespace of a run with groups,
/// because its root is the group of the one who makes it.
fn clone_flags(plan: &Plan) -> u64 {
    let flag = |namespace: &Namespace| match namespace {
        Namespace::User => libc::CLONE_NEWUSER,
        Namespace::Mount => libc::CLONE_NEWNS,
        Namespace::Pid => libc::CLONE_NEWPID,
        Namespace::Net => libc::CLONE_NEWNET,
        Namespace::Ipc => libc::CLONE_NEWIPC,
        Namespace::Uts => libc::CLONE_NEWUTS,
        Namespace::Cgroup if plan.cgroup.is_none() => libc::CLONE_NEWCGROUP,
        Namespace::Cgroup | Namespace::Time => 0,
    };
    plan.namespaces.iter().fold(0, |flags, namespace| flags | u64::from(flag(namespace).unsigned_abs()))
}

fn parent(plan: &Plan, side: Side, mut parts: Parts, clocks: Clocks) -> Result<Outcome> {
    // The child has its own copies; the end of these pipes has to be seen.
    parts.status.1 = None;
    parts.stdin = None;
    let relays = relays(plan, &mut parts);
    let unmapped = prepare(plan, &side, &mut parts);
    let unmapped = match unmapped {
        Ok(unmapped) => unmapped,
        Err(refused) => {
            process::signal_pidfd(number(&side.pidfd), libc::SIGKILL).ok();
            process::wait(Wait::For(side.child)).ok();
            return match refused {
                Refused::Step(failed) => Ok(not_started(step_failure(failed), clocks, parts)),
                Refused::Error(error) => Err(error),
            };
        }
    };
    drop(side.sources);
    let mut watched = Watched {
        pidfd: number(&side.pidfd),
        signals: number(&parts.signals),
        init: plan.init,
        groups: parts.groups.as_ref(),
        relays,
    };
    let seen =
        watch::until_end(&plan.watch, &mut watched).map_err(|errno| host("cannot wait for the command", errno))?;
    let relays = std::mem::take(&mut watched.relays);
    let reaped = reap(side.child)?;
    let verdicts =
        verdict::receive(number(&parts.status.0)).map_err(|errno| host("cannot read from the init", errno))?;
    let warnings = unmapped.iter().map(|step| unmapped_warning(plan, *step)).collect();
    Ok(Run { plan, verdicts, reaped, seen, clocks }.outcome(parts, relays, warnings))
}

fn unmapped_warning(plan: &Plan, step: usize) -> String {
    let op = plan.steps.get(step).map(|step| step.op.to_string()).unwrap_or_default();
    format!("{op}: this file system cannot map ids, so its files belong to `nobody` inside")
}

enum Refused {
    Step(StepFailed),
    Error(Error),
}

/// Does for the child what only the parent can, and lets it go on. A child that does not wait gets nothing.
fn prepare(plan: &Plan, side: &Side, parts: &mut Parts) -> std::result::Result<Vec<usize>, Refused> {
    if plan.identity.writer == MapWriter::Nobody {
        return Ok(Vec::new());
    }
    idmap::write(plan, side.child).map_err(Refused::Error)?;
    let first = side.sources.first().map_or(0, |source| source.step);
    let maps = idmap::maps(plan, side.child, &side.sources).map_err(|errno| Refused::Step((first, errno)))?;
    let unmapped = sources::dress(&side.sources, &maps).map_err(Refused::Step)?;
    if let Some((_, writer)) = parts.mapped.take() {
        // A child that is gone says so by its end, not here.
        fd::write(number(&writer), b"1").ok();
    }
    Ok(unmapped)
}

fn relays(plan: &Plan, parts: &mut Parts) -> Vec<Relay> {
    let streams = std::mem::take(&mut parts.streams);
    let targets = [Fd(1), Fd(2)];
    streams
        .into_iter()
        .zip(targets)
        .map(|((reader, _), target)| Relay::new(reader, target, plan.watch.capture))
        .collect()
}

fn reap(child: Pid) -> Result<Reaped> {
    loop {
        match process::wait(Wait::For(child)) {
            Ok(Some(reaped)) => return Ok(reaped),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(host("cannot wait for the command", errno)),
        }
    }
}

fn step_failure((step, errno): StepFailed) -> Failure {
    Failure::Step { step, errno: errno as i32 }
}

/// The outcome of a run that ended before there was a command.
fn not_started(failure: Failure, (started_at, started): Clocks, parts: Parts) -> Outcome {
    let cgroup = cgroup_of(parts.groups.as_ref());
    let leftovers = parts.groups.map(Groups::remove).unwrap_or_default();
    let setup = Duration::from_nanos(time::monotonic().saturating_sub(started));
    let timing =
        Timing { started_at, finished_at: SystemTime::now(), wall: Duration::ZERO, setup, teardown: Duration::ZERO };
    Outcome {
        ended: Ended::NotStarted(failure),
        killed_by: None,
        timing,
        usage: crate::run::Usage::default(),
        output: Output::default(),
        cgroup,
        leftovers,
        warnings: Vec::new(),
    }
}

fn cgroup_of(groups: Option<&Groups>) -> Option<(Version, String)> {
    groups.and_then(|groups| groups.groups.first()).map(|group| (group.version, group.path.display().to_string()))
}

/// A run whose processes are all dead.
struct Run<'a> {
    plan: &'a Plan,
    verdicts: Vec<Verdict>,
    reaped: Reaped,
    seen: Seen,
    clocks: Clocks,
}

impl Run<'_> {
    fn outcome(&self, parts: Parts, relays: Vec<Relay>, mut warnings: Vec<String>) -> Outcome {
        let ending = self.ending();
        let usage = collect::usage(parts.groups.as_ref(), &self.waited(ending.as_ref()));
        let (ended, killed_by) = self.ended(ending.as_ref(), &usage);
        if ending.is_some_and(|ending| ending.full != 0) {
            warnings.push("the limit `disk` was reached: no room was left when the command ended".to_owned());
        }
        let cgroup = cgroup_of(parts.groups.as_ref());
        let leftovers = parts.groups.map(Groups::remove).unwrap_or_default();
        Outcome {
            ended,
            killed_by,
            timing: self.timing(ending.as_ref()),
            usage,
            output: output(relays),
            cgroup,
            leftovers,
            warnings,
        }
    }

    fn ending(&self) -> Option<Ending> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Ended(ending) => Some(*ending),
            _ => None,
        })
    }

    fn failure(&self) -> Option<Failure> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::StepFailed { step, errno } => Some(Failure::Step { step: *step, errno: *errno }),
            Verdict::ForkFailed { errno } => Some(Failure::Parent { call: ParentCall::Fork, errno: *errno }),
            Verdict::ExecFailed { errno } => Some(Failure::Exec { errno: *errno }),
            Verdict::Starting { .. } | Verdict::Ended(_) => None,
        })
    }

    /// When the command that is pid 1 started, and what it had used before as sbx's child.
    fn starting(&self) -> Option<(u64, Rusage)> {
        self.verdicts.iter().find_map(|verdict| match verdict {
            Verdict::Starting { at, own } => Some((*at, *own)),
            _ => None,
        })
    }

    /// What ended the run: first what sbx and the kernel did, then what the command says.
    fn ended(&self, ending: Option<&Ending>, usage: &crate::run::Usage) -> (Ended, Option<Killer>) {
        if let Some(failure) = self.failure() {
            return (Ended::NotStarted(failure), None);
        }
        if usage.memory.oom_kills.is_some_and(|kills| kills > 0) {
            return (Ended::OutOfMemory, Some(Killer::Kernel));
        }
        match self.seen.stop {
            Some(Stop::Wall) => return (Ended::WallTimeout, Some(Killer::Sbx)),
            Some(Stop::CpuTime) => return (Ended::CpuTimeout, Some(Killer::Sbx)),
            Some(Stop::Output) => return (Ended::OutputLimit, Some(Killer::Sbx)),
            Some(Stop::OutOfMemory) => return (Ended::OutOfMemory, Some(Killer::Kernel)),
            Some(Stop::Caller { signal }) => return (Ended::Canceled { signal }, Some(Killer::Caller)),
            None => {}
        }
        let status = match (ending, self.plan.init, self.starting()) {
            (Some(ending), _, _) => ending.status,
            (None, Init::Command, Some(_)) => self.reaped.status,
            (None, _, _) => {
                let signal = libc::WTERMSIG(self.reaped.status);
                return match self.seen.asked {
                    Some(asked) => (Ended::Canceled { signal: asked }, Some(Killer::Caller)),
                    None => (Ended::NotStarted(Failure::Killed { signal }), None),
                };
            }
        };
        if libc::WIFEXITED(status) {
            let code = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
            return (Ended::Exited { code }, None);
        }
        let signal = libc::WTERMSIG(status);
        match self.seen.asked {
            Some(asked) if asked == signal || signal == libc::SIGKILL => {
                (Ended::Canceled { signal: asked }, Some(Killer::Caller))
            }
            _ => (Ended::Signaled { signal, core_dumped: libc::WCOREDUMP(status) }, None),
        }
    }

    fn waited(&self, ending: Option<&Ending>) -> Waited {
        let all = self.reaped.usage;
        let (command, own) = match (ending, self.starting()) {
            (Some(ending), _) => (ending.usage, less(&all, &ending.usage)),
            (None, Some((_, own))) => (less(&all, &own), own),
            (None, None) => (Rusage::default(), all),
        };
        Waited { command, own, init: self.plan.init, left: ending.map(|ending| ending.left) }
    }

    fn timing(&self, ending: Option<&Ending>) -> Timing {
        let (started_at, started) = self.clocks;
        let now = time::monotonic();
        let start = ending.map(|ending| ending.started).or(self.starting().map(|(at, _)| at));
        let end = ending.map_or(now, |ending| ending.ended);
        let between = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from));
        Timing {
            started_at,
            finished_at: SystemTime::now(),
            wall: start.map_or(Duration::ZERO, |start| between(start, end)),
            setup: between(started, start.unwrap_or(now)),
            teardown: if start.is_some() { between(end, now) } else { Duration::ZERO },
        }
    }
}

/// Takes the times and counts of `part` off; the largest memory stays.
fn less(all: &Rusage, part: &Rusage) -> Rusage {
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

fn output(relays: Vec<Relay>) -> Output {
    let mut output = Output::default();
    let mut streams = relays.into_iter();
    let mut take = || {
        streams.next().map(|relay| {
            let bytes = relay.bytes();
            let (kept, truncated) = relay.into_kept();
            (bytes, kept, truncated)
        })
    };
    if let (Some(out), Some(err)) = (take(), take()) {
        output.stdout_bytes = Some(out.0);
        output.stderr_bytes = Some(err.0);
        output.truncated = if out.2 == Truncated::Yes { Truncated::Yes } else { err.2 };
        output.stdout = out.1;
        output.stderr = err.1;
    }
    output
}
