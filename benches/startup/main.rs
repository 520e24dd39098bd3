//! Start-up of sbx against its peers and against the system calls alone.
//! `cargo bench --bench startup -- [--samples N] [--write]`; see `benches/README.md`.
//! It installs nothing: a peer or tool that is missing is named, with the way to get it.

mod companions;
mod contenders;
mod filter;
mod isolation;
mod machine;
mod measure;
mod table;
mod yard;

#[path = "../shared/compile.rs"]
mod compile;
#[path = "../shared/markers.rs"]
mod markers;
#[path = "../shared/null_owner.rs"]
mod null_owner;
#[path = "../shared/surroundings.rs"]
mod surroundings;

use contenders::Scenario;
use isolation::Seen;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use yard::Yard;

/// Any failure that ends the benchmark: one line for a person.
pub(crate) type Fault = Box<dyn std::error::Error>;

struct Options {
    samples: u32,
    output: Output,
}

enum Output {
    Print,
    WriteReadme,
}

fn main() -> ExitCode {
    let owner = null_owner::NullOwner::remember();
    let outcome = options().and_then(|options| run(&options));
    match owner.restore().map_err(Fault::from).and(outcome) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&format!("startup: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, Fault> {
    let mut options = Options { samples: 200, output: Output::Print };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--samples" => {
                let number = arguments.next().ok_or("--samples needs a number")?;
                options.samples = number.parse()?;
            }
            "--write" => options.output = Output::WriteReadme,
            // Cargo's own, on every bench target.
            "--bench" => {}
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    if options.samples < 10 {
        return Err("fewer than 10 samples say nothing".into());
    }
    Ok(options)
}

fn run(options: &Options) -> Result<(), Fault> {
    let yard = Yard::build()?;
    let results = Path::new(env!("CARGO_TARGET_TMPDIR")).join("startup");
    std::fs::create_dir_all(&results)?;
    let mut document = machine::facts(options.samples)?;
    let mut probes = String::new();
    for mut scenario in contenders::all(&yard) {
        if let Some(why) = scenario.cannot {
            say(&format!("SKIP {}: {why}", scenario.title));
            continue;
        }
        let seen = keep_working(&yard, &mut scenario, &mut document)?;
        if scenario.isolates() {
            document.push_str(&table::isolation(&scenario, &seen)?);
            probes.push_str(&isolation::raw(&scenario, &seen)?);
        }
        for gap in &scenario.gaps {
            say(&format!("{}, {}", scenario.title, gap.name()));
            let runs = measure::run(&yard, &scenario, *gap, options.samples)?;
            let name = format!("{}-{}.txt", scenario.name, gap.file_name());
            std::fs::write(results.join(name), &runs.raw)?;
            document.push_str(&table::times(&scenario, *gap, &runs)?);
        }
        if scenario.counts() {
            document.push_str(&companions::table(&yard, &scenario)?);
        }
    }
    document.push_str(&filter::table(&yard)?);
    let document = document.replace("\n\n\n", "\n\n");
    std::fs::write(results.join("probes.txt"), probes)?;
    std::fs::write(results.join("table.md"), &document)?;
    say(&document);
    say(&format!("raw samples: {}", results.display()));
    match options.output {
        Output::Print => Ok(()),
        Output::WriteReadme => markers::write("benches/README.md", "numbers", &document),
    }
}

/// Tries each contender once, with the probe inside; one that cannot run is taken out,
/// loudly, here and in the document.
fn keep_working(yard: &Yard, scenario: &mut Scenario, document: &mut String) -> Result<Vec<Seen>, Fault> {
    let mut working = (Vec::new(), Vec::new());
    let mut missing = String::new();
    for contender in std::mem::take(&mut scenario.contenders) {
        match isolation::probe(yard, scenario.uid, &contender) {
            Ok(seen) => {
                working.0.push(contender);
                working.1.push(seen);
            }
            Err(why) => {
                let label = contender.label;
                say(&format!("SKIP {label} in {}: {why}", scenario.title));
                writeln!(missing, "Not measured: {label}: {why}\n")?;
            }
        }
    }
    let Scenario { title, about, .. } = scenario;
    write!(document, "\n### {title}\n\n{about}\n\n{missing}")?;
    scenario.contenders = working.0;
    Ok(working.1)
}

/// The one printer. A closed standard output is not the benchmark's failure.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}"));
}
