//! Who lets what through: the same probes inside sbx and inside its peers.
//! `cargo bench --bench probes -- [--write]`; the table stands in `SECURITY.md`.
//! It installs nothing: a peer that is missing is named, with the way to get it.

mod cells;
mod own;
mod peers;
mod stage;

#[path = "../shared/compile.rs"]
mod compile;
#[path = "../shared/markers.rs"]
mod markers;
#[path = "../shared/null_owner.rs"]
mod null_owner;
#[path = "../shared/surroundings.rs"]
mod surroundings;

use cells::Column;
use peers::Peer;
use stage::{Door, Found, Run, Stage, Words};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use surroundings::NOBODY;

/// Any failure that ends the benchmark: one line for a person.
pub(crate) type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let owner = null_owner::NullOwner::remember();
    let outcome = run();
    match owner.restore().map_err(Fault::from).and(outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&format!("probes: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Fault> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let write = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => None,
        ["--write"] => Some("SECURITY.md"),
        _ => return Err(format!("unknown arguments {arguments:?}").into()),
    };
    if write.is_some() && !surroundings::is_root() {
        return Err("the table has both a root and a user: write it as root".into());
    }
    let stages = Stages::build()?;
    let doors = stages.user.doors()?;
    let mut document = machine();
    let (mut columns, mut calls) = (Vec::new(), String::new());
    for (profile, label) in own::COLUMNS {
        let words = |stage: &Stage, run| own::words(stage, run, profile, &stage.text("sbx"));
        columns.extend(stages.column(label, &words, &mut document)?);
    }
    for peer in peers::ALL {
        columns.extend(stages.column(peer.label, &peer.words, &mut document)?);
        calls.push_str(&call(&stages.user, peer)?);
    }
    let spec = stages.user.hide(&own::spec(&stages.user, Run::Main, "default"));
    write!(document, "\n{}\n", cells::table(&doors, &columns))?;
    write!(document, "What was started, `DIR/work` being the directory with the program of the probes:\n\n")?;
    write!(document, "- sbx: `sbx run SPEC -- /work/doors main` with this spec\n\n  ```kdl\n{}  ```\n", indent(&spec))?;
    write!(document, "{calls}")?;
    details(&doors, &columns);
    say(&document);
    write.map_or(Ok(()), |file| markers::write(file, "probes", &document))
}

struct Stages {
    root: Option<Stage>,
    user: Stage,
}

impl Stages {
    fn build() -> Result<Self, Fault> {
        let (uid, root) = (surroundings::uid(), surroundings::is_root());
        let user = Stage::build(if root { NOBODY } else { uid })?;
        let root = if root { Some(Stage::build(0)?) } else { None };
        let sbx = std::env::var_os("SBX").unwrap_or_else(|| env!("CARGO_BIN_EXE_sbx").into());
        for stage in root.iter().chain([&user]) {
            std::fs::copy(&sbx, stage.path("sbx")).map_err(|fault| format!("{}: {fault}", sbx.display()))?;
        }
        Ok(Self { root, user })
    }

    /// Returns the column of one runner; none, and loudly, when it runs for nobody here.
    fn column(
        &self,
        label: &str,
        words: &dyn Fn(&Stage, Run) -> Result<Words, Fault>,
        document: &mut String,
    ) -> Result<Option<Column>, Fault> {
        let mut missing = |who: &str, stage: &Stage| match stage.try_all(words) {
            Ok(found) => Ok::<Option<Found>, Fault>(Some(found)),
            Err(why) => {
                let why = stage.hide(&why.to_string());
                say(&format!("SKIP {label}, started by {who}: {why}"));
                writeln!(document, "Not tried: {label}, started by {who}: {why}\n")?;
                Ok(None)
            }
        };
        let root = self.root.as_ref().map_or(Ok(None), |stage| missing("root", stage))?;
        let user = missing("a user", &self.user)?;
        Ok((root.is_some() || user.is_some()).then(|| Column { label: label.to_owned(), root, user }))
    }
}

impl Stage {
    /// Returns the text without the name of a directory that was made for this run only.
    fn hide(&self, text: &str) -> String {
        text.replace(self.text("").trim_end_matches('/'), "DIR")
    }
}

fn call(stage: &Stage, peer: Peer) -> Result<String, Fault> {
    let label = peer.label;
    Ok(match (peer.words)(stage, Run::Main) {
        Ok(Some(words)) if words[0] == "sh" => {
            format!(
                "- {label}: `{0} run` of what `{0} spec` writes (for a user `spec --rootless`), `/usr` and `DIR/work` bound into it, without a terminal\n",
                words[4]
            )
        }
        Ok(Some(words)) => format!("- {label}: `{}`\n", stage.hide(&words.join(" "))),
        _ => String::new(),
    })
}

fn indent(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// Which versions were tried, where.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut text = format!("Linux {}", read("/proc/sys/kernel/osrelease").trim());
    let mut seen = vec![""];
    for Peer { package, .. } in peers::ALL {
        if seen.contains(&package) {
            continue;
        }
        seen.push(package);
        let version = Command::new("dpkg-query").args(["--show", "--showformat=${Version}", package]).output();
        let version = version.ok().filter(|output| output.status.success());
        match version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) {
            Some(version) => text.extend([", ", package, " ", &version]),
            None => text.extend([", ", package, " not installed (`apt-get install ", package, "`)"]),
        }
    }
    text.push_str(". nsjail, isolate and minijail are not in Debian 12.\n\n");
    text
}

/// How each answer came about, for whoever doubts one; not part of the table.
fn details(doors: &[Door], columns: &[Column]) {
    for column in columns {
        for (who, found) in [("root", &column.root), ("user", &column.user)] {
            for door in doors {
                let Some((answer, how)) = found.as_ref().and_then(|found| found.get(&door.name)) else { continue };
                say(&format!("{}, {who}: {} {answer:?}: {how}", column.label, door.name));
            }
        }
    }
}

/// The one printer. A closed standard output is not the benchmark's failure.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}"));
}
