//! Ties together what is taken out: a place on the host, a collector, what it said. A
//! failure names the line of the spec and leaves nothing half-written.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use crate::error::{Error, Kind, Result};
use crate::image::pack::Fault;
use crate::plan::Plan;
use crate::plan::harvest::{Changes, Collected, Harvest};
use crate::run::anchor::Exposed;
use crate::run::harvest::collector::{self, Task};
use crate::run::harvest::outlet::{self, Outlet, WHAT};
use crate::run::harvest::place::Obstacle;
use crate::run::harvest::record::{Failure, Record};
use crate::run::harvest::target::Target;
use crate::run::harvest::{Changed, Hands, Harvested, Sandbox, Unfit, place};
use crate::spec::Need;
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Fd, Sys, entry, fd};
use crate::units::{AbsPath, shown};

/// The places on the host, open since before the run.
#[derive(Debug, Default)]
pub struct Targets {
    changes: Option<Outlet>,
    collects: Vec<Target>,
}

impl Targets {
    /// Opens what `plan` names; nothing where nothing is taken out.
    ///
    /// # Errors
    /// A directory that is not there, or something at a place that is not to be replaced.
    pub fn open(plan: &Plan, exposed: &Exposed) -> Result<Self> {
        let Some(harvest) = &plan.harvest else { return Ok(Self::default()) };
        let changes = harvest.changes.as_ref().map(|it| Outlet::open(&it.path, exposed, it.origin)).transpose()?;
        let open = |it: &Collected| {
            let target = Target::open(&it.to, exposed, it.origin)?;
            match target.found() {
                Ok(Some(found)) if place::is_special(found) => Err(special(&target, &it.source, (&[], found))),
                _ => Ok(target),
            }
        };
        let collects = harvest.collects.iter().map(open);
        Ok(Self { changes, collects: collects.collect::<Result<_>>()? })
    }
}

/// Takes out everything that `plan` wants, whatever the command did.
#[must_use]
pub fn all(plan: &Plan, targets: &Targets, hands: Hands) -> Harvested {
    let mut harvested = Harvested::default();
    let Some(harvest) = &plan.harvest else { return harvested };
    let Hands::Here(sandbox) = hands else {
        harvested.failed.push(Error::new(Kind::Bug, "the sandbox is gone with what was to be taken out of it"));
        return harvested;
    };
    let around = (plan, harvest, &sandbox);
    if let (Some(changes), Some(outlet)) = (&harvest.changes, &targets.changes) {
        match take_changes(around, changes, outlet, &mut harvested.warnings) {
            Ok(changed) => harvested.changes = Some(changed),
            Err(error) => harvested.failed.push(error),
        }
    }
    for (collect, target) in harvest.collects.iter().zip(&targets.collects) {
        match take_out(around, collect, target, &mut harvested.warnings) {
            Ok(Found::Yes) => {}
            Ok(Found::Unfit(unfit)) => harvested.unfit.push((collect.origin, unfit)),
            Ok(Found::No) if collect.need == Need::Optional => {}
            Ok(Found::No) => harvested.missing.push(
                Error::new(Kind::Spec, format!("there is nothing at `{}` to collect", collect.source))
                    .with_hint("look at what the command makes, or write `optional=#true`")
                    .at(collect.origin),
            ),
            Err(error) => harvested.failed.push(error),
        }
    }
    harvested
}

type Around<'a> = (&'a Plan, &'a Harvest, &'a Sandbox);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Yes,
    No,
    Unfit(Unfit),
}

fn take_changes(around: Around<'_>, changes: &Changes, outlet: &Outlet, warnings: &mut Vec<String>) -> Result<Changed> {
    let target = outlet.target();
    let failed = |errno| target.error(WHAT, errno);
    let mut wrote = |record: Record| {
        warnings.extend(record.warnings.iter().map(|warning| format!("changes: {warning}")));
        record.failure.as_ref().map_or(Ok(record.counts), |failure| Err(said(failure, target, WHAT)))
    };
    let (counts, bytes) = match outlet {
        Outlet::File(target) => {
            let (staged, file) = target.stage_file().map_err(failed)?;
            let counts =
                wrote(start(around, (Task::Changes(changes), entry::number(&file))).map_err(failed)?.finish())?;
            let bytes = file.metadata().map_err(|source| failed(errno(&source)))?.size();
            outlet::judge(target)?;
            staged.put().map_err(failed)?;
            (counts, bytes)
        }
        Outlet::Stream(_, stream) => {
            let (reader, writer) = fd::pipe().map_err(failed)?;
            let (reader, writer) = (own(reader), own(writer));
            let collector = start(around, (Task::Changes(changes), number(&writer))).map_err(failed)?;
            drop(writer);
            // The pipe is closed by then, so a collector that still writes ends too.
            let copied = copy(File::from(reader), stream);
            let record = collector.finish();
            let counts = match (&record.failure, &copied) {
                // A reader that stopped is why the collector could not write.
                (Some(Failure::Fault(Fault::Write(_))), Err(errno)) => return Err(failed(*errno)),
                _ => wrote(record)?,
            };
            (counts, copied.map_err(failed)?)
        }
    };
    Ok(Changed { path: target.shown.clone(), counts, bytes })
}

/// Reads all of `from`, which the caller has no more use for.
fn copy(mut from: File, mut to: &File) -> Sys<u64> {
    io::copy(&mut from, &mut to).map_err(|source| errno(&source))
}

fn start((plan, harvest, sandbox): Around<'_>, task: (Task<'_>, Fd)) -> Sys<collector::Collector> {
    collector::start(plan, harvest, sandbox, task)
}

fn take_out(around: Around<'_>, collect: &Collected, target: &Target, warnings: &mut Vec<String>) -> Result<Found> {
    let what = format!("collect `{}` to", collect.source);
    let failed = |errno| target.error(&what, errno);
    let (staged, directory) = target.stage_directory().map_err(failed)?;
    let (reader, writer) = fd::pipe().map_err(failed)?;
    let (reader, writer) = (own(reader), own(writer));
    let collector = start(around, (Task::Pack(collect), number(&writer))).map_err(failed)?;
    drop(writer);
    // The pipe is closed by then, so a collector that still writes ends too.
    let unpacked = place::unpack(File::from(reader), &directory);
    let Record { warnings: said_so, failure, .. } = collector.finish();
    warnings.extend(said_so.iter().map(|warning| format!("collect: {warning}")));
    match (&failure, unpacked) {
        (Some(Failure::Missing), _) => Ok(Found::No),
        (Some(Failure::Unfit(unfit)), _) => Ok(Found::Unfit(*unfit)),
        // A reader that stopped is why the collector could not write.
        (Some(Failure::Fault(Fault::Write(_))), Err(errno)) | (None, Err(errno)) => Err(failed(errno)),
        (Some(failure), _) => Err(said(failure, target, &what)),
        (None, Ok(unpacked)) => {
            place::put(&unpacked, &directory, target).map_err(|obstacle| match obstacle {
                Obstacle::Errno(errno) => failed(errno),
                Obstacle::Special(below, found) => special(target, &collect.source, (&below, found)),
            })?;
            drop(staged);
            Ok(Found::Yes)
        }
    }
}

/// Returns an error about something that is not replaced, at `below` the target.
fn special(target: &Target, source: &AbsPath, (below, found): (&[u8], entry::Kind)) -> Error {
    let goal = format!("cannot collect `{source}` to `{}`", target.shown);
    let what = if below.is_empty() { "it".to_owned() } else { format!("`{}` there", shown(below)) };
    let message = format!("{goal}: {what} is a {}; `collect` writes files and directories", found.word());
    Error::new(Kind::Io, message).with_hint("name another place, or remove what is there").at(target.origin())
}

/// Returns what the collector said as an error.
fn said(failure: &Failure, target: &Target, what: &str) -> Error {
    let goal = format!("cannot {what} `{}`", target.shown);
    let error = match failure {
        Failure::Missing => Error::new(Kind::Io, goal).with_errno(libc::ENOENT),
        Failure::Unfit(_) => Error::new(Kind::Bug, format!("{goal}: it is not what is wanted")),
        Failure::Fault(fault) => fault.error(&goal, " of the sandbox"),
        Failure::Enter(errno) => {
            Error::new(Kind::Host, format!("{goal}: cannot look into the sandbox")).with_errno(*errno as i32)
        }
    };
    error.at(target.origin())
}

fn errno(source: &io::Error) -> Errno {
    Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO))
}
