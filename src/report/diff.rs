//! What a kept layer changed, as JSON for `sbx diff --json`. Names no file of the host.

use std::borrow::Cow;

use serde::Serialize;

use crate::report::line;
use crate::run::harvest::upper::Sort;

/// The name and the version of the format, the value of `schema`.
pub const DIFF_SCHEMA_NAME: &str = "sbx.diff/1";

#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    changes: Vec<Change<'a>>,
}

#[derive(Debug, Serialize)]
struct Change<'a> {
    /// `added`, `modified` or `deleted`.
    kind: &'static str,
    /// Inside.
    path: Cow<'a, str>,
}

/// Returns the changes as one line of JSON with a final newline.
///
/// # Errors
/// None that a list can cause; the writer of JSON has errors for others.
pub fn to_line(changes: &[(Sort, Vec<u8>)]) -> Result<Vec<u8>, serde_json::Error> {
    let word = |sort| match sort {
        Sort::Added => "added",
        Sort::Modified | Sort::Same => "modified",
        Sort::Deleted => "deleted",
    };
    let changes =
        changes.iter().map(|(sort, path)| Change { kind: word(*sort), path: String::from_utf8_lossy(path) }).collect();
    line::line(&Document { schema: DIFF_SCHEMA_NAME, changes })
}
