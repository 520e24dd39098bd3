//! Empties and removes a group, in bounded time. It never asks whose the group is: that
//! whoever calls holds its lock is what makes it right.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::{Errno, process};

/// How long removing a group may take.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The first and the longest sleep between two tries. What was killed leaves its group a moment after it has
/// been waited for (Linux 6.19), which takes microseconds; a process that dumps its core takes long.
const PAUSES: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(10));

/// Kills whatever is in a group and removes it, with the groups below it.
///
/// # Errors
/// The errno of the last rmdir(2): `EBUSY` after `patience`, others at once.
pub fn empty_and_remove(group: &Path, patience: Duration) -> Result<(), Errno> {
    let mut waited: Option<Instant> = None;
    let mut pause = PAUSES.0;
    loop {
        match remove(group) {
            Err(errno @ (Errno::EBUSY | Errno::ENOTEMPTY | Errno::EINTR)) => {
                if waited.get_or_insert_with(Instant::now).elapsed() > patience {
                    return Err(errno);
                }
            }
            done => return done,
        }
        kill_all(group);
        for below in groups_below(group) {
            kill_all(&below);
            remove(&below).ok();
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One try. What is not there is removed.
fn remove(group: &Path) -> Result<(), Errno> {
    match std::fs::remove_dir(group) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO)))
        }
        _ => Ok(()),
    }
}

/// Kills all that is in a group. `cgroup.kill` is of Linux 5.14 and v2 only; elsewhere the processes are
/// killed one by one.
pub fn kill_all(group: &Path) {
    if std::fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
        process::kill(process::Pid(pid), libc::SIGKILL).ok();
    }
}

/// Returns every group below `group`, the deepest first.
pub fn groups_below(group: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![group.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        let directories = entries.filter_map(Result::ok).filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
        for entry in directories {
            open.push(entry.path());
            found.push(entry.path());
        }
    }
    // A group is always found before those below it.
    found.reverse();
    found
}
