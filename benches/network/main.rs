//! How fast a network through sbx is, beside pasta and slirp4netns, and beside the pair of interfaces that all of them
//! go through. Root makes two network namespaces, one for a server and one in which everything else runs; the
//! clients run there as nobody, and this program itself is the client and the server.
//! `cargo bench --bench network -- [--rounds N] [--write]`; see `benches/README.md`.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made is over")]

mod client;
mod contenders;
mod server;
mod setup;
mod table;
mod world;

#[path = "../shared/machine.rs"]
mod machine;
#[path = "../shared/markers.rs"]
mod markers;
#[path = "../shared/options.rs"]
mod options;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use contenders::{Contender, contenders};
use options::{Options, Output, options};
use world::World;

/// Any failure that ends the benchmark: one line for a person.
pub(crate) type Fault = Box<dyn std::error::Error>;

/// Where the server is.
pub(crate) const SERVER: &str = "203.0.113.2:5201";

/// What is measured, as the client knows it.
pub(crate) const ASPECTS: [&str; 5] = ["out", "in", "trip", "connect", "crowd"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["client", aspect, address] => client::run(aspect, address),
        ["server", address] => server::run(address),
        ["floor"] => setup::floor(),
        _ => options(&words).and_then(|options| run(&options)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            drop(writeln!(std::io::stderr(), "network: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Fault> {
    if !nix::unistd::geteuid().is_root() {
        say("SKIP: only root can make the network namespaces in which this is measured");
        return Ok(());
    }
    let world = World::new();
    let mut all = contenders(&world);
    let mut pauses = Pauses::default();
    for aspect in ASPECTS {
        for round in 0..options.rounds {
            let mut order: Vec<&mut Contender<'_>> = all.iter_mut().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for contender in order {
                pauses.pause();
                contender.measure(aspect);
            }
        }
    }
    let mut document = machine::facts()?;
    document.push_str(&table::streams(&all, options.rounds)?);
    document.push_str(&setup::table(&world)?);
    writeln!(document, "\nOther work took {:.0} % of the processors in the pauses between.", pauses.share())?;
    say(&document);
    match options.output {
        Output::Print => Ok(()),
        Output::WriteReadme => markers::write("benches/README.md", "network", &document),
    }
}

/// Moments in which nothing is measured, and how busy others kept the machine in them.
#[derive(Default)]
struct Pauses {
    busy: f64,
    offered: f64,
}

impl Pauses {
    fn pause(&mut self) {
        let (before, begin) = (machine::busy(), Instant::now());
        std::thread::sleep(Duration::from_millis(150));
        self.busy += machine::busy() - before;
        self.offered += begin.elapsed().as_secs_f64() * machine::processors();
    }

    fn share(&self) -> f64 {
        100.0 * self.busy / self.offered
    }
}

/// Returns the middle of `values`.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The program that is measured.
pub(crate) fn sbx() -> PathBuf {
    std::env::var_os("SBX").map_or_else(|| env!("CARGO_BIN_EXE_sbx").into(), PathBuf::from)
}

/// The one printer. A closed standard output is not the benchmark's failure.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}
