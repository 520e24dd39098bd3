//! Packs a file or a directory of the sandbox for the way out. The path is resolved with the
//! sandbox's root as its end.

use std::ffi::OsStr;
use std::io::Write;
use std::os::fd::OwnedFd;

use crate::image::pack::Fault;
use crate::image::pack::archive::Archive;
use crate::image::pack::walk::{self, Purpose, Top};
use crate::plan::harvest::Collected;
use crate::run::harvest::Unfit;
use crate::run::harvest::record::{Failure, Record};
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
        errno => Fault::Read { path: source.to_owned(), errno }.into(),
    };
    let refused = |why: &str| Failure::Fault(Fault::Refused { path: source.to_owned(), why: why.to_owned() });
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
                    Ok(archive.regular(TOP, details, opened).map_err(|fault| fault.at(source.to_owned()))?)
                }
            }
        }
        (_, Wanted::FileUpTo(_)) => Err(Failure::Unfit(Unfit::NotAFile)),
        (Kind::Directory, Wanted::FileOrDirectory) => {
            let handle = open(Access::Directory).map_err(failed)?;
            let top = Top { name: TOP, shown: source, purpose: Purpose::Copy };
            Ok(walk::walk(&handle, top, (archive, &mut record.warnings))?)
        }
        _ => Err(refused("it is neither a file nor a directory")),
    }
}
