//! From paths to cases: reads the specs, puts each test over its file, and looks up once what many cases share.
//! Nothing is run here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::app::gather::{self, Gathered};
use crate::app::request::{self, Text};
use crate::app::test_mistakes::Mistakes;
use crate::app::test_reserve::Reserved;
use crate::app::{Refusal, prepare, reenter, run, trusted};
use crate::cli::{Place, Request};
use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Accounting, Invocation, Manner};
use crate::plan::{Capture, resolve};
use crate::run::anchor::Exposed;
use crate::run::{Ended, Outcome, parent};
use crate::spec::param::{self, Setting};
use crate::spec::{Expect, ExpectedOutcome, Limits, Spec, Tty, Wall};
use crate::testing::Case;
use crate::testing::snapshot::{self, Kept};
use crate::units::{Origin, Spanned, duration};

/// All that is to be run.
#[derive(Debug, Default)]
pub struct Suite {
    pub texts: Vec<Text>,
    /// SHA-256 of each text, in hexadecimal.
    pub digests: Vec<String>,
    pub cases: Vec<Case>,
    /// One for each case.
    pub prepared: Vec<Prepared>,
    pub grounds: Vec<Ground>,
    /// As long as anything is run.
    reserved: Reserved,
}

/// One case, as it is run.
#[derive(Debug)]
pub struct Prepared {
    /// Which of the texts.
    pub text: usize,
    /// Of the `test` node.
    pub origin: Origin,
    /// The test over its file, one for all that are alike: each page of it is in the table that every fork copies.
    pub spec: Arc<Spec>,
    pub stdin: Option<String>,
    /// One for all that are alike, too.
    pub expect: Arc<Expect>,
    pub accounting: Accounting,
    /// Its own `wall`, where that of the command line is shorter.
    shortened: Option<Duration>,
    /// Its snapshot, as it is before anything is run.
    pub kept: Option<Kept>,
    /// Which of the grounds.
    pub ground: usize,
}

/// What was looked up, for all cases that differ in nothing that matters to it.
#[derive(Debug)]
pub struct Ground {
    text: usize,
    key: Spec,
    accounting: Accounting,
    pub invocation: Invocation,
    pub exposed: Exposed,
    /// Or why these cases cannot be run.
    pub gathered: Result<Gathered>,
}

/// What the command line changes in every case.
#[derive(Debug, Clone, Copy)]
pub struct Changes {
    pub timeout: Option<Duration>,
    /// Whether anybody reads the figures of each run.
    pub accounting: Accounting,
}

impl Suite {
    /// Reads `specs` with their parameters set; those without a test are left out, unless they were `named`.
    ///
    /// # Errors
    /// All mistakes of all of them.
    pub fn read(
        (specs, named): (&[PathBuf], &[PathBuf]),
        settings: &[Setting],
        changes: Changes,
    ) -> std::result::Result<Self, Mistakes> {
        let mut suite = Self::default();
        let mut mistakes = Mistakes::default();
        let mut texts = Vec::with_capacity(specs.len());
        for path in specs {
            match Text::read(path) {
                Ok(text) => texts.push((path, text)),
                Err(error) => mistakes.add_unread(&error, &path.to_string_lossy()),
            }
        }
        // What cannot be read may declare anything.
        let mut whole = mistakes.is_empty();
        let mut names = |text: &Text| text.parameters().inspect_err(|_| whole = false).unwrap_or_else(|found| found);
        let known: Vec<Vec<String>> = match settings {
            [] => Vec::new(),
            _ => texts.iter().map(|(_, text)| names(text)).collect(),
        };
        if let Some(error) = param::undeclared(settings, &known).filter(|_| whole) {
            mistakes.add(&request::told(&error));
        }
        for (number, (path, text)) in texts.into_iter().enumerate() {
            let names = known.get(number).map_or(&[][..], Vec::as_slice);
            let own: Vec<Setting> = settings.iter().filter(|setting| names.contains(&setting.name)).cloned().collect();
            match text.parse(&own) {
                Err(findings) => mistakes.add_findings(&findings, &text),
                Ok(spec) if spec.tests.is_empty() && named.contains(path) => {
                    let error = Error::new(Kind::Spec, format!("`{}` has no `test`", text.name))
                        .with_hint("write `test \"NAME\" { command \"…\"; expect { exit 0; } }` into it");
                    mistakes.add_of(&error, &text);
                }
                Ok(spec) if spec.tests.is_empty() => {}
                Ok(spec) => suite.add(path, text, &spec, changes),
            }
        }
        suite.same_snapshots(&mut mistakes);
        if mistakes.is_empty() { Ok(suite) } else { Err(mistakes) }
    }

    fn add(&mut self, path: &std::path::Path, text: Text, spec: &Spec, changes: Changes) {
        for test in &spec.tests {
            let mut merged = spec.with(&test.value.own);
            merged.tests = Vec::new();
            // What belongs to `sbx run` alone: what it keeps, and the caller's terminal.
            (merged.report, merged.changes, merged.collect) = (None, None, Vec::new());
            if merged.tty.as_ref().is_none_or(|tty| tty.value != Tty::Yes) {
                merged.tty = Some(Spanned::new(Tty::No, Origin::Default));
            }
            let shortened = changes.timeout.and_then(|timeout| shorten(&mut merged.limits, timeout));
            let expect = &test.value.expect;
            let last = self.prepared.last();
            let alike = last.filter(|last| *last.spec == merged).map(|last| last.spec.clone());
            let merged = alike.unwrap_or_else(|| Arc::new(merged));
            let alike = last.filter(|last| *last.expect == *expect).map(|last| last.expect.clone());
            let expect = alike.unwrap_or_else(|| Arc::new(expect.clone()));
            let (file, place) = text.place(test.origin);
            let figures = expect.memory.is_some() || expect.cpu_time.is_some();
            self.cases.push(Case {
                spec: text.name.clone(),
                name: test.value.name.clone(),
                file: file.to_owned(),
                place,
                memory: merged.limits.memory.as_ref().map(|memory| memory.value.max.0),
                snapshot: expect.snapshot.map(|_| snapshot::path(path, &test.value.name)),
            });
            self.prepared.push(Prepared {
                text: self.texts.len(),
                origin: test.origin,
                spec: merged,
                stdin: test.value.stdin.as_ref().map(|text| text.value.clone()),
                expect,
                accounting: if figures { Accounting::IfAvailable } else { changes.accounting },
                shortened,
                kept: None,
                ground: usize::MAX,
            });
        }
        self.digests.push(run::request_digest(&text));
        self.texts.push(text);
    }

    /// Two names that make one file would each undo the other's snapshot.
    fn same_snapshots(&self, mistakes: &mut Mistakes) {
        // By what the directories are: they have many names.
        let mut homes: HashMap<usize, PathBuf> = HashMap::new();
        let mut places: HashMap<PathBuf, &Case> = HashMap::new();
        for (case, prepared) in self.cases.iter().zip(&self.prepared) {
            let (text, Some(path)) = (&self.texts[prepared.text], &case.snapshot) else { continue };
            let real = || std::fs::canonicalize(&text.base).unwrap_or_else(|_| text.base.clone());
            let home = homes.entry(prepared.text).or_insert_with(real);
            let other = match places.entry(home.join(path.file_name().unwrap_or_default())) {
                Entry::Occupied(other) => &other.into_mut().name,
                Entry::Vacant(place) => {
                    place.insert(case);
                    continue;
                }
            };
            let message = format!("`{other}` and `{}` would have one snapshot, `{}`", case.name, path.display());
            let error = Error::new(Kind::Spec, message).with_hint("change the letters or digits of one name");
            mistakes.add_of(&error.at(prepared.origin), text);
        }
    }

    /// Looks up what the cases of `order` have to know, once for all that are alike. What is beside a spec is read
    /// here, before any command could have written there.
    ///
    /// # Errors
    /// What would prevent any of them: a scope of systemd that cannot be had, a group that cannot be prepared.
    pub fn gather(&mut self, order: &[usize], place: &Place) -> std::result::Result<(), Refusal> {
        for case in order {
            let prepared = &self.prepared[*case];
            let (text, key) = (prepared.text, key(&prepared.spec));
            let known = self.grounds.iter().position(|ground| {
                (ground.text, ground.accounting) == (text, prepared.accounting) && ground.key == key
            });
            let ground = match known {
                Some(ground) => ground,
                None => {
                    let ground = self.ground(*case, key, place)?;
                    self.grounds.push(ground);
                    self.grounds.len() - 1
                }
            };
            self.prepared[*case].ground = ground;
            self.prepared[*case].kept = self.cases[*case].snapshot.as_deref().map(Kept::look);
        }
        Ok(())
    }

    fn ground(&mut self, case: usize, key: Spec, place: &Place) -> std::result::Result<Ground, Refusal> {
        let prepared = &self.prepared[case];
        let text = &self.texts[prepared.text];
        let spec = &prepared.spec;
        let mut invocation = run::invocation(spec, &Request::default(), text, (Capture::Yes, prepared.accounting));
        invocation.manner = Manner::Replace;
        // What is compared is obeyed, too.
        let mut kept = self.cases.iter().zip(&self.prepared).filter(|(_, other)| other.text == prepared.text);
        let directory = kept.find_map(|(case, _)| case.snapshot.as_deref()?.parent()?.file_name());
        let directory = directory.map(|name| text.base.join(name));
        invocation.trusted.extend(directory.clone());
        let volumes = run::volumes(spec, place).and_then(|volumes| {
            invocation.volumes = volumes;
            match directory.filter(|_| trusted::is_given(spec, &invocation, &text.base)) {
                Some(directory) => self.reserved.add(&directory),
                None => Ok(()),
            }
        });
        let exposed;
        let gathered = match volumes {
            Ok(()) => {
                exposed = prepare::exposed(spec, &invocation);
                gather::gather(spec, &invocation, &exposed, place)
            }
            Err(error) => {
                exposed = Exposed::default();
                Err(error)
            }
        };
        if let Ok(gathered) = &gathered {
            let refuse = |error: Error| Refusal::new(&error, Some(text.as_spec()));
            reenter::in_scope_if_needed(text, spec, &gathered.facts.host).map_err(refuse)?;
            leave_group(gathered, &invocation, spec).map_err(refuse)?;
        }
        let (text, accounting) = (prepared.text, prepared.accounting);
        Ok(Ground { text, key, accounting, invocation, exposed, gathered })
    }
}

/// In v2 a group with processes has no controllers for those below, so this process, not only its workers, has to be
/// out of the way.
fn leave_group(gathered: &Gathered, invocation: &Invocation, spec: &Spec) -> Result<()> {
    let spec = gathered.configured.as_ref().unwrap_or(spec);
    // A plan that cannot be made is each case's to tell.
    let Ok(plan) = resolve::resolve(spec, &gathered.facts, invocation) else { return Ok(()) };
    plan.cgroup.iter().flat_map(|cgroup| &cgroup.groups).try_for_each(parent::prepare)
}

/// Returns `spec` without what no look at the host depends on.
fn key(spec: &Spec) -> Spec {
    let Limits { memory, cpu, cpuset, pids, io, hugetlb, cpu_time, cgroup, .. } = spec.limits.clone();
    Spec {
        command: None,
        env: Vec::new(),
        stdin: None,
        limits: Limits { memory, cpu, cpuset, pids, io, hugetlb, cpu_time, cgroup, ..Limits::default() },
        ..spec.clone()
    }
}

impl Prepared {
    /// A limit of the command line is none that a test could expect: returns where and why what it did is not what
    /// was expected.
    #[must_use]
    pub fn overtaken(&self, outcome: &Outcome) -> Option<(Origin, String)> {
        let own = self.shortened.filter(|_| outcome.ended == Ended::WallTimeout)?;
        let expected = self.expect.outcome.as_ref().filter(|it| it.value == ExpectedOutcome::WallTimeout)?;
        let limit = self.spec.limits.wall.as_ref().map(|wall| duration(wall.value.after)).unwrap_or_default();
        let message = format!("`--timeout {limit}` ended it before its own `wall` of {} could", duration(own));
        Some((expected.origin, message))
    }
}

/// Returns the wall limit of the test's own that was longer.
fn shorten(limits: &mut Limits, timeout: Duration) -> Option<Duration> {
    let own = limits.wall.as_ref().map(|wall| wall.value.after);
    match &mut limits.wall {
        // The grace is part of the time that the caller gives.
        Some(wall) if wall.value.after <= timeout => {
            wall.value.grace = wall.value.grace.min(timeout.saturating_sub(wall.value.after));
        }
        Some(wall) => wall.value = Wall { after: timeout, grace: Duration::ZERO },
        None => {
            let wall = Wall { after: timeout, grace: Duration::ZERO };
            limits.wall = Some(Spanned::new(wall, Origin::CommandLine));
        }
    }
    own.filter(|own| *own > timeout)
}
