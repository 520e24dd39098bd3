//! Locks the mounts of a sandbox against a command that may mount: from within a user namespace
//! below theirs they can be covered, but not taken off or changed. Child side: the contract of
//! [`crate::sys`] holds here.

use std::ffi::CStr;

use crate::sys::process::{self, Cloned, Wait};
use crate::sys::{Errno, Fd, Sys, fd, path, security};

/// Enters new user and mount namespaces, and those of `flags`, whose ids are those of `maps`: the lines of `uid_map`
/// and of `gid_map`. ENODEV where `/proc` is no procfs.
pub fn lock(flags: u64, [uids, gids]: [&CStr; 2]) -> Sys<()> {
    // Otherwise its files in procfs belong to the host's root, since the ids have changed (proc(5)).
    security::dumpable()?;
    let own = fd::open(c"/proc/self", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    path::require_procfs(own)?;
    let (reader, writer) = fd::pipe()?;
    // Only who stays above may map more than its own id (user_namespaces(7)).
    match process::clone3(0, None)? {
        Cloned::Child => {
            fd::close(writer).ok();
            let mapped = match fd::read(reader, &mut [0u8; 1]) {
                Ok(1) => write_maps(own, [uids, gids]),
                _ => Err(Errno::ECANCELED),
            };
            process::exit_now(mapped.map_or_else(|errno| errno as i32, |()| 0))
        }
        Cloned::Parent { child, pidfd } => {
            let below = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
            let entered = process::unshare(u64::from(below.unsigned_abs()) | flags);
            let told = entered.and_then(|()| fd::write(writer, b"1").map(drop));
            fd::close(writer)?;
            let reaped = process::wait(Wait::For(child))?;
            for spent in [reader, own, pidfd] {
                fd::close(spent)?;
            }
            told?;
            security::not_dumpable()?;
            match reaped.map(|reaped| reaped.status) {
                Some(status) if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => Ok(()),
                Some(status) if libc::WIFEXITED(status) => Err(Errno::from_raw(libc::WEXITSTATUS(status))),
                _ => Err(Errno::ECHILD),
            }
        }
    }
}

fn write_maps(process: Fd, [uids, gids]: [&CStr; 2]) -> Sys<()> {
    for (name, lines) in [(c"uid_map", uids), (c"gid_map", gids)] {
        let file = fd::open_at(process, name, libc::O_WRONLY, 0)?;
        fd::write(file, lines.to_bytes())?;
        fd::close(file)?;
    }
    Ok(())
}
