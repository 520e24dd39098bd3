//! `sbx doctor` and `sbx gc`: what this host can do, and what killed runs left on it.

use crate::app::{Refusal, store, test_scratch};
use crate::cli::Place;
use crate::error::{Error, Kind, exit};
use crate::host::doctor::{self, Check, Status};
use crate::host::{doctor_text, probe};
use crate::report::doctor as json;
use crate::run::{bridge, garbage, way};

/// Returns what this host can do.
#[must_use]
pub fn examine() -> Vec<Check> {
    doctor::examine(&way::trials(&probe::families()))
}

/// Returns what this host can do, as text.
#[must_use]
pub fn doctor_text() -> Vec<u8> {
    doctor_text::render(&examine()).into_bytes()
}

/// Returns what this host can do, as JSON.
///
/// # Errors
/// A defect of sbx.
pub fn doctor_json() -> Result<Vec<u8>, Refusal> {
    let checks = examine();
    let checks: Vec<json::Check> = checks
        .into_iter()
        .map(|check| json::Check {
            name: check.name,
            status: match check.status {
                Status::Ok => json::Status::Ok,
                Status::Limited => json::Status::Limited,
                Status::Missing => json::Status::Missing,
            },
            found: check.found,
            fix: check.fix,
        })
        .collect();
    json::to_line(&checks).map_err(|error| {
        Refusal::new(&Error::new(Kind::Bug, format!("cannot write the checks as JSON: {error}")), None)
    })
}

/// Removes what killed runs left; returns a line for each thing, and what a person should know besides.
///
/// # Errors
/// What is still there, exit status 125.
pub fn gc(place: &Place) -> Result<(Vec<u8>, String), Refusal> {
    let mut lines = Vec::new();
    let mut stuck = String::new();
    for leftover in garbage::collect_all() {
        let path = leftover.path.display();
        match leftover.errno {
            None => lines.push(format!("removed {path}\n")),
            Some(errno) => {
                let error = Error::new(Kind::Host, format!("cannot remove `{path}`")).with_errno(errno as i32);
                stuck.push_str(&Refusal::new(&error, None).text);
            }
        }
    }
    for (path, removed) in test_scratch::collect_all() {
        match removed {
            Ok(()) => lines.push(format!("removed {}\n", path.display())),
            Err(error) => stuck.push_str(&Refusal::new(&error, None).text),
        }
    }
    lines.extend(bridge::collect().into_iter().map(|path| format!("removed {}\n", path.display())));
    let (store, note) = match store::chosen(place) {
        // Nothing can have been kept without a place: what is left of the groups is removed all the same.
        Err(error) if std::env::var_os("SBX_STORE").is_none() && place.store.is_none() => {
            (None, format!("sbx: warning: {}\n", error.message))
        }
        store => (Some(store.map_err(|error| Refusal::new(&error, None))?), String::new()),
    };
    let leftovers = store.map_or_else(|| Ok(Vec::new()), |store| store.collect());
    for leftover in leftovers.map_err(|error| Refusal::new(&error, None))? {
        match leftover.error {
            None => lines.push(format!("removed {}\n", leftover.path.display())),
            Some(error) => stuck.push_str(&Refusal::new(&error, None).text),
        }
    }
    if stuck.is_empty() {
        return Ok((lines.concat().into_bytes(), note));
    }
    Err(Refusal { text: stuck, status: exit::SBX })
}
