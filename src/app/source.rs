//! From the source that a spec or the command line names to what the room of images is asked for.

use std::path::Path;

use crate::error::Result;
use crate::image::oci::Form;
use crate::image::registry::{Reference, SCHEME};
use crate::image::{self, Source};
use crate::spec::{Pull, RootfsSource};

/// Returns the name of an image of a registry; `None` for any other source.
///
/// # Errors
/// A name that is none.
pub fn reference(source: &RootfsSource) -> Result<Option<Reference>> {
    match source {
        RootfsSource::Registry(name) => Reference::parse(&format!("{SCHEME}{name}")).map(Some),
        _ => Ok(None),
    }
}

/// Returns what `source` asks for, where it is an image or may be one: `path` is where it lies, `named` what
/// [`reference`] made of it.
#[must_use]
pub fn asked<'a>(
    source: &RootfsSource,
    path: &'a Path,
    (named, pull): (Option<&'a Reference>, Pull),
) -> Option<Source<'a>> {
    Some(match source {
        RootfsSource::Host | RootfsSource::Scratch => return None,
        RootfsSource::Path(_) => Source::Path(path),
        RootfsSource::Directory(_) => Source::Directory(path),
        RootfsSource::Tar(_) => Source::Tar(path),
        RootfsSource::OciLayout(_) => Source::Images(Form::Layout, path),
        RootfsSource::OciArchive(_) => Source::Images(Form::OciArchive, path),
        RootfsSource::DockerArchive(_) => Source::Images(Form::DockerArchive, path),
        RootfsSource::Registry(_) => {
            let pull = match pull {
                Pull::Missing => image::Pull::Missing,
                Pull::Always => image::Pull::Always,
                Pull::Never => image::Pull::Never,
            };
            Source::Registry(named?, pull)
        }
    })
}
