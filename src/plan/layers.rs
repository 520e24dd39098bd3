//! Which directories become overlays so that something can be made in them, and what has to lie in their
//! upper layers before. It decides; nothing is made here.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Base, FileKind, Inputs, Search, Standing};
use crate::plan::ground::{self, Ground, Grounds, MASKED};
use crate::plan::{IdRange, MapWriter};
use crate::spec::{Mount, Secret, Writable};
use crate::units::{AbsPath, Origin};

/// What stands for every owner who is nobody where sbx runs (`kernel.overflowuid`): it may be the caller's own
/// number, and then says nothing.
const OVERFLOW: u32 = 65_534;

/// A directory of an upper layer, made before the overlay: in the lower layer it belongs to an id that is
/// nobody inside, and the kernel copies no such directory up (EOVERFLOW, or EACCES before that).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub path: AbsPath,
    pub mode: u32,
    pub origin: Origin,
}

/// Returns the places whose file system has to become an overlay, each with what is made in its upper layer:
/// all of a writable root, and wherever something is made that is not there.
#[must_use]
pub fn layers(inputs: Inputs<'_>, grounds: &Grounds, writable: Writable) -> BTreeMap<AbsPath, Vec<Made>> {
    let Inputs { spec, facts, invocation, .. } = inputs;
    let mut places = BTreeMap::new();
    if writable != Writable::No {
        match &facts.base {
            Base::Image(_) => drop(places.insert(AbsPath::root(), Vec::new())),
            Base::Host(entries) => {
                let real = entries.iter().filter(|entry| entry.link.is_none());
                places.extend(real.map(|entry| (entry.path.clone(), Vec::new())));
            }
            Base::Scratch => {}
        }
    }
    let mut grounds = grounds.clone();
    for path in ground::base_mounts(spec) {
        look(inputs, (&grounds, &path, Origin::Default), &mut places);
        grounds.cover_base(path);
    }
    for mount in &spec.mounts {
        let path = mount.value.destination();
        if let Some(closed) = closed(inputs, &grounds, path) {
            grounds.cover(closed, Ground::Own);
        }
        if !matches!(mount.value, Mount::Mask { .. }) {
            look(inputs, (&grounds, path, mount.origin), &mut places);
        }
        if let Some(ground) = ground::ground_of(&mount.value, invocation) {
            grounds.cover(path.clone(), ground);
        }
    }
    for secret in &spec.secrets {
        if let Secret::File { destination, .. } = &secret.value
            && closed(inputs, &grounds, destination).is_none()
        {
            look(inputs, (&grounds, destination, secret.origin), &mut places);
        }
    }
    places
}

fn look(
    inputs: Inputs<'_>,
    (grounds, path, origin): (&Grounds, &AbsPath, Origin),
    places: &mut BTreeMap<AbsPath, Vec<Made>>,
) {
    let missing = grounds.above(path).is_some_and(|question| inputs.facts.kind(&question) == FileKind::Missing);
    if !missing {
        return;
    }
    let above = above(inputs, grounds, path);
    // Links lead elsewhere: what counts is where the deepest directory really lies.
    let (place, ground) = grounds.under(above.last().map_or(path, |standing| &standing.path));
    if !matches!(ground, Ground::Image | Ground::System) {
        return;
    }
    let made = places.entry(place.clone()).or_default();
    for standing in above.iter().filter(|it| it.path != *place && it.path.is_within(place)) {
        if !is_mapped(inputs, ground, standing) && made.iter().all(|made| made.path != standing.path) {
            made.push(Made { path: standing.path.clone(), mode: standing.mode & 0o1777, origin });
        }
    }
}

fn above<'a>(inputs: Inputs<'a>, grounds: &Grounds, path: &AbsPath) -> &'a [Standing] {
    grounds.above(path).and_then(|question| inputs.facts.above.get(&question)).map_or(&[], Vec::as_slice)
}

/// Returns the highest directory above `path` in which the sandbox may look up nothing: the command sees
/// nothing of it either way, so an empty one can take its place.
#[must_use]
pub fn closed(inputs: Inputs<'_>, grounds: &Grounds, path: &AbsPath) -> Option<AbsPath> {
    let ground = grounds.under(path).1;
    let masked = |standing: &Standing| *ground == Ground::System && MASKED.contains(&standing.path.as_str());
    let closed = above(inputs, grounds, path).iter().find(|standing| {
        masked(standing) || (standing.search == Search::Denied && !is_mapped(inputs, ground, standing))
    })?;
    path.is_within(&closed.path).then(|| closed.path.clone())
}

/// Refuses a rootfs whose own directory the sandbox may not enter: nothing in it could be reached.
///
/// # Errors
/// Such a rootfs, with whom it belongs to.
pub fn enterable(inputs: Inputs<'_>) -> Result<()> {
    let Some(top) = &inputs.facts.top else { return Ok(()) };
    let (Standing { mode, uid, gid, .. }, identity) = (top, inputs.identity);
    let may_enter = match identity.writer {
        MapWriter::Parent => {
            let class = match () {
                () if *uid == identity.inside.uid => 0o100,
                () if *gid == identity.inside.gid => 0o010,
                () => 0o001,
            };
            mode & class != 0
        }
        MapWriter::Nobody | MapWriter::Child | MapWriter::Helpers => top.search == Search::Allowed,
    };
    if may_enter || is_mapped(inputs, &Ground::Image, top) {
        return Ok(());
    }
    let message = format!(
        "the root directory of the rootfs is closed to the sandbox: it has mode {mode:04o} and belongs to {uid}:{gid}"
    );
    let hint = match identity.writer {
        MapWriter::Parent => format!(
            "open it in the rootfs (`chmod 755`), or write `user {uid} {gid}`, or `ids=\"range\"`, with which its owner is somebody inside"
        ),
        _ => "open it (`chmod o+rx`), or take a rootfs that belongs to you".to_owned(),
    };
    Err(Error::new(Kind::Image, message).with_hint(hint))
}

/// Returns whether the owner of a directory is somebody inside, so that the sandbox's capabilities reach it
/// (capabilities(7), user_namespaces(7)).
fn is_mapped(inputs: Inputs<'_>, ground: &Ground, standing: &Standing) -> bool {
    let identity = inputs.identity;
    // Root's sandbox maps the ids of an image as they are on disk; all else shows the ids of the host.
    let as_inside = identity.writer == MapWriter::Parent && *ground == Ground::Image;
    let has = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| {
            let first = if as_inside { range.inside } else { range.outside };
            (as_inside || id != OVERFLOW) && id.checked_sub(first).is_some_and(|offset| offset < range.count)
        })
    };
    identity.writer == MapWriter::Nobody
        || (has(&identity.uid_map, standing.uid) && has(&identity.gid_map, standing.gid))
}
