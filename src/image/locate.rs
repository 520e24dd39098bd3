//! Ties the verbs together: what was asked for is looked at, and an archive becomes a
//! directory of the store, once. A digest that does not match lets nothing into the store.

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::error::{self, Error, Result};
use crate::image::archive::{self, archive};
use crate::image::digest::Digest;
use crate::image::obtain::Trees;
use crate::image::oci::{self, At, Form, Selection};
use crate::image::owners::ownership;
use crate::image::platform::Platform;
use crate::image::store::Store;
use crate::image::{Asked, Image, InUse, Kind, Progress, Skipped, Source, obtain, remember};

/// Returns the directory to mount for `source`. An archive is extracted into the store when
/// it is not there (a directory needs none, so it is not looked up then); meanwhile `progress` is called every 256 KiB or so.
///
/// `wanted_digest`, 64 lower-case hexadecimal digits, is the SHA-256 that the archive must
/// have. Many calls for one file, in any number of processes, extract it once.
///
/// # Errors
/// A source that is not there, not readable or of the wrong kind; an archive that is damaged,
/// hostile, or not the one that is wanted; a store that is full or not the caller's own.
pub fn locate<'a>(
    asked: impl Into<Asked<'a>>,
    wanted_digest: Option<&str>,
    store: impl FnOnce() -> Result<Store>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    let wanted = wanted_digest.map(remember::check_digest).transpose()?;
    let asked = asked.into();
    let (Source::Path(path) | Source::Directory(path) | Source::Tar(path) | Source::Images(_, path)) = asked.source
    else {
        return of_registry(&asked, wanted.as_ref(), &store()?, progress);
    };
    let held = asked.held.map(|held| PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())));
    let at = held.as_deref().unwrap_or(path);
    let found = std::fs::metadata(at).map_err(|error| {
        let failed = Error::io(format_args!("cannot look at the rootfs `{}`", path.display()), &error);
        match error.kind() {
            ErrorKind::NotFound => failed.with_hint("a relative path begins at the directory of the spec"),
            _ => failed,
        }
    })?;
    let wrong = |what: &str, hint: &str| {
        Err(Error::new(error::Kind::Spec, format!("the rootfs `{}` {what}", path.display())).with_hint(hint))
    };
    match asked.source {
        Source::Images(form, _) => stored((form, path), &asked, wanted.as_ref(), &store()?, progress),
        Source::Path(_) if found.is_dir() && at.join("oci-layout").is_file() => {
            stored((Form::Layout, path), &asked, wanted.as_ref(), &store()?, progress)
        }
        Source::Path(_) | Source::Directory(_) if found.is_dir() => {
            only_image(&asked, path)?;
            directory(path, wanted_digest).map(|image| Image { held, ..image })
        }
        Source::Path(_) if found.is_file() => {
            let store = store()?;
            // What was a whole root before and did not change is one still: no look into it is needed.
            let is_known = asked.tag.is_none() && archive::is_known(at, &store)?;
            match if is_known { None } else { oci::detect(At { path, held: asked.held })? } {
                Some(form) => stored((form, path), &asked, wanted.as_ref(), &store, progress),
                None => {
                    only_image(&asked, path)?;
                    archive((path, at), (wanted.as_ref(), ownership(asked.range)?), &store, progress)
                }
            }
        }
        Source::Tar(_) if found.is_file() => {
            archive((path, at), (wanted.as_ref(), ownership(asked.range)?), &store()?, progress)
        }
        Source::Tar(_) if found.is_dir() => {
            wrong("is a directory, not an archive", "leave `tar:` out, or write `dir:`")
        }
        Source::Directory(_) => wrong("is not a directory", "leave `dir:` out, or name a directory"),
        _ if found.file_type().is_block_device() => wrong("is a block device", "mount it and name the directory"),
        _ => wrong("is neither a directory nor an archive", "name a directory, a tar or an image"),
    }
}

fn stored(
    (form, path): (Form, &Path),
    asked: &Asked<'_>,
    wanted: Option<&Digest>,
    store: &Store,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    let platform = asked.platform.map(Platform::parse).transpose()?;
    let selection = Selection { tag: asked.tag.map(str::to_owned), platform };
    let trees = Trees { store, ownership: ownership(asked.range)? };
    obtain::stored((form, At { path, held: asked.held }), (&selection, wanted), trees, progress)
}

fn of_registry(
    asked: &Asked<'_>,
    wanted: Option<&Digest>,
    store: &Store,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    match asked.source {
        Source::Registry(reference, pull) => {
            let trees = Trees { store, ownership: ownership(asked.range)? };
            obtain::of_registry((reference, pull), (asked.platform, wanted), trees, progress)
        }
        _ => Err(Error::new(error::Kind::Bug, "this is no image of a registry")),
    }
}

/// A root without layers has no platform that could be chosen.
fn only_image(asked: &Asked<'_>, path: &Path) -> Result<()> {
    match asked.platform {
        Some(platform) => {
            let message = format!("the rootfs `{}` is no image, so it has no platform `{platform}`", path.display());
            Err(Error::new(error::Kind::Spec, message).with_hint("remove `platform`, or name an image"))
        }
        None => Ok(()),
    }
}

fn directory(path: &Path, wanted_digest: Option<&str>) -> Result<Image> {
    if wanted_digest.is_some() {
        let message = format!("the rootfs `{}` is a directory, and only archives can be pinned", path.display());
        return Err(Error::new(error::Kind::Spec, message).with_hint("pack it with tar, or remove `digest`"));
    }
    let (root, source) = (path.to_owned(), path.to_owned());
    Ok(Image {
        kind: Kind::Directory,
        root,
        source,
        digest: None,
        layers: None,
        config: None,
        skipped: Skipped::default(),
        in_use: InUse::default(),
        held: None,
    })
}
