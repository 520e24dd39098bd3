//! What killed runs left: groups whose lock nobody holds. Found by name, taken by lock,
//! so that a run that lives is never touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::Cgroups;
use crate::run::c_text::path_text;
use crate::run::cgroup::{PREFIX, empty_and_remove};
use crate::sys::{Errno, fd, process, watch};

/// A group that was left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub path: PathBuf,
    /// Why it is still there, if it is.
    pub errno: Option<Errno>,
}

/// Removes every group below the parents in `cgroups` whose run is dead.
#[must_use]
pub fn collect(cgroups: &Cgroups) -> Vec<Leftover> {
    cgroups.hierarchies.iter().flat_map(|hierarchy| collect_below(&hierarchy.parent)).collect()
}

/// Removes every group below `parent` whose run is dead.
#[must_use]
pub fn collect_below(parent: &Path) -> Vec<Leftover> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()).filter(|entry| is_dead(&entry.file_name().to_string_lossy()));
    names.filter_map(|entry| take(&entry.path())).collect()
}

/// Looks at the process id in the name first, which spares a living run's group an open file.
fn is_dead(name: &str) -> bool {
    let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse().ok());
    pid.is_some_and(|pid| process::kill(process::Pid(pid), 0) == Err(Errno::ESRCH))
}

fn take(path: &Path) -> Option<Leftover> {
    let handle = ["tasks", "."].iter().find_map(|file| {
        let flags = if *file == "tasks" { libc::O_WRONLY } else { libc::O_RDONLY | libc::O_DIRECTORY };
        fd::open(&path_text(&path.join(file)).ok()?, flags, 0).ok().map(watch::own)
    })?;
    watch::try_lock(watch::number(&handle)).ok()?;
    let errno = empty_and_remove(path, Duration::from_secs(2)).err();
    Some(Leftover { path: path.to_owned(), errno })
}
