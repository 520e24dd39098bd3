//! Packs a file or a directory of the sandbox for the way out. The path is resolved with the
//! sandbox's root as its end; below it no link is followed and no mount is crossed.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use crate::plan::harvest::Collected;
use crate::run::harvest::Unfit;
use crate::run::harvest::archive::Archive;
use crate::run::harvest::record::{Failure, Record, shown};
use crate::run::harvest::upper::DEPTH;
use crate::spec::Wanted;
use crate::sys::entry::{self, Details, Kind};
use crate::sys::file::{self, Access};
use crate::sys::{Errno, path};

/// The name of what is packed, and the first part of all others.
pub const TOP: &[u8] = b"x";

/// Packs what `collect` asks for below `root` into `archive`.
///
/// # Errors
/// Nothing there, something else than what is wanted, or what could not be read or written.
pub fn pack<W: Write>(
    root: &OwnedFd,
    collect: &Collected,
    (archive, record): (&mut Archive<W>, &mut Record),
) -> Result<(), Failure> {
    let source = collect.source.as_str();
    let open = |access| file::open_in_root(root, OsStr::new(source), access);
    let failed = |errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Failure::Missing,
        errno => Failure::Read { path: source.to_owned(), errno },
    };
    let refused = |why: &str| Failure::Refused { path: source.to_owned(), why: why.to_owned() };
    let place = open(Access::Place).map_err(failed)?;
    // What the kernel tells in there is of processes that are gone, or of the host.
    if path::require_procfs(entry::number(&place)).is_ok() {
        return Err(refused("it is of procfs"));
    }
    let details = entry::details(&place).map_err(failed)?;
    match (details.kind, collect.wanted) {
        (Kind::Regular, wanted) => {
            let opened = open(Access::Read).map_err(failed)?;
            // The same that says how much is copied, whoever of the host may write to the file.
            let details = entry::details(&opened).map_err(failed)?;
            match wanted {
                Wanted::FileUpTo(most) if details.size > most => Err(Failure::Unfit(Unfit::TooLarge(details.size))),
                wanted => {
                    let details = match wanted {
                        // sbx reads its own copy, outside, where a mode that forbids it counts.
                        Wanted::FileUpTo(_) => Details { mode: 0o600, ..details },
                        Wanted::FileOrDirectory => details,
                    };
                    archive.regular(TOP, details, opened).map_err(|failure| renamed(failure, source.to_owned()))
                }
            }
        }
        (_, Wanted::FileUpTo(_)) => Err(Failure::Unfit(Unfit::NotAFile)),
        (Kind::Directory, Wanted::FileOrDirectory) => {
            let handle = open(Access::Directory).map_err(failed)?;
            archive.directory(TOP, details, &handle)?;
            let mut walk = Walk { archive, record, path: TOP.to_vec(), depth: 0, source };
            walk.directory(&handle)
        }
        _ => Err(refused("it is neither a file nor a directory")),
    }
}

/// The same failure by the path that the sandbox knows.
fn renamed(failure: Failure, path: String) -> Failure {
    match failure {
        Failure::Refused { why, .. } => Failure::Refused { path, why },
        Failure::Read { errno, .. } => Failure::Read { path, errno },
        other => other,
    }
}

struct Walk<'a, W: Write> {
    archive: &'a mut Archive<W>,
    record: &'a mut Record,
    path: Vec<u8>,
    depth: usize,
    source: &'a str,
}

impl<W: Write> Walk<'_, W> {
    /// The path as the sandbox had it.
    fn inside(&self) -> String {
        let rest = self.path.get(TOP.len()..).unwrap_or_default();
        format!("{}{}", self.source.trim_end_matches('/'), shown(rest))
    }

    fn directory(&mut self, handle: &OwnedFd) -> Result<(), Failure> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Failure::Refused {
                path: self.inside(),
                why: format!("it lies more than {DEPTH} directories deep"),
            });
        }
        let mut names = file::names(handle.as_fd()).map_err(|errno| Failure::Read { path: self.inside(), errno })?;
        names.sort();
        let length = self.path.len();
        for name in &names {
            self.path.push(b'/');
            self.path.extend(name.as_bytes());
            self.name(handle, name)?;
            self.path.truncate(length);
        }
        self.depth -= 1;
        Ok(())
    }

    fn name(&mut self, parent: &OwnedFd, name: &OsStr) -> Result<(), Failure> {
        let failed = |walk: &Self, errno| Failure::Read { path: walk.inside(), errno };
        let details = match file::open_at(parent, name, Access::Place).and_then(entry::details) {
            Ok(details) => details,
            Err(Errno::EXDEV) => {
                self.record
                    .warn(format!("`{}` is left out: it is a mount, which takes a line of its own", self.inside()));
                return Ok(());
            }
            Err(errno) => return Err(failed(self, errno)),
        };
        match details.kind {
            Kind::Directory => {
                let handle = file::open_at(parent, name, Access::Directory).map_err(|errno| failed(self, errno))?;
                self.archive
                    .directory(&self.path, details, &handle)
                    .map_err(|failure| renamed(failure, self.inside()))?;
                self.directory(&handle)
            }
            Kind::Regular | Kind::Symlink => self
                .archive
                .other(&self.path, details, (parent, name))
                .map_err(|failure| renamed(failure, self.inside())),
            Kind::Fifo | Kind::Socket | Kind::Device(_) => {
                self.record
                    .warn(format!("`{}` is left out: it is neither a file, a directory nor a link", self.inside()));
                Ok(())
            }
        }
    }
}
