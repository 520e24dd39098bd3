//! What came of test cases, for other programs: the lines of `sbx test --json`, and what a worker tells the process
//! that started it. Nothing is judged here.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::report::line;

/// The name and the version of the format, the value of `schema` in each line.
pub const SCHEMA_NAME: &str = "sbx.test/1";

/// What came of running one case once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub state: State,
    /// Whether a signal asked for its end before it came.
    pub asked: bool,
    /// How the command ended, in a few words for a person.
    pub ended: String,
    pub failures: Vec<Shortfall>,
    /// From the start of the command to its end, in nanoseconds.
    pub wall_ns: Option<u64>,
    /// What the command wrote, bounded and without secrets.
    pub stdout: String,
    pub stderr: String,
    /// The report of the run, one object of JSON.
    pub report: Option<String>,
    pub snapshot: Option<Snapshot>,
}

/// What a case is once it has been run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Every expectation held.
    Passed,
    /// Some did not.
    Failed,
    /// The sandbox could not be built, and the case did not expect that.
    Error,
    /// It was ended because the caller wanted to.
    Canceled,
}

/// One expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// The spec that asked for it, or one that it extends.
    pub file: String,
    /// Where in it, counted from 1.
    pub line: usize,
    pub column: usize,
    /// One line.
    pub message: String,
    /// Lines that begin with `-` (expected), `+` (found) or a space.
    pub difference: Option<String>,
}

/// A snapshot that is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub path: String,
    pub text: String,
    /// Against the one that is there.
    pub difference: String,
}

/// One line of `--json`: a case that has come to its end.
#[derive(Debug, Clone, Serialize)]
pub struct CaseLine<'a> {
    /// Name and version of this format: `sbx.test/1`.
    pub schema: &'static str,
    /// `case`.
    pub event: &'static str,
    /// The spec as it was found.
    pub spec: &'a str,
    /// Where the test stands: the spec or one that it extends, and the line there.
    pub file: &'a str,
    pub line: usize,
    pub name: &'a str,
    /// `passed`, `flaky`, `failed`, `error`, `canceled` or `not_run`.
    pub status: &'a str,
    /// How many times it was run.
    pub attempts: usize,
    /// Of the last attempt, sandbox included.
    pub duration_ns: Option<u64>,
    pub failures: &'a [Shortfall],
    pub stdout: Option<&'a str>,
    pub stderr: Option<&'a str>,
    /// As `sbx run` would have written it; null where nothing was run.
    pub report: Option<&'a RawValue>,
}

/// The last line of `--json`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SummaryLine {
    pub schema: &'static str,
    /// `summary`.
    pub event: &'static str,
    pub passed: usize,
    /// Those of `passed` that did not pass at first.
    pub flaky: usize,
    pub failed: usize,
    pub error: usize,
    pub canceled: usize,
    pub not_run: usize,
    pub duration_ns: u64,
    pub seed: Option<u64>,
}

/// One line of `--list --json`.
#[derive(Debug, Clone, Serialize)]
pub struct ListLine<'a> {
    pub schema: &'static str,
    /// `test`.
    pub event: &'static str,
    pub spec: &'a str,
    pub file: &'a str,
    pub line: usize,
    pub name: &'a str,
}

impl Answer {
    /// Returns the answer as it goes from process to process.
    ///
    /// # Errors
    /// None that these types can cause; the writer of JSON has errors for others.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads what [`Answer::to_bytes`] wrote.
    ///
    /// # Errors
    /// Bytes that are no answer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

/// Returns `value` as one line of JSON with a final newline.
///
/// # Errors
/// None that these types can cause; the writer of JSON has errors for others.
pub fn to_line<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    line::line(value)
}

/// Returns the report in an answer, for a line of JSON.
#[must_use]
pub fn raw(report: Option<&str>) -> Option<Cow<'_, RawValue>> {
    let report: &RawValue = serde_json::from_str(report?.trim_end()).ok()?;
    Some(Cow::Borrowed(report))
}
