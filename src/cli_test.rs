//! The flags of `sbx test`: their doc comments are the help, the man page and the completions.

use std::path::PathBuf;

use clap::Args;

use crate::cli_image::Place;

pub(crate) const EXIT_CODES: &str = "\
Exit status:
  0    all tests passed, the flaky ones included
  1    some failed
  2    wrong usage of sbx
  125  some could not be run: a mistake in a spec, no test, a host that cannot do it
  128+N  signal N ended it; what was running was ended, and the results were written";

#[derive(Debug, Args, Default, PartialEq, Eq)]
pub struct Test {
    /// Specs, or directories for all *.sbx.kdl below, but not in hidden ones, `target`, `node_modules` and `__pycache__`
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Run only tests with TEXT in the spec's path or the test's name, or SPEC::NAME with parts of both (can be repeated)
    #[arg(short, long, value_name = "TEXT")]
    pub filter: Vec<String>,
    /// Set a parameter in every spec that has it (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// List the tests that would be run
    #[arg(long)]
    pub list: bool,
    /// Run so many at once; the default is two more than there are processors, less where the memory limits of the specs ask for it
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Start nothing more after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Run a test that failed up to COUNT times more; one that passes then is flaky
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true)]
    pub retries: u32,
    /// Run in an order by chance, the same for the same SEED
    #[arg(long, value_name = "SEED")]
    pub shuffle: Option<u64>,
    /// Limit the time of each test by the clock, as in `30s`, its grace included; a shorter `wall` of the spec counts
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// Write the snapshots that differ or are missing, after showing the difference
    #[arg(long)]
    pub update: bool,
    /// Write JUnit XML to FILE
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write a line of JSON a test to standard output, with the report of its run
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub place: Place,
}
