//! The rules that follow from what a plan mounts: each place gets what its mount gives.
//! A rule can only add to those above it, so a place that has less than what is around
//! it has no rule: there the mount alone holds.

use std::collections::BTreeMap;

use crate::plan::landlock::{Right, Rights};
use crate::plan::{Attributes, Devices, Op, Step, Tree, Write};
use crate::spec::Exec;
use crate::units::{AbsPath, Origin};

/// Where a file is changed.
pub const CHANGE: Rights = Rights::of(&[Right::Write, Right::Refer]);

/// A mount of the sandbox and what can be done there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: AbsPath,
    pub rights: Rights,
    pub origin: Origin,
    maker: Maker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    /// What is below is known: no link of somebody else leads out.
    Own,
    Other,
}

/// Returns the rules for what `steps` mount, the root's first; `None` where they make no root.
#[must_use]
pub fn rules(steps: &[&Step]) -> Option<Vec<Place>> {
    let mut rules: Vec<Place> = Vec::new();
    for place in places(steps)? {
        let above = rules.iter().filter(|rule| {
            place.path.is_within(&rule.path) && (rule.maker == Maker::Own || rule.path == AbsPath::root())
        });
        if !above.fold(Rights::NONE, |all, rule| all.and(rule.rights)).has_all(place.rights) {
            rules.push(place);
        }
    }
    Some(rules)
}

/// Every mount that is in sight in the end, each after the one that it lies on.
fn places(steps: &[&Step]) -> Option<Vec<Place>> {
    let mut trees: BTreeMap<Tree, Rights> = BTreeMap::new();
    let mut places: Vec<Place> = Vec::new();
    for Step { op, origin } in steps {
        match op {
            Op::OpenTree { tree, attributes, .. } | Op::NewFilesystem { tree, attributes, .. } => {
                trees.extend(rights(*attributes).map(|rights| (*tree, rights)));
            }
            Op::NewFile { tree, mode, .. } => {
                let written = if mode & 0o222 == 0 { Rights::NONE } else { Rights::of(&[Right::Write]) };
                trees.insert(*tree, Rights::of(&[Right::Read, Right::Execute]).and(written));
            }
            Op::Pivot { tree } => {
                let rights = trees.get(tree).copied().unwrap_or_default();
                places.push(Place { path: AbsPath::root(), rights, origin: *origin, maker: Maker::Other });
            }
            Op::Attach { tree, destination } => {
                if let Some(rights) = trees.get(tree) {
                    cover(&mut places, (destination, *rights), (*origin, Maker::Other));
                }
            }
            Op::Mount { destination, attributes, .. } => {
                let rights = rights(*attributes).unwrap_or_default();
                cover(&mut places, (destination, rights), (*origin, Maker::Own));
            }
            Op::ReadOnly { path } => {
                for place in places.iter_mut().filter(|place| place.path == *path) {
                    place.rights = place.rights.without(CHANGE);
                }
            }
            _ => {}
        }
    }
    Some(places).filter(|places| !places.is_empty())
}

fn cover(places: &mut Vec<Place>, (path, rights): (&AbsPath, Rights), (origin, maker): (Origin, Maker)) {
    places.retain(|place| !place.path.is_within(path));
    // The devices and terminals of the sandbox are all here; every other mount is `nodev`.
    let devices = if path.as_str() == "/dev" { Rights::of(&[Right::Ioctl]) } else { Rights::NONE };
    places.push(Place { path: path.clone(), rights: rights.and(devices), origin, maker });
}

/// A device has no rule of its own: it lies in `/dev`, or is the `/dev/null` of a mask, which nobody needs to write.
fn rights(attributes: Attributes) -> Option<Rights> {
    let mut rights = Rights::of(&[Right::Read]);
    if attributes.write == Write::ReadWrite {
        rights = rights.and(CHANGE);
    }
    if attributes.exec == Exec::Allowed {
        rights = rights.and(Rights::of(&[Right::Execute]));
    }
    (attributes.devices == Devices::Forbidden).then_some(rights)
}
