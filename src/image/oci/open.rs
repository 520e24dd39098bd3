//! Ties the verbs together: from a place and a choice to one image, whose documents are all verified and whose
//! layers are found. No layer is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::oci::archive::Archive;
use crate::image::oci::blobs::Blobs;
use crate::image::oci::document::{Descriptor, Document, ImageManifest};
use crate::image::oci::place::{self, Part};
use crate::image::oci::{
    At, Config, Form, Layer, Manifest, Scratch, Selection, bad, choose, docker, json, shown, within,
};
use crate::image::platform::Platform;
use crate::sys::file::{self, Access, FileType};

/// Indexes in an index: one for the platforms is usual, `docker save` adds another.
const NESTED: usize = 2;

/// Reads the image at a place.
///
/// # Errors
/// A place that cannot be read, an image that is damaged, hostile, or not for a machine like this one, and a choice
/// that is not clear. Layers that are missing in a directory show when they are opened.
pub fn open(form: Form, at: At<'_>, selection: &Selection, mut scratch: Scratch<'_>) -> Result<Manifest> {
    let opened = match form {
        Form::Layout => directory(at).and_then(|top| {
            let blobs = Blobs::Directory { top: &top, prefix: "blobs/sha256/" };
            layout(&blobs, &|name| place::below(&top, name), selection)
        }),
        Form::OciArchive | Form::DockerArchive | Form::Archive => file(at)
            .and_then(|file| Archive::open(file, &mut scratch))
            .and_then(|archive| in_archive(&archive, form, selection)),
    };
    opened.map_err(|error| within(format_args!("the image `{}`", at.path.display()), error))
}

/// Reads the image that `digest` stands for, a manifest or an index, where `directory` has each blob by its
/// 64 digits.
///
/// # Errors
/// As those of [`open`].
pub fn from_blobs(directory: &Path, digest: &Digest, platform: Option<&Platform>) -> Result<Manifest> {
    let failed = |errno: file::Errno| Error::io("cannot be opened", &errno.into());
    let read = || {
        let top = Arc::new(file::open(directory, Access::DirectoryPlace).map_err(failed)?);
        let blobs = Blobs::Directory { top: &top, prefix: "" };
        image(&blobs, (digest, None, None), platform)
    };
    read().map_err(|error| within(format_args!("the blobs in `{}`", directory.display()), error))
}

/// Returns the path by which to open a place.
pub(super) fn eyes(at: At<'_>) -> PathBuf {
    at.held.map_or_else(|| at.path.to_owned(), |held| PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())))
}

/// Opens an archive.
///
/// # Errors
/// What is not a regular file, or cannot be read.
pub(in crate::image) fn file(at: At<'_>) -> Result<File> {
    let failed = |errno: file::Errno| Error::io("cannot be opened", &errno.into());
    // Without blocking: since it was looked at, a FIFO may have taken the place of the file.
    let file = file::open(&eyes(at), Access::Read).map_err(failed)?;
    match file::stat(&file).map_err(failed)?.kind {
        FileType::Regular => Ok(File::from(file)),
        FileType::Directory => Err(bad("is a directory, not an archive").with_hint("write `oci:` before its path")),
        _ => Err(bad("is not a regular file")),
    }
}

/// Opens a layout's `index.json` and reads it; none where there is none of a bearable size: whoever reads the layout
/// says what is wrong.
pub(in crate::image) fn index(at: At<'_>) -> Option<(File, Vec<u8>)> {
    let top = directory(at).ok()?;
    let index = File::from(file::open_beneath(&*top, OsStr::new("index.json"), Access::Read).ok()?);
    if !index.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let read = (&index).take(json::SIZE + 1).read_to_end(&mut bytes).ok()?;
    u64::try_from(read).is_ok_and(|read| read <= json::SIZE).then_some((index, bytes))
}

fn directory(at: At<'_>) -> Result<Arc<OwnedFd>> {
    file::open(&eyes(at), Access::DirectoryPlace).map(Arc::new).map_err(|errno| match errno {
        file::Errno::ENOTDIR => bad("is not a directory").with_hint("write `oci-archive:` or `docker-archive:`"),
        errno => Error::io("cannot be opened", &errno.into()),
    })
}

fn in_archive(archive: &Archive, form: Form, selection: &Selection) -> Result<Manifest> {
    let (oci, docker) = (archive.has("oci-layout") && archive.has("index.json"), archive.has("manifest.json"));
    match form {
        Form::OciArchive if !oci && docker => {
            Err(bad("is no OCI image layout").with_hint("write `docker-archive:` before its path"))
        }
        Form::DockerArchive if !docker && oci => {
            Err(bad("was not written by `docker save`").with_hint("write `oci-archive:` before its path"))
        }
        _ if !oci && !docker => {
            Err(bad("is no image: it has neither `index.json` and `oci-layout` nor `manifest.json`")
                .with_hint("if it is a root file system, write `tar:` before its path"))
        }
        Form::OciArchive => members(archive, selection),
        Form::Archive if oci => members(archive, selection),
        _ => {
            let manifest = docker::read(archive, selection.tag.as_deref())?;
            for_platform(&manifest.config, selection.platform.as_ref())?;
            Ok(manifest)
        }
    }
}

fn members(archive: &Archive, selection: &Selection) -> Result<Manifest> {
    let named = |name: &str| archive.file(name)?.ok_or_else(|| bad("is missing"));
    layout(&Blobs::Archive(archive), &named, selection)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Reads the two files of a layout that have no digest, and what they lead to.
fn layout(blobs: &Blobs<'_>, named: &dyn Fn(&str) -> Result<Part>, selection: &Selection) -> Result<Manifest> {
    let bytes = |name| named(name).and_then(|part| part.read(json::SIZE));
    let version = || {
        let bytes = bytes("oci-layout")?;
        drop(json::members(&bytes)?);
        match json::read::<Version>(&bytes)?.image_layout_version.as_str() {
            "1.0.0" => Ok(()),
            other => Err(bad(format!("is of the version `{}`, and only `1.0.0` is known", shown(other)))),
        }
    };
    version().map_err(|error| within("`oci-layout`", error))?;
    let first = || match Document::parse(&bytes("index.json")?, None)? {
        Document::Index(index) => {
            let wanted = selection.platform.clone().unwrap_or_else(Platform::of_machine);
            let images = choose::by_tag(choose::images(&index)?, selection.tag.as_deref())?;
            choose::by_platform(&images, &wanted).cloned()
        }
        Document::Image(_) => Err(bad("is a manifest, not an index")),
    };
    let Descriptor { digest, size, media_type, .. } = first().map_err(|error| within("`index.json`", error))?;
    image(blobs, (&digest, Some(size), Some(&media_type)), selection.platform.as_ref())
}

/// Reads a manifest, through the indexes that lead to it.
fn image(
    blobs: &Blobs<'_>,
    (digest, size, declared): (&Digest, Option<u64>, Option<&str>),
    platform: Option<&Platform>,
) -> Result<Manifest> {
    let mut next = (digest.clone(), size, declared.map(str::to_owned));
    for _ in 0..=NESTED {
        let (digest, size, declared) = next;
        let bytes = blobs.read(&digest, size)?;
        let about = |error| within(format_args!("blob `{digest}`"), error);
        match Document::parse(&bytes, declared.as_deref()).map_err(about)? {
            Document::Image(manifest) => return whole(blobs, digest, &manifest, platform),
            Document::Index(index) => {
                let wanted = platform.cloned().unwrap_or_else(Platform::of_machine);
                let chosen = choose::images(&index).and_then(|images| choose::by_platform(&images, &wanted).cloned());
                let Descriptor { digest, size, media_type, .. } = chosen.map_err(about)?;
                next = (digest, Some(size), Some(media_type));
            }
        }
    }
    Err(bad(format!("blob `{}`: lies in more than {NESTED} indexes", next.0)))
}

/// Reads the config of a manifest and finds its layers.
fn whole(blobs: &Blobs<'_>, digest: Digest, manifest: &ImageManifest, platform: Option<&Platform>) -> Result<Manifest> {
    let name = &manifest.config.digest;
    let bytes = blobs.read(name, Some(manifest.config.size))?;
    let config = Config::parse(&bytes).map_err(|error| within(format_args!("config `{name}`"), error))?;
    for_platform(&config, platform)?;
    let (layers, diff_ids) = (manifest.layers.len(), config.diff_ids.len());
    if layers != diff_ids {
        let message =
            format!("manifest `{digest}`: has {layers} layers, and its config `{name}` {diff_ids} `diff_ids`");
        return Err(bad(message));
    }
    let layers = manifest.layers.iter().zip(&config.diff_ids).map(|(layer, diff_id)| {
        let place = blobs.place(&layer.digest, Some(layer.size));
        let place = place.map_err(|error| within(format_args!("blob `{}`", layer.digest), error))?;
        Ok(Layer { blob: Some(layer.digest.clone()), diff_id: diff_id.clone(), place })
    });
    let layers = layers.collect::<Result<_>>()?;
    Ok(Manifest { digest, config, document: bytes, layers })
}

fn for_platform(config: &Config, wanted: Option<&Platform>) -> Result<()> {
    let machine = Platform::of_machine();
    let found = &config.platform;
    if found.may_be_for(wanted.unwrap_or(&machine)) {
        return Ok(());
    }
    Err(match wanted {
        Some(wanted) => bad(format!("the image is for `{found}`, not for `{wanted}`")),
        None => bad(format!("the image is for `{found}`, and this machine is `{machine}`"))
            .with_hint(format!("get it for this machine, or write `platform=\"{found}\"` to run it all the same")),
    })
}
