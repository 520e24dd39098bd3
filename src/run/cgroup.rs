//! The groups of one run: made before the clone, locked while sbx lives, read when all
//! are dead, removed. A group's own lock says whether its run still lives, so what a
//! killed run leaves can be told from what is in use without any other file.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, Result};
use crate::host::delegation::LEAF;
use crate::host::{Controller, Preparation, Version};
use crate::plan::{CgroupPlan, Group, Setting, Value};
use crate::run::c_text::path_text;
use crate::sys::{Errno, Fd, fd, process, watch};

/// What the name of every group begins with; the process id of sbx follows.
pub const PREFIX: &str = "sbx-";

/// How long removing a group may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The groups of a run that lives.
#[derive(Debug)]
pub struct Groups {
    pub groups: Vec<LiveGroup>,
}

/// One group. Dropping it removes it, silently: call [`Groups::remove`] to hear about it.
#[derive(Debug)]
pub struct LiveGroup {
    pub version: Version,
    pub path: PathBuf,
    pub controllers: Vec<Controller>,
    /// v1: `tasks`, to be written to; v2: the directory, to be born into. Both hold the lock.
    pub handle: OwnedFd,
    /// An event of the v1 memory controller: the limit was hit and a process was killed.
    pub oom: Option<OwnedFd>,
}

/// Makes all groups of `plan` and writes their settings.
///
/// # Errors
/// What could not be made or written, with the file and the line of the spec; nothing is left then.
pub fn make(plan: &CgroupPlan) -> Result<Groups> {
    let pid = std::process::id();
    let name = format!("{PREFIX}{pid}-{:x}", crate::sys::time::monotonic());
    let mut groups = Vec::with_capacity(plan.groups.len());
    for group in &plan.groups {
        groups.push(make_one(group, &name)?);
    }
    Ok(Groups { groups })
}

fn make_one(group: &Group, name: &str) -> Result<LiveGroup> {
    prepare(group)?;
    let path = group.parent.join(name);
    make_directory(&path)?;
    let opened = open_handle(group.version, &path);
    let handle = opened.inspect_err(|_| drop(std::fs::remove_dir(&path)))?;
    let mut live =
        LiveGroup { version: group.version, path, controllers: group.controllers.clone(), handle, oom: None };
    for setting in &group.settings {
        write_setting(&live.path, setting)?;
    }
    if live.version == Version::V1 && group.settings.iter().any(|setting| setting.feature == "memory") {
        live.oom = Some(watch_oom(&live.path)?);
    }
    Ok(live)
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir(path).map_err(|source| {
        Error::io(format_args!("cannot make the cgroup `{}`", path.display()), &source).with_kind(Kind::Host).with_hint(
            match source.raw_os_error() {
                Some(libc::EAGAIN) => {
                    "a group above allows no more groups: raise its `cgroup.max.descendants` or `cgroup.max.depth`"
                }
                _ => "see `sbx doctor` for where groups can be made here",
            },
        )
    })
}

fn open_handle(version: Version, path: &Path) -> Result<OwnedFd> {
    let (file, flags) = match version {
        Version::V1 => (path.join("tasks"), libc::O_WRONLY),
        Version::V2 => (path.to_owned(), libc::O_RDONLY | libc::O_DIRECTORY),
    };
    let text = path_text(&file)?;
    let handle = fd::open(&text, flags, 0).map(watch::own);
    handle
        .and_then(|handle| watch::try_lock(watch::number(&handle)).map(|()| handle))
        .map_err(|errno| host_error(format!("cannot open `{}`", file.display()), errno))
}

fn host_error(message: String, errno: Errno) -> Error {
    Error::new(Kind::Host, message).with_errno(errno as i32)
}

/// Enables the controllers for the children of the parent; in v2 a group with processes cannot have them
/// there, so sbx moves itself into a leaf first (cgroups(7), "No internal processes").
fn prepare(group: &Group) -> Result<()> {
    let write = |file: PathBuf, text: &str| {
        std::fs::write(&file, text).map_err(|source| {
            Error::io(format_args!("cannot write `{}` to `{}`", text.trim_end(), file.display()), &source)
                .with_kind(Kind::Host)
                .with_hint("another process in that group stands in the way: run sbx under `systemd-run --user --scope -p Delegate=yes`")
        })
    };
    if group.preparation == Preparation::Ready {
        return Ok(());
    }
    if group.preparation == Preparation::MoveSelfThenEnable {
        let leaf = group.parent.join(LEAF);
        match std::fs::create_dir(&leaf) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format_args!("cannot make the cgroup `{}`", leaf.display()), &source)
                    .with_kind(Kind::Host));
            }
            _ => write(leaf.join("cgroup.procs"), "0")?,
        }
    }
    let wanted = group.controllers.iter().filter(|controller| **controller != Controller::Cpuacct);
    let names: Vec<String> = wanted.map(|controller| format!("+{}", controller.name(Version::V2))).collect();
    if group.preparation == Preparation::MakeThenEnable {
        match std::fs::create_dir(&group.parent) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                let message = format!("cannot make the cgroup `{}`", group.parent.display());
                return Err(Error::io(message, &source).with_kind(Kind::Host));
            }
            _ => {}
        }
        let above = group.parent.parent().unwrap_or(&group.parent);
        write(above.join("cgroup.subtree_control"), &names.join(" "))?;
    }
    write(group.parent.join("cgroup.subtree_control"), &names.join(" "))
}

fn write_setting(group: &Path, setting: &Setting) -> Result<()> {
    let file = group.join(&setting.file);
    let value = match &setting.value {
        Value::Text(text) => text.clone(),
        Value::OfParent => {
            let above = group.parent().unwrap_or(group).join(&setting.file);
            std::fs::read_to_string(&above).map_err(|source| {
                Error::io(format_args!("cannot read `{}`", above.display()), &source).at(setting.origin)
            })?
        }
    };
    match write(&file, &value) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound && is_swap(&setting.file) && !swap_exists() => {
            Ok(())
        }
        Err(source) => {
            let message = format!(
                "cannot set `{}` to `{}` for the limit `{}`",
                file.display(),
                value.trim_end(),
                setting.feature
            );
            let error = Error::io(message, &source).with_kind(Kind::Host).at(setting.origin);
            Err(if is_swap(&setting.file) {
                error.with_hint("boot with `swapaccount=1`, or turn swap off with `swapoff -a`")
            } else {
                error.with_hint("the surrounding group may allow less, or this kernel takes other values")
            })
        }
    }
}

/// Without the looks at the file that the standard library takes first.
fn write(file: &Path, value: &str) -> std::io::Result<()> {
    let path = path_text(file).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let opened = fd::open(&path, libc::O_WRONLY, 0).map(watch::own)?;
    fd::write(watch::number(&opened), value.as_bytes())?;
    Ok(())
}

fn is_swap(file: &str) -> bool {
    matches!(file, "memory.memsw.limit_in_bytes" | "memory.swap.max")
}

/// Without any swap there is nothing to forbid, and kernels without swap have no file for it.
fn swap_exists() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

/// Has the kernel raise a counter when the v1 memory limit is hit for good (cgroup.event_control,
/// Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
fn watch_oom(group: &Path) -> Result<OwnedFd> {
    let control = group.join("memory.oom_control");
    let failed = |errno| host_error(format!("cannot watch `{}`", control.display()), errno);
    let counter = watch::counter().map(watch::own).map_err(failed)?;
    let opened = fd::open(&path_text(&control)?, libc::O_RDONLY, 0).map(watch::own).map_err(failed)?;
    let line = format!("{} {}", watch::number(&counter).0, watch::number(&opened).0);
    std::fs::write(group.join("cgroup.event_control"), line).map_err(|source| {
        Error::io(format_args!("cannot watch `{}`", control.display()), &source).with_kind(Kind::Host)
    })?;
    Ok(counter)
}

impl Groups {
    /// Returns the v2 group to be born into.
    #[must_use]
    pub fn born_in(&self) -> Option<Fd> {
        self.groups.iter().find(|group| group.version == Version::V2).map(|group| watch::number(&group.handle))
    }

    /// Returns the v1 `tasks` files to be written to.
    #[must_use]
    pub fn tasks(&self) -> Vec<Fd> {
        let v1 = self.groups.iter().filter(|group| group.version == Version::V1);
        v1.map(|group| watch::number(&group.handle)).collect()
    }

    /// Returns the group that has `controller`.
    #[must_use]
    pub fn with(&self, controller: Controller) -> Option<&LiveGroup> {
        self.groups.iter().find(|group| group.controllers.contains(&controller))
    }

    /// Returns the counter that the kernel raises when a v1 memory limit kills.
    #[must_use]
    pub fn oom(&self) -> Option<Fd> {
        self.groups.iter().find_map(|group| group.oom.as_ref()).map(watch::number)
    }

    /// Kills all that is in the groups.
    pub fn kill(&self) {
        self.groups.iter().for_each(|group| kill_all(&group.path));
    }

    /// Removes all groups and returns those that would not go.
    #[must_use]
    pub fn remove(self) -> Vec<String> {
        self.groups
            .into_iter()
            .filter_map(|group| {
                let path = group.path.clone();
                drop(group);
                path.exists().then(|| path.display().to_string())
            })
            .collect()
    }
}

impl Drop for LiveGroup {
    fn drop(&mut self) {
        empty_and_remove(&self.path, PATIENCE).ok();
    }
}

/// Kills whatever is in a group and removes it, in bounded time.
///
/// # Errors
/// The errno of the last rmdir(2).
pub fn empty_and_remove(path: &Path, patience: Duration) -> std::result::Result<(), Errno> {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) if start.elapsed() > patience => {
                return Err(Errno::from_raw(source.raw_os_error().unwrap_or(libc::EIO)));
            }
            Err(_) => kill_all(path),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `cgroup.kill` is of Linux 5.14 and v2 only; elsewhere the processes are killed one by one.
fn kill_all(path: &Path) {
    if std::fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let processes = std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1) {
        process::kill(process::Pid(pid), libc::SIGKILL).ok();
    }
}
