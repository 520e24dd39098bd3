//! The rules of Landlock as the command's process has the kernel hold them: frozen
//! before the clone. What they allow was decided by the plan.

use std::ffi::CString;

use crate::error::Result;
use crate::plan::landlock::{Act, Right, Rights};
use crate::plan::{Op, Plan};
use crate::run::c_text::text;
use crate::spec::Resource;
use crate::sys::file::Stat;
use crate::sys::landlock::{self, FILE_RIGHTS, FLAG_LOG_SUBDOMAINS_OFF, Handled};
use crate::sys::{Errno, Fd, Sys, fd};

/// Beyond this many rules the places are closed one by one; before, execve(2) closes them.
const OPEN: usize = 16;

/// One set of rules, and the step of the plan that begins it.
#[derive(Debug)]
pub struct Ruleset {
    step: usize,
    handled: Handled,
    flags: u32,
    rules: Vec<Rule>,
    places: Places,
}

#[derive(Debug)]
struct Rule {
    step: usize,
    place: Place,
    allowed: u64,
}

#[derive(Debug)]
enum Place {
    Path(CString),
    Stream(Fd),
    Port(u16),
}

/// What becomes of the descriptors of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    LeftToExec,
    Closed,
}

/// Freezes the rules of a plan. `streams` are the standard streams that the command has from sbx's caller.
///
/// # Errors
/// A path with a NUL character, which none can have.
pub fn freeze(plan: &Plan, streams: &[Option<Stat>; 3]) -> Result<Vec<Ruleset>> {
    let Some(abi) = plan.landlock.abi else { return Ok(Vec::new()) };
    let flags = if abi >= 7 { FLAG_LOG_SUBDOMAINS_OFF } else { 0 };
    let few = plan.steps.iter().any(|step| matches!(step.op, Op::Rlimit { resource: Resource::OpenFiles, .. }));
    let places = if few { Places::Closed } else { Places::LeftToExec };
    let mut rulesets: Vec<Ruleset> = Vec::with_capacity(2);
    for (step, act) in plan.steps.iter().enumerate().filter_map(|(number, step)| match &step.op {
        Op::Landlock { act } => Some((number, act)),
        _ => None,
    }) {
        let mut add = |place, allowed| {
            if let Some(ruleset) = rulesets.last_mut() {
                ruleset.rules.push(Rule { step, place, allowed });
                if ruleset.rules.len() > OPEN {
                    ruleset.places = Places::Closed;
                }
            }
        };
        match act {
            Act::Handle(rights) => {
                rulesets.push(Ruleset { step, handled: rights.bits(abi), flags, rules: Vec::new(), places });
            }
            Act::Path(path, rights) => add(Place::Path(text(path.as_str())?), rights.bits(abi).files),
            Act::Streams(rights) => {
                for (fd, rights) in reopened(streams, *rights) {
                    add(Place::Stream(fd), rights.bits(abi).files & FILE_RIGHTS);
                }
            }
            Act::Port(port, rights) => add(Place::Port(*port), rights.bits(abi).ports),
        }
    }
    Ok(rulesets)
}

/// What has a place to be opened again, each once: `/dev/stdout` is a link to it.
fn reopened(streams: &[Option<Stat>; 3], allowed: Rights) -> Vec<(Fd, Rights)> {
    let ioctl = Rights::of(&[Right::Ioctl]);
    let uses = [Right::Read, Right::Write, Right::Write].map(|right| ioctl.and(Rights::of(&[right])).within(allowed));
    let mut all: Vec<(Fd, Rights, &Stat)> = Vec::with_capacity(3);
    for ((number, found), rights) in (0..).zip(streams).zip(uses) {
        let Some(found) = found.as_ref().filter(|_| !rights.is_empty()) else { continue };
        match all.iter_mut().find(|(.., other)| (other.device, other.inode) == (found.device, found.inode)) {
            Some((_, before, _)) => *before = before.and(rights),
            None => all.push((Fd(number), rights, found)),
        }
    }
    all.into_iter().map(|(fd, rights, _)| (fd, rights)).collect()
}

impl Ruleset {
    /// Has this process obey from here on, with what it starts; child-safe.
    ///
    /// # Errors
    /// The number of the step that failed, and the errno.
    pub fn enforce(&self) -> std::result::Result<(), (usize, Errno)> {
        let own = |errno| (self.step, errno);
        let ruleset = landlock::ruleset(&self.handled).map_err(own)?;
        for rule in &self.rules {
            rule.add(ruleset, self.places).map_err(|errno| (rule.step, errno))?;
        }
        landlock::restrict_self(ruleset, self.flags).map_err(own)?;
        match self.places {
            Places::LeftToExec => Ok(()),
            Places::Closed => fd::close(ruleset).map_err(own),
        }
    }
}

impl Rule {
    fn add(&self, ruleset: Fd, places: Places) -> Sys<()> {
        match &self.place {
            Place::Port(port) => landlock::allow_port(ruleset, *port, self.allowed),
            // A pipe or a socket has no place, and needs none.
            Place::Stream(stream) => match landlock::allow_beneath(ruleset, *stream, self.allowed) {
                Err(Errno::EBADFD) => Ok(()),
                other => other,
            },
            Place::Path(path) => {
                let place = match fd::open(path, libc::O_PATH, 0) {
                    // What the command cannot reach needs no rule.
                    Err(Errno::EACCES) => return Ok(()),
                    other => other?,
                };
                let added = match landlock::allow_beneath(ruleset, place, self.allowed) {
                    // A file, for which the rights of directories mean nothing.
                    Err(Errno::EINVAL) => match self.allowed & FILE_RIGHTS {
                        0 => Ok(()),
                        allowed => landlock::allow_beneath(ruleset, place, allowed),
                    },
                    other => other,
                };
                match places {
                    Places::LeftToExec => added,
                    Places::Closed => added.and(fd::close(place)),
                }
            }
        }
    }
}
