//! What the tape carries of bytes and texts: id maps, offsets of clocks, contents of files, variables. Nothing here
//! decides anything.

use std::ffi::CString;

use crate::error::{Error, Kind, Result};
use crate::plan::{Content, IdRange, Variable, VariableValue};
use crate::run::anchor::Exposed;
use crate::run::c_text::text;
use crate::run::secret;

/// Returns `uid_map` of user_namespaces(7).
///
/// # Errors
/// None: numbers have no NUL.
pub fn map_lines(ranges: &[IdRange]) -> Result<CString> {
    text(&ranges.iter().map(|it| format!("{} {} {}\n", it.inside, it.outside, it.count)).collect::<String>())
}

/// Returns what a file contains.
///
/// # Errors
/// A secret that cannot be read.
pub fn content_bytes(content: &Content, exposed: &Exposed) -> Result<Vec<u8>> {
    match content {
        Content::Empty => Ok(Vec::new()),
        Content::Text(text) => Ok(text.clone().into_bytes()),
        Content::Secret(path) => secret::read(path, exposed),
    }
}

/// Returns `timens_offsets` of time_namespaces(7): seconds, which may be negative, and nanoseconds, which may not.
///
/// # Errors
/// None: numbers have no NUL.
pub fn offsets(monotonic: i64, boottime: i64) -> Result<CString> {
    let line = |clock: &str, nanoseconds: i64| {
        let (seconds, rest) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
        format!("{clock} {seconds} {rest}\n")
    };
    text(&[line("monotonic", monotonic), line("boottime", boottime)].concat())
}

/// Returns `NAME=value`.
///
/// # Errors
/// A NUL character in it.
pub fn variable(variable: &Variable) -> Result<CString> {
    let (VariableValue::Plain(value) | VariableValue::Secret(value)) = &variable.value;
    // The value may be a secret: the error names the variable only.
    CString::new(format!("{}={value}", variable.name)).map_err(|_| {
        Error::new(Kind::Spec, format!("the variable `{}` contains a NUL character", variable.name.escape_debug()))
    })
}
