//! How sbx is asked for the same as its peers. Shared with the test that holds its
//! columns of the table.

use super::Fault;
use super::stage::{Run, Stage, Words};
use std::fs;

/// The profiles that have a column, and its heading.
pub(crate) const COLUMNS: [(&str, &str); 2] = [("default", "sbx"), ("strict", "sbx, `profile \"strict\"`")];

/// Returns the spec of a run.
pub(crate) fn spec(stage: &Stage, run: Run, profile: &str) -> String {
    let (root, place) = match run {
        Run::Image(link) => (stage.text("image"), format!("/{link}/made")),
        _ => ("host".to_owned(), "/work".to_owned()),
    };
    let mut spec = format!("rootfs {root:?}\nmounts {{ bind {:?} {place:?} access=\"rw\"; }}\n", stage.text("work"));
    if profile != "default" {
        spec.extend(["profile \"", profile, "\"\n"]);
    }
    match run {
        Run::Network => spec.push_str("network \"host\"\n"),
        Run::Limits => spec.push_str("limits { memory \"64M\"; pids 32; }\n"),
        _ => {}
    }
    spec.push_str("report \"none\"\n");
    spec
}

/// Returns the words of a run, whose spec it writes. `sbx` is the program.
///
/// # Errors
/// A spec that cannot be written.
pub(crate) fn words(stage: &Stage, run: Run, profile: &str, sbx: &str) -> Result<Words, Fault> {
    let path = stage.path("spec.kdl");
    fs::write(&path, spec(stage, run, profile))?;
    stage.give(&path)?;
    let program = match run {
        Run::Image(link) => format!("/{link}/made/doors"),
        _ => "/work/doors".to_owned(),
    };
    let words = [sbx.to_owned(), "run".to_owned(), stage.text("spec.kdl"), "--".to_owned(), program];
    Ok(Some(words.into_iter().chain([run.word().to_owned()]).collect()))
}
