//! What a posture asks for, done by the child: the contract of [`crate::sys`] holds in
//! [`perform`]. It decides nothing.

use std::ffi::{CStr, CString};

use crate::error::Result;
use crate::plan::posture::{Cover, Deed};
use crate::run::c_text::text;
use crate::run::procfs;
use crate::sys::{Errno, Sys, mount, path, security};

/// A deed, ready to be done.
#[derive(Debug)]
pub enum Act {
    Hide { path: CString, cover: Cover },
    Freeze { path: CString },
    NoUserNamespaces { most: CString },
    OomScore { adjustment: CString },
    NewKeyring,
}

/// Freezes `deed`.
///
/// # Errors
/// A path with a NUL character.
pub fn freeze(deed: &Deed) -> Result<Act> {
    Ok(match deed {
        Deed::Hide { path, cover } => Act::Hide { path: text(path.as_str())?, cover: *cover },
        Deed::Freeze { path } => Act::Freeze { path: text(path.as_str())? },
        Deed::NoUserNamespaces { besides } => Act::NoUserNamespaces { most: text(&besides.to_string())? },
        Deed::OomScore { adjustment } => Act::OomScore { adjustment: text(&adjustment.to_string())? },
        Deed::NewKeyring => Act::NewKeyring,
    })
}

/// Does `act`.
///
/// # Errors
/// The errno of the call that failed.
pub fn perform(act: &Act) -> Sys<()> {
    match act {
        Act::Hide { path, cover } => if_there(hide(path, *cover)),
        Act::Freeze { path } => if_there(mount::bind(path, path).and_then(|()| mount::make_read_only(path))),
        Act::NoUserNamespaces { most } => procfs::write(c"/proc/sys/user/max_user_namespaces", most.to_bytes()),
        Act::OomScore { adjustment } => oom_score(adjustment),
        Act::NewKeyring => match security::new_session_keyring() {
            // A kernel without keyrings has nothing to leave.
            Err(Errno::ENOSYS) => Ok(()),
            other => other,
        },
    }
}

/// A directory of procfs that is always empty and that nothing can be made in (proc_tty_init() of fs/proc/proc_tty.c):
/// a third of the time of a new file system. The least kernels have none.
const EMPTY: &CStr = c"/proc/tty/ldisc";

fn hide(path: &CStr, cover: Cover) -> Sys<()> {
    const SEALED: u64 = mount::READ_ONLY | mount::NO_SUID | mount::NO_DEV | mount::NO_EXEC;
    match cover {
        Cover::EmptyDirectory => {
            // Asked first, so that ENOENT below is about `EMPTY` only; it is also sooner than a mount that fails.
            path::links(path)?;
            match mount::bind(EMPTY, path) {
                Err(Errno::ENOENT) => mount::mount(c"tmpfs", path, SEALED, c"mode=555,size=4k,nr_inodes=2"),
                other => other,
            }
        }
        Cover::Null => mount::bind(c"/dev/null", path),
        Cover::Closed => mount::bind(c"/proc/kmsg", path),
    }
}

/// What a kernel or a machine does not have needs no cover.
fn if_there(result: Sys<()>) -> Sys<()> {
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// Who stands further ahead in the line already may not go back.
fn oom_score(adjustment: &CStr) -> Sys<()> {
    match procfs::write(c"/proc/self/oom_score_adj", adjustment.to_bytes()) {
        Err(Errno::EACCES) => Ok(()),
        other => other,
    }
}
