//! Ties a run together on the parent's side: groups, tape, clone, maps, watch, reap,
//! figures, removal.

use std::os::fd::OwnedFd;

use crate::error::{Error, Result};
use crate::gateway::Watcher;
use crate::plan::terminal::Lead;
use crate::plan::way::Deed;
use crate::plan::{MapWriter, Op, Plan};
use crate::run::anchor::Exposed;
use crate::run::bare::{ASTRAY, BareMounts};
use crate::run::cgroup::{self, Groups};
use crate::run::conclude::{Clocks, Dead, not_started, unstarted};
use crate::run::filter::Filter;
use crate::run::harvest::take::{self, Targets};
use crate::run::harvest::{Hands, Harvested};
use crate::run::lasting::LastingMounts;
use crate::run::numbers::namespace_flags;
use crate::run::pty::Stdio;
use crate::run::refusals::Refusals;
use crate::run::relay::{Relay, Stream};
use crate::run::seen::Trouble;
use crate::run::sources::{self, Source, StepFailed};
use crate::run::stdio::{Input, Standard};
use crate::run::tape::{Opened, Tape, Ties, freeze};
use crate::run::terminal::Terminal;
use crate::run::uplink::Uplink;
use crate::run::verdict;
use crate::run::watch::{self, Watched};
use crate::run::{Failure, Outcome, ParentCall, child, garbage, idmap, init, orphans, stdio, traffic};
use crate::spec::{Init, Namespace};
use crate::sys::file::Stat;
use crate::sys::process::{Cloned, Pid, Reaped, Wait};
use crate::sys::watch::{close_all, number, own, signals};
use crate::sys::{Errno, Fd, Sys, fd, process};

/// Runs `plan`: builds the sandbox, runs the command in it, tears it down. `clocks` say when sbx started. All
/// signals are blocked already, so that none is lost. `watcher` is told what
/// leaves the sandbox and what may not. The process is of no use but to end afterwards: [`run_one_of_many`] is for
/// one that goes on.
///
/// # Errors
/// What prevented sbx from trying at all: a group that could not be made, a file that could not be opened.
/// A sandbox that could not be built is an [`Outcome`].
pub fn run(plan: &Plan, clocks: Clocks, watcher: Option<Watcher>) -> Result<Outcome> {
    let played = play(plan, clocks, Company::Alone(watcher))?;
    // Its strings are written to as they go (`CString`), and each page of them copied: for nothing, because
    // the process ends with its run.
    std::mem::forget(played.tape);
    Ok(played.outcome)
}

/// Runs `plan` as [`run`] does, in a process that runs others afterwards: every page that it keeps is one more that
/// each clone copies, and every mount that is around it, so sandboxes are cloned in `bare` where that will do. What
/// comes beside the outcome is to be dropped when there is time.
///
/// # Errors
/// Those of [`run`].
pub fn run_one_of_many(
    plan: &Plan,
    clocks: Clocks,
    bare: Option<&BareMounts>,
) -> Result<(Outcome, Option<LastingMounts>)> {
    let bare = bare.filter(|_| BareMounts::suit(plan));
    play(plan, clocks, Company::OneOfMany(bare)).map(|played| (played.outcome, played.mounts))
}

/// Who else the process runs.
enum Company<'a> {
    Alone(Option<Watcher>),
    OneOfMany(Option<&'a BareMounts>),
}

/// What happened, and what it was played from, if there was anything.
struct Played {
    outcome: Outcome,
    tape: Option<Tape>,
    mounts: Option<LastingMounts>,
}

impl Played {
    fn nothing(outcome: Outcome) -> Self {
        Self { outcome, tape: None, mounts: None }
    }
}

fn play(plan: &Plan, clocks: Clocks, company: Company<'_>) -> Result<Played> {
    if let Some(groups) = &plan.cgroup {
        garbage::collect_for(groups);
    }
    let groups = plan.cgroup.as_ref().map(cgroup::make).transpose()?;
    let exposed = Exposed::of(plan);
    let standard = match stdio::open(plan, &exposed)? {
        Input::Open(standard) => standard,
        Input::Stopped(ended) => return Ok(Played::nothing(unstarted(ended, clocks, groups))),
    };
    let (watcher, bare, many) = match company {
        Company::Alone(watcher) => (watcher, None, false),
        Company::OneOfMany(bare) => (None, bare, true),
    };
    let uplink = plan.way.as_ref().map(|way| Uplink::new(way, watcher)).transpose()?;
    let parts = Parts::open(plan, groups, standard)?;
    let targets = Targets::open(plan, &exposed)?;
    let sources = match sources::open(plan, &exposed) {
        Ok(sources) => sources,
        Err(failed) => return Ok(Played::nothing(not_started(step_failure(failed), clocks, parts.groups))),
    };
    // Opened in this order and after all else, so that each side closes what is not its own with few calls.
    let (theirs, ours) = fd::connection().map_err(|errno| host("cannot make a connection", errno))?;
    let (theirs, ours) = (own(theirs), own(ours));
    let signals = own(signals().map_err(|errno| host("cannot watch signals", errno))?);
    let mut opened = parts.opened(plan, &sources, number(&theirs))?;
    opened.address = uplink.as_ref().and_then(Uplink::address);
    let mut tape = freeze(plan, &exposed, opened)?;
    if !plan.namespaces.contains(&Namespace::Pid) {
        process::adopt_orphans().map_err(|errno| host("cannot look after orphans", errno))?;
    }
    match clone(plan, parts.groups.as_ref(), bare) {
        Ok(Cloned::Child) => child::play(&mut tape),
        Ok(Cloned::Parent { child, pidfd }) => {
            let mounts = if many { LastingMounts::of(plan, pidfd) } else { None };
            let asks = tape.start.filter.as_ref().is_some_and(Filter::asks);
            let refusals = if asks { Refusals::of(plan) } else { None };
            let side = Side { child, pidfd: own(pidfd), signals, ours, theirs, sources, refusals, targets, uplink };
            Ok(Played { mounts, outcome: parent(plan, side, parts, clocks)?, tape: Some(tape) })
        }
        Err(errno) => {
            let failure = Failure::Parent { call: ParentCall::Clone, errno: errno as i32 };
            Ok(Played::nothing(not_started(failure, clocks, parts.groups)))
        }
    }
}

/// Makes the child.
fn clone(plan: &Plan, groups: Option<&Groups>, bare: Option<&BareMounts>) -> Sys<Cloned> {
    let make = || process::clone3(clone_flags(plan), groups.and_then(Groups::born_in));
    // Where it cannot be entered now, by a filter or because a thread still ends, this is as good a place.
    let Some(bare) = bare.filter(|bare| bare.enter().is_ok()) else { return make() };
    let cloned = make();
    if !matches!(cloned, Ok(Cloned::Child)) && bare.leave().is_err() {
        // Every path means something else here. The child, if there is one, dies with this process.
        process::exit_now(ASTRAY);
    }
    cloned
}

fn host(message: &str, errno: Errno) -> Error {
    Error::new(crate::error::Kind::Host, message).with_errno(errno as i32)
}

/// What the parent holds while the run lives.
#[derive(Debug)]
struct Parts {
    groups: Option<Groups>,
    standard: Standard,
    /// The reading and the writing ends of the output streams, where sbx relays them by pipes.
    streams: [Option<(OwnedFd, OwnedFd)>; 2],
    terminal: Option<Terminal>,
}

/// The clone, seen from the parent.
#[derive(Debug)]
struct Side<'a> {
    child: Pid,
    pidfd: OwnedFd,
    signals: OwnedFd,
    /// The ends of the connection: the parent's, and the child's, which the parent closes.
    ours: OwnedFd,
    theirs: OwnedFd,
    sources: Vec<Source>,
    refusals: Option<Refusals<'a>>,
    /// Where what is taken out goes.
    targets: Targets,
    uplink: Option<Uplink<'a>>,
}

impl Parts {
    fn open(plan: &Plan, groups: Option<Groups>, standard: Standard) -> Result<Self> {
        let pipe = || {
            fd::pipe()
                .map(|(reader, writer)| (own(reader), own(writer)))
                .map_err(|errno| host("cannot make a pipe", errno))
        };
        let wanted = |index: usize| {
            let leads = plan.terminal.is_some_and(|terminal| terminal.leads[index] == Lead::Terminal);
            watch::relays_output(&plan.watch) && !leads
        };
        let stream = |index| wanted(index).then(pipe).transpose();
        let streams = [stream(1)?, stream(2)?];
        Ok(Self { groups, standard, streams, terminal: Terminal::open(plan) })
    }

    fn opened(&self, plan: &Plan, sources: &[Source], status: Fd) -> Result<Opened> {
        let trees = plan.steps.iter().filter_map(|step| step.op.tree()).map(|tree| usize::from(tree.0) + 1).max();
        let mut numbers = vec![None; trees.unwrap_or(0)];
        for source in sources {
            numbers[usize::from(source.tree.0)] = Some(number(&source.handle));
        }
        let stdio = |index: usize, opened: Option<&OwnedFd>| match (plan.terminal, opened) {
            (Some(terminal), _) if terminal.leads[index] == Lead::Terminal => Stdio::Terminal,
            (_, Some(opened)) => Stdio::Opened(number(opened)),
            (_, None) => Stdio::Caller,
        };
        let [output, error] = self.streams.each_ref().map(|stream| stream.as_ref().map(|(_, writer)| writer));
        let ignored = stdio::ignored_signals()?;
        if ignored.contains(&libc::SIGCHLD) {
            // The kernel would reap the child, and its end would be lost.
            process::default_action(libc::SIGCHLD).map_err(|errno| host("cannot watch the child", errno))?;
        }
        Ok(Opened {
            trees: numbers,
            stdio: [stdio(0, self.standard.stdin.as_ref()), stdio(1, output), stdio(2, error)],
            look: self.terminal.as_ref().map(Terminal::look),
            ties: Ties {
                status,
                tasks: self.groups.as_ref().map(Groups::tasks).unwrap_or_default(),
                death_signal: match (plan.namespaces.contains(&Namespace::Pid), plan.init) {
                    (false, Init::Reaper) => init::END,
                    // A command that is the first process itself may ignore anything else.
                    (true, _) | (false, Init::Command) => libc::SIGKILL,
                },
                terminal: None,
                counted: traffic::counts(plan),
            },
            ignored,
            address: None,
            streams: self.found(plan),
        })
    }

    /// Returns what the streams are that the command has from sbx's caller.
    fn found(&self, plan: &Plan) -> [Option<Stat>; 3] {
        let leads = |index: usize| plan.terminal.is_some_and(|terminal| terminal.leads[index] == Lead::Terminal);
        let [input, output, error] = self.standard.found;
        let [to_output, to_error] = self.streams.each_ref().map(Option::is_some);
        [
            (!leads(0)).then_some(input),
            (!leads(1) && !to_output).then_some(output),
            (!leads(2) && !to_error).then_some(error),
        ]
    }
}

/// A new time namespace is entered later, by unshare(2); so is the cgroup namespace of a run with groups,
/// because its root is the group of the one who makes it, and a network that is made when mounts are locked.
fn clone_flags(plan: &Plan) -> u64 {
    let later = |kind: &Namespace| match kind {
        Namespace::Time => true,
        Namespace::Cgroup => plan.cgroup.is_some(),
        Namespace::Net => plan.locks(Namespace::Net),
        _ => false,
    };
    namespace_flags(&plan.namespaces.iter().copied().filter(|kind| !later(kind)).collect::<Vec<_>>())
}

fn parent(plan: &Plan, side: Side<'_>, mut parts: Parts, clocks: Clocks) -> Result<Outcome> {
    // The child has its own copies; the end of these pipes has to be seen.
    parts.standard.stdin = None;
    let relays = relays(plan, &mut parts);
    let Prepared { unmapped, traffic, spent } = match prepare(plan, &side) {
        Ok(prepared) => prepared,
        Err(refused) => {
            process::signal_pidfd(number(&side.pidfd), libc::SIGKILL).ok();
            process::wait(Wait::For(side.child)).ok();
            return match refused {
                Refused::Step(failed) => Ok(not_started(step_failure(failed), clocks, parts.groups)),
                Refused::Error(error) => Err(error),
            };
        }
    };
    close_all(side.sources.into_iter().map(|source| source.handle).chain(spent).chain([side.theirs]));
    let mut watched = Watched {
        pidfd: number(&side.pidfd),
        signals: number(&side.signals),
        init: plan.init,
        groups: parts.groups.as_ref(),
        relays,
        terminal: parts.terminal.take(),
        refusals: side.refusals,
        uplink: side.uplink,
        status: number(&side.ours),
        early: Vec::new(),
        hands: if plan.harvest.is_some() { Hands::Awaited } else { Hands::NotWanted },
        since: clocks.1,
    };
    let seen = watch::until_end(&plan.watch, &mut watched).map_err(|trouble| {
        process::signal_pidfd(watched.pidfd, libc::SIGKILL).ok();
        process::wait(Wait::For(side.child)).ok();
        match trouble {
            Trouble::Wait(errno) => host("cannot wait for the command", errno),
            Trouble::Uplink(error) => error,
        }
    })?;
    // Given back before anything is said.
    drop(watched.terminal.take());
    let ledger = watched.uplink.take();
    let (relays, mut verdicts, hands) = (watched.relays, watched.early, watched.hands);
    let (refused, asked) = watched.refusals.and_then(Refusals::finish).unzip();
    let reaped = reap(side.child)?;
    let ledger = ledger.and_then(Uplink::finish);
    let survivors = if plan.namespaces.contains(&Namespace::Pid) { Vec::new() } else { orphans::end() };
    let said = verdict::receive(number(&side.ours)).map_err(|errno| host("cannot read from the init", errno))?;
    verdicts.extend(said);
    // Their numbers follow each other, so this is one call.
    close_all([side.ours, side.signals, side.pidfd].into_iter().chain(asked));
    let warnings = unmapped.iter().map(|step| unmapped_warning(plan, *step)).collect();
    let dead = Dead { plan, verdicts, reaped, seen, clocks, traffic };
    let harvested = if dead.ran() { take::all(plan, &side.targets, hands) } else { Harvested::default() };
    let mut outcome = dead.outcome(parts.groups, relays, warnings);
    outcome.harvest(harvested);
    outcome.leftovers.extend(survivors);
    outcome.refused = refused;
    outcome.ledger = ledger;
    Ok(outcome)
}

fn unmapped_warning(plan: &Plan, step: usize) -> String {
    let source = plan.steps.get(step).and_then(|step| match &step.op {
        Op::OpenTree { source, .. } => Some(source.display().to_string()),
        _ => None,
    });
    let source = source.unwrap_or_default();
    format!("the file system of `{source}` cannot map ids, so its files belong to `nobody` inside")
}

/// What the parent has when the child can go on.
struct Prepared {
    /// The steps whose sources could not have their ids mapped.
    unmapped: Vec<usize>,
    /// What counts its traffic.
    traffic: Option<OwnedFd>,
    /// What is no longer needed.
    spent: Vec<OwnedFd>,
}

enum Refused {
    Step(StepFailed),
    Error(Error),
}

/// Does for the child what only the parent can, and lets it go on.
fn prepare(plan: &Plan, side: &Side<'_>) -> std::result::Result<Prepared, Refused> {
    let mut spent = idmap::write(plan, side.child).map_err(Refused::Error)?;
    if let Some(uplink) = &side.uplink {
        let step = plan.steps.iter().position(|step| matches!(step.op, Op::Way(Deed::JoinBridge { .. })));
        match uplink.connect(side.child) {
            // A child that is gone has said why; one that is not will miss its interface.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(Refused::Step((step.unwrap_or(0), errno))),
        }
    }
    let first = side.sources.first().map_or(0, |source| source.step);
    let maps = idmap::maps(plan, side.child, &side.sources).map_err(|errno| Refused::Step((first, errno)))?;
    let unmapped = match plan.identity.writer {
        MapWriter::Nobody => Vec::new(),
        _ => sources::dress(&side.sources, &maps).map_err(Refused::Step)?,
    };
    if idmap::waits(plan) {
        go_on(side)?;
    }
    let traffic = traffic::open(plan, side.child);
    if traffic::counts(plan) {
        go_on(side)?;
    }
    spent.extend(maps.inside.into_iter().chain(maps.caller));
    Ok(Prepared { unmapped, traffic, spent })
}

fn go_on(side: &Side<'_>) -> std::result::Result<(), Refused> {
    match fd::write(number(&side.ours), b"1") {
        // A child that is gone says so by its end, not here.
        Ok(_) | Err(Errno::EPIPE) => Ok(()),
        Err(errno) => Err(Refused::Error(host("cannot let the sandbox go on", errno))),
    }
}

fn relays(plan: &Plan, parts: &mut Parts) -> Vec<Relay> {
    let streams = std::mem::take(&mut parts.streams).into_iter();
    let named = streams.zip([(Stream::Output, Fd(1)), (Stream::Error, Fd(2))]);
    named
        .filter_map(|(ends, (stream, target))| Some(Relay::new(stream, (ends?.0, target), plan.watch.capture)))
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
