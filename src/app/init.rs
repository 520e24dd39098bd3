//! `sbx init`: a small spec to begin with, for a purpose. It looks at nothing and guesses nothing: what it writes
//! is the same everywhere.

use std::path::{Path, PathBuf};

use crate::app::Refusal;
use crate::app::replace::{self, Existing};
use crate::app::run::Done;
use crate::cli::Purpose;
use crate::error::{Error, Kind};
use crate::units::visible;

/// Writes the spec of `purpose` to `path`, or to its own name in the working directory; `-` is standard output.
/// Returns what goes there.
///
/// # Errors
/// A file that is there already, or cannot be written.
pub fn init(purpose: Purpose, path: Option<&Path>, existing: Existing) -> Result<(Vec<u8>, Done), Refusal> {
    let (name, content) = spec(purpose);
    let path = path.map_or_else(|| PathBuf::from(name), Path::to_owned);
    if path.as_os_str() == "-" {
        return Ok((content.as_bytes().to_vec(), Done { text: String::new(), status: 0 }));
    }
    let there = std::fs::symlink_metadata(&path).is_ok();
    let written = match existing {
        Existing::Replaced if there => replace::replace(&path, content.as_bytes()),
        // The first line makes it a program.
        Existing::Replaced | Existing::Refused => replace::create(&path, content.as_bytes(), 0o777),
    };
    written.map_err(|error| match (error.errno, error) {
        (Some(libc::EEXIST), _) => {
            let error = Error::new(Kind::Usage, format!("`{}` is there already", path.display()));
            Refusal::new(&error.with_hint("name another file, or replace it: `--force`"), None)
        }
        (_, error) => Refusal::new(&error, None),
    })?;
    let shown = path.display().to_string();
    let text = format!("sbx: wrote `{0}`; try `sbx run {0}`\n", visible(&shown));
    Ok((Vec::new(), Done { text, status: 0 }))
}

/// Returns what the spec is called, and the spec.
fn spec(purpose: Purpose) -> (&'static str, &'static str) {
    match purpose {
        Purpose::Rust => ("rust.sbx.kdl", include_str!("purposes/rust.sbx.kdl")),
        Purpose::Python => ("python.sbx.kdl", include_str!("purposes/python.sbx.kdl")),
        Purpose::Node => ("node.sbx.kdl", include_str!("purposes/node.sbx.kdl")),
        Purpose::C => ("c.sbx.kdl", include_str!("purposes/c.sbx.kdl")),
        Purpose::Shell => ("shell.sbx.kdl", include_str!("purposes/shell.sbx.kdl")),
        Purpose::Ci => ("ci.sbx.kdl", include_str!("purposes/ci.sbx.kdl")),
    }
}
