//! What the filter of system calls and Landlock cost: each call, with and without them. What
//! they cost to load is in the tables of the start.

use crate::yard::{CONFINED, Yard};
use crate::{Fault, machine, say, surroundings};
use std::fmt::Write as _;

/// One row a profile.
///
/// # Errors
/// sbx cannot be started, or the program inside prints no figures.
pub(crate) fn table(yard: &Yard) -> Result<String, Fault> {
    say("calls under the filter and Landlock");
    let mut text = String::from(
        "\n### Calls under the filter and Landlock\n\nNanoseconds a call, the best of 60 batches: `getppid`, which a filter lets through whatever its \
         arguments are (the kernel remembers that); `fchmod`, whose mode the filter looks at; `mount`, which it refuses, and which it asks \
         sbx about when there is a report to count that in; `open` and `close` of a file one and five directories below the root, which Landlock \
         looks at.\n\n\
         | ns a call | getppid | fchmod | mount | open | open, deep |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let outside = vec![yard.text("root/calls"), yard.text("root/tree")];
    let inside = |(name, label, ..): &(&str, &str, &str)| {
        let spec = yard.text(&format!("{name}.kdl"));
        let words =
            [yard.text("sbx"), "run".to_owned(), spec, "--".to_owned(), "/calls".to_owned(), "/tree".to_owned()];
        (format!("sbx, {label}"), words.to_vec())
    };
    let rows = [("no sandbox".to_owned(), outside)].into_iter().chain(CONFINED.iter().map(inside));
    for (label, words) in rows {
        let output = machine::command(surroundings::uid(), &words).output()?;
        let figures = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() || figures.split(' ').count() != 5 {
            return Err(format!("{label}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        writeln!(text, "| {label} | {} |", figures.replace(' ', " | "))?;
    }
    Ok(text)
}
