//! The collector: a process that enters a sandbox whose own processes are dead, reads there
//! and ends. It is made like a child of a single-threaded sbx, so it may allocate; it holds
//! no descriptor but those of its task, and no path of the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;

use crate::image::pack::Fault;
use crate::image::pack::archive::{Archive, Holes};
use crate::plan::harvest::{Changes, Collected, Harvest};
use crate::plan::{MapWriter, Plan};
use crate::run::child::close_others;
use crate::run::harvest::Sandbox;
use crate::run::harvest::layer::Layer;
use crate::run::harvest::record::{End, Failure, Record};
use crate::run::harvest::{pack, upper};
use crate::spec::Namespace;
use crate::sys::file::{self, Access};
use crate::sys::process::{Cloned, Wait};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Fd, Sys, entry, fd, process, security};

/// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH of capabilities(7): a mode keeps the collector from nothing.
const READ_ALL: u64 = 1 << 1 | 1 << 2;

/// How much is written at once.
const BUFFER: usize = 256 << 10;

/// What one collector does.
#[derive(Debug, Clone, Copy)]
pub enum Task<'a> {
    Changes(&'a Changes),
    Pack(&'a Collected),
}

/// A collector at work.
#[derive(Debug)]
pub struct Collector {
    child: process::Pid,
    said: OwnedFd,
}

/// Starts a collector that writes to `output`.
///
/// # Errors
/// The errno of what the kernel refused.
pub fn start(plan: &Plan, harvest: &Harvest, sandbox: &Sandbox, (task, output): (Task<'_>, Fd)) -> Sys<Collector> {
    let (said, says) = fd::pipe()?;
    let (said, says) = (own(said), own(says));
    match process::clone3(0, None)? {
        Cloned::Child => {
            let mut record = Record::default();
            if let Err(failure) = work(plan, harvest, sandbox, (task, output, number(&says)), &mut record) {
                record.failure = Some(failure);
            }
            let written = File::from(says).write_all(record.to_string().as_bytes());
            process::exit_now(i32::from(written.is_err()))
        }
        Cloned::Parent { child, pidfd } => {
            drop(own(pidfd));
            Ok(Collector { child, said })
        }
    }
}

impl Collector {
    /// Waits until it has ended; returns what it said.
    #[must_use]
    pub fn finish(self) -> Record {
        let mut text = String::new();
        // Nobody else writes into this pipe; a collector that was killed has said less than a whole record.
        File::from(self.said).read_to_string(&mut text).ok();
        while matches!(process::wait(Wait::For(self.child)), Err(Errno::EINTR)) {}
        let record = Record::read(&text);
        match record.end {
            End::Whole => record,
            End::Cut => Record { failure: Some(Failure::Enter(Errno::EINTR)), ..record },
        }
    }
}

fn work(
    plan: &Plan,
    harvest: &Harvest,
    sandbox: &Sandbox,
    (task, output, says): (Task<'_>, Fd, Fd),
    record: &mut Record,
) -> Result<(), Failure> {
    let mut kept: Vec<Fd> = sandbox.trees.iter().chain([&sandbox.users, &sandbox.mounts]).map(number).collect();
    kept.extend([output, says]);
    kept.sort_by_key(|fd| fd.0);
    close_others(&kept).and_then(|()| enter(plan, sandbox)).map_err(Failure::Enter)?;
    entry::raise_open_files();
    let mut archive = Archive::new(BufWriter::with_capacity(BUFFER, File::from(own(output))), Holes::Filled(0));
    let done = match task {
        Task::Changes(changes) => {
            let mut layer = Layer { archive, record };
            walk(harvest, sandbox, changes, &mut layer)?;
            archive = layer.archive;
            Ok(())
        }
        Task::Pack(collect) => {
            let root = file::open(std::path::Path::new("/"), Access::DirectoryPlace).map_err(Failure::Enter)?;
            pack::pack(&root, collect, (&mut archive, record))
        }
    };
    archive.tell(&mut record.warnings);
    done?;
    Ok(archive.finish().map(drop)?)
}

fn walk(harvest: &Harvest, sandbox: &Sandbox, changes: &Changes, sink: &mut dyn upper::Sink) -> Result<(), Fault> {
    let tree = |tree| harvest.number(tree).and_then(|number| sandbox.trees.get(number));
    let mut uppers: Vec<_> = changes.uppers.iter().collect();
    uppers.sort_by(|left, right| left.place.cmp(&right.place));
    for layer in uppers {
        let failed = |errno| Fault::Read { path: layer.place.to_string(), errno };
        let holder = tree(layer.holder).ok_or(failed(Errno::EBADSLT))?;
        let opened = file::open_at(holder, OsStr::new(&layer.directory), Access::Directory).map_err(failed)?;
        let lower = match layer.lower {
            Some(lower) => {
                let lower = tree(lower).ok_or(failed(Errno::EBADSLT))?;
                Some(file::open_at(lower, OsStr::new("."), Access::DirectoryPlace).map_err(failed)?)
            }
            None => None,
        };
        let place = layer.place.as_str().trim_matches('/').as_bytes().to_vec();
        upper::walk(upper::Layers { upper: opened, lower, place, made: &changes.made }, sink)?;
    }
    Ok(())
}

/// The ids change after the namespace, so that nothing of the host's root is left; the terminal can end it.
fn enter(plan: &Plan, sandbox: &Sandbox) -> Sys<()> {
    if plan.namespaces.contains(&Namespace::User) {
        entry::enter(&sandbox.users)?;
    }
    entry::enter(&sandbox.mounts)?;
    if matches!(plan.identity.writer, MapWriter::Parent | MapWriter::Helpers) {
        process::set_ids(plan.identity.inside.uid, plan.identity.inside.gid, &[])?;
    }
    security::set_capabilities(READ_ALL, 0)?;
    security::not_dumpable()?;
    // Where nobody reads any more a write has to say so.
    process::unblock_all_but(libc::SIGPIPE)
}
