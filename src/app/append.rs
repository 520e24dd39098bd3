//! `sbx image append`: a base and one more layer, as an image.

use std::path::{Path, PathBuf};

use crate::app::progress::Bar;
use crate::app::run::{self, Done};
use crate::app::source;
use crate::cli::Append;
use crate::error::{Error, Kind, Result};
use crate::image::append::{self, Appended, Changed};
use crate::image::{Asked, Store};
use crate::plan::facts::Invocation;
use crate::spec::{Pull, RootfsSource, value_rootfs};
use crate::units::Origin;

/// The tag of an image that is given none, as everywhere.
const LATEST: &str = "latest";

/// Writes the image; returns the line with its digest, and what was left out of the base.
///
/// # Errors
/// What cannot be read or written, and words that mean nothing.
pub fn append(arguments: &Append, store: &Store) -> Result<(Vec<u8>, Done)> {
    let invocation = Invocation {
        base: std::env::current_dir().map_err(|source| Error::io("cannot look up the working directory", &source))?,
        home: std::env::var_os("HOME").map(PathBuf::from),
        ..Invocation::default()
    };
    let wrong = |word: &str, why: &str| {
        Error::new(Kind::Usage, format!("`{}`: {why}", word.escape_debug())).at(Origin::CommandLine)
    };
    let base = value_rootfs::rootfs_source(&arguments.base).map_err(|why| wrong(&arguments.base, &why))?;
    let target = value_rootfs::rootfs_source(&arguments.target).map_err(|why| wrong(&arguments.target, &why))?;
    let RootfsSource::OciLayout(target) = target else {
        return Err(wrong(&arguments.target, "an image is written as `oci:DIRECTORY[:TAG]`"));
    };
    let path = base.path().map(|path| invocation.absolute(path)).unwrap_or_default();
    let named = source::reference(&base)?;
    let source = source::asked(&base, &path, (named.as_ref(), Pull::Missing))
        .ok_or_else(|| wrong(&arguments.base, "it is no image; a directory of that name is `./NAME`"))?;
    let pair = |word: &String, what: &str| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(wrong(word, what)),
    };
    for variable in &arguments.env {
        pair(variable, "a variable reads NAME=VALUE")?;
    }
    let labels = arguments.label.iter().map(|label| pair(label, "a label reads NAME=VALUE"));
    let words = |words: &Vec<String>| (!words.is_empty()).then(|| words.clone());
    let changed = Changed {
        env: arguments.env.clone(),
        entrypoint: words(&arguments.entrypoint),
        cmd: words(&arguments.cmd),
        user: arguments.user.clone(),
        workdir: arguments.workdir.clone(),
        labels: labels.collect::<Result<_>>()?,
    };
    if changed.workdir.as_ref().is_some_and(|path| !Path::new(path).is_absolute()) {
        return Err(wrong(changed.workdir.as_deref().unwrap_or_default(), "a working directory is absolute"));
    }
    let asked = Asked { tag: base.tag(), platform: arguments.platform.as_deref(), ..Asked::from(source) };
    let (directory, tag) = (invocation.absolute(&target.path), target.tag.as_deref().unwrap_or(LATEST));
    let mut bar = Bar::new(&base.as_written());
    let Appended { digest, warnings } = append::append(
        (&asked, &arguments.layer),
        (&directory, tag),
        &changed,
        || Ok(store.clone()),
        &mut |progress| bar.show(progress),
    )?;
    let text = warnings.iter().map(|warning| run::warning(warning)).collect();
    Ok((format!("{digest}\n").into_bytes(), Done { text, status: 0 }))
}
