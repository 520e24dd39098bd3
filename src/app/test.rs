//! `sbx test`: the story of many runs, from paths to results.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::app::run::Done;
use crate::app::test_case::{Reports, Runner};
use crate::app::test_display::Display;
use crate::app::test_mistakes::Mistakes;
use crate::app::test_scratch::Scratch;
use crate::app::test_suite::{Changes, Suite};
use crate::app::{Refusal, colour, github, request};
use crate::cli;
use crate::error::{Error, Kind, Result, exit};
use crate::plan::facts::Accounting;
use crate::report::cases::Snapshot;
use crate::report::explain::signal_name;
use crate::run::bare::BareMounts;
use crate::spec::value;
use crate::testing::choose::{available, fits, jobs, shuffle, spare};
use crate::testing::judge::Snapshots;
use crate::testing::tell::Teller;
use crate::testing::{AfterFailure, Case, Event, Options, Record, Results, Tally, discover, junit, lines, pool};
use crate::units::Origin;

/// What stands in the JUnit XML until there are results.
const UNFINISHED: &str = "it was killed, or it still runs: what came of its tests is not known";

/// From how many cases on their sandboxes are cloned among bare mounts: those take some 4 ms to make, and save a tenth
/// of a millisecond a case.
const MANY: usize = 50;

/// Runs the tests that `arguments` choose.
///
/// # Errors
/// What prevents them from being run at all, or their results from being written.
pub fn test(arguments: &cli::Test) -> std::result::Result<Done, Refusal> {
    // Before anything is run: a file that cannot be written is told now.
    let xml = arguments.junit.as_deref().filter(|_| !arguments.list).map(open).transpose();
    let mut xml = xml.map_err(|error| Refusal::new(&error, None))?;
    if xml.as_ref().is_some_and(|(file, _)| file.metadata().is_ok_and(|found| found.is_file())) {
        // Nobody is to take what the last call left there for what came of this one, whatever becomes of it.
        let unwritten = document(&mut xml, || junit::refused("sbx test did not come to its end", UNFINISHED));
        if !unwritten.is_empty() {
            return Err(Refusal::of_text(unwritten));
        }
    }
    let told = all(arguments, &mut xml);
    told.map_err(|mut refusal| {
        let written = document(&mut xml, || junit::refused("no test could be run", &refusal.text));
        refusal.text.push_str(&written);
        refusal
    })
}

/// A file and its name.
type Xml = Option<(File, PathBuf)>;

fn all(arguments: &cli::Test, xml: &mut Xml) -> std::result::Result<Done, Refusal> {
    let refuse = |error: Error| Refusal::new(&error, None);
    let settings = request::settings(&arguments.set).map_err(refuse)?;
    let specs = discover::discover(&arguments.paths).map_err(refuse)?;
    let changes = changes(arguments).map_err(refuse)?;
    let mut suite = Suite::read((&specs, &arguments.paths), &settings, changes).map_err(Mistakes::refusal)?;
    let order = order(arguments, &suite.cases).map_err(refuse)?;
    if arguments.list {
        return list(arguments, &suite.cases, &order);
    }
    pool::prepare().map_err(refuse)?;
    suite.gather(&order, &arguments.place)?;
    let scratch = Scratch::make().map_err(refuse)?;
    let github = github::Log::pause().map_err(refuse)?;
    let ran = run(arguments, (&suite, &order), scratch.path());
    drop(scratch);
    let told = ran.as_ref().map(|(results, _)| Teller { cases: &suite.cases, colour: colour() }.summary(results));
    std::io::stderr().write_all(told.unwrap_or_default().as_bytes()).ok();
    github.iter().for_each(github::Log::resume);
    let (results, mut text) = ran.map_err(refuse)?;
    text.push_str(&document(xml, || junit::document(&suite.cases, &results)));
    if let Some(log) = github {
        text.push_str(&log.tell(&suite.cases, &results));
    }
    let status = if text.is_empty() { status(&results) } else { exit::SBX };
    Ok(Done { text, status })
}

/// Writes JUnit XML where it is wanted; returns what stood in the way.
fn document<E: std::error::Error + Send + Sync + 'static>(
    xml: &mut Xml,
    content: impl FnOnce() -> std::result::Result<Vec<u8>, E>,
) -> String {
    let Some((file, path)) = xml else { return String::new() };
    let written = content().map_err(std::io::Error::other).and_then(|content| replace(file, &content));
    match written {
        Ok(()) => String::new(),
        Err(source) => Refusal::new(&Error::io(format_args!("cannot write `{}`", path.display()), &source), None).text,
    }
}

/// Returns the exit status: that of a failure before that of what could not be run, which git-bisect(1) skips.
fn status(results: &Results) -> u8 {
    let tally = Tally::of(&results.records);
    match results.signal {
        Some(signal) => u8::try_from(signal).map_or(exit::SBX, |signal| exit::SIGNAL.saturating_add(signal)),
        None if tally.failed + tally.canceled > 0 => exit::TESTS_FAILED,
        None if tally.error > 0 => exit::SBX,
        None => 0,
    }
}

fn changes(arguments: &cli::Test) -> Result<Changes> {
    let timeout = arguments.timeout.as_ref().map(|text| {
        value::positive_time(text).map_err(|why| {
            Error::new(Kind::Usage, format!("`--timeout {}`: {why}", text.escape_debug())).at(Origin::CommandLine)
        })
    });
    let accounting = if read_by_programs(arguments) { Accounting::IfAvailable } else { Accounting::NotWanted };
    Ok(Changes { timeout: timeout.transpose()?, accounting })
}

fn read_by_programs(arguments: &cli::Test) -> bool {
    arguments.json || arguments.junit.is_some()
}

/// Returns which cases are run, in their order.
fn order(arguments: &cli::Test, cases: &[Case]) -> Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..cases.len()).filter(|case| fits(&cases[*case], &arguments.filter)).collect();
    if order.is_empty() {
        let error = match cases.len() {
            0 => Error::new(Kind::Spec, format!("no test is there: no `*{}` has a `test`", discover::SUFFIX))
                .with_hint("name a spec or a directory: `sbx test PATH…`"),
            all => Error::new(Kind::Usage, format!("`--filter` leaves none of {all} tests"))
                .with_hint("`sbx test --list` shows their names")
                .with_kind(Kind::Spec),
        };
        return Err(error);
    }
    if let Some(seed) = arguments.shuffle {
        shuffle(&mut order, seed);
    }
    Ok(order)
}

fn list(arguments: &cli::Test, cases: &[Case], order: &[usize]) -> std::result::Result<Done, Refusal> {
    let mut out = Vec::new();
    for case in order.iter().filter_map(|case| cases.get(*case)) {
        match arguments.json {
            true => out.extend(lines::listed(case).map_err(unwritable)?),
            false => out.extend_from_slice(format!("{}\n", crate::units::visible(&case.id())).as_bytes()),
        }
    }
    let text = print(&out);
    let status = if text.is_empty() { 0 } else { exit::SBX };
    Ok(Done { text, status })
}

/// Runs the cases and shows them; returns what came of them, and what could not be written meanwhile.
fn run(arguments: &cli::Test, (suite, order): (&Suite, &[usize]), scratch: &Path) -> Result<(Results, String)> {
    let cases = &suite.cases;
    let snapshots = if arguments.update { Snapshots::Update } else { Snapshots::Compare };
    let reports = if read_by_programs(arguments) { Reports::Wanted } else { Reports::NotWanted };
    let bare = if order.len() >= MANY { BareMounts::make() } else { None };
    let runner = Runner { suite, snapshots, reports, scratch: scratch.to_owned(), bare };
    let (jobs, spare) = wanted_jobs(arguments, cases, order);
    let options = Options {
        jobs,
        spare,
        retries: arguments.retries,
        after_failure: if arguments.fail_fast { AfterFailure::Stop } else { AfterFailure::GoOn },
    };
    let teller = Teller { cases, colour: colour() };
    let mut display = Display::new(teller, order.len());
    let specs = suite.texts.len();
    display.say(&teller.beginning((order.len(), cases.len(), specs), options.jobs));
    let (mut trouble, mut unprinted) = (String::new(), String::new());
    let results = pool::run((cases, order), options, &|case| runner.run(case), &mut |event| match event {
        Event::Started { case } => display.started(case),
        Event::Slow { case, after } => display.say(&teller.slow(case, after)),
        Event::Retry { case, attempt } => {
            display.stopped(case, None);
            display.say(&teller.retry(case, attempt));
        }
        Event::Ended { record } => {
            display.stopped(record.case, Some(record.status()));
            display.say(&teller.ended(record));
            let snapshot = record.attempts.last().and_then(|attempt| attempt.answer.snapshot.as_ref());
            if let Some(snapshot) = snapshot {
                display.say(&teller.update(snapshot));
                trouble.push_str(&keep(suite, record.case, snapshot));
            }
            if arguments.json && unprinted.is_empty() {
                let line = json_line(&cases[record.case], record, &mut trouble);
                unprinted = print(&line);
            }
        }
        Event::Fewer { jobs, error } => display.say(&teller.fewer(jobs, error)),
        Event::Canceling { signal } => display.say(&teller.canceling(&signal_name(signal))),
        Event::Tick => display.tick(),
    });
    display.close();
    let mut results = results?;
    results.seed = arguments.shuffle;
    if arguments.json && unprinted.is_empty() {
        unprinted = print(&lines::summary(&results).unwrap_or_default());
    }
    trouble.push_str(&unprinted);
    trouble.extend(results.trouble.as_ref().map(|error| Refusal::new(error, None).text));
    Ok((results, trouble))
}

/// Returns how many cases run at once, and how many workers there are besides.
fn wanted_jobs(arguments: &cli::Test, cases: &[Case], order: &[usize]) -> (usize, usize) {
    let chosen: Vec<&Case> = order.iter().filter_map(|case| cases.get(*case)).collect();
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let jobs = match arguments.jobs {
        Some(jobs) => usize::from(jobs).min(chosen.len()).max(1),
        None => jobs(std::thread::available_parallelism().map_or(1, usize::from), memory, &chosen),
    };
    (jobs, spare(jobs, memory, &chosen))
}

fn json_line(case: &Case, record: &Record, trouble: &mut String) -> Vec<u8> {
    lines::case(case, record).unwrap_or_else(|error| {
        trouble.push_str(&unwritable(error).text);
        Vec::new()
    })
}

fn unwritable(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(&Error::new(Kind::Bug, format!("cannot write a line of JSON: {error}")), None)
}

/// Writes to standard output; returns what stood in the way. A reader that is gone is no error.
fn print(bytes: &[u8]) -> String {
    match std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Refusal::new(&Error::io("cannot write to standard output", &source), None).text
        }
        _ => String::new(),
    }
}

/// Writes the snapshot of a case; returns what stood in the way.
fn keep(suite: &Suite, case: usize, snapshot: &Snapshot) -> String {
    let (Some(path), Some(kept)) = (&suite.cases[case].snapshot, &suite.prepared[case].kept) else {
        return String::new();
    };
    kept.replace(path, &snapshot.text).map_or_else(|error| Refusal::new(&error, None).text, |()| String::new())
}

fn open(path: &Path) -> Result<(File, PathBuf)> {
    let opened = File::options().write(true).create(true).truncate(false).open(path);
    let opened = opened.map_err(|source| Error::io(format_args!("cannot open `{}`", path.display()), &source))?;
    Ok((opened, path.to_owned()))
}

fn replace(file: &mut File, content: &[u8]) -> std::io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
        file.rewind()?;
    }
    file.write_all(content)
}
