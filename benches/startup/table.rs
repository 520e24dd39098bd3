//! The tables as Markdown.
//! It renders what was measured and judges nothing.

use crate::Fault;
use crate::contenders::{FLOOR, Scenario};
use crate::isolation::Seen;
use crate::measure::{Gap, Runs, Stats};
use std::fmt::Write as _;

/// Times of one scenario and gap.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn times(scenario: &Scenario, gap: Gap, runs: &Runs) -> Result<String, Fault> {
    let median_of = |label: &str| {
        let mut pairs = scenario.contenders.iter().zip(&runs.stats);
        pairs.find(|(contender, _)| contender.label == label).map(|(_, stats)| stats.median)
    };
    if runs.stats.is_empty() {
        return Ok(String::new());
    }
    let (floor, bwrap) = (median_of(FLOOR), median_of("bwrap"));
    let mut text = format!("| {}, ms | min | median | p90 | p99 | CPU |", gap.name());
    text.push_str(if scenario.isolates() { " × floor with init | × bwrap |\n" } else { "\n" });
    text.push_str("|---|--:|--:|--:|--:|--:|");
    text.push_str(if scenario.isolates() { "--:|--:|\n" } else { "\n" });
    for (contender, stats) in scenario.contenders.iter().zip(&runs.stats) {
        text.push_str(&row(contender.label, stats));
        if scenario.isolates() {
            write!(text, " {} | {} |", ratio(stats, floor), ratio(stats, bwrap))?;
        }
        text.push('\n');
    }
    let others = runs.others;
    writeln!(text, "\nOther work took {others:.0} % of the processors meanwhile.\n")?;
    Ok(text)
}

fn row(label: &str, stats: &Stats) -> String {
    let Stats { min, median, p90, p99, cpu, .. } = stats;
    format!("| {label} | {min:.2} | {median:.2} | {p90:.2} | {p99:.2} | {cpu:.2} |")
}

fn ratio(stats: &Stats, to: Option<f64>) -> String {
    to.map_or_else(|| "–".to_owned(), |to| format!("{:.2}", stats.median / to))
}

/// What the probe saw in each contender.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn isolation(scenario: &Scenario, seen: &[Seen]) -> Result<String, Fault> {
    let mut text = String::from(
        "| seen from inside | own namespaces | mounts | processes | seccomp | uid map | less than the others |\n|---|---|--:|--:|---|---|---|\n",
    );
    for (contender, seen) in scenario.contenders.iter().zip(seen) {
        let lacks = seen.lacks();
        let lacks = if lacks.is_empty() { "no".to_owned() } else { lacks.join(", ") };
        let seccomp = match seen.get("Seccomp") {
            "0" => "none",
            "2" => "filter",
            other => other,
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {seccomp} | {} | {lacks} |",
            contender.label,
            seen.get("namespaces"),
            seen.get("mounts"),
            seen.get("processes").split_whitespace().count(),
            seen.get("uid_map"),
        )?;
    }
    text.push('\n');
    Ok(text)
}
