//! Takes away what [`crate::image::stock::verify`] found damaged, and what cannot be without it, so that the next
//! run imports it again. Nothing that a running sandbox uses is touched.

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::stock::remove::{forget, unlink};
use crate::image::stock::verify::{made_of, notes, trees};
use crate::image::stock::{Problem, Remedy, Removed};
use crate::image::store::{Name, Store};

/// Notes of images lead to each other no further than this.
const ROUNDS: usize = 4;

/// Removes what is damaged; returns what was removed, and what could not be.
///
/// # Errors
/// A store that cannot be read.
pub fn repair(store: &Store, problems: &[Problem]) -> Result<(Vec<Removed>, Vec<Error>)> {
    let _alone = store.alone()?;
    let (mut removed, mut failures) = (Vec::new(), Vec::new());
    for problem in problems {
        apply(store, problem, (&mut removed, &mut failures));
    }
    for (chain, ownership) in trees(store, "roots")? {
        let place = store.place_of(Name::Root(&chain), ownership);
        let is_there = |layer: &Digest| store.place_of(Name::Layer(layer), ownership).is_dir();
        if !made_of(&place).is_some_and(|layers| layers.iter().all(is_there)) {
            match store.set_aside(&place) {
                Ok(()) => removed.push(Removed::Root(chain)),
                Err(error) => failures.push(error),
            }
        }
    }
    for _ in 0..ROUNDS {
        let left = notes(store, &[])?;
        if left.is_empty() {
            break;
        }
        for problem in &left {
            apply(store, problem, (&mut removed, &mut failures));
        }
    }
    Ok((removed, failures))
}

fn apply(store: &Store, problem: &Problem, (removed, failures): (&mut Vec<Removed>, &mut Vec<Error>)) {
    let digest = || Digest::parse(&problem.name).map_err(|error| Error::new(Kind::Bug, error.message));
    let done = match &problem.remedy {
        Remedy::Tree(place) if !place.exists() => return,
        Remedy::File(path) if !path.exists() => return,
        Remedy::Tree(place) => store.set_aside(place).and_then(|()| digest()).map(|digest| match problem.kind {
            "layer" => Removed::Layer(digest),
            _ => Removed::Root(digest),
        }),
        Remedy::File(path) => unlink(path).and_then(|()| match problem.kind {
            "blob" => digest().map(Removed::Blob),
            _ => Ok(Removed::File(path.clone())),
        }),
        Remedy::Image(digest) if !store.record_note(digest).exists() => return,
        Remedy::Image(digest) => forget(store, digest).map(|()| Removed::Image(digest.clone())),
        Remedy::None => {
            let message = format!("the {} `{}` was left as it was: {}", problem.kind, problem.name, problem.reason);
            Err(Error::new(Kind::Io, message))
        }
    };
    match done {
        Ok(one) => removed.push(one),
        Err(error) if failures.contains(&error) => {}
        Err(error) => failures.push(error),
    }
}
