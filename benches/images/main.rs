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
#[path = "../shared/options.rs"]
mod options;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use options::{Options, Output, options};
use yard::Yard;

/// Any failure that ends the benchmark: one line for a person.
pub(crate) type Fault = Box<dyn std::error::Error>;

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
