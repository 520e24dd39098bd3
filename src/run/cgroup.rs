//! The groups of one run: made before the clone, locked while sbx lives, read when all
//! are dead, removed. A group's own lock says whether its run still lives, so what a
//! killed run leaves can be told from what is in use without any other file.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::host::{Controller, Version};
use crate::plan::{CgroupPlan, Group};
use crate::run::c_text::path_text;
use crate::run::counters::Counters;
use crate::run::group_name;
use crate::run::parent;
use crate::run::removal::{PATIENCE, empty_and_remove, kill_all};
use crate::run::setting::{self, Spent};
use crate::sys::watch::close_all;
use crate::sys::{Errno, Fd, fd, watch};

/// How often groups are made anew that another sbx took for leftovers before they were locked.
const ATTEMPTS: u8 = 16;

/// The groups of a run that lives. Dropping them removes them, silently: call [`Groups::remove`] to hear about it.
#[derive(Debug)]
pub struct Groups {
    pub groups: Vec<LiveGroup>,
}

/// One group.
#[derive(Debug)]
pub struct LiveGroup {
    pub version: Version,
    pub path: PathBuf,
    pub controllers: Vec<Controller>,
    /// v1: `tasks`, to be written to; v2: the directory, to be born into. Both hold the lock.
    pub handle: OwnedFd,
    pub counters: Counters,
    /// An event of the v1 memory controller: the limit was hit and a process was killed.
    pub oom: Option<OwnedFd>,
}

/// Why the groups were not made.
enum Missed {
    /// Another sbx saw one of them without its lock and took it for a leftover, or the name is in use.
    Taken,
    Failed(Error),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Makes all groups of `plan` and writes their settings. The first one is made first and removed last, so that
/// it is there whenever another is.
///
/// # Errors
/// What could not be made or written, with the file and the line of the spec; nothing is left then.
pub fn make(plan: &CgroupPlan) -> Result<Groups> {
    for _ in 0..ATTEMPTS {
        match attempt(plan) {
            Ok(groups) => return Ok(groups),
            Err(Missed::Failed(error)) => return Err(error),
            Err(Missed::Taken) => {}
        }
    }
    let parent = plan.groups.first().map(|group| group.parent.display().to_string()).unwrap_or_default();
    Err(Error::new(Kind::Host, format!("cannot lock a new cgroup below `{parent}`: others take it each time"))
        .with_hint("a process holds locks on the files of new groups there: see `/proc/locks`"))
}

fn attempt(plan: &CgroupPlan) -> std::result::Result<Groups, Missed> {
    let name =
        group_name::new().map_err(|errno| host_error("cannot make up the name of a cgroup".to_owned(), errno))?;
    let mut made = Groups { groups: Vec::with_capacity(plan.groups.len()) };
    for group in &plan.groups {
        parent::prepare(group)?;
        made.groups.push(make_one(group, &name)?);
    }
    match made.fill(plan) {
        Ok(()) => Ok(made),
        // The lock was free because whoever had removed the group let go of it.
        Err(_) if made.groups.iter().any(|group| !group.path.exists()) => Err(Missed::Taken),
        Err(error) => Err(Missed::Failed(error)),
    }
}

fn make_one(group: &Group, name: &str) -> std::result::Result<LiveGroup, Missed> {
    let path = group.parent.join(name);
    match std::fs::create_dir(&path) {
        Ok(()) => {}
        Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => return Err(Missed::Taken),
        Err(source) => return Err(Missed::Failed(not_made(&path, &source))),
    }
    let handle = open_handle(group.version, &path).inspect_err(|_| drop(std::fs::remove_dir(&path)))?;
    Ok(LiveGroup {
        version: group.version,
        path,
        controllers: group.controllers.clone(),
        handle,
        counters: Counters::default(),
        oom: None,
    })
}

fn not_made(path: &Path, source: &std::io::Error) -> Error {
    let message = format!("cannot make the cgroup `{}`", path.display());
    Error::io(message, source).with_kind(Kind::Host).with_hint(match source.raw_os_error() {
        Some(libc::EAGAIN) => {
            "a group above allows no more groups: raise its `cgroup.max.descendants` or `cgroup.max.depth`"
        }
        _ => "see `sbx doctor` for where groups can be made here",
    })
}

/// Opens and locks a group that was just made. Until it is locked it looks like a leftover.
fn open_handle(version: Version, path: &Path) -> std::result::Result<OwnedFd, Missed> {
    let (file, flags) = match version {
        Version::V1 => (path.join("tasks"), libc::O_WRONLY),
        Version::V2 => (path.to_owned(), libc::O_RDONLY | libc::O_DIRECTORY),
    };
    let text = path_text(&file)?;
    let handle = fd::open(&text, flags, 0).map(watch::own);
    handle.and_then(|handle| watch::try_lock(watch::number(&handle)).map(|()| handle)).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENODEV | Errno::EWOULDBLOCK => Missed::Taken,
        errno => Missed::Failed(host_error(format!("cannot open `{}`", file.display()), errno)),
    })
}

fn host_error(message: String, errno: Errno) -> Error {
    Error::new(Kind::Host, message).with_errno(errno as i32)
}

impl Groups {
    /// Opens the counters and writes the settings of groups that are locked.
    fn fill(&mut self, plan: &CgroupPlan) -> Result<()> {
        for live in &mut self.groups {
            live.counters = Counters::open(&live.path, live.version, &live.controllers)?;
        }
        // Closed all at once at the end: as nothing else is opened meanwhile, their numbers follow each other and
        // one call is enough.
        let mut spent = Spent::new();
        for (live, group) in self.groups.iter_mut().zip(&plan.groups) {
            if live.version == Version::V1 && group.settings.iter().any(|setting| setting.feature == "memory") {
                live.oom = Some(setting::watch_oom(&live.path, &live.counters, &mut spent)?);
            }
        }
        for (live, group) in self.groups.iter().zip(&plan.groups) {
            for setting in &group.settings {
                setting::write_setting(&live.path, setting, &mut spent)?;
            }
            // With neither a file opened nor one written nothing has shown that the group is still there.
            if live.counters.is_empty() && group.settings.is_empty() && !live.path.exists() {
                return Err(host_error(format!("`{}` is gone", live.path.display()), Errno::ENODEV));
            }
        }
        close_all(spent.into_iter());
        Ok(())
    }

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
    pub fn remove(mut self) -> Vec<String> {
        self.dissolve()
    }

    /// The locks go last, after all groups: what cannot be removed now is a leftover then.
    fn dissolve(&mut self) -> Vec<String> {
        let groups = std::mem::take(&mut self.groups);
        let stays = |group: &&LiveGroup| empty_and_remove(&group.path, PATIENCE).is_err();
        let left = groups.iter().rev().filter(stays).map(|group| group.path.display().to_string()).collect();
        close_all(groups.into_iter().flat_map(LiveGroup::into_handles));
        left
    }
}

impl LiveGroup {
    fn into_handles(self) -> impl Iterator<Item = OwnedFd> {
        [self.handle].into_iter().chain(self.oom).chain(self.counters.into_handles())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        if !self.groups.is_empty() {
            drop(self.dissolve());
        }
    }
}
