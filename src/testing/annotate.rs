//! What GitHub shows: an annotation for each failure, on the line of the spec, and the summary of the job. The forms are
//! those of "Workflow commands for GitHub Actions".

use std::path::{Path, PathBuf};

use crate::report::cases::Shortfall;
use crate::testing::tell::seconds;
use crate::testing::{Case, Results, Status, Tally};
use crate::units::visible;

/// Returns one workflow command a failure; `root` is the directory that the paths of annotations begin at.
#[must_use]
pub fn annotations(cases: &[Case], results: &Results, root: Option<&Path>) -> String {
    let mut text = String::new();
    for record in &results.records {
        let kind = match record.status() {
            Status::Failed | Status::Error => "error",
            Status::Flaky => "warning",
            _ => continue,
        };
        let Some(case) = cases.get(record.case) else { continue };
        // What a flaky case failed at is in the attempts before the last.
        let told = record.attempts.iter().rev().find(|attempt| !attempt.answer.failures.is_empty());
        for failure in told.into_iter().flat_map(|attempt| &attempt.answer.failures) {
            let mut message = failure.message.clone();
            if let Some(difference) = &failure.difference {
                message.extend(["\n- expected + found\n", difference]);
            }
            let title = if kind == "warning" { format!("flaky: {}", case.name) } else { case.name.clone() };
            let place = place(failure, root);
            text.extend(["::", kind, " ", &place, ",title=", &property(&title), "::", &data(&message), "\n"]);
        }
    }
    text
}

/// Returns one workflow command a mistake, for which nothing was run.
#[must_use]
pub fn mistakes(mistakes: &[Shortfall], root: Option<&Path>) -> String {
    let command = |it: &Shortfall| format!("::error {}::{}\n", place(it, root), data(&it.message));
    mistakes.iter().map(command).collect()
}

fn place(failure: &Shortfall, root: Option<&Path>) -> String {
    let file = property(&in_repository(&failure.file, root));
    format!("file={file},line={},col={}", failure.line, failure.column)
}

/// Links and `..` are no part of what GitHub calls a file.
fn in_repository(spec: &str, root: Option<&Path>) -> String {
    let below = |(root, path): (PathBuf, PathBuf)| Some(path.strip_prefix(root).ok()?.display().to_string());
    let real = || root?.canonicalize().ok().zip(std::fs::canonicalize(spec).ok()).and_then(below);
    let written = || root.map(Path::to_owned).zip(std::path::absolute(spec).ok()).and_then(below);
    real().or_else(written).unwrap_or_else(|| spec.to_owned())
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Returns the summary of the job, in Markdown: a line, and a table of all that did not simply pass.
#[must_use]
pub fn summary(cases: &[Case], results: &Results) -> String {
    let tally = Tally::of(&results.records);
    let mark = if results.is_good() { "✅" } else { "❌" };
    let mut text = format!(
        "### {mark} sbx test: {} passed, {} failed, {} could not be run, {} flaky, {} not run, in {} s\n\n",
        tally.passed,
        tally.failed,
        tally.error,
        tally.flaky,
        tally.not_run + tally.canceled,
        seconds(results.duration)
    );
    let rest: Vec<_> = results.records.iter().filter(|record| record.status() != Status::Passed).collect();
    if rest.is_empty() {
        return text;
    }
    text.push_str("| test | status | time | why |\n|---|---|--:|---|\n");
    for record in rest {
        let Some(case) = cases.get(record.case) else { continue };
        let last = record.attempts.last();
        let time = last.map(|last| seconds(last.duration) + " s").unwrap_or_default();
        let told = record.attempts.iter().rev().find(|attempt| !attempt.answer.failures.is_empty());
        let why = told.and_then(|attempt| attempt.answer.failures.first()).map(|failure| failure.message.as_str());
        let cells = [cell(&case.id()), record.status().as_str().to_owned(), time, cell(why.unwrap_or_default())];
        text.extend(["| ", &cells.join(" | "), " |\n"]);
    }
    text
}

fn cell(text: &str) -> String {
    visible(text).replace('|', "\\|").replace('<', "&lt;").replace('`', "\\`")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::summary;
    use crate::testing::{Record, Results};

    #[test]
    fn what_was_not_run_has_not_passed() {
        let results = |records, signal| Results {
            records,
            started_at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            signal,
            seed: None,
            trouble: None,
        };
        let not_run = Record { case: 0, attempts: Vec::new() };
        assert!(summary(&[], &results(Vec::new(), None)).starts_with("### ✅"));
        assert!(summary(&[], &results(vec![not_run], None)).starts_with("### ❌"));
        assert!(summary(&[], &results(Vec::new(), Some(2))).starts_with("### ❌"));
    }
}
