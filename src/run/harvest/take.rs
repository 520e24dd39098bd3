//! Ties together what is taken out: a place on the host, a collector, what it said. A
//! failure names the line of the spec and leaves nothing half-written.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::plan::harvest::{Changes, Collected, Harvest};
use crate::run::anchor::Exposed;
use crate::run::harvest::collector::{self, Task};
use crate::run::harvest::record::{Failure, Record};
use crate::run::harvest::target::Target;
use crate::run::harvest::{Changed, Hands, Harvested, Sandbox, Unfit, place};
use crate::spec::Need;
use crate::sys::watch::{number, own};
use crate::sys::{Errno, entry, fd};

/// The places on the host, open since before the run.
#[derive(Debug, Default)]
pub struct Targets {
    changes: Option<Target>,
    collects: Vec<Target>,
}

impl Targets {
    /// Opens what `plan` names; nothing where nothing is taken out.
    ///
    /// # Errors
    /// A directory that is not there, or one where a file is due.
    pub fn open(plan: &Plan, exposed: &Exposed) -> Result<Self> {
        let Some(harvest) = &plan.harvest else { return Ok(Self::default()) };
        let changes = harvest.changes.as_ref().map(|it| Target::open(&it.path, exposed, it.origin)).transpose()?;
        if let Some(target) = &changes
            && target.found() == Ok(Some(entry::Kind::Directory))
        {
            return Err(target.error("write the changes to", Errno::EISDIR));
        }
        let collects = harvest.collects.iter().map(|it| Target::open(&it.to, exposed, it.origin));
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
    if let (Some(changes), Some(target)) = (&harvest.changes, &targets.changes) {
        match take_changes(around, changes, target, &mut harvested.warnings) {
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

fn take_changes(
    (plan, harvest, sandbox): Around<'_>,
    changes: &Changes,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<Changed> {
    const WHAT: &str = "write the changes to";
    let failed = |errno| target.error(WHAT, errno);
    let (staged, file) = target.stage_file().map_err(failed)?;
    let task = (Task::Changes(changes), entry::number(&file));
    let record = collector::start(plan, harvest, sandbox, task).map_err(failed)?.finish();
    warnings.extend(record.warnings.iter().map(|warning| format!("changes: {warning}")));
    if let Some(failure) = &record.failure {
        return Err(said(failure, target, WHAT));
    }
    let bytes = file.metadata().map_err(|source| failed(errno(&source)))?.size();
    staged.put().map_err(failed)?;
    Ok(Changed { path: target.shown.clone(), counts: record.counts, bytes })
}

fn take_out(
    (plan, harvest, sandbox): Around<'_>,
    collect: &Collected,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<Found> {
    let what = format!("collect `{}` to", collect.source);
    let failed = |errno| target.error(&what, errno);
    let (staged, directory) = target.stage_directory().map_err(failed)?;
    let (reader, writer) = fd::pipe().map_err(failed)?;
    let (reader, writer) = (own(reader), own(writer));
    let task = (Task::Pack(collect), number(&writer));
    let collector = collector::start(plan, harvest, sandbox, task).map_err(failed)?;
    drop(writer);
    // The pipe is closed by then, so a collector that still writes ends too.
    let unpacked = place::unpack(File::from(reader), &directory);
    let Record { warnings: said_so, failure, .. } = collector.finish();
    warnings.extend(said_so.iter().map(|warning| format!("collect: {warning}")));
    match (&failure, unpacked) {
        (Some(Failure::Missing), _) => Ok(Found::No),
        (Some(Failure::Unfit(unfit)), _) => Ok(Found::Unfit(*unfit)),
        // A reader that stopped is why the collector could not write.
        (Some(Failure::Write(_)), Err(errno)) | (None, Err(errno)) => Err(failed(errno)),
        (Some(failure), _) => Err(said(failure, target, &what)),
        (None, Ok(unpacked)) => {
            place::put(&unpacked, &directory, target).map_err(failed)?;
            drop(staged);
            Ok(Found::Yes)
        }
    }
}

/// Returns what the collector said as an error.
fn said(failure: &Failure, target: &Target, what: &str) -> Error {
    let goal = format!("cannot {what} `{}`", target.shown);
    let error = match failure {
        Failure::Missing => Error::new(Kind::Io, goal).with_errno(libc::ENOENT),
        Failure::Unfit(_) => Error::new(Kind::Bug, format!("{goal}: it is not what is wanted")),
        Failure::Read { path, errno } => {
            Error::new(Kind::Io, format!("{goal}: cannot read `{path}` of the sandbox")).with_errno(*errno as i32)
        }
        Failure::Refused { path, why } => Error::new(Kind::Io, format!("{goal}: `{path}` cannot be kept: {why}")),
        Failure::Write(errno) => Error::new(Kind::Io, goal).with_errno(*errno as i32),
        Failure::Enter(errno) => {
            Error::new(Kind::Host, format!("{goal}: cannot look into the sandbox")).with_errno(*errno as i32)
        }
    };
    error.at(target.origin())
}

fn errno(source: &std::io::Error) -> Errno {
    Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO))
}
