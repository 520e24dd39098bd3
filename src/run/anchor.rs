//! Host paths below a directory that the command may write to: an earlier run can have put
//! links there, so they are walked without following any (CVE-2024-42472 of flatpak).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::plan::{Devices, Op, Plan, Write};
use crate::run::c_text::path_text;
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, fd, path};

/// Returns the directories of the host that the command of `plan` may write to.
#[must_use]
pub fn writable(plan: &Plan) -> Vec<PathBuf> {
    let sources = plan.steps.iter().filter_map(|step| match &step.op {
        Op::OpenTree { source, attributes, .. }
            if attributes.write == Write::ReadWrite && attributes.devices == Devices::Forbidden =>
        {
            Some(source.clone())
        }
        _ => None,
    });
    sources.collect()
}

/// Splits `path` into the highest of the `writable` directories above it and what is below that; `None` where
/// no command can have changed what the path leads to.
#[must_use]
pub fn split<'a>(writable: &'a [PathBuf], path: &'a Path) -> Option<(&'a Path, &'a Path)> {
    let below = |base: &'a PathBuf| {
        let rest = path.strip_prefix(base).ok().filter(|rest| !rest.as_os_str().is_empty())?;
        Some((base.as_path(), rest))
    };
    writable.iter().filter_map(below).min_by_key(|(base, _)| base.as_os_str().len())
}

/// Opens `rest` below `base` with `flags` of open(2), following no link on the way.
///
/// # Errors
/// The errno of open(2) or openat2(2): ELOOP for a link, EXDEV for a way up, EINVAL for a NUL character.
pub fn open(base: &Path, rest: &Path, flags: i32) -> Sys<OwnedFd> {
    let text = |path| path_text(path).map_err(|_| Errno::EINVAL);
    let base = fd::open(&text(base)?, libc::O_PATH | libc::O_DIRECTORY, 0).map(own)?;
    path::open_beneath(number(&base), &text(rest)?, flags).map(own)
}

#[cfg(test)]
mod tests {
    use super::split;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_highest_writable_directory_is_the_anchor() {
        let writable = [PathBuf::from("/w/out/deep"), PathBuf::from("/w/out")];
        let found = split(&writable, Path::new("/w/out/deep/x"));
        assert_eq!(found, Some((Path::new("/w/out"), Path::new("deep/x"))));
        assert_eq!(split(&writable, Path::new("/w/out")), None);
        assert_eq!(split(&writable, Path::new("/w/outer/x")), None);
    }
}
