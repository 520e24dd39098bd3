//! The tables as Markdown. It renders what was measured and judges nothing.

use std::fmt::Write as _;

use crate::Fault;
use crate::contenders::Group;
use crate::measure::{Runs, median};

/// Times of one group.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn group(group: &Group, runs: &Runs) -> Result<String, Fault> {
    let mut text = format!("\n### {}\n\n", group.title);
    text.push_str("| seconds | min | median | CPU | × sbx | largest process, MiB |\n|---|--:|--:|--:|--:|--:|\n");
    let first = runs.samples.first().map(|samples| median(samples.iter().map(|sample| sample.wall)));
    for (contender, samples) in group.contenders.iter().zip(&runs.samples) {
        let wall = median(samples.iter().map(|sample| sample.wall));
        let least = samples.iter().map(|sample| sample.wall).fold(f64::INFINITY, f64::min);
        let cpu = median(samples.iter().map(|sample| sample.cpu));
        let rss = samples.iter().map(|sample| sample.rss).fold(0.0, f64::max) / 1024.0;
        let ratio = wall / first.unwrap_or(f64::NAN);
        writeln!(text, "| {} | {least:.2} | {wall:.2} | {cpu:.2} | {ratio:.2} | {rss:.0} |", contender.label)?;
    }
    writeln!(text, "\nOther work took {:.0} % of the processors meanwhile.", runs.others)?;
    Ok(text)
}
