//! The directories of the host that a spec gives away: which they are, that a kept layer lies
//! apart from its source, and making what has to be there before a run. Makes nothing else.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::plan::facts::Invocation;
use crate::run::anchor::Exposed;
use crate::spec::{Access, Mount, Spec};

/// Returns the directories that the spec lets the command write to.
#[must_use]
pub fn exposed(spec: &Spec, invocation: &Invocation) -> Exposed {
    let mounts = spec.mounts.iter().filter_map(|mount| match &mount.value {
        Mount::Bind(bind) if bind.access == Access::ReadWrite => Some(invocation.absolute(&bind.source)),
        Mount::Volume { name, .. } => Some(invocation.volumes.join(name)),
        _ => None,
    });
    let upper = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref());
    let paths: Vec<PathBuf> = mounts.chain(upper.map(|upper| invocation.absolute(&upper.value))).collect();
    Exposed::new(paths.iter().map(PathBuf::as_path))
}

/// Makes the directories of named volumes and of a kept upper layer.
///
/// # Errors
/// One that cannot be made, or that a command of an earlier run has made a link of.
pub fn directories(spec: &Spec, invocation: &Invocation, exposed: &Exposed) -> Result<()> {
    let volumes = spec.mounts.iter().filter_map(|mount| match &mount.value {
        Mount::Volume { name, .. } => Some((invocation.volumes.join(name), mount.origin)),
        _ => None,
    });
    let upper = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref());
    let layers = upper
        .into_iter()
        .flat_map(|upper| ["upper", "work"].map(|name| (invocation.absolute(&upper.value).join(name), upper.origin)));
    for (path, origin) in volumes.chain(layers) {
        exposed.make_directories(&path).map_err(|errno| {
            Error::io(format_args!("cannot make the directory `{}`", path.display()), &errno.into()).at(origin)
        })?;
    }
    Ok(())
}

/// Refuses a kept layer within its source, where it would be written to, and a source within the layer, where the
/// command would write to it.
///
/// # Errors
/// The two are not apart.
pub fn apart(spec: &Spec, invocation: &Invocation, source: &Path) -> Result<()> {
    let Some(upper) = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref()) else { return Ok(()) };
    let path = invocation.absolute(&upper.value);
    if !is_within(&path, source) && !is_within(source, &path) {
        return Ok(());
    }
    let message = format!("`{}` and the rootfs `{}` do not lie apart", path.display(), source.display());
    Err(Error::new(Kind::Spec, message)
        .with_hint("name a directory for `upper` that is neither in the rootfs nor around it")
        .at(upper.origin))
}

/// Returns whether `inner`, which need not be there yet, is `outer` or lies within it, by whatever names.
fn is_within(inner: &Path, outer: &Path) -> bool {
    let Ok(outer) = std::fs::metadata(outer) else { return false };
    let mut place = PathBuf::new();
    for part in inner.components() {
        match part {
            Component::ParentDir => drop(place.pop()),
            part => place.push(part),
        }
        // What is missing will be a directory, not a link.
        if let Ok(real) = std::fs::canonicalize(&place) {
            place = real;
        }
    }
    let mut above = place.ancestors().filter_map(|path| std::fs::metadata(path).ok());
    above.any(|found| (found.dev(), found.ino()) == (outer.dev(), outer.ino()))
}
