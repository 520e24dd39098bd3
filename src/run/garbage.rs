//! What killed runs left: groups whose lock nobody holds. Found by name, taken by lock
//! and never without: a process id says nothing across pid namespaces or after a while.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use crate::host::cgroup;
use crate::plan::CgroupPlan;
use crate::run::c_text::path_text;
use crate::run::group_name;
use crate::run::removal::{PATIENCE, empty_and_remove, groups_below};
use crate::sys::probe::{self as ask, Access};
use crate::sys::{Errno, fd, file, path, process, watch};

/// A group that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    /// Why it is still there, if it is.
    pub errno: Option<Errno>,
}

/// Removes what killed runs left beside the groups that `plan` is about to make. One hierarchy shows it all,
/// since the first group of a plan is made first and removed last.
pub fn collect_for(plan: &CgroupPlan) {
    let Some(parent) = plan.groups.first().map(|group| &group.parent) else { return };
    for name in candidates(parent) {
        let first = parent.join(&name);
        let Some(lock) = take(&first) else { continue };
        // The killed run may have had limits that this one does not have, and so groups anywhere.
        for group in everywhere().filter(|group| group.file_name() == Some(&name) && *group != first) {
            collect(&group);
        }
        empty_and_remove(&first, PATIENCE).ok();
        drop(lock);
    }
}

/// Removes what killed runs left in every hierarchy that is mounted, at any depth: `limits { cgroup PATH }`
/// may have been anywhere. What this caller may not remove is left alone.
#[must_use]
pub fn collect_all() -> Vec<Leftover> {
    let groups = everywhere().filter(|group| group.file_name().is_some_and(group_name::is_one));
    groups.filter_map(|group| collect(&group)).collect()
}

/// Every group that can be seen, those below others first.
fn everywhere() -> impl Iterator<Item = PathBuf> {
    cgroup::mounted().into_iter().flat_map(|point| groups_below(&point))
}

fn collect(group: &Path) -> Option<Leftover> {
    let lock = take(group)?;
    let errno = empty_and_remove(group, PATIENCE).err();
    drop(lock);
    Some(Leftover { path: group.to_owned(), errno })
}

/// The names below `parent` that a run may have left. It has none below it on most machines, which its count
/// of links says with one call. A process with the number in the name is most likely that run, which may not
/// have locked its group yet and would have to begin anew: where the number is another's now, `sbx gc` asks the
/// lock.
fn candidates(parent: &Path) -> Vec<std::ffi::OsString> {
    let Ok(text) = path_text(parent) else { return Vec::new() };
    if path::links(&text).is_ok_and(|links| links == 2) {
        return Vec::new();
    }
    let Ok(directory) = fd::open(&text, libc::O_RDONLY | libc::O_DIRECTORY, 0).map(watch::own) else {
        return Vec::new();
    };
    let names = file::names_left(directory.as_fd()).unwrap_or_default();
    names.into_iter().filter(|name| group_name::process(name).is_some_and(is_dead)).collect()
}

/// Returns whether there is no such process, or one that has ended and that its parent does not care for: in a
/// container without an init it stays for good.
fn is_dead(pid: process::Pid) -> bool {
    match process::kill(pid, 0) {
        Err(errno) => errno == Errno::ESRCH,
        Ok(_) => {
            let text = ask::read_text(Path::new(&format!("/proc/{}/stat", pid.0))).unwrap_or_default();
            // The state follows the name, which may be anything (proc_pid_stat(5)).
            text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
        }
    }
}

/// Returns the lock of a group that is nobody's and that this caller may remove.
fn take(group: &Path) -> Option<OwnedFd> {
    let denied = |errno| matches!(errno, libc::EACCES | libc::EPERM);
    if ask::access(group.parent()?, Access::MakeIn).is_err_and(denied) {
        return None;
    }
    let handle = ["tasks", "."].iter().find_map(|file| {
        let flags = if *file == "tasks" { libc::O_WRONLY } else { libc::O_RDONLY | libc::O_DIRECTORY };
        fd::open(&path_text(&group.join(file)).ok()?, flags, 0).ok().map(watch::own)
    })?;
    watch::try_lock(watch::number(&handle)).ok()?;
    Some(handle)
}
