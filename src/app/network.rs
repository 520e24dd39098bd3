//! Where a command with a way out looks for its resolver: the files that sbx puts there, and the places at which they
//! come to lie where the root file system has links instead.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path};

use crate::error::Result;
use crate::plan::facts::Base;
use crate::plan::ground::{self, Ground, Grounds};
use crate::plan::network;
use crate::spec::{Mount, Namespace, Spec};
use crate::units::AbsPath;

/// As many links as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Adds to `spec` the files by which the command finds sbx's resolver, where it is let out.
///
/// # Errors
/// None that a caller can provoke.
pub fn complete(spec: &mut Spec) -> Result<()> {
    // Without mounts of its own the command sees the host's files. sbx answers whoever is asked, at any address.
    if spec.namespaces.as_ref().is_some_and(|written| !written.value.new.contains(&Namespace::Mount)) {
        return Ok(());
    }
    network::add_files(spec)
}

/// Returns the spec with these files where the links of the root lead that are in their places: systemd-resolved and
/// others make `/etc/resolv.conf` one into `/run`, of which the sandbox has its own. `None` changes nothing. `eyes`
/// is the path by which to look into the image.
#[must_use]
pub fn settled(spec: &Spec, base: &Base, eyes: Option<&Path>) -> Option<Spec> {
    let files = network::files(spec);
    if files.is_empty() {
        return None;
    }
    let mut grounds = Grounds::new(base);
    ground::base_mounts(spec).into_iter().for_each(|path| grounds.cover_base(path));
    let mut changed = None;
    for number in files {
        let path = spec.mounts[number].value.destination();
        let Some(real) = real(path, &grounds, eyes).filter(|real| real != path) else { continue };
        if let Mount::File { destination, .. } = &mut changed.get_or_insert_with(|| spec.clone()).mounts[number].value {
            *destination = real;
        }
    }
    changed
}

/// Returns where `path` is when all links of the root are followed as within it, whether or not something is there;
/// `None` where they lead round in circles.
fn real(path: &AbsPath, grounds: &Grounds, eyes: Option<&Path>) -> Option<AbsPath> {
    let mut names = parts(Path::new(path.as_str()));
    let (mut place, mut links) = (AbsPath::root(), 0);
    while let Some(name) = names.pop_front() {
        if name == ".." {
            place = place.parent().unwrap_or_else(AbsPath::root);
            continue;
        }
        let next = Path::new(place.as_str()).join(&name);
        let next = AbsPath::new(next.to_str()?).ok()?;
        let seen = match (grounds.under(&next).1, eyes) {
            (Ground::Image, Some(eyes)) => eyes.join(next.as_str().trim_start_matches('/')),
            (Ground::System, _) => next.as_str().into(),
            // What sbx makes has no links.
            _ => {
                place = next;
                continue;
            }
        };
        let Ok(target) = std::fs::read_link(seen) else {
            place = next;
            continue;
        };
        links += 1;
        if links > MOST_LINKS {
            return None;
        }
        if target.is_absolute() {
            place = AbsPath::root();
        }
        let mut first = parts(&target);
        first.append(&mut names);
        names = first;
    }
    Some(place)
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |part| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(|it| part(*it)).map(|it| it.as_os_str().to_owned()).collect()
}
