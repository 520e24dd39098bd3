//! Removal of images, and of what no image needs. Whoever imports is waited for, and what a running sandbox is in
//! stays: its root is locked.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::seal;
use crate::image::stock::verify::trees;
use crate::image::stock::{Known, Match, Removed, known};
use crate::image::store::{Name, Record, Store, failed};

/// Removes images by what [`crate::image::stock::find`] found: a name goes alone while the image has others, and
/// with the last one go the image and all that no other image needs.
///
/// # Errors
/// An image that a running sandbox is in: then nothing of it is removed. A file that cannot be removed.
pub fn remove(store: &Store, images: &[Match]) -> Result<Vec<Removed>> {
    let _alone = store.alone()?;
    let mut removed = Vec::new();
    let mut gone = Vec::new();
    for Match { image, name } in images {
        let mut left: Vec<&str> = image.names.iter().map(|name| name.name.as_str()).collect();
        if let Some(name) = name {
            left.retain(|other| other != name && !removed.contains(&Removed::Name((*other).to_owned())));
        }
        if name.is_none() || left.is_empty() {
            unused(store, image)?;
            removed.extend(image.names.iter().map(|name| Removed::Name(name.name.clone())));
            forget(store, &image.digest)?;
            removed.push(Removed::Image(image.digest.clone()));
            gone.push(image.clone());
        } else if let Some(name) = name {
            forget_name(store, image, name)?;
            removed.push(Removed::Name(name.clone()));
        }
    }
    sweep(store, Some(&gone), &mut removed)?;
    Ok(removed)
}

/// Removes all that no image needs, and images that were not used for a time, which is known by the day.
///
/// # Errors
/// A note that is damaged: what its image needs is not known. A file that cannot be removed.
pub fn prune(store: &Store, older_than: Option<Duration>) -> Result<Vec<Removed>> {
    if !store.root().exists() {
        return Ok(Vec::new());
    }
    let _alone = store.alone()?;
    let mut removed = Vec::new();
    drop(store.collect()?);
    for image in known(store)? {
        let is_old = older_than.is_some_and(|limit| used(store, &image).is_none_or(|age| age > limit));
        if is_old && unused(store, &image).is_ok() {
            forget(store, &image.digest)?;
            removed.push(Removed::Image(image.digest));
        }
    }
    sweep(store, None, &mut removed)?;
    Ok(removed)
}

/// Removes the notes of an image.
pub(super) fn forget(store: &Store, digest: &Digest) -> Result<()> {
    for (path, named) in store.names()? {
        if named.whole().is_some_and(|named| named.manifest == digest.hex()) {
            unlink(&path)?;
        }
    }
    forget_memos(store, digest)?;
    unlink(&store.record_note(digest))
}

fn forget_memos(store: &Store, digest: &Digest) -> Result<()> {
    for (path, memo) in store.notes::<serde_json::Value>("seen", ".image")? {
        if memo.whole().is_some_and(|memo| memo.get("digest").is_some_and(|own| own.as_str() == Some(digest.hex()))) {
            unlink(&path)?;
        }
    }
    Ok(())
}

fn forget_name(store: &Store, image: &Known, name: &str) -> Result<()> {
    for (path, named) in store.names()? {
        if named.whole().is_some_and(|named| named.reference == name && named.manifest == image.digest.hex()) {
            unlink(&path)?;
        }
    }
    let path = store.record_note(&image.digest);
    if let Some(mut record) = seal::read::<Record>(&path)?.whole() {
        record.places.retain(|place| place.source != name);
        seal::write(&path, &record)?;
    }
    // A run of that place notes it again, unless it finds all that it needs in a memo.
    forget_memos(store, &image.digest)
}

/// Returns an error if a sandbox runs in the image.
fn unused(store: &Store, image: &Known) -> Result<()> {
    for note in marks(store, image) {
        let Ok(file) = File::open(&note) else { continue };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Host, format!("the image `{}` is in use by a running sbx", image.digest))
                    .with_hint("wait for its end"));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &note, &error)),
        }
    }
    Ok(())
}

/// Returns how long ago the image was used.
fn used(store: &Store, image: &Known) -> Option<Duration> {
    let times = marks(store, image).into_iter().filter_map(|note| std::fs::metadata(note).ok()?.modified().ok());
    times.max().map(|time| SystemTime::now().duration_since(time).unwrap_or_default())
}

/// Returns the files that a run locks and marks.
fn marks(store: &Store, image: &Known) -> Vec<std::path::PathBuf> {
    let Some(chain) = &image.chain_id else { return Vec::new() };
    let name = if image.layers.len() == 1 { Name::Layer(chain) } else { Name::Root(chain) };
    let flavours = store.flavours(name).unwrap_or_default();
    flavours.into_iter().map(|ownership| store.place_of(name, ownership).join("skipped")).collect()
}

/// Removes what no image needs: of everything, or of what was needed by those that are `gone`.
fn sweep(store: &Store, gone: Option<&[Known]>, removed: &mut Vec<Removed>) -> Result<()> {
    let images = known(store)?;
    let mut needed = Needed::of(&images);
    if gone.is_none() {
        // What was extracted is needed no more: a pull would fetch it again.
        let packed = images.iter().flat_map(|image| &image.layers).filter(|layer| layer.size.is_some());
        for digest in packed.filter_map(|layer| layer.digest.as_ref()) {
            needed.blobs.remove(digest);
        }
    }
    let gone = gone.map(Needed::of);
    let is_waste = |set: fn(&Needed) -> &BTreeSet<Digest>, digest: &Digest| {
        !set(&needed).contains(digest) && gone.as_ref().is_none_or(|gone| set(gone).contains(digest))
    };
    for (chain, ownership) in trees(store, "roots")? {
        if is_waste(|it| &it.chains, &chain) && take(store, Name::Root(&chain), ownership)? {
            removed.push(Removed::Root(chain));
        }
    }
    for (diff_id, ownership) in trees(store, "layers")? {
        if is_waste(|it| &it.layers, &diff_id) && take(store, Name::Layer(&diff_id), ownership)? {
            removed.push(Removed::Layer(diff_id));
        }
    }
    for name in store.list("blobs")? {
        match Digest::from_hex(&name) {
            Ok(digest) if is_waste(|it| &it.blobs, &digest) => {
                unlink(&store.root().join("blobs").join(name))?;
                removed.push(Removed::Blob(digest));
            }
            _ => {}
        }
    }
    if gone.is_none() { litter(store, &needed, removed) } else { Ok(()) }
}

/// Takes a tree away, unless a sandbox runs in it.
fn take(store: &Store, name: Name<'_>, ownership: crate::image::tree::Ownership) -> Result<bool> {
    match store.set_aside(&store.place_of(name, ownership)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Host => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what killed imports began, and notes that lead to no image.
fn litter(store: &Store, needed: &Needed, removed: &mut Vec<Removed>) -> Result<()> {
    let mut paths = Vec::new();
    for section in ["images", "names", "seen"] {
        let names = store.list(section)?;
        paths.extend(
            names.iter().filter(|name| name.ends_with(".new")).map(|name| store.root().join(section).join(name)),
        );
    }
    paths.extend(store.list("partial")?.iter().map(|name| store.root().join("partial").join(name)));
    for (path, named) in store.names()? {
        if !named.whole().is_some_and(|named| needed.images.iter().any(|image| image.hex() == named.manifest)) {
            paths.push(path);
        }
    }
    for (path, memo) in store.notes::<serde_json::Value>("seen", ".image")? {
        let of = memo.whole().and_then(|memo| Digest::from_hex(memo.get("digest")?.as_str()?).ok());
        if !of.is_some_and(|digest| needed.images.contains(&digest)) {
            paths.push(path);
        }
    }
    for path in paths {
        unlink(&path)?;
        removed.push(Removed::File(path));
    }
    Ok(())
}

/// What images need.
struct Needed {
    images: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    chains: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
}

impl Needed {
    fn of(images: &[Known]) -> Self {
        let layers = || images.iter().flat_map(|image| &image.layers);
        let packed = layers().filter_map(|layer| layer.digest.clone());
        Self {
            images: images.iter().map(|image| image.digest.clone()).collect(),
            layers: layers().map(|layer| layer.diff_id.clone()).collect(),
            chains: images.iter().filter_map(|image| image.chain_id.clone()).collect(),
            blobs: images.iter().flat_map(|image| image.documents.iter().cloned()).chain(packed).collect(),
        }
    }
}

/// Removes a file, if it is there.
pub(super) fn unlink(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}
