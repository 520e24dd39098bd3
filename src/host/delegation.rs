//! Where in a v2 hierarchy a caller may make a group. Pure: the facts are read elsewhere.
//!
//! The rules of cgroups(7) and cgroup-v2.rst that decide it:
//!
//! 1. A group below `parent` has a controller when `parent/cgroup.subtree_control` names
//!    it; that file takes only what `parent/cgroup.controllers` lists.
//! 2. No internal processes: a group other than the real root cannot have both processes
//!    and an enabled memory or io controller (`EBUSY`). Enabling only cpu or pids there
//!    makes it a thread root whose children cannot hold processes, so sbx treats every
//!    controller alike.
//! 3. A process enters a group, also by `CLONE_INTO_CGROUP`, when the caller can write the
//!    `cgroup.procs` of that group and of the common ancestor with the one it leaves. With
//!    the run's group below one's own, or beside it, that ancestor is `parent` itself.
//! 4. Delegated is: the directory, `cgroup.procs` and `cgroup.subtree_control` are writable
//!    for the caller. For root they always are, so root asks differently: its own group if
//!    sbx is alone in it, else what is visible of a container's private tree, else a group
//!    of sbx below the real root.
//! 5. With `nsdelegate` nothing outside the cgroup namespace can be entered; it is not
//!    visible either, so this needs no rule here.
//! 6. A `.slice` belongs to systemd, which may take its controllers away again: never a parent.

use std::path::{Path, PathBuf};

use crate::host::{Caller, Controller, Hierarchy, Preparation, Version};

/// The leaf into which sbx moves itself when it is alone in a delegated group.
pub const LEAF: &str = "sbx-self";

/// The group of sbx below the real root, for a root whose own group is shared.
pub const TOP: &str = "sbx";

/// What is so for one directory of a v2 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub dir: PathBuf,
    pub kind: Kind,
    /// `cgroup.controllers`.
    pub available: Vec<Controller>,
    /// `cgroup.subtree_control`.
    pub enabled: Vec<Controller>,
    pub members: Members,
    /// Whether a group can be made and entered here.
    pub entry: Permission,
    /// Whether controllers can be enabled here.
    pub control: Permission,
}

/// `cgroup.type`, which the real root does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Root,
    Domain,
    /// `threaded`, `domain threaded`, `domain invalid`: no place for a group of processes.
    Threaded,
}

/// Who is in a group itself, its descendants left aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    Nobody,
    Caller,
    Others,
}

/// An answer of access(2), with its errno where it is no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    Granted,
    Denied(i32),
}

/// Why none of the groups that were looked at can be the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// The caller may not write there, with the errno.
    Denied(i32),
    /// Writable, but other processes are in the caller's own group.
    Shared,
    /// The caller's own group is part of a threaded subtree.
    Threaded,
    /// Writable, but no controller that sbx can use reaches it.
    NoControllers,
}

/// Whether what is mounted is the machine's real root or the tree of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Machine,
    Container,
}

/// Returns the parent for a run's group: one's own group, the one above it, or one of sbx
/// below the real root, in this order. `above` and `top` are asked for only when needed.
///
/// # Errors
/// What stands in the way in the caller's own group.
pub fn choose(
    caller: Caller,
    own: &Group,
    view: View,
    above: impl FnOnce() -> Option<Group>,
    top: impl FnOnce() -> Option<Group>,
) -> Result<Hierarchy, Barrier> {
    let barrier = match inside(own) {
        Ok(hierarchy) => return Ok(hierarchy),
        Err(barrier) => barrier,
    };
    if is_ours_above(caller, &own.dir, view)
        && let Some(hierarchy) = above().and_then(|group| as_parent(&group).ok())
    {
        return Ok(hierarchy);
    }
    if caller.is_root()
        && view == View::Machine
        && let Some(group) = top()
        && group.control == Permission::Granted
        && group.entry == Permission::Granted
        && !group.available.is_empty()
    {
        return Ok(hierarchy(group.dir.join(TOP), &group.available, Preparation::MakeThenEnable));
    }
    Err(barrier)
}

/// Returns whether the directory above `own` may be taken for delegated, rule 4 and 6.
fn is_ours_above(caller: Caller, own: &Path, view: View) -> bool {
    let belongs_to_systemd = own
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|name| Path::new(name).extension().is_some_and(|extension| extension == "slice"));
    let left_by_sbx = own.file_name().is_some_and(|name| name == LEAF);
    left_by_sbx || (!belongs_to_systemd && (!caller.is_root() || view == View::Container))
}

/// The caller's own group as the parent.
fn inside(own: &Group) -> Result<Hierarchy, Barrier> {
    if own.kind == Kind::Root {
        return as_parent(own);
    }
    match (own.entry, own.control) {
        (Permission::Denied(errno), _) | (_, Permission::Denied(errno)) => return Err(Barrier::Denied(errno)),
        (Permission::Granted, Permission::Granted) => {}
    }
    if own.kind == Kind::Threaded {
        return Err(Barrier::Threaded);
    }
    if own.available.is_empty() {
        return Err(Barrier::NoControllers);
    }
    match own.members {
        Members::Caller => Ok(hierarchy(own.dir.clone(), &own.available, Preparation::MoveSelfThenEnable)),
        // Nobody: sbx is seen in a group that it is not in; nothing can be said about it.
        Members::Others | Members::Nobody => Err(Barrier::Shared),
    }
}

/// A group that sbx is not in, or the real root, as the parent.
///
/// # Errors
/// What stands in the way.
pub fn as_parent(group: &Group) -> Result<Hierarchy, Barrier> {
    if let Permission::Denied(errno) = group.entry {
        return Err(Barrier::Denied(errno));
    }
    if group.kind == Kind::Threaded {
        return Err(Barrier::Threaded);
    }
    if group.available.is_empty() {
        return Err(Barrier::NoControllers);
    }
    let all_enabled = group.available.iter().all(|controller| group.enabled.contains(controller));
    let vacant = group.kind == Kind::Root || group.members == Members::Nobody;
    match group.control {
        _ if all_enabled && vacant => Ok(hierarchy(group.dir.clone(), &group.enabled, Preparation::Ready)),
        Permission::Granted if vacant => Ok(hierarchy(group.dir.clone(), &group.available, Preparation::Enable)),
        Permission::Denied(errno) if group.enabled.is_empty() => Err(Barrier::Denied(errno)),
        Permission::Denied(_) if vacant => Ok(hierarchy(group.dir.clone(), &group.enabled, Preparation::Ready)),
        Permission::Granted | Permission::Denied(_) => Err(Barrier::Shared),
    }
}

fn hierarchy(parent: PathBuf, controllers: &[Controller], preparation: Preparation) -> Hierarchy {
    Hierarchy { version: Version::V2, controllers: controllers.to_vec(), parent, preparation }
}
