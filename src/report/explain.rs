//! What happened in words for a person: why a command never started, and why a
//! run was ended. Decides nothing; the hints are in the table beside it.

use std::borrow::Cow;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::error::{Error, Kind};
use crate::plan::posture::Deed;
use crate::plan::{Op, Plan, way};
use crate::report::hints::{Act, advice};
use crate::run::{Ended, Failure, Outcome, ParentCall};
use crate::units::{Origin, Word, duration};

/// Why the command never started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The step in the words of `sbx plan`; `None` where no step was reached.
    pub step: Option<String>,
    pub error: Error,
}

/// Returns `failure` in words, with the place that asked for the step and a hint.
#[must_use]
pub fn failure(failure: Failure, plan: Option<&Plan>) -> Explained {
    match failure {
        Failure::Step { step, errno } => match plan.and_then(|plan| plan.steps.get(step)) {
            Some(step) => answered(step.op.to_string(), cannot(&step.op), step.origin, (Act::Op(&step.op), errno)),
            None => Explained {
                step: None,
                error: Error::new(Kind::Bug, format!("step {step} failed, which the plan does not have"))
                    .with_errno(errno),
            },
        },
        Failure::Parent { call, errno } => {
            let (step, message) = match call {
                ParentCall::Clone => ("clone", "cannot make the namespaces"),
                ParentCall::MapIds => ("map-ids", "cannot map the ids of the user namespace"),
                ParentCall::Fork => ("fork", "cannot start a process"),
            };
            answered(step.to_owned(), message.to_owned(), Origin::Default, (Act::Parent(call), errno))
        }
        Failure::Exec { errno } => {
            let name = plan.and_then(|plan| plan.exec.argv.first());
            let name = name.map(|name| name.to_string_lossy()).unwrap_or_default();
            answered(
                format!("exec {}", Word(&name)),
                format!("cannot execute `{name}`"),
                plan.map_or(Origin::Default, |plan| plan.exec.origin),
                (Act::Exec, errno),
            )
        }
        Failure::Killed { signal } => Explained { step: None, error: killed(signal) },
        Failure::Silent { code } => Explained {
            step: None,
            error: Error::new(
                Kind::Bug,
                format!("the sandbox ended with status {code} before the command started and did not say why"),
            ),
        },
    }
}

/// Returns why the run was ended, in one line; `None` after a plain exit.
#[must_use]
pub fn reason(outcome: &Outcome, plan: Option<&Plan>) -> Option<String> {
    let watch = plan.map(|plan| &plan.watch);
    let at = |limit: &str, value: Option<String>| match value {
        Some(value) => format!("killed at the {limit} limit of {value}"),
        None => format!("killed at the {limit} limit"),
    };
    Some(match outcome.ended {
        Ended::Exited { .. } => return None,
        Ended::Signaled { signal: libc::SIGSYS, .. } if plan.is_some_and(filtered) => {
            "ended by SIGSYS: the program is for another architecture, or made a call for which `seccomp` kills"
                .to_owned()
        }
        Ended::Signaled { signal, core_dumped: true } => format!("ended by {}, core dumped", signal_name(signal)),
        Ended::Signaled { signal, core_dumped: false } => format!("ended by {}", signal_name(signal)),
        Ended::WallTimeout => at("wall", watch.and_then(|watch| watch.wall).map(duration)),
        Ended::CpuTimeout => at("cpu-time", watch.and_then(|watch| watch.cpu_time).map(duration)),
        Ended::OutOfMemory => {
            let limit = plan.and_then(|plan| plan.limits.iter().find(|limit| limit.name == "memory"));
            at("memory", limit.map(|limit| limit.requested.clone()))
        }
        Ended::OutputLimit => at("output", watch.and_then(|watch| watch.output).map(|size| size.to_string())),
        Ended::Canceled { signal } => format!("canceled by {}", signal_name(signal)),
        Ended::NotStarted(why) => failure(why, plan).error.to_string(),
    })
}

fn filtered(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.op, Op::Seccomp { .. }))
}

/// Returns the name of a signal, as in `SIGKILL`; of a real-time one its number.
#[must_use]
pub fn signal_name(signal: i32) -> Cow<'static, str> {
    match Signal::try_from(signal) {
        Ok(signal) => Cow::Borrowed(signal.as_str()),
        Err(_) => Cow::Owned(format!("signal {signal}")),
    }
}

fn answered(step: String, message: String, origin: Origin, (act, errno): (Act<'_>, i32)) -> Explained {
    let advice = advice(act, Errno::from_raw(errno));
    let error = Error {
        kind: advice.map_or(Kind::Setup, |advice| advice.kind),
        message,
        errno: Some(errno),
        hint: advice.map(|advice| advice.hint.to_owned()),
        origin,
    };
    Explained { step: Some(step), error }
}

fn killed(signal: i32) -> Error {
    let error =
        Error::new(Kind::Setup, format!("the sandbox was ended by {} before the command started", signal_name(signal)));
    match Signal::try_from(signal) {
        Ok(Signal::SIGKILL) => {
            error.with_hint("the memory limit may be too small to start the command: raise `memory`")
        }
        Ok(Signal::SIGSYS) => error
            .with_kind(Kind::Host)
            .with_hint("a seccomp filter around sbx forbids a call (`--security-opt seccomp=unconfined`)"),
        _ => error,
    }
}

/// What could not be done, with the names that the user knows it by.
fn cannot(op: &Op) -> String {
    match op {
        Op::MapIds => "cannot map the ids of the user namespace".to_owned(),
        Op::SetIds => "cannot become the command's user".to_owned(),
        Op::DieWithParent => "cannot tie the sandbox to the life of sbx".to_owned(),
        Op::BareRoot => "cannot keep the image: a mount lies on its root, where a link of the image led it".to_owned(),
        Op::SealMounts => "cannot seal the mounts".to_owned(),
        Op::PrivateMounts => "cannot part the mounts from the host's".to_owned(),
        Op::OpenTree { source, .. } => format!("cannot open the source `{}`", source.display()),
        Op::NewFilesystem { filesystem, .. } => format!("cannot make a file system of type {filesystem}"),
        Op::NewFile { .. } => "cannot make a file with its content".to_owned(),
        Op::HandOver { .. } => "cannot hand over what is to be looked at after the run".to_owned(),
        Op::Stage { .. } => "cannot make the place in which layers are put together".to_owned(),
        Op::MakeStaged { directory, .. } => format!("cannot make the mount point's place `{directory}`"),
        Op::AttachStaged { directory, .. } => format!("cannot put the layer `{directory}` in place"),
        Op::Pivot { .. } => "cannot make the rootfs the root".to_owned(),
        Op::Attach { destination, .. } => format!("cannot mount on `{destination}`"),
        Op::Mount { filesystem, destination, .. } => format!("cannot mount {filesystem} on `{destination}`"),
        Op::MakeDir { path, .. } => format!("cannot make the directory `{path}`"),
        Op::MakeFile { path, .. } => format!("cannot make the file `{path}`"),
        Op::MakeSymlink { path, .. } => format!("cannot make the symbolic link `{path}`"),
        Op::OpenTerminal => "cannot make the terminal of the sandbox".to_owned(),
        Op::ReadOnly { path } => format!("cannot make the mount on `{path}` read-only"),
        Op::Pin { path, .. } => format!("cannot keep the command from changing `{path}`, which sbx reads"),
        Op::Posture(deed) => cannot_posture(deed),
        Op::JoinCgroup => "cannot enter the run's cgroup".to_owned(),
        Op::UnshareCgroup => "cannot make the cgroup namespace".to_owned(),
        Op::UnshareTime { .. } => "cannot set the clocks of the time namespace".to_owned(),
        Op::Hostname { name } => format!("cannot set the hostname `{name}`"),
        Op::LoopbackUp => "cannot bring up `lo`".to_owned(),
        Op::Way(way::Deed::AnyAddress { .. }) => "cannot route every address to `lo`".to_owned(),
        Op::Way(way::Deed::Intercept { .. }) => "cannot lead what the command sends to sbx".to_owned(),
        Op::Way(way::Deed::SilencePings { .. }) => "cannot keep the kernel from answering pings".to_owned(),
        Op::Way(way::Deed::AllowPings) => "cannot allow pings".to_owned(),
        Op::Way(way::Deed::JoinBridge { name, .. }) => format!("cannot connect to the bridge `{name}`"),
        Op::Way(way::Deed::OpenInlets { .. }) => "cannot open the inlets of the sandbox's network".to_owned(),
        Op::Rlimit { resource, value } => format!("cannot limit `{}` to {value}", resource.as_str()),
        Op::LockMounts { .. } => "cannot lock the mounts against `SYS_ADMIN`".to_owned(),
        Op::Capabilities { .. } => "cannot drop the capabilities".to_owned(),
        Op::NoNewPrivileges => "cannot forbid new privileges".to_owned(),
        Op::Landlock { act } => act.failed(),
        Op::Seccomp { .. } => "cannot filter the system calls of the command".to_owned(),
        Op::Workdir { path } => format!("cannot change to the working directory `{path}`"),
    }
}

fn cannot_posture(deed: &Deed) -> String {
    match deed {
        Deed::Hide { path, .. } => format!("cannot mask `{path}`"),
        Deed::Freeze { path } => format!("cannot make `{path}` read-only"),
        Deed::NoUserNamespaces { .. } => "cannot forbid new user namespaces".to_owned(),
        Deed::OomScore { .. } => "cannot put the sandbox first in line for the OOM killer".to_owned(),
        Deed::NewKeyring => "cannot make a session keyring".to_owned(),
    }
}
