//! Runs one case in a worker, as `sbx run` would run its spec, and holds what came of it against what is expected.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::app::configure::complete;
use crate::app::test_suite::{Ground, Prepared, Suite};
use crate::app::{prepare, redirection, run};
use crate::error::{Error, Kind, Result};
use crate::image::remove;
use crate::plan::facts::{Facts, Redirection};
use crate::plan::{Plan, resolve};
use crate::report::cases::{Answer, Shortfall, State};
use crate::report::{Report, Subject};
use crate::run::bare::BareMounts;
use crate::run::harvest::Unfit;
use crate::run::lasting::LastingMounts;
use crate::run::{Outcome, drive, stdio};
use crate::spec::{Collect, HostPath, Init, Need, RootfsSource, Spec, Stdin, Wanted};
use crate::sys::{process, time};
use crate::testing::figures::Orphans;
use crate::testing::judge::{self, Evidence, Found, Snapshots};
use crate::testing::snapshot::OnDisk;
use crate::units::{Origin, Spanned};

/// The largest file that is looked at.
const FILE_MAX: u64 = 16 << 20;

/// How cases are run.
#[derive(Debug)]
pub struct Runner<'a> {
    pub suite: &'a Suite,
    pub snapshots: Snapshots,
    pub reports: Reports,
    /// A directory of this call, for what goes into and comes out of sandboxes.
    pub scratch: PathBuf,
    /// Where sandboxes are cloned.
    pub bare: Option<BareMounts>,
}

/// Whether anybody reads the report of each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reports {
    Wanted,
    NotWanted,
}

impl Runner<'_> {
    /// Runs a case and returns what came of it, and its mounts, which go last.
    #[must_use]
    pub fn run(&self, case: usize) -> (Answer, Option<LastingMounts>) {
        let prepared = &self.suite.prepared[case];
        let ground = &self.suite.grounds[prepared.ground];
        let name = format!("{case}");
        let place = self.scratch.join(&name);
        let wants_place = prepared.stdin.is_some() || !prepared.expect.files.is_empty();
        let clocks = (time::wall(), time::monotonic());
        let made = if wants_place { self.make(&name) } else { Ok(()) };
        let mut mounts = None;
        let happened = made.and_then(|()| furnished(prepared, &place)).and_then(|spec| {
            // Made by a command that was not found, too.
            let mut go = |redirection| -> Result<(Plan, Outcome)> {
                let plan = decide(&spec, ground, redirection)?;
                let (outcome, left) = drive::run_one_of_many(&plan, clocks, self.bare.as_ref())?;
                mounts = left;
                Ok((plan, outcome))
            };
            let (plan, outcome) = go(Redirection::There)?;
            match redirection::missing(&plan, &outcome) {
                Some(missing) => go(missing),
                None => Ok((plan, outcome)),
            }
        });
        let answer = self.judge(case, &place, happened);
        if wants_place {
            // What is left there goes with the whole.
            remove::remove(&self.scratch, name.as_ref()).ok();
        }
        (answer, mounts)
    }

    fn make(&self, name: &str) -> Result<()> {
        // An attempt before this one may have been killed.
        remove::remove(&self.scratch, name.as_ref())?;
        let place = self.scratch.join(name);
        std::fs::create_dir(&place)
            .map_err(|source| Error::io(format_args!("cannot make the directory `{}`", place.display()), &source))
    }

    fn judge(&self, case: usize, place: &Path, happened: Result<(Plan, Outcome)>) -> Answer {
        let prepared = &self.suite.prepared[case];
        let ground = &self.suite.grounds[prepared.ground];
        let text = &self.suite.texts[prepared.text];
        let rootfs = prepared.spec.rootfs.as_ref().map(|rootfs| &rootfs.value.source);
        let source = rootfs.filter(|source| !matches!(source, RootfsSource::Host | RootfsSource::Scratch));
        let source = source.map(RootfsSource::as_written);
        let gathered = ground.gathered.as_ref().ok();
        let image = gathered.and_then(|gathered| gathered.image.as_ref());
        let digest = image.and_then(|image| Some(image.digest.as_ref()?.to_string()));
        let mut member = gathered
            .map(|gathered| run::rootfs_member(&prepared.spec, &gathered.facts.base, image))
            .unwrap_or_default();
        (member.source, member.digest) = (source.as_deref(), digest.as_deref());
        let subject = Subject {
            spec: Some(text.as_spec()),
            sha256: Some(&self.suite.digests[prepared.text]),
            rootfs: member,
            ..Subject::default()
        };
        let (plan, told) = match &happened {
            Ok((plan, outcome)) => (Some(plan), Ok(outcome)),
            Err(error) => (None, Err(error)),
        };
        let mut report = Report::new(&subject, plan, told);
        let output = told.ok().map(|outcome| &outcome.output);
        let evidence = Evidence {
            stdout: output.and_then(|output| output.stdout.as_deref()).unwrap_or_default(),
            stderr: output.and_then(|output| output.stderr.as_deref()).unwrap_or_default(),
            files: files(prepared, place, told.ok()),
            kept: prepared.kept.as_ref().map_or(&OnDisk::Missing, |kept| &kept.content),
            secrets: plan.map_or(&[][..], |plan| &plan.exec.env),
            report: &report,
            text: text.as_spec(),
            test: prepared.origin,
            orphans: match plan.map(|plan| plan.init) {
                Some(Init::Command) => Orphans::Abandoned,
                Some(Init::Reaper) | None => Orphans::Awaited,
            },
        };
        let path = self.suite.cases[case].snapshot.as_deref();
        let mut answer = judge::judge(&prepared.expect, &evidence, (path, self.snapshots));
        answer.asked = told.is_ok_and(|outcome| outcome.asked.is_some());
        if let Some((origin, message)) = told.ok().and_then(|outcome| prepared.overtaken(outcome)) {
            let (file, (line, column)) = text.place(origin);
            let failure = Shortfall { file: file.to_owned(), line, column, message, difference: None };
            answer = Answer { state: State::Failed, failures: vec![failure], snapshot: None, ..answer };
        }
        if self.reports == Reports::Wanted {
            // The answer has them already.
            (report.output.stdout, report.output.stderr) = (None, None);
            answer.report = report.to_line().ok().and_then(|line| String::from_utf8(line).ok());
        }
        answer
    }
}

/// The plan of a case: what was looked up is there already.
fn decide(spec: &Spec, ground: &Ground, redirection: Redirection) -> Result<Plan> {
    let gathered = ground.gathered.as_ref().map_err(Clone::clone)?;
    let without;
    let facts = match redirection {
        Redirection::There => &gathered.facts,
        Redirection::Missing(_) => {
            without = Facts { redirection, ..gathered.facts.clone() };
            &without
        }
    };
    let configured = complete(spec, gathered.image.as_ref(), &facts.base)?;
    let spec = configured.as_ref().unwrap_or(spec);
    let mut invocation = ground.invocation.clone();
    // The worker's own, which no other run has while this one lives; and its own standard input is empty.
    invocation.process = process::own_pid().0.unsigned_abs();
    invocation.streams = stdio::look();
    let plan = resolve::resolve(spec, facts, &invocation)?;
    prepare::directories(spec, &invocation, &ground.exposed)?;
    Ok(plan)
}

/// Returns the spec of a case with what it reads, and the files that are looked at taken out.
fn furnished(prepared: &Prepared, place: &Path) -> Result<Spec> {
    let mut spec = Spec::clone(&prepared.spec);
    let outside = |path: PathBuf| HostPath(path.to_string_lossy().into_owned());
    if let Some(text) = &prepared.stdin {
        let path = place.join("stdin");
        std::fs::write(&path, text)
            .map_err(|source| Error::io(format_args!("cannot write `{}`", path.display()), &source))?;
        spec.stdin = Some(Spanned::new(Stdin::File(outside(path)), Origin::Default));
    }
    for (number, file) in prepared.expect.files.iter().enumerate() {
        let to = outside(place.join(number.to_string()));
        let wanted = Wanted::FileUpTo(FILE_MAX);
        let collect = Collect { source: file.value.path.clone(), to, need: Need::Optional, wanted };
        spec.collect.push(Spanned::new(collect, file.origin));
    }
    Ok(spec)
}

/// Returns what came of the files that are expected.
fn files(prepared: &Prepared, place: &Path, outcome: Option<&Outcome>) -> Vec<Found> {
    let files = prepared.expect.files.iter().enumerate().map(|(number, file)| {
        // What stands nowhere in the spec is of all of them.
        let about = |error: &&Error| error.origin == file.origin || error.origin == Origin::Default;
        let failed = outcome.and_then(|outcome| outcome.failed.iter().find(about));
        let unfit = outcome.and_then(|outcome| outcome.unfit.iter().find(|(origin, _)| *origin == file.origin));
        match (failed, unfit) {
            // What the command made is not to be had as it is: a ring of links, a file of procfs.
            (Some(error), _) if matches!((error.kind, error.errno), (Kind::Io, None | Some(libc::ELOOP))) => {
                Found::Unreadable(error.to_string())
            }
            (Some(error), _) => Found::Lost(error.to_string()),
            (None, Some((_, Unfit::NotAFile))) => Found::NotAFile,
            (None, Some(&(_, Unfit::TooLarge(size)))) => Found::TooLarge { size, most: FILE_MAX },
            (None, None) => match std::fs::read(place.join(number.to_string())) {
                Ok(bytes) => Found::Content(bytes),
                Err(error) if error.kind() == ErrorKind::NotFound => Found::Missing,
                Err(error) => Found::Lost(error.to_string()),
            },
        }
    });
    files.collect()
}
