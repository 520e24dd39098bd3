//! Holds what a run left against what its test expects, and says all that does not hold. It runs, reads and writes
//! nothing.

use std::path::Path;
use std::time::Duration;

use crate::plan::Variable;
use crate::report::cases::{Answer, Shortfall, Snapshot, State};
use crate::report::secrets::masked;
use crate::report::{OutcomeKind, Report};
use crate::run::CAPTURE_MAX;
use crate::spec::{Expect, ExpectedOutcome, FileRule, TextRule};
use crate::testing::difference::difference;
use crate::testing::figures::{Orphans, UNCOUNTED, cpu_time, rounded};
use crate::testing::pattern;
use crate::testing::snapshot::{self, OnDisk};
use crate::units::{Origin, Span, Spanned, SpecText, duration};

/// How much of a stream an answer holds: its beginning and its end.
const SHOWN_MAX: usize = 64 << 10;

/// What a run left.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub report: &'a Report<'a>,
    /// As it was written; empty where nothing was run.
    pub stdout: &'a [u8],
    pub stderr: &'a [u8],
    /// What came of the files that are expected, in their order.
    pub files: Vec<Found>,
    /// The snapshot, as it was before the run.
    pub kept: &'a OnDisk,
    /// The environment, with the values that no message may show.
    pub secrets: &'a [Variable],
    pub text: SpecText<'a>,
    /// Where the test stands, for what was written nowhere.
    pub test: Origin,
    pub orphans: Orphans,
}

/// What was found where a file is expected.
#[derive(Debug)]
pub enum Found {
    Content(Vec<u8>),
    /// It has so many bytes, of which no more than `most` are looked at.
    TooLarge {
        size: u64,
        most: u64,
    },
    NotAFile,
    Missing,
    /// Why nobody can read what the command made.
    Unreadable(String),
    /// Why sbx could not take it out, whatever the command did.
    Lost(String),
}

/// What happens to a snapshot that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snapshots {
    Compare,
    Update,
}

/// Returns what came of the case; `path` is that of its snapshot.
#[must_use]
pub fn judge(expect: &Expect, evidence: &Evidence<'_>, (path, mode): (Option<&Path>, Snapshots)) -> Answer {
    let mut judge = Judge { evidence, failures: Vec::new(), lost: 0 };
    let wanted = expect.outcome.as_ref().map_or(ExpectedOutcome::Exited, |outcome| outcome.value);
    let kind = of_report(evidence.report.outcome.kind);
    let as_expected = judge.outcome(expect, (wanted, kind));
    let ran =
        !matches!(kind, ExpectedOutcome::SetupFailed | ExpectedOutcome::NotFound | ExpectedOutcome::NotExecutable);
    let mut new = None;
    // What a command that never ran has not written is no news.
    if ran || as_expected {
        let [stdout, stderr] = judge.streams();
        judge.stream(&expect.stdout, stdout);
        judge.stream(&expect.stderr, stderr);
        judge.files(&expect.files);
        judge.figures(expect);
        if let Some(origin) = expect.snapshot {
            new = judge.snapshot(origin, path, mode);
        }
    }
    let state = match (kind, judge.failures.is_empty()) {
        (ExpectedOutcome::Canceled, _) if wanted != ExpectedOutcome::Canceled => State::Canceled,
        (_, true) => State::Passed,
        (ExpectedOutcome::SetupFailed, false) => State::Error,
        (_, false) if judge.lost == judge.failures.len() => State::Error,
        (_, false) => State::Failed,
    };
    Answer {
        state,
        asked: false,
        ended: ended(evidence.report),
        failures: judge.failures,
        wall_ns: evidence.report.time.wall_ns,
        stdout: bounded(evidence.report.output.stdout.as_deref().unwrap_or_default()),
        stderr: bounded(evidence.report.output.stderr.as_deref().unwrap_or_default()),
        report: None,
        snapshot: new.filter(|_| state == State::Passed),
    }
}

fn of_report(kind: OutcomeKind) -> ExpectedOutcome {
    match kind {
        OutcomeKind::Exited => ExpectedOutcome::Exited,
        OutcomeKind::Signaled => ExpectedOutcome::Signaled,
        OutcomeKind::WallTimeout => ExpectedOutcome::WallTimeout,
        OutcomeKind::CpuTimeout => ExpectedOutcome::CpuTimeout,
        OutcomeKind::OutOfMemory => ExpectedOutcome::OutOfMemory,
        OutcomeKind::OutputLimit => ExpectedOutcome::OutputLimit,
        OutcomeKind::Canceled => ExpectedOutcome::Canceled,
        OutcomeKind::SetupFailed => ExpectedOutcome::SetupFailed,
        OutcomeKind::NotFound => ExpectedOutcome::NotFound,
        OutcomeKind::NotExecutable => ExpectedOutcome::NotExecutable,
    }
}

/// How a run ended, in a few words that are the same every time.
fn ended(report: &Report<'_>) -> String {
    let word = of_report(report.outcome.kind).as_str();
    match (&report.outcome.exit_code, &report.outcome.signal) {
        (Some(code), _) => format!("{word} {code}"),
        (None, Some(signal)) => format!("{word} {signal}"),
        (None, None) => word.to_owned(),
    }
}

/// Returns the beginning and the end of a text that is too long to be kept.
fn bounded(text: &str) -> String {
    if text.len() <= SHOWN_MAX {
        return text.to_owned();
    }
    let (head, tail) = (text.floor_char_boundary(SHOWN_MAX / 2), text.ceil_char_boundary(text.len() - SHOWN_MAX / 2));
    format!("{}\n… {} bytes are left out …\n{}", &text[..head], tail - head, &text[tail..])
}

struct Judge<'a> {
    evidence: &'a Evidence<'a>,
    failures: Vec<Shortfall>,
    /// How many of these are sbx's own.
    lost: usize,
}

/// One text that is expected to be something.
#[derive(Clone, Copy)]
struct Subject<'a> {
    /// As it is called in messages.
    name: &'a str,
    bytes: &'a [u8],
    /// How long it really was.
    length: u64,
}

impl Subject<'_> {
    /// Returns whether more was written than anybody kept.
    fn is_cut(&self) -> bool {
        usize::try_from(self.length).is_ok_and(|length| length > self.bytes.len())
    }

    /// Returns `message` about this text, and how much of it was looked at.
    fn told(&self, message: String) -> String {
        match self.is_cut() {
            true => format!("{message} (only its first {} bytes are looked at)", self.bytes.len()),
            false => message,
        }
    }
}

impl<'a> Judge<'a> {
    fn fail(&mut self, origin: Origin, message: String, difference: Option<String>) {
        let origin = if let Origin::Spec(_) = origin { origin } else { self.evidence.test };
        let span = match origin {
            Origin::Spec(span) => span,
            Origin::CommandLine | Origin::Image | Origin::Default => Span::default(),
        };
        let (file, (line, column)) = self.evidence.text.place(span);
        let file = file.to_owned();
        self.failures.push(Shortfall {
            file,
            line,
            column,
            message,
            difference: difference.filter(|it| !it.is_empty()),
        });
    }

    /// Returns whether the run ended in the way that was expected.
    fn outcome(&mut self, expect: &Expect, (wanted, kind): (ExpectedOutcome, ExpectedOutcome)) -> bool {
        let outcome = &self.evidence.report.outcome;
        if kind != wanted {
            let origin = expect.outcome.as_ref().map_or(Origin::Default, |outcome| outcome.origin);
            let why = outcome.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let code = outcome.exit_code.map(|code| format!(" with {code}")).unwrap_or_default();
            let message = format!("outcome `{}`{code}, expected `{}`{why}", kind.as_str(), wanted.as_str());
            let hint = outcome.error.as_ref().and_then(|error| error.hint.as_ref());
            let message = hint.map_or(message.clone(), |hint| format!("{message}; hint: {hint}"));
            let at = outcome.error.as_ref().and_then(|error| Some((error.file?, error.line?, error.column?)));
            self.fail(origin, message, None);
            // The line that asked for what could not be done is a better place than that of the test.
            if let (Some(failure), Some((file, line, column)), Origin::Default) = (self.failures.last_mut(), at, origin)
            {
                (failure.file, failure.line, failure.column) = (file.to_owned(), line, column);
            }
            return false;
        }
        let Some(code) = outcome.exit_code else { return true };
        let wanted = expect.exit.as_ref().map_or(0, |exit| exit.value);
        if code != wanted {
            let origin = expect.exit.as_ref().map_or(Origin::Default, |exit| exit.origin);
            self.fail(origin, format!("exit code {code}, expected {wanted}"), None);
        }
        true
    }

    fn streams(&self) -> [Subject<'a>; 2] {
        let Evidence { report, stdout, stderr, .. } = self.evidence;
        let output = &report.output;
        [
            Subject { name: "stdout", bytes: stdout, length: output.stdout_bytes.unwrap_or(0) },
            Subject { name: "stderr", bytes: stderr, length: output.stderr_bytes.unwrap_or(0) },
        ]
    }

    fn stream(&mut self, rules: &[Spanned<TextRule>], subject: Subject<'_>) {
        for rule in rules {
            self.rule(&rule.value, rule.origin, subject);
        }
    }

    fn rule(&mut self, rule: &TextRule, origin: Origin, subject: Subject<'_>) {
        let Subject { name, bytes, .. } = subject;
        let message = match rule {
            TextRule::Exactly(wanted) if wanted.as_bytes() != bytes || subject.is_cut() => {
                let differs = difference(wanted, &masked(bytes, self.evidence.secrets));
                let message = if wanted.is_empty() { "is not empty" } else { "is not what is expected" };
                return self.fail(origin, subject.told(format!("{name} {message}")), Some(differs));
            }
            TextRule::Contains(part) if !pattern::contains(bytes, part) => format!("{name} does not contain `{part}`"),
            // The end that nobody has kept could be anything.
            TextRule::Matches(pattern) if subject.is_cut() => {
                format!("whether {name} matches `{pattern}` is not known")
            }
            TextRule::Matches(pattern) if !pattern::matches(pattern, bytes) => {
                format!("{name} does not match `{pattern}`")
            }
            TextRule::Empty if !bytes.is_empty() => format!("{name} is not empty"),
            TextRule::NotEmpty if bytes.is_empty() => format!("{name} is empty"),
            _ => return,
        };
        self.fail(origin, subject.told(message), None);
    }

    fn files(&mut self, rules: &[Spanned<FileRule>]) {
        for (rule, found) in rules.iter().zip(&self.evidence.files) {
            let path = rule.value.path.as_str();
            let message = match found {
                Found::Content(bytes) => {
                    let name = format!("`{path}`");
                    let length = u64::try_from(bytes.len()).unwrap_or(0);
                    for text in &rule.value.rules {
                        self.rule(text, rule.origin, Subject { name: &name, bytes, length });
                    }
                    continue;
                }
                Found::TooLarge { size, most } => {
                    format!("`{path}` has {size} bytes, and no more than {most} are looked at")
                }
                Found::NotAFile => format!("`{path}` is not a regular file"),
                Found::Missing => format!("`{path}` is not there"),
                Found::Unreadable(why) | Found::Lost(why) => format!("`{path}` cannot be looked at: {why}"),
            };
            self.lost += usize::from(matches!(found, Found::Lost(_)));
            self.fail(rule.origin, message, None);
        }
    }

    fn figures(&mut self, expect: &Expect) {
        let report = self.evidence.report;
        if let Some(below) = &expect.memory {
            let peak = report.memory.peak_bytes;
            let found = peak.map(|peak| (peak >= below.value.0, format!("{peak} bytes")));
            self.below("memory", (below.origin, below.value.to_string()), found.ok_or(UNCOUNTED));
        }
        if let Some(below) = &expect.wall {
            self.time("wall", below, report.time.wall_ns.map(Duration::from_nanos).ok_or(UNCOUNTED));
        }
        if let Some(below) = &expect.cpu_time {
            self.time("cpu-time", below, cpu_time(&report.time, self.evidence.orphans, below.value));
        }
        if let Some(rule) = &expect.connections {
            for (verdict, wanted) in [("refused", rule.value.refused), ("allowed", rule.value.allowed)] {
                if let Some(wanted) = wanted {
                    self.connections(rule.origin, verdict, wanted);
                }
            }
        }
    }

    fn time(&mut self, name: &str, below: &Spanned<Duration>, found: Result<Duration, &str>) {
        let found = found.map(|found| (found >= below.value, rounded(found, below.value)));
        self.below(name, (below.origin, duration(below.value)), found);
    }

    /// What is not listed may be of any verdict, so that a number holds only where everything is.
    fn connections(&mut self, origin: Origin, verdict: &str, wanted: u64) {
        let network = &self.evidence.report.network;
        let Some((listed, unlisted)) = network.connections.as_ref().zip(network.unlisted_connections) else {
            let message = format!("how many connections were {verdict} is not known, expected {wanted}");
            return self.fail(origin, message, None);
        };
        let count: u64 = listed.iter().filter(|made| made.verdict == verdict).map(|made| made.count).sum();
        let more = if unlisted == 0 { String::new() } else { format!(", and of {unlisted} more it is not known") };
        if count != wanted || unlisted != 0 {
            let were = if count == 1 { "connection was" } else { "connections were" };
            self.fail(origin, format!("{count} {were} {verdict}{more}, expected {wanted}"), None);
        }
    }

    /// `found` is whether it is too much, and how much it is, or why nobody knows.
    fn below(&mut self, name: &str, (origin, below): (Origin, String), found: Result<(bool, String), &str>) {
        match found {
            Ok((true, found)) => self.fail(origin, format!("{name}: {found}, expected below {below}"), None),
            Ok((false, _)) => {}
            Err(why) => {
                let message = format!("{name} is not known, expected below {below}: {why}; see `sbx doctor`");
                self.fail(origin, message, None);
            }
        }
    }

    /// Returns the snapshot that is to be written.
    fn snapshot(&mut self, origin: Origin, path: Option<&Path>, mode: Snapshots) -> Option<Snapshot> {
        let path = path?;
        let [stdout, stderr] = self.streams();
        let secrets = self.evidence.secrets;
        let [written, complained] = [stdout, stderr].map(|stream| masked(stream.bytes, secrets));
        let text = snapshot::text(&ended(self.evidence.report), &written, &complained);
        let name = path.display().to_string();
        let old = match self.evidence.kept {
            OnDisk::Text(old) => Some(old),
            OnDisk::Missing => None,
            OnDisk::Unreadable(why) => {
                self.fail(origin, why.clone(), None);
                return None;
            }
        };
        if stdout.is_cut() || stderr.is_cut() {
            self.fail(origin, format!("a snapshot holds at most {CAPTURE_MAX} bytes of a stream"), None);
            return None;
        }
        if old == Some(&text) {
            return None;
        }
        let differs = difference(old.map_or("", String::as_str), text.as_bytes());
        if mode == Snapshots::Update {
            return Some(Snapshot { path: name, text, difference: differs });
        }
        let message = match old {
            Some(_) => format!("the snapshot `{name}` differs; `--update` takes what is found"),
            None => format!("there is no snapshot `{name}` yet; `--update` makes it"),
        };
        self.fail(origin, message, Some(differs));
        None
    }
}
