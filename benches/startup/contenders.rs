//! Who is measured against whom: the command lines, made for equal isolation.
//! It runs a contender once at most, to learn whether it works here.

use crate::Fault;
use crate::machine;
use crate::measure::Gap;
use crate::surroundings::{self, NOBODY};
use crate::yard::Yard;
use std::fs;
use std::process::Output;

/// One table: contenders that are compared with each other.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// Name of its files of raw samples.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) about: &'static str,
    pub(crate) uid: u32,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) contenders: Vec<Contender>,
    /// Why none of it can be measured here.
    pub(crate) cannot: Option<&'static str>,
    extras: Extras,
}

/// What is shown besides the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extras {
    None,
    Isolation,
    IsolationAndCounts,
}

impl Scenario {
    /// Whether its contenders make sandboxes, so that the probe has something to say.
    pub(crate) fn isolates(&self) -> bool {
        self.extras != Extras::None
    }

    /// Whether system calls, processes, faults and memory are counted.
    pub(crate) fn counts(&self) -> bool {
        self.extras == Extras::IsolationAndCounts
    }
}

/// One program under measure; the command inside is put at the end.
#[derive(Debug)]
pub(crate) struct Contender {
    pub(crate) label: &'static str,
    words: Vec<String>,
    tail: Tail,
}

/// How a contender is told what to run inside.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// It is told nothing: the words are complete.
    None,
    /// The same, and it prints nothing.
    Silent,
    /// The command's words follow.
    Words,
    /// An OCI bundle, made for the command, and an id follow.
    Bundle(&'static str),
}

/// What runs inside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Inside<'a> {
    True,
    Pause,
    Probe(&'a [String]),
}

impl Inside<'_> {
    fn words(self) -> Vec<String> {
        match self {
            Self::True => vec!["/true".into()],
            Self::Pause => vec!["/pause".into()],
            Self::Probe(links) => {
                let mut words = vec!["/probe".to_owned()];
                words.extend_from_slice(links);
                words
            }
        }
    }
}

impl Contender {
    /// The full command line. For crun it writes the bundle first.
    ///
    /// # Errors
    /// A bundle that cannot be written.
    pub(crate) fn argv(&self, yard: &Yard, inside: Inside<'_>) -> Result<Vec<String>, Fault> {
        let mut argv = self.words.clone();
        match self.tail {
            Tail::None | Tail::Silent => {}
            Tail::Words => argv.extend(inside.words()),
            Tail::Bundle(resources) => argv.extend(bundle(yard, self.label, resources, inside)?),
        }
        Ok(argv)
    }
}

fn bundle(yard: &Yard, label: &str, resources: &str, inside: Inside<'_>) -> Result<Vec<String>, Fault> {
    let words = inside.words();
    let command = words[0].trim_start_matches('/');
    let name = format!("bundle-{}-{command}", label.replace(' ', "-"));
    fs::create_dir_all(yard.path(&name))?;
    let config = include_str!("crun.json")
        .replace("@ROOT@", &yard.text("root"))
        // Plain ASCII words without control characters: Rust quotes them as JSON does.
        .replace("@ARGS@", &format!("{words:?}"))
        .replace("@RESOURCES@", resources);
    fs::write(yard.path(&name).join("config.json"), config)?;
    let id = format!("sbx-bench-{}", std::process::id());
    Ok(["--bundle".to_owned(), yard.text(&name), id].into())
}

impl Contender {
    /// Runs it once with `inside`, so that a missing or refusing one is left out and named.
    ///
    /// # Errors
    /// How it failed, the first line of what it said, and how to install it.
    pub(crate) fn try_once(&self, yard: &Yard, uid: u32, inside: Inside<'_>) -> Result<Output, Fault> {
        let argv = self.argv(yard, inside)?;
        let hint = match argv[0].as_str() {
            BWRAP => " (apt-get install bubblewrap)",
            CRUN => " (apt-get install crun)",
            _ => "",
        };
        let output = machine::command(uid, &argv).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("it said nothing");
        if !output.status.success() {
            return Err(format!("{}: {first}{hint}", output.status).into());
        }
        // A program that does nothing at all would win every race.
        if output.stdout.is_empty() && !matches!(self.tail, Tail::Silent) {
            return Err("it ended well and printed nothing: it did not do its part".into());
        }
        Ok(output)
    }
}

const BWRAP: &str = "/usr/bin/bwrap";
const CRUN: &str = "/usr/bin/crun";
const LIMITED: &str = r#"{"memory": {"limit": 67108864, "swap": 67108864}, "pids": {"limit": 32}, "cpu": {"quota": 100000, "period": 100000}}"#;

/// Every table of the benchmark, in the order of the document.
pub(crate) fn all(yard: &Yard) -> Vec<Scenario> {
    let rootless = if surroundings::is_root() { NOBODY } else { surroundings::uid() };
    let needs_root = (!surroundings::is_root()).then_some("it needs root; run the benchmark as root");
    vec![
        Scenario {
            name: "plain-root",
            title: "Started by root",
            about: "All seven namespaces, `lo` up, a read-only directory as root, own /proc, /dev and /tmp, no capabilities, static `true`.",
            uid: 0,
            gaps: vec![Gap::None, Gap::Idle],
            contenders: plain(yard, 0),
            cannot: needs_root,
            extras: Extras::IsolationAndCounts,
        },
        Scenario {
            name: "plain-user",
            title: "Started by an unprivileged user",
            about: "The same; one id is mapped, the caller's. crun is left out: its bundle would need subordinate ids and a runtime directory.",
            uid: rootless,
            gaps: vec![Gap::None, Gap::Idle],
            contenders: plain(yard, rootless),
            cannot: None,
            extras: Extras::Isolation,
        },
        Scenario {
            name: "limits-root",
            title: "With limits and the report, started by root",
            about: "The same with 64 MiB of memory, 32 processes and one processor, and sbx writes its report to a file; bwrap has no limits and runs without any, as the reference.",
            uid: 0,
            gaps: vec![Gap::None, Gap::Idle],
            contenders: limited(yard),
            cannot: needs_root,
            extras: Extras::IsolationAndCounts,
        },
        alone(
            ("program", "The program by itself"),
            "No sandbox. `sbx plan` reads, checks, resolves and prints a spec of the size and the nodes of the contract's example.",
            programs(yard),
        ),
        alone(
            ("spec", "What a longer spec costs a run"),
            "Two specs of the same run: one says what is needed, the other spells out defaults at the length of the contract's example. The difference is reading, checking and resolving.",
            specs(yard),
        ),
        alone(
            ("script", "What a script costs over `sbx run`"),
            "One spec, named by a first line or carried in the comments of a script, as a shell starts it. What `env` takes by itself is the difference of the last two rows: it is an exec of its own, and `#!/path/to/sbx` does without.",
            scripts(yard),
        ),
    ]
}

/// A table of runs by the caller, compared with nothing but each other.
fn alone((name, title): (&'static str, &'static str), about: &'static str, contenders: Vec<Contender>) -> Scenario {
    let (uid, gaps) = (surroundings::uid(), vec![Gap::None]);
    Scenario { name, title, about, uid, gaps, contenders, cannot: None, extras: Extras::None }
}

fn contender(label: &'static str, words: &[&str], tail: Tail) -> Contender {
    Contender { label, words: words.iter().map(|word| (*word).to_owned()).collect(), tail }
}

fn bwrap(yard: &Yard, label: &'static str) -> Contender {
    let root = yard.text("root");
    let words = [
        BWRAP,
        "--unshare-all",
        "--ro-bind",
        &root,
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
    ];
    contender(label, &words, Tail::Words)
}

fn plain(yard: &Yard, uid: u32) -> Vec<Contender> {
    let (floor, root) = (yard.text("floor"), yard.text("root"));
    let ids: &[&str] = if uid == 0 { &[] } else { &["--single"] };
    let mut list = Vec::new();
    if yard.has_floor() {
        for (label, init) in [("floor", &[][..]), (FLOOR, &["--init"][..])] {
            let words = [&[floor.as_str()], init, ids, &[root.as_str()]].concat();
            list.push(contender(label, &words, Tail::Words));
        }
    }
    let (sbx, spec) = (yard.text("sbx"), yard.text("plain.kdl"));
    list.push(contender("sbx", &[&sbx, "run", &spec, "--"], Tail::Words));
    let compat = yard.text("plain-compat.kdl");
    list.push(contender(COMPAT, &[&sbx, "run", &compat, "--"], Tail::Words));
    list.push(bwrap(yard, "bwrap"));
    if uid == 0 {
        let state = yard.text("crun");
        let words = [CRUN, "--root", &state, "--cgroup-manager=disabled", "run"];
        list.push(contender("crun", &words, Tail::Bundle("{}")));
    }
    list
}

/// The row that isolates as much as the others, and no more.
const COMPAT: &str = "sbx, `profile compat`";

/// The yardstick of the ratios.
pub(crate) const FLOOR: &str = "floor with init";

fn limited(yard: &Yard) -> Vec<Contender> {
    let (floor, root) = (yard.text("floor"), yard.text("root"));
    let mut list = Vec::new();
    if let (true, Some(groups)) = (yard.has_floor(), machine::groups()) {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        for (label, init) in [("floor", &[][..]), (FLOOR, &["--init"][..])] {
            let words = [&[floor.as_str()], init, &groups, &[root.as_str()]].concat();
            list.push(contender(label, &words, Tail::Words));
        }
    }
    let (sbx, spec, report) = (yard.text("sbx"), yard.text("limits.kdl"), yard.text("report.json"));
    let words = [&sbx, "run", "--report", &report, &spec, "--"];
    list.push(contender("sbx", &words, Tail::Words));
    let compat = yard.text("limits-compat.kdl");
    let words = [&sbx, "run", "--report", &report, &compat, "--"];
    list.push(contender(COMPAT, &words, Tail::Words));
    list.push(bwrap(yard, "bwrap"));
    let state = yard.text("crun");
    let words = [CRUN, "--root", &state, "--cgroup-manager=cgroupfs", "run"];
    list.push(contender("crun", &words, Tail::Bundle(LIMITED)));
    list
}

fn programs(yard: &Yard) -> Vec<Contender> {
    let (sbx, example, null) = (yard.text("sbx"), yard.text("example.kdl"), yard.text("root/true"));
    vec![
        contender("static `true`", &[&null], Tail::Silent),
        contender("`sbx --version`", &[&sbx, "--version"], Tail::None),
        contender("`sbx plan` of the example", &[&sbx, "plan", &example], Tail::None),
        contender("`bwrap --version`", &[BWRAP, "--version"], Tail::None),
    ]
}

fn specs(yard: &Yard) -> Vec<Contender> {
    let (sbx, short, long) = (yard.text("sbx"), yard.text("plain.kdl"), yard.text("padded.kdl"));
    vec![
        contender("sbx, short spec", &[&sbx, "run", &short, "--"], Tail::Words),
        contender("sbx, long spec", &[&sbx, "run", &long, "--"], Tail::Words),
    ]
}

/// What a first line names, to look for sbx in `PATH`.
pub(crate) const ENV: &str = "/usr/bin/env";

fn scripts(yard: &Yard) -> Vec<Contender> {
    let (sbx, spec, null) = (yard.text("sbx"), yard.text("named-by-path.kdl"), yard.text("root/true"));
    let script = |label, name: &str| contender(label, &[&yard.text(name)], Tail::Silent);
    vec![
        contender("`sbx run` of the spec", &[&sbx, "run", &spec], Tail::Silent),
        script("the spec, by `#!/path/to/sbx`", "named-by-path.kdl"),
        script("the spec, by `#!/usr/bin/env`", "named-by-env.kdl"),
        script("a script that carries it, by `#!/path/to/sbx`", "carried-by-path"),
        script("a script that carries it, by `#!/usr/bin/env`", "carried-by-env"),
        contender("`env` and static `true`", &[ENV, &null], Tail::Silent),
        contender("static `true`", &[&null], Tail::Silent),
    ]
}
