//! `sbx fmt`: specs in good form, or what would have to change for it. A file is replaced whole or not at all.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::app::request::Text;
use crate::app::run::Done;
use crate::app::{Refusal, replace};
use crate::error::{Error, Kind, exit};
use crate::spec::{format, format_carried};
use crate::testing::discover::{self, Links};
use crate::units::visible;

/// What is done about a spec that is not in good form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Write,
    /// Show what would change.
    Check,
}

/// What `--check` exits with where something would change.
const CHANGED: u8 = 1;

/// Formats the specs at `paths`: files, directories for what [`discover::below`] finds there, `-` for standard input
/// to standard output. Returns what goes to standard output.
///
/// # Errors
/// None by itself: what went wrong is part of what is done, as the other files are formatted all the same.
pub fn fmt(paths: &[PathBuf], action: Action) -> Result<(Vec<u8>, Done), Refusal> {
    let (mut out, mut text, mut status) = (Vec::new(), String::new(), 0);
    for path in paths {
        let found = match path.as_os_str() != "-" && path.is_dir() {
            true => {
                let mut specs = Vec::new();
                // The file that a link leads to may lie anywhere.
                discover::below(path, Links::LeftOut, &mut specs).map(|()| specs)
            }
            false => Ok(vec![path.clone()]),
        };
        let files = found.unwrap_or_else(|error| {
            text.push_str(&Refusal::new(&error, None).text);
            status = exit::SBX;
            Vec::new()
        });
        for file in files {
            match one(&file, action) {
                Ok(shown) => {
                    if action == Action::Check && !shown.is_empty() {
                        status = status.max(CHANGED);
                    }
                    out.extend(shown);
                }
                Err(refusal) => {
                    text.push_str(&refusal.text);
                    status = exit::SBX;
                }
            }
        }
    }
    Ok((out, Done { text, status }))
}

/// Formats one file and returns what is to be shown of it.
fn one(path: &Path, action: Action) -> Result<Vec<u8>, Refusal> {
    let refuse = |error: &Error| Refusal::new(error, None);
    let text = Text::read(path).map_err(|error| refuse(&error))?;
    let formatted = formatted(&text)?;
    let same = formatted == text.bytes;
    match action {
        Action::Check if same => Ok(Vec::new()),
        Action::Check => Ok(difference(&text, &formatted).into_bytes()),
        Action::Write if path.as_os_str() == "-" => Ok(formatted),
        Action::Write if same => Ok(Vec::new()),
        Action::Write => {
            let found = std::fs::metadata(path)
                .map_err(|source| refuse(&Error::io(format_args!("cannot look at `{}`", text.name), &source)))?;
            if !found.is_file() {
                let error = Error::new(Kind::Usage, format!("`{}` is not a regular file", text.name));
                return Err(refuse(&error.with_hint("give the spec on standard input: `sbx fmt -`")));
            }
            replace::replace(path, &formatted).map(|()| Vec::new()).map_err(|error| refuse(&error))
        }
    }
}

/// Returns the spec in good form, or the script with the spec in it in good form.
fn formatted(text: &Text) -> Result<Vec<u8>, Refusal> {
    if text.is_script() && !text.is_whole() {
        let error = Error::new(Kind::Usage, format!("`{}` is larger than a script that is formatted", text.name));
        return Err(Refusal::new(&error.with_hint("format it by hand"), None));
    }
    let formatted = match format_carried::format_carried(&text.bytes) {
        Ok(None) => format::format(&text.bytes).map(String::into_bytes),
        Ok(Some(script)) => Ok(script),
        Err(findings) => Err(findings),
    };
    formatted.map_err(|findings| Refusal::of_text(text.draw(&findings)))
}

/// Returns what would change, as diff(1) shows it, with nothing in it that acts on a terminal.
fn difference(text: &Text, formatted: &[u8]) -> String {
    let name = visible(&text.name);
    let formatted = String::from_utf8_lossy(formatted);
    let diff = TextDiff::from_lines(text.text.as_str(), &formatted);
    let shown = diff.unified_diff().context_radius(3).header(&name, &name).to_string();
    shown.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}
