//! Which paths an image lacks, so that the plan can provide them on a layer of its own.
//! It creates nothing and follows no link out of the image.

use std::ffi::OsStr;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::sys::file::{self, Access, Errno};
use crate::units::AbsPath;

/// Returns those of `wanted` that do not exist in the image at `root`, in the same order.
/// Links are followed as inside the image; one that leads nowhere is missing.
///
/// # Errors
/// A path that leads through a file or a ring of links, or a `root` that cannot be opened.
pub fn missing(root: &Path, wanted: &[AbsPath]) -> Result<Vec<AbsPath>> {
    let directory = file::open(root, Access::DirectoryPlace)
        .map_err(|errno| Error::io(format_args!("cannot open the rootfs `{}`", root.display()), &errno.into()))?;
    let mut missing = Vec::new();
    for path in wanted {
        match file::open_in_root(&directory, OsStr::new(path.as_str()), Access::Place) {
            Ok(_) => {}
            Err(Errno::ENOENT) => missing.push(path.clone()),
            Err(errno) => {
                let what = format_args!("cannot look at `{path}` in the rootfs `{}`", root.display());
                return Err(Error::io(what, &errno.into()).with_kind(match errno {
                    Errno::ENOTDIR | Errno::ELOOP => Kind::Image,
                    _ => Kind::Io,
                }));
            }
        }
    }
    Ok(missing)
}
