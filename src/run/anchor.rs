//! Host paths that lead below a directory that a command may write to, whatever they are
//! called: an earlier run can have put links there, so that part is walked without following
//! any (CVE-2024-42472 of flatpak). A spec that gives nothing to write to costs no call.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use crate::plan::{Devices, Op, Plan, Write};
use crate::run::c_text::path_text;
use crate::sys::file::{self, Access, FileType};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, fd, path};

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS: u32 = 40;

/// The directories of the host that a command may write to, by device and inode: a directory has many names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposed(Vec<(u64, u64)>);

/// A path that leads below such a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// The directory, by a name without links. No command can have changed what this leads to.
    pub base: PathBuf,
    /// What is below it, never empty; may contain `..`, but does not leave `base`.
    pub rest: PathBuf,
}

/// Where a walk stands.
struct Place {
    handle: OwnedFd,
    /// Absolute, without links.
    name: PathBuf,
}

impl Exposed {
    /// Returns those of `paths` that are directories. What is not there holds no links.
    #[must_use]
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        let directory = |path| {
            let found = file::open(path, Access::DirectoryPlace).and_then(file::stat).ok()?;
            Some((found.device, found.inode))
        };
        Self(paths.filter_map(directory).collect())
    }

    /// Returns what the command of `plan` may write to.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self::new(plan.steps.iter().filter_map(|step| match &step.op {
            // Nobody plants links in the procfs that a run without a pid namespace shares.
            Op::OpenTree { source, attributes, .. }
                if attributes.write == Write::ReadWrite
                    && attributes.devices == Devices::Forbidden
                    && source != Path::new("/proc") =>
            {
                Some(source.as_path())
            }
            _ => None,
        }))
    }

    /// Opens the absolute `path` of the host with `flags` of open(2); what it makes has mode 0666, less the umask.
    ///
    /// # Errors
    /// The errno of open(2) or openat2(2): ELOOP for a link that a command may have made, EINVAL for a NUL character.
    pub fn open(&self, path: &Path, flags: i32) -> Sys<OwnedFd> {
        match self.anchor(path)? {
            Some(anchored) => anchored.open(flags),
            None => fd::open(&text(path)?, flags, 0o666).map(own),
        }
    }

    /// Makes the directory `path` and those above it, where they are missing.
    ///
    /// # Errors
    /// Those of mkdir(2); ELOOP and ENOTDIR for a link that a command may have made.
    pub fn make_directories(&self, path: &Path) -> Sys<()> {
        let Some(Anchored { base, rest }) = self.anchor(path)? else {
            return std::fs::create_dir_all(path)
                .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
        };
        let mut here = fd::open(&text(&base)?, libc::O_PATH | libc::O_DIRECTORY, 0).map(own)?;
        for part in rest.components() {
            let part = text(Path::new(part.as_os_str()))?;
            match path::make_dir_at(number(&here), &part, 0o777) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
            here = path::open_beneath(number(&here), &part, libc::O_PATH | libc::O_DIRECTORY).map(own)?;
        }
        Ok(())
    }

    /// Follows the absolute `path` until it comes below one of the directories; `None` where it never does,
    /// and where it leads nowhere, which the kernel says better.
    ///
    /// # Errors
    /// ELOOP for too many links; EXDEV for a way out that leads through links.
    pub fn anchor(&self, path: &Path) -> Sys<Option<Anchored>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        match self.walk(path) {
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => Ok(None),
            found => found,
        }
    }

    fn walk(&self, path: &Path) -> Sys<Option<Anchored>> {
        let mut here = top()?;
        let mut left = Vec::new();
        put_before(&mut left, path);
        let mut links = 0;
        loop {
            if !left.is_empty() && self.has(&here)? {
                let Some(inside) = until_above(&left) else {
                    let rest = left.into_iter().rev().collect();
                    return Ok(Some(Anchored { base: here.name, rest }));
                };
                // In and out again: what is in between has to be there, as the kernel would ask.
                let between: PathBuf = left.split_off(left.len() - inside).into_iter().rev().collect();
                if inside > 0 {
                    let flags = libc::O_PATH | libc::O_DIRECTORY;
                    drop(path::open_beneath(number(&here.handle), &text(&between)?, flags).map(own)?);
                }
            }
            let Some(part) = left.pop() else { return Ok(None) };
            if part == ".." {
                here.name.pop();
                here.handle = fd::open_at(number(&here.handle), c"..", libc::O_PATH, 0).map(own)?;
                continue;
            }
            let name = text(Path::new(&part))?;
            let next = fd::open_at(number(&here.handle), &name, libc::O_PATH | libc::O_NOFOLLOW, 0).map(own)?;
            match file::stat(&next)?.kind {
                FileType::Directory => {
                    here.name.push(&part);
                    here.handle = next;
                }
                FileType::Symlink => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::ELOOP);
                    }
                    // The text of a magic link of procfs is the name of what it leads to, or of nothing.
                    let target = PathBuf::from(file::read_link_at(&here.handle, &part)?);
                    if target.is_absolute() {
                        here = top()?;
                    }
                    put_before(&mut left, &target);
                }
                FileType::Regular | FileType::Fifo | FileType::Character { .. } | FileType::Other => return Ok(None),
            }
        }
    }

    fn has(&self, place: &Place) -> Sys<bool> {
        let found = file::stat(&place.handle)?;
        Ok(self.0.contains(&(found.device, found.inode)))
    }
}

impl Anchored {
    /// Opens it with `flags` of open(2), following no link on the way. What is there instead of a file must
    /// not hold sbx, so nothing waits for the other end of a FIFO.
    ///
    /// # Errors
    /// The errno of open(2) or openat2(2): ELOOP for a link, EXDEV for a way up, EINVAL for a NUL character.
    pub fn open(&self, flags: i32) -> Sys<OwnedFd> {
        let base = fd::open(&text(&self.base)?, libc::O_PATH | libc::O_DIRECTORY, 0).map(own)?;
        // With O_PATH the kernel takes no flag that means nothing there.
        let waits = if flags & libc::O_PATH == 0 { libc::O_NONBLOCK | libc::O_NOCTTY } else { 0 };
        path::open_beneath(number(&base), &text(&self.rest)?, flags | waits).map(own)
    }
}

fn top() -> Sys<Place> {
    let handle = fd::open(c"/", libc::O_PATH | libc::O_DIRECTORY, 0).map(own)?;
    Ok(Place { handle, name: PathBuf::from("/") })
}

/// Puts the parts of `path` before those of `left`, whose last one is the next.
fn put_before(left: &mut Vec<OsString>, path: &Path) {
    left.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}

/// Returns how many parts come before the one that leads above where the walk stands, if one does.
fn until_above(left: &[OsString]) -> Option<usize> {
    let mut depth = 0u32;
    for (index, part) in left.iter().rev().enumerate() {
        depth = match (part.as_bytes(), depth) {
            (b"..", 0) => return Some(index),
            (b"..", depth) => depth - 1,
            (_, depth) => depth + 1,
        };
    }
    None
}

fn text(path: &Path) -> Sys<std::ffi::CString> {
    path_text(path).map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::Exposed;

    #[test]
    fn the_highest_writable_directory_is_the_anchor_by_any_name() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().canonicalize().unwrap().join(name);
        for name in ["out", "out/deep", "outer"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        symlink("out", at("alias")).unwrap();
        symlink(at("alias/deep/x"), at("far")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let exposed = Exposed::new([at("out/deep"), at("out")].iter().map(std::path::PathBuf::as_path));
        let found = |name: &str| exposed.anchor(&at(name));
        for name in ["out/deep/x", "alias/deep/x", "far", "outer/../out/./deep/x", "out/../alias/deep/x"] {
            let anchored = found(name).unwrap().unwrap_or_else(|| panic!("{name} is not anchored"));
            assert_eq!(
                (anchored.base.as_path(), anchored.rest.as_path()),
                (&*at("out"), Path::new("deep/x")),
                "{name}"
            );
        }
        assert_eq!(found("out/deep/../y").unwrap().unwrap().rest, Path::new("deep/../y"));
        for name in ["out", "alias", "outer/x", "none/x", "out/../outer", "out/deep/../../outer/x", "out/none/../../y"]
        {
            assert_eq!(found(name), Ok(None), "{name}");
        }
        assert_eq!(found("loop/x"), Err(super::Errno::ELOOP));
        assert_eq!(Exposed::default().anchor(Path::new("/etc")), Ok(None));
    }
}
