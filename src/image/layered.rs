//! The root of an image of layers: those that are not in the store yet are extracted, side by side, and several
//! are put together once. Layers and roots are shared by all images that have them.

use std::path::PathBuf;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::decode::Packed;
use crate::image::digest::Digest;
use crate::image::extract::{self, Extracted};
use crate::image::import::{Import, Job};
use crate::image::layer::{self, LAYERS, Merged, steps};
use crate::image::store::{Kept, Name, Store, Temporary, failed};
use crate::image::tree::{Ownership, Whiteouts};
use crate::image::{Extractor, InUse, Progress, seal, tend};

/// One layer of an image, as its manifest and its configuration describe it.
pub(super) struct Layer<'a> {
    /// Of the packed bytes; a `docker save` archive does not say.
    pub(super) blob: Option<&'a Digest>,
    pub(super) diff_id: &'a Digest,
    /// `None` where the layer is in the store, and it is known that these bytes are it.
    pub(super) packed: Option<Packed<'a>>,
}

/// Returns the tree of `layers`, the lowest first; `what` names the image in messages.
///
/// # Errors
/// A layer that is damaged, hostile, or not what the image says it is; a store that is full.
pub(super) fn layered(
    (what, layers): (&str, &[Layer<'_>]),
    (store, ownership): (&Store, Ownership),
    progress: &mut dyn FnMut(Progress),
) -> Result<Kept> {
    let chain = chain_id(layers.iter().map(|layer| layer.diff_id))
        .ok_or_else(|| Error::new(Kind::Image, format!("{what} has no layers")))?;
    if layers.len() > LAYERS {
        return Err(Error::new(Kind::Image, format!("{what} has more than {LAYERS} layers")));
    }
    // The tree of a single layer is the root already.
    let name = if layers.len() == 1 { Name::Layer(&chain) } else { Name::Root(&chain) };
    let find = || store.find(name, ownership)?.map(|kept| lowest(what, kept, layers.len())).transpose();
    if let Some(kept) = find()? {
        return Ok(kept);
    }
    store.prepare()?;
    let _lock = store.lock(chain.hex())?;
    if let Some(kept) = find()? {
        return Ok(kept);
    }
    // What cannot be removed is told by `collect` when it is asked for; it does not stop this run.
    drop(store.collect()?);
    let lowest = merge_lowest(layers, (store, ownership))?;
    let mut trees = trees((what, layers), (store, ownership), progress)?;
    if layers.len() > 1 {
        let diff_ids: Vec<&Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        // What went wrong with one of them is told where all of them are merged.
        let lowest = lowest.and_then(|lowest| lowest().ok());
        put_together((what, &chain, &diff_ids), (&mut trees, lowest), (store, ownership))?;
    }
    store.settle_later()?;
    find()?.ok_or_else(|| Error::new(Kind::Bug, format!("the root of {what} vanished from the store")))
}

/// Returns the chain id of layers: config.md of the OCI image specification.
pub(super) fn chain_id<'a>(mut diff_ids: impl Iterator<Item = &'a Digest>) -> Option<Digest> {
    let first = diff_ids.next()?.clone();
    Some(diff_ids.fold(first, |chain, diff_id| {
        let pieces = ["sha256:", chain.hex(), " sha256:", diff_id.hex()];
        Digest::finish(pieces.iter().fold(Sha256::new(), |hash, piece| hash.chain_update(piece)))
    }))
}

/// The lowest layers as one root, and how many they are.
type Lowest = (Merged, usize);

/// Begins to merge the lowest layers that are in the store, while those above are extracted.
fn merge_lowest(
    layers: &[Layer<'_>],
    (store, ownership): (&Store, Ownership),
) -> Result<Option<impl FnOnce() -> Result<Lowest>>> {
    let there = layers.iter().take_while(|layer| layer.packed.is_none());
    let lists: Vec<PathBuf> =
        there.map(|layer| store.place_of(Name::Layer(layer.diff_id), ownership).join("list")).collect();
    if lists.is_empty() || lists.len() == layers.len() {
        return Ok(None);
    }
    let merge = move || {
        let mut merged = Merged::default();
        (0..).zip(&lists).try_for_each(|(number, list)| merged.lay(number, steps(layer::open(list)?)))?;
        Ok((merged, lists.len()))
    };
    extract::aside(merge).map(Some)
}

/// Returns the trees of all layers; those that are not there are extracted.
fn trees(
    (what, layers): (&str, &[Layer<'_>]),
    (store, ownership): (&Store, Ownership),
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Kept>> {
    let mut missing: Vec<(usize, &Layer<'_>, Packed<'_>)> = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let Some(packed) = layer.packed else { continue };
        // One that is packed in another way is read too: that it is the same is only what somebody says.
        let same = |other: Packed<'_>, blob| match (layer.blob, blob) {
            (None, None) => (other.offset, other.length) == (packed.offset, packed.length),
            (own, other) => own == other,
        };
        let repeated = missing.iter().any(|(_, other, at)| other.diff_id == layer.diff_id && same(*at, other.blob));
        if !repeated {
            missing.push((number, layer, packed));
        }
    }
    let jobs: Vec<Job<'_>> = missing
        .iter()
        .map(|(number, layer, packed)| Job {
            packed: *packed,
            shown: format!("{what}: layer {} of {}, {}", number + 1, layers.len(), layer.blob.unwrap_or(layer.diff_id)),
        })
        .collect();
    if !jobs.is_empty() {
        let mut judge = |job: usize, extracted: &Extracted| match missing.get(job) {
            Some((_, layer, _)) => {
                judge(layer, extracted).map_err(|error| super::import::about(&jobs[job].shown, error))
            }
            None => Ok(()),
        };
        Import { store, whiteouts: Whiteouts::Hide, ownership }.all(&jobs, &mut judge, progress)?;
    }
    let found = layers.iter().map(|layer| {
        let kept = store.find(Name::Layer(layer.diff_id), ownership)?;
        kept.ok_or_else(|| Error::new(Kind::Bug, format!("the layer {} vanished from the store", layer.diff_id)))
    });
    found.collect()
}

fn judge(layer: &Layer<'_>, extracted: &Extracted) -> Result<()> {
    let other = |what: &str, is: &Digest, wanted: &Digest| {
        Error::new(Kind::Image, format!("its {what} is `{is}`, but the image says `{wanted}`"))
            .with_hint("get the image again: it is damaged, or somebody changed it")
    };
    match layer.blob {
        Some(blob) if *blob != extracted.digest => Err(other("digest", &extracted.digest, blob)),
        _ if *layer.diff_id != extracted.diff_id => Err(other("unpacked digest", &extracted.diff_id, layer.diff_id)),
        _ => Ok(()),
    }
}

/// A layer with hard links to files of layers below cannot be the lowest one.
fn lowest(what: &str, kept: Kept, layers: usize) -> Result<Kept> {
    match (layers, kept.below) {
        (1, below @ 1..) => {
            let message = format!("{what}: {below} hard links of its only layer lead to files that are not in it");
            Err(Error::new(Kind::Image, message))
        }
        _ => Ok(kept),
    }
}

/// Lays a layer over those below. One whose list is damaged is taken away, so that it is imported again.
fn lay((number, kept): (u32, &mut Kept), merged: &mut Merged, store: &Store) -> Result<()> {
    let path = kept.list();
    let mut unread = false;
    let laid = match layer::open(&path) {
        Ok(list) => merged.lay(number, steps(list).inspect(|step| unread |= step.is_err())),
        Err(error) => {
            unread = true;
            Err(error)
        }
    };
    let Err(error) = laid else { return Ok(()) };
    if !unread {
        return Err(error);
    }
    kept.in_use = InUse::default();
    store.set_aside(kept.root.parent().unwrap_or(&kept.root))?;
    Err(super::import::about(&format!("`{}`", path.display()), error))
}

fn put_together(
    (what, chain, diff_ids): (&str, &Digest, &[&Digest]),
    (trees, lowest): (&mut [Kept], Option<Lowest>),
    (store, ownership): (&Store, Ownership),
) -> Result<()> {
    let (mut merged, done) = lowest.unwrap_or_default();
    for (number, kept) in (0..).zip(trees.iter_mut()).skip(done) {
        lay((number, kept), &mut merged, store).map_err(|error| super::import::about(what, error))?;
    }
    let temporary = store.temporary()?;
    let assembled = assemble((&temporary, merged), trees, (store, ownership)).and_then(|made| {
        let (names, text) =
            (made.join("layers"), diff_ids.iter().fold(String::new(), |text, id| text + id.hex() + "\n"));
        std::fs::write(&names, seal::seal(&text)).map_err(|error| failed("write", &names, &error))?;
        Ok(made)
    });
    let made = match assembled {
        Ok(made) => made,
        Err(error) => {
            // The first failure is the one to tell; what stays behind is a leftover.
            drop(temporary.discard());
            return Err(error);
        }
    };
    let mut all = trees[0].clone();
    for other in &trees[1..] {
        all.skipped.devices += other.skipped.devices;
        all.skipped.set_id += other.skipped.set_id;
        all.skipped.attributes += other.skipped.attributes;
    }
    all.below = 0;
    store.keep(&made, (Name::Root(chain), ownership), (&all.skipped, all.below))?;
    temporary.discard()
}

/// Puts trees together in a new directory, which is returned: by a process that has all rights over them where this
/// one has not.
fn assemble(
    (temporary, merged): (&Temporary, Merged),
    trees: &[Kept],
    (store, ownership): (&Store, Ownership),
) -> Result<PathBuf> {
    let range = match ownership {
        Ownership::Range(range) => Some(range),
        Ownership::Archive | Ownership::Caller => {
            let made = temporary.make("root")?;
            let paths: Vec<_> = trees.iter().map(|kept| kept.root.as_path()).collect();
            match layer::assemble(merged, (&made.join("rootfs"), ownership), &paths) {
                Err(error) if tend::is_denied(&error) && ownership == Ownership::Caller => None,
                other => return other.map(|()| made),
            }
        }
    };
    let Extractor::Program(program) = store.extractor() else {
        return Err(Error::new(Kind::Host, "the layers hold a directory that is closed to its owner"));
    };
    let made = temporary.make("again")?;
    let layers = trees.iter().map(|kept| kept.root.with_file_name("")).collect();
    tend::ask(program, &tend::Request::Assemble { root: made.join("rootfs"), layers, range }).map(|()| made)
}
