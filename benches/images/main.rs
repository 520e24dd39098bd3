//! Import of images beside `tar`, `umoci` and `skopeo`, and what images cost a run.
//! `cargo bench --bench images -- [--rounds N] [--write]`; see `benches/README.md`.
//! It installs nothing: a peer or tool that is missing is named, with the way to get it.

mod contenders;
mod decoder;
mod measure;
mod starts;
mod table;
mod yard;

#[path = "../shared/compile.rs"]
mod compile;
#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/markers.rs"]
mod markers;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use yard::Yard;

/// Any failure that ends the benchmark: one line for a person.
pub(crate) type Fault = Box<dyn std::error::Error>;

struct Options {
    rounds: u32,
    output: Output,
}

enum Output {
    Print,
    WriteReadme,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--shim", ref argv @ ..] => measure::shim(argv),
        ["--decode", path] => decoder::decode(path),
        _ => options(&arguments).and_then(|options| run(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            drop(writeln!(std::io::stderr(), "images: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Result<Options, Fault> {
    let mut options = Options { rounds: 5, output: Output::Print };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => options.rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            "--write" => options.output = Output::WriteReadme,
            // Cargo's own, on every bench target.
            "--bench" => {}
            other => return Err(format!("unknown argument `{other}`").into()),
        }
    }
    match options.rounds {
        0..3 => Err("fewer than 3 rounds say nothing".into()),
        _ => Ok(options),
    }
}

fn run(options: &Options) -> Result<(), Fault> {
    let yard = Yard::build()?;
    let mut document = machine::facts()?;
    writeln!(
        document,
        "A Debian root of {} MB in {} members; {} rounds, interleaved.",
        yard.bytes() / 1_000_000,
        yard.members(),
        options.rounds
    )?;
    for group in contenders::all(&yard)? {
        say(group.title);
        let runs = measure::interleaved(&yard, &group.contenders, options.rounds)?;
        document.push_str(&table::group(&group, &runs)?);
    }
    document.push_str(&starts::table(&yard)?);
    say(&document);
    match options.output {
        Output::Print => Ok(()),
        Output::WriteReadme => markers::write("benches/README.md", "images", &document),
    }
}

/// The one printer. A closed standard output is not the benchmark's failure.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}"));
}
