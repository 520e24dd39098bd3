//! What a run left when all its processes are dead becomes its outcome: first what sbx
//! and the kernel did to it, then what the command says of itself.

use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use crate::host::Version;
use crate::plan::Plan;
use crate::run::cgroup::Groups;
use crate::run::collect::{self, Waited};
use crate::run::harvest::Harvested;
use crate::run::relay::{self, Relay};
use crate::run::seen::{Seen, Stop};
use crate::run::traffic;
use crate::run::verdict::{self, Ending, Verdict};
use crate::run::{Ended, Failure, Killer, Outcome, Output, ParentCall, Timing, Usage};
use crate::sys::process::{Reaped, Rusage};
use crate::sys::time;

/// When sbx started, on both clocks.
pub type Clocks = (SystemTime, u64);

/// The outcome of a run that ended before there was a command.
#[must_use]
pub fn not_started(failure: Failure, clocks: Clocks, groups: Option<Groups>) -> Outcome {
    unstarted(Ended::NotStarted(failure), clocks, groups)
}

/// The same of a run that was ended before.
#[must_use]
pub fn unstarted(ended: Ended, (started_at, started): Clocks, groups: Option<Groups>) -> Outcome {
    let cgroup = cgroup_of(groups.as_ref());
    let leftovers = groups.map(Groups::remove).unwrap_or_default();
    let setup = Duration::from_nanos(time::monotonic().saturating_sub(started));
    let timing =
        Timing { started_at, finished_at: started_at + setup, wall: Duration::ZERO, setup, teardown: Duration::ZERO };
    Outcome {
        ended,
        asked: match ended {
            Ended::Canceled { signal } => Some(signal),
            _ => None,
        },
        killed_by: match ended {
            Ended::Canceled { .. } => Some(Killer::Caller),
            Ended::WallTimeout => Some(Killer::Sbx),
            _ => None,
        },
        timing,
        usage: Usage::default(),
        interfaces: None,
        ledger: None,
        output: Output::default(),
        refused: None,
        cgroup,
        leftovers,
        changes: None,
        failed: Vec::new(),
        unfit: Vec::new(),
        warnings: Vec::new(),
    }
}

impl Outcome {
    /// Adds what was taken out. What a command that failed has not made is no second failure, which would hide
    /// its own.
    pub fn harvest(&mut self, harvested: Harvested) {
        let Harvested { changes, failed, unfit, missing, warnings } = harvested;
        (self.changes, self.failed, self.unfit) = (changes, failed, unfit);
        self.warnings.extend(warnings);
        match self.ended {
            Ended::Exited { code: 0 } => self.failed.extend(missing),
            _ => self.warnings.extend(missing.iter().map(ToString::to_string)),
        }
    }
}

/// What the groups counted was the making of the sandbox; of a command there is nothing to tell.
fn without_command(usage: Usage) -> Usage {
    let Usage { memory, cpu, io, pressure, .. } = usage;
    Usage { memory, cpu, io, pressure, ..Usage::default() }
}

/// A child that ended without a word, by its status as wait(2) encodes it.
fn unsaid(status: i32) -> Failure {
    match libc::WIFEXITED(status) {
        true => Failure::Silent { code: u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX) },
        false => Failure::Killed { signal: libc::WTERMSIG(status) },
    }
}

fn cgroup_of(groups: Option<&Groups>) -> Option<(Version, String)> {
    groups.and_then(|groups| groups.groups.first()).map(|group| (group.version, group.path.display().to_string()))
}

/// A run whose processes are all dead.
#[derive(Debug)]
pub struct Dead<'a> {
    pub plan: &'a Plan,
    pub verdicts: Vec<Verdict>,
    pub reaped: Reaped,
    pub seen: Seen,
    pub clocks: Clocks,
    /// The table of the sandbox's interfaces.
    pub traffic: Option<OwnedFd>,
}

impl Dead<'_> {
    /// Collects the figures, removes the groups and says what happened.
    #[must_use]
    pub fn outcome(&self, groups: Option<Groups>, relays: Vec<Relay>, mut warnings: Vec<String>) -> Outcome {
        let ending = self.ending();
        let mut usage = collect::usage(groups.as_ref(), &self.waited(ending.as_ref()));
        let (ended, killed_by) = self.ended(ending.as_ref(), &usage);
        if ending.is_none() && self.starting().is_none() {
            usage = without_command(usage);
        }
        if ended == Ended::OutOfMemory {
            // v1 tells of the limit before it kills, and does not count a process that sbx has killed by then.
            usage.memory.oom_kills = usage.memory.oom_kills.filter(|kills| *kills > 0);
        }
        if ending.is_some_and(|ending| ending.full != 0) {
            warnings.push("the limit `disk` was reached: no room was left when the command ended".to_owned());
        }
        let cgroup = cgroup_of(groups.as_ref());
        let leftovers = groups.map(Groups::remove).unwrap_or_default();
        Outcome {
            ended,
            asked: self.seen.asked,
            killed_by,
            timing: self.timing(ending.as_ref()),
            usage,
            interfaces: self.traffic.as_ref().and_then(traffic::read),
            ledger: None,
            output: relay::output(relays),
            refused: None,
            cgroup,
            leftovers,
            changes: None,
            failed: Vec::new(),
            unfit: Vec::new(),
            warnings,
        }
    }

    /// Returns whether there was a command.
    #[must_use]
    pub fn ran(&self) -> bool {
        self.failure().is_none() && (self.ending().is_some() || self.starting().is_some())
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

    /// When the command started, and what the child had used before.
    fn starting(&self) -> Option<(u64, Rusage)> {
        verdict::starting(&self.verdicts)
    }

    /// What ended the run: first what sbx and the kernel did, then what the command says.
    fn ended(&self, ending: Option<&Ending>, usage: &Usage) -> (Ended, Option<Killer>) {
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
        let status = match (ending, self.starting()) {
            (Some(ending), _) => ending.status,
            // The command is pid 1, or shared the fate of its init.
            (None, Some(_)) => self.reaped.status,
            (None, None) => {
                return match self.seen.asked {
                    Some(asked) => (Ended::Canceled { signal: asked }, Some(Killer::Caller)),
                    None => (Ended::NotStarted(unsaid(self.reaped.status)), None),
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
            (Some(ending), _) => (ending.usage, collect::less(&all, &ending.usage)),
            (None, Some((_, own))) => (collect::less(&all, &own), own),
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
            finished_at: started_at + between(started, now),
            wall: start.map_or(Duration::ZERO, |start| between(start, end)),
            setup: between(started, start.unwrap_or(now)),
            teardown: if start.is_some() { between(end, now) } else { Duration::ZERO },
        }
    }
}
