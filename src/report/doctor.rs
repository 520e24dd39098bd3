//! The lines of `sbx doctor --json`. They say what was found, they look at nothing.

use serde::Serialize;

use crate::report::line;

/// One thing that sbx needs from a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, as in `user namespaces`.
    pub name: String,
    pub status: Status,
    /// What is so, as a lower-case fragment.
    pub found: String,
    /// The one thing to change; `None` where nothing has to.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is missing.
    Ok,
    /// sbx runs, and some feature of a spec is refused here.
    Limited,
    /// sbx cannot run anything here.
    Missing,
}

/// Returns the checks as one JSON array on one line, with a final newline.
///
/// # Errors
/// None that these types can cause; the writer of JSON has errors for others.
pub fn to_line(checks: &[Check]) -> Result<Vec<u8>, serde_json::Error> {
    line::line(checks)
}

#[cfg(test)]
mod tests {
    use super::{Check, Status, to_line};

    #[test]
    fn a_fix_that_is_not_needed_is_null() {
        let check = |status, fix: Option<&str>| Check {
            name: "overlay".to_owned(),
            status,
            found: "built in".to_owned(),
            fix: fix.map(str::to_owned),
        };
        let line = to_line(&[check(Status::Ok, None), check(Status::Missing, Some("modprobe overlay"))]).unwrap();
        insta::assert_snapshot!(String::from_utf8(line).unwrap(), @r#"[{"name":"overlay","status":"ok","found":"built in","fix":null},{"name":"overlay","status":"missing","found":"built in","fix":"modprobe overlay"}]"#);
    }
}
