//! What the filter of system calls costs: each call, with and without it. What it costs
//! to load is in the tables of the start.

use crate::yard::{FILTERS, Yard};
use crate::{Fault, machine, say, surroundings};
use std::fmt::Write as _;

/// One row a profile.
///
/// # Errors
/// sbx cannot be started, or the program inside prints no figures.
pub(crate) fn table(yard: &Yard) -> Result<String, Fault> {
    say("calls under the filter");
    let mut text = String::from(
        "\n### Calls under the filter\n\nNanoseconds a call, the best of 60 batches: `getppid`, which a filter lets through whatever its \
         arguments are (the kernel remembers that); `fchmod`, whose mode the filter looks at; `mount`, which it refuses.\n\n\
         | ns a call | getppid | fchmod | mount |\n|---|--:|--:|--:|\n",
    );
    let outside = vec![yard.text("root/calls")];
    let inside = |filter: &&str| {
        let spec = yard.text(&format!("filter-{filter}.kdl"));
        let words = [yard.text("sbx"), "run".to_owned(), spec, "--".to_owned(), "/calls".to_owned()];
        (format!("sbx, `seccomp {filter}`"), words.to_vec())
    };
    let rows = [("no sandbox".to_owned(), outside)].into_iter().chain(FILTERS.iter().map(inside));
    for (label, words) in rows {
        let output = machine::command(surroundings::uid(), &words).output()?;
        let figures = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || figures.split(' ').count() != 3 {
            return Err(format!("{label}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        writeln!(text, "| {label} | {} |", figures.replace(' ', " | "))?;
    }
    Ok(text)
}
