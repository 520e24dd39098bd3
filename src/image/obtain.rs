//! From a place that holds images, or the name of one at a registry, to a root that can be mounted. What is there
//! already costs the reading of a few documents, whatever the size of the image.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{self, Error, Result};
use crate::image::decode::Packed;
use crate::image::digest::Digest;
use crate::image::layered::{self, Layer, layered};
use crate::image::oci::{self, At, Config, Form, Manifest, Part, Scratch, Selection};
use crate::image::platform::Platform;
use crate::image::remember::Stamp;
use crate::image::seal::{self, Sealed};
use crate::image::store::{Kept, Name, Place, Record, RecordLayer, Store, Temporary, failed, now};
use crate::image::tree::Ownership;
use crate::image::{Image, Kind, Progress, Pull, mend, registry};
use crate::sys::watch::asked_to_end;
use crate::units::visible;

/// Where trees are kept, and whose their files are.
#[derive(Clone, Copy)]
pub(super) struct Trees<'a> {
    pub(super) store: &'a Store,
    pub(super) ownership: Ownership,
}

/// Returns the image that is stored at a place.
///
/// # Errors
/// An image that is damaged, hostile, not the one that is wanted or not clearly chosen; a store that is full.
pub(super) fn stored(
    (form, at): (Form, At<'_>),
    (selection, wanted): (&Selection, Option<&Digest>),
    Trees { store, ownership }: Trees<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    let seen = State::of(form, at)?;
    if let Some(seen) = &seen
        && let Some(memo) = Memo::read(store, seen, selection)?
        && let Some(image) = memo.image(at.path, wanted, (store, ownership))?
    {
        return Ok(image);
    }
    // A packed archive is unpacked to a file first, which is there until its layers are in the store.
    let unpacked: OnceCell<Temporary> = OnceCell::new();
    let file = || {
        store.prepare()?;
        let temporary = store.temporary()?;
        let path = temporary.path().join("archive");
        let made = File::options().read(true).write(true).create_new(true).open(&path);
        let made = made.map_err(|error| failed("create", &path, &error))?;
        // Only one is asked for; a second would be removed with what an extraction leaves.
        drop(unpacked.set(temporary));
        Ok(made)
    };
    let found = in_archive((form, at), (selection, wanted), (store, ownership), &file, progress);
    let removed = unpacked.into_inner().map_or(Ok(()), Temporary::discard);
    let (image, memo) = found?;
    removed?;
    if let Some(seen) = seen.filter(|seen| seen.is_settled) {
        memo.write(store, &seen);
    }
    Ok(image)
}

/// Reads the image and makes its root; returns what is worth remembering of it as well.
fn in_archive(
    (form, at): (Form, At<'_>),
    (selection, wanted): (&Selection, Option<&Digest>),
    (store, ownership): (&Store, Ownership),
    file: &dyn Fn() -> Result<File>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Image, Memo)> {
    let manifest = oci::open(form, at, selection, Scratch { file, progress })?;
    let what = format!("the image `{}`", at.path.display());
    let kind = match form {
        Form::Layout => Kind::Oci,
        Form::DockerArchive => Kind::DockerArchive,
        Form::OciArchive | Form::Archive => Kind::OciArchive,
    };
    let shown = at.path.display();
    let source = match &selection.tag {
        Some(tag) => format!("{}:{shown}:{tag}", kind.as_str()),
        None => format!("{}:{shown}", kind.as_str()),
    };
    let record = record(kind, &manifest, Vec::from([Place { source, imported_at: now() }]));
    let image = root((&what, &manifest), wanted, (store, ownership, Some(record)), progress)?;
    let memo = Memo::of(selection, (kind, &manifest));
    Ok((Image { kind, source: at.path.to_owned(), ..image }, memo))
}

/// Returns the image of a registry. What was pulled is found by its name, `pulled` shows how far a pull is.
///
/// # Errors
/// Whatever prevents a pull, and as those of an image that is stored at a place.
pub(super) fn of_registry(
    (reference, pull): (&registry::Reference, Pull),
    (platform, wanted): (Option<&str>, Option<&Digest>),
    Trees { store, ownership }: Trees<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    let what = format!("the image `{}`", visible(&reference.to_string()));
    let known = match pull {
        Pull::Always => None,
        Pull::Missing | Pull::Never => store.named_image(reference, platform)?,
    };
    // What is pulled is not taken away before it is noted.
    let (digest, _importing) = match (known, pull) {
        (Some(digest), _) => (digest, None),
        (None, Pull::Never) => {
            return Err(Error::new(error::Kind::Spec, format!("{what} is not in the store"))
                .with_hint(format!("`sbx image pull {reference}`, or write `pull=\"missing\"`")));
        }
        (None, _) => {
            let importing = store.importing()?;
            (store.pull(reference, platform, progress)?, Some(importing))
        }
    };
    let chosen = platform.map(Platform::parse).transpose()?;
    let blobs = store.root().join("blobs");
    let run = |digest: &Digest, progress: &mut dyn FnMut(Progress)| {
        let manifest = oci::from_blobs(&blobs, digest, chosen.as_ref())?;
        let record = match store.record_note(&manifest.digest).exists() {
            true => None,
            false => {
                let documents = mend::documents(store, &manifest.digest)?;
                Some(Record { documents, ..record(Kind::Docker, &manifest, Vec::new()) })
            }
        };
        root((&what, &manifest), wanted, (store, ownership, record), progress)
    };
    let image = match run(&digest, progress) {
        // What is damaged in the store is fetched once more.
        Err(_) if pull != Pull::Never && asked_to_end().is_none() && mend::mend(store, &digest)? => {
            let _importing = store.importing()?;
            let digest = mend::pull(store, (reference, platform), progress)?;
            run(&digest, progress)
        }
        other => other,
    }?;
    Ok(Image { kind: Kind::Docker, source: PathBuf::from(format!("docker://{reference}")), ..image })
}

fn record(kind: Kind, manifest: &Manifest, places: Vec<Place>) -> Record {
    let layers = manifest.layers.iter();
    Record {
        digest: manifest.digest.clone(),
        kind: kind.as_str().to_owned(),
        places,
        layers: layers.map(|layer| RecordLayer { blob: layer.blob.clone(), diff_id: layer.diff_id.clone() }).collect(),
        documents: Vec::new(),
        config: Some(manifest.config.clone()),
    }
}

/// Returns the root of an image whose documents are read, and notes the image.
fn root(
    (what, manifest): (&str, &Manifest),
    wanted: Option<&Digest>,
    (store, ownership, record): (&Store, Ownership, Option<Record>),
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    compare(what, &manifest.digest, wanted)?;
    let layers = u32::try_from(manifest.layers.len()).unwrap_or(u32::MAX);
    let chain = layered::chain_id(manifest.layers.iter().map(|layer| &layer.diff_id));
    let known = chain.map(|chain| find(store, &chain, (layers, ownership))).transpose()?.flatten();
    let (kept, record, _importing) = match known {
        Some(kept) => (kept, record.map(|record| compared(store, record)).transpose()?, None),
        None => {
            let importing = store.importing()?;
            (import((what, manifest), (store, ownership), progress)?, record, Some(importing))
        }
    };
    if let Some(record) = record {
        store.record(record)?;
    }
    Ok(Image {
        kind: Kind::Oci,
        root: kept.root,
        source: PathBuf::new(),
        digest: Some(manifest.digest.clone()),
        layers: Some(layers),
        config: Some(manifest.config.clone()),
        skipped: kept.skipped,
        in_use: kept.in_use,
        held: None,
    })
}

/// Makes the root. A layer whose list turns out to be damaged is gone then, and imported again.
fn import(
    (what, manifest): (&str, &Manifest),
    (store, ownership): (&Store, Ownership),
    progress: &mut dyn FnMut(Progress),
) -> Result<Kept> {
    let mut again = true;
    loop {
        // Opened here and not before: what is in the store needs no layer at all.
        let known = known(store)?;
        let opened = manifest.layers.iter().map(|layer| open(layer, &known, (store, ownership)));
        let opened: Vec<Option<Part>> = opened.collect::<Result<_>>()?;
        let all = manifest.layers.iter().zip(&opened);
        let layers: Vec<Layer<'_>> = all
            .map(|(layer, part)| Layer {
                blob: layer.blob.as_ref(),
                diff_id: &layer.diff_id,
                packed: part.as_ref().map(|part| Packed { file: &part.file, offset: part.offset, length: part.length }),
            })
            .collect();
        let error = match layered((what, &layers), (store, ownership), progress) {
            Err(error) if again => error,
            other => return other,
        };
        let was_there = layers.iter().zip(&opened).filter(|(_, part)| part.is_none());
        let gone = was_there.map(|(layer, _)| store.find(Name::Layer(layer.diff_id), ownership));
        if !gone.collect::<Result<Vec<_>>>()?.iter().any(Option::is_none) {
            return Err(error);
        }
        again = false;
    }
}

/// Returns the note of an image of which nothing was read, because its root is there: without those digests of packed
/// layers that only this image claims.
fn compared(store: &Store, mut record: Record) -> Result<Record> {
    // What an older note of the same image says was compared then.
    let known = if store.record_note(&record.digest).exists() { BTreeSet::new() } else { known(store)? };
    for layer in &mut record.layers {
        if !is_told((layer.blob.as_ref(), &layer.diff_id), &known) {
            layer.blob = None;
        }
    }
    Ok(record)
}

/// Returns whether the packed bytes of a layer are known to be it.
fn is_told((blob, diff_id): (Option<&Digest>, &Digest), known: &BTreeSet<(Digest, Digest)>) -> bool {
    // Whoever packs nothing has one digest for both.
    blob.filter(|blob| *blob != diff_id).is_none_or(|blob| known.contains(&(blob.clone(), diff_id.clone())))
}

/// Opens the packed bytes of a layer, unless it is in the store and was made of these very bytes: that others are
/// the same layer is only what this image says.
fn open(
    layer: &oci::Layer,
    known: &BTreeSet<(Digest, Digest)>,
    (store, ownership): (&Store, Ownership),
) -> Result<Option<Part>> {
    if is_told((layer.blob.as_ref(), &layer.diff_id), known)
        && store.find(Name::Layer(&layer.diff_id), ownership)?.is_some()
    {
        return Ok(None);
    }
    let name = layer.blob.as_ref().unwrap_or(&layer.diff_id);
    layer.place.open().map(Some).map_err(|error| super::import::about(&format!("the layer `{name}`"), error))
}

/// Returns which packed bytes are which layer, of the images that were imported.
fn known(store: &Store) -> Result<BTreeSet<(Digest, Digest)>> {
    let records = store.records()?.into_iter().filter_map(|(_, record)| record.whole());
    let layers = records.flat_map(|record| record.layers);
    Ok(layers.filter_map(|layer| Some((layer.blob?, layer.diff_id))).collect())
}

fn find(store: &Store, chain: &Digest, (layers, ownership): (u32, Ownership)) -> Result<Option<Kept>> {
    let name = if layers == 1 { Name::Layer(chain) } else { Name::Root(chain) };
    // A single layer with links to others is judged where it is put together.
    Ok(store.find(name, ownership)?.filter(|kept| layers > 1 || kept.below == 0))
}

fn compare(what: &str, digest: &Digest, wanted: Option<&Digest>) -> Result<()> {
    match wanted {
        Some(wanted) if wanted != digest => {
            let message = format!("{what} has the digest `{digest}`, but `{wanted}` is wanted");
            Err(Error::new(error::Kind::Image, message)
                .with_hint("get the image that was pinned, or pin this one if you trust it"))
        }
        _ => Ok(()),
    }
}

/// What tells whether a place still holds the same image.
struct State {
    /// The beginning of the names of its notes.
    name: String,
    line: String,
    /// Whether a change would show.
    is_settled: bool,
}

impl State {
    /// Of a layout the bytes of what has no digest: all else follows from it. An archive is too large for that, and
    /// its stamp has to do. None where the layout cannot be read.
    fn of(form: Form, at: At<'_>) -> Result<Option<Self>> {
        let of = |stamp: Stamp, line, is_settled| Self { name: stamp.name(), line, is_settled };
        if form != Form::Layout {
            let stamp = Stamp::of(&oci::open_archive(at)?, at.path)?;
            return Ok(Some(of(stamp, stamp.line(), stamp.is_settled())));
        }
        let Some((file, bytes)) = oci::open_index(at) else { return Ok(None) };
        Ok(Some(of(Stamp::of(&file, at.path)?, Digest::of(&bytes).to_string(), true)))
    }
}

/// What was found out about an archive or a layout, so that the next run of it reads nothing of it: a packed archive
/// would have to be unpacked for its first document, and the documents of 64 layers cost a run half a millisecond.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memo {
    state: String,
    tag: Option<String>,
    platform: Option<String>,
    kind: String,
    digest: String,
    chain: String,
    layers: u32,
    config: Config,
}

impl Memo {
    fn of(selection: &Selection, (kind, manifest): (Kind, &Manifest)) -> Self {
        let chain = layered::chain_id(manifest.layers.iter().map(|layer| &layer.diff_id));
        Self {
            state: String::new(),
            tag: selection.tag.clone(),
            platform: selection.platform.as_ref().map(ToString::to_string),
            kind: kind.as_str().to_owned(),
            digest: manifest.digest.hex().to_owned(),
            chain: chain.map(|chain| chain.hex().to_owned()).unwrap_or_default(),
            layers: u32::try_from(manifest.layers.len()).unwrap_or(u32::MAX),
            config: manifest.config.clone(),
        }
    }

    /// Each choice has a note of its own: runs of two images of one layout do not take turns in writing one.
    fn place(store: &Store, seen: &State, (tag, platform): (Option<&str>, Option<&str>)) -> PathBuf {
        if (tag, platform) == (None, None) {
            return store.note(&format!("{}.image", seen.name));
        }
        let choice = format!("{}\0{}", tag.unwrap_or_default(), platform.unwrap_or_default());
        let choice = Digest::of(choice.as_bytes());
        store.note(&format!("{}-{}.image", seen.name, choice.hex()))
    }

    /// Returns what is known of the archive or layout as it is now; a damaged note is as good as none.
    fn read(store: &Store, seen: &State, selection: &Selection) -> Result<Option<Self>> {
        let platform = selection.platform.as_ref().map(ToString::to_string);
        let path = Self::place(store, seen, (selection.tag.as_deref(), platform.as_deref()));
        let memo = seal::read::<Self>(&path)?;
        if memo != Sealed::Missing {
            store.check()?;
        }
        Ok(memo
            .whole()
            .filter(|memo| memo.state == seen.line && memo.tag == selection.tag && memo.platform == platform))
    }

    fn image(
        self,
        path: &Path,
        wanted: Option<&Digest>,
        (store, ownership): (&Store, Ownership),
    ) -> Result<Option<Image>> {
        let (Ok(digest), Ok(chain)) = (Digest::from_hex(&self.digest), Digest::from_hex(&self.chain)) else {
            return Ok(None);
        };
        let kinds = [Kind::Oci, Kind::OciArchive, Kind::DockerArchive];
        let Some(kind) = kinds.into_iter().find(|kind| kind.as_str() == self.kind) else { return Ok(None) };
        compare(&format!("the image `{}`", path.display()), &digest, wanted)?;
        Ok(find(store, &chain, (self.layers, ownership))?.map(|kept| Image {
            kind,
            root: kept.root,
            source: path.to_owned(),
            digest: Some(digest),
            layers: Some(self.layers),
            config: Some(self.config),
            skipped: kept.skipped,
            in_use: kept.in_use,
            held: None,
        }))
    }

    /// Whoever has a store that is full or cannot be written runs what is in it, and reads the documents each time.
    fn write(mut self, store: &Store, seen: &State) {
        self.state.clone_from(&seen.line);
        let path = Self::place(store, seen, (self.tag.as_deref(), self.platform.as_deref()));
        seal::write(&path, &self).ok();
    }
}
