//! The checks of the doctor as text for a person. Pure: it prints nothing.

use std::fmt::Write;

use crate::host::doctor::{Check, Status};

/// Returns two columns, and below each check that is not well the one thing to change.
#[must_use]
pub fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{:<7}  {:<width$}  {}", word(check.status), check.name, check.found);
        if let Some(fix) = &check.fix {
            let _written = writeln!(text, "{:<7}  {:<width$}  fix: {fix}", "", "");
        }
    }
    text
}

/// Returns the word for a status.
#[must_use]
pub fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Limited => "limited",
        Status::Missing => "missing",
    }
}
