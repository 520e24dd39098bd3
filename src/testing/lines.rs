//! What came of cases as lines of JSON, for other programs.

use std::time::Duration;

use crate::report::cases::{CaseLine, ListLine, SCHEMA_NAME, SummaryLine, raw, to_line};
use crate::testing::{Case, Record, Results, Tally};

/// Returns the line of a case that has come to its end.
///
/// # Errors
/// Those of [`to_line`].
pub fn case(case: &Case, record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let last = record.attempts.last();
    let answer = last.map(|attempt| &attempt.answer);
    let report = raw(answer.and_then(|answer| answer.report.as_deref()));
    to_line(&CaseLine {
        schema: SCHEMA_NAME,
        event: "case",
        spec: &case.spec,
        file: &case.file,
        line: case.place.0,
        name: &case.name,
        status: record.status().as_str(),
        attempts: record.attempts.len(),
        duration_ns: last.map(|attempt| nanoseconds(attempt.duration)),
        failures: answer.map_or(&[], |answer| &answer.failures),
        stdout: answer.map(|answer| answer.stdout.as_str()),
        stderr: answer.map(|answer| answer.stderr.as_str()),
        report: report.as_deref(),
    })
}

/// Returns the last line.
///
/// # Errors
/// Those of [`to_line`].
pub fn summary(results: &Results) -> Result<Vec<u8>, serde_json::Error> {
    let Tally { passed, flaky, failed, error, canceled, not_run } = Tally::of(&results.records);
    to_line(&SummaryLine {
        schema: SCHEMA_NAME,
        event: "summary",
        passed,
        flaky,
        failed,
        error,
        canceled,
        not_run,
        duration_ns: nanoseconds(results.duration),
        seed: results.seed,
    })
}

/// Returns the line of a case that would be run.
///
/// # Errors
/// Those of [`to_line`].
pub fn listed(case: &Case) -> Result<Vec<u8>, serde_json::Error> {
    let Case { spec, name, file, place: (line, _), .. } = case;
    to_line(&ListLine { schema: SCHEMA_NAME, event: "test", spec, file, line: *line, name })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
