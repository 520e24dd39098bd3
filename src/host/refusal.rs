//! Turns what stands in the way of a group into a sentence and the one thing to change.
//! It opens no file.

use std::path::Path;

use crate::host::delegation::{Barrier, View};
use crate::host::{Controller, Refusal, ScopeCommand, Version};
use crate::sys::probe::{ENOENT, EROFS};

/// The drop-in that makes systemd hand all controllers to users; the default hands on
/// memory and pids only (systemd.resource-control(5), user@.service).
pub const DELEGATE_ALL: &str = "as root: `mkdir -p /etc/systemd/system/user@.service.d && \
     printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' > /etc/systemd/system/user@.service.d/delegate.conf && \
     systemctl daemon-reload`, then log in again";

/// A read-only cgroup file system is what container engines give by default (moby 48828, podman 9536).
pub const WRITABLE_IN_CONTAINER: &str = "start the container with `docker run --cgroupns private --security-opt \
     writable-cgroups=true` (Docker 28 or later), `podman run --security-opt unmask=/sys/fs/cgroup`, or `--privileged`; \
     outside a container: `mount -o remount,rw /sys/fs/cgroup`";

const SCOPE: &str = "`systemd-run --user --scope --collect -p Delegate=yes -- sbx …`";

/// What is known about the caller's situation when a v2 group is refused.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The caller's own group.
    pub own: &'a Path,
    pub view: View,
    pub scope: Option<&'a ScopeCommand>,
    pub inside_scope: Scoped,
}

/// Whether sbx has already been started again inside a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoped {
    Yes,
    No,
}

/// Returns the refusal of `controllers` in a v2 hierarchy.
#[must_use]
pub fn v2(barrier: Barrier, situation: &Situation<'_>, controllers: &[Controller]) -> Refusal {
    let own = situation.own.display();
    let (why, errno, hint) = match barrier {
        Barrier::Denied(errno) if errno == EROFS => {
            (format!("the cgroup file system of `{own}` is read-only"), Some(errno), WRITABLE_IN_CONTAINER.to_owned())
        }
        Barrier::Denied(errno) => {
            (format!("the group `{own}` is not delegated to the caller"), Some(errno), delegation_hint(situation))
        }
        Barrier::Shared => (
            format!("other processes are in the group `{own}` (no internal processes, cgroups(7))"),
            None,
            shared_hint(situation),
        ),
        Barrier::Threaded => (
            format!("the group `{own}` is part of a threaded subtree"),
            None,
            "start sbx in a group whose `cgroup.type` is `domain`".to_owned(),
        ),
        Barrier::NoControllers => {
            (format!("no controller is handed down to the group `{own}`"), None, not_handed_down(situation))
        }
    };
    Refusal { controllers: controllers.to_vec(), why, errno, hint }
}

fn delegation_hint(situation: &Situation<'_>) -> String {
    match (situation.view, situation.inside_scope, situation.scope) {
        (View::Container, _, _) => {
            format!("run sbx as the container's root, or `chown -R` its group `{}`", situation.own.display())
        }
        (View::Machine, Scoped::Yes, _) => DELEGATE_ALL.to_owned(),
        (View::Machine, Scoped::No, Some(_)) => format!("run {SCOPE}"),
        (View::Machine, Scoped::No, None) => {
            format!(
                "as root: `loginctl enable-linger USER`, then {SCOPE} as that user; without systemd: run as root, or `chown` a group to the caller and start sbx in it"
            )
        }
    }
}

fn shared_hint(situation: &Situation<'_>) -> String {
    let own = situation.own.display();
    match situation.view {
        View::Container => format!(
            "make sbx the container's only process, or move the others first: `mkdir {own}/init && for p in $(cat {own}/cgroup.procs); do echo $p > {own}/init/cgroup.procs; done`"
        ),
        View::Machine => format!("run {SCOPE}, which gives sbx a group of its own"),
    }
}

fn not_handed_down(situation: &Situation<'_>) -> String {
    match situation.view {
        View::Container => {
            "enable the controllers in `cgroup.subtree_control` of the groups above the container".to_owned()
        }
        View::Machine => DELEGATE_ALL.to_owned(),
    }
}

/// Returns the refusal of a v1 hierarchy whose group `dir` the caller may not write.
#[must_use]
pub fn v1(controllers: &[Controller], dir: &Path, errno: i32) -> Refusal {
    let dir = dir.display();
    let (why, hint) = if errno == EROFS {
        (format!("the cgroup file system of `{dir}` is read-only"), WRITABLE_IN_CONTAINER.to_owned())
    } else {
        let hint = "run as root, or as root in that directory: `mkdir USER && chown -R USER USER && echo PID-OF-SHELL > USER/tasks`";
        (format!("the v1 group `{dir}` is not writable for the caller"), hint.to_owned())
    };
    Refusal { controllers: controllers.to_vec(), why, errno: Some(errno), hint }
}

/// Returns the refusal where the caller's own group is under no visible mount.
#[must_use]
pub fn invisible(controllers: &[Controller], version: Version, group: &str) -> Refusal {
    let kind = match version {
        Version::V1 => "cgroup",
        Version::V2 => "cgroup2",
    };
    let name = controllers.first().map_or("memory", |controller| controller.name(version));
    let (why, hint) = match version {
        _ if group.split('/').any(|part| part == "..") => (
            format!("the caller's group `{group}` is outside the cgroup namespace"),
            "start sbx in a group inside the cgroup namespace that it runs in".to_owned(),
        ),
        Version::V1 => (
            format!("the {kind} hierarchy of the group `{group}` is mounted nowhere"),
            format!("`mkdir -p /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}`"),
        ),
        Version::V2 => (
            format!("no {kind} mount shows the caller's group `{group}`"),
            "`mount -t cgroup2 cgroup2 /sys/fs/cgroup`; in a container remove `-v /sys/fs/cgroup:/sys/fs/cgroup` or add `--cgroupns host` to it".to_owned(),
        ),
    };
    Refusal { controllers: controllers.to_vec(), why, errno: Some(ENOENT), hint }
}

/// Returns the refusal of one controller that the chosen v2 parent does not have although
/// the root of the hierarchy has it.
#[must_use]
pub fn not_delegated(controller: Controller, parent: &Path, view: View) -> Refusal {
    let hint = match view {
        View::Machine => DELEGATE_ALL.to_owned(),
        View::Container => format!("`echo +{controller} > cgroup.subtree_control` in the groups above the container"),
    };
    let why = format!("the controller `{controller}` is not delegated to `{}`", parent.display());
    Refusal { controllers: vec![controller], why, errno: None, hint }
}

/// What is seen of the v2 hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum V2Tree<'a> {
    Seen(View),
    /// No mount shows the caller's group, which is this one.
    Unseen(&'a str),
    /// The hierarchies that were looked at are all of v1.
    NotAsked,
}

/// Returns the refusal of one controller, from its line in /proc/cgroups and from what is
/// seen of v2, or `None` where the kernel does not have it.
///
/// Since Linux 6.15 (af000ce85293) that file leaves out what is built for v2 only, so a
/// missing line says something only where the machine's own v2 tree is seen, or none is asked.
#[must_use]
pub fn absent(controller: Controller, tree: V2Tree<'_>, proc_cgroups: &str) -> Option<Refusal> {
    let name = controller.name(Version::V1);
    let mount = format!("`mkdir -p /sys/fs/cgroup/{name} && mount -t cgroup -o {name} cgroup /sys/fs/cgroup/{name}`");
    let (why, hint) = match (line(name, proc_cgroups), tree) {
        (Some((_, "0")), _) => (
            format!("the controller `{controller}` was switched off when the machine was booted"),
            format!(
                "remove `cgroup_disable={name}` from the kernel's command line (on a Raspberry Pi add `cgroup_enable={name}`)"
            ),
        ),
        (Some(("0", _)) | None, V2Tree::Seen(View::Container)) => {
            return Some(not_delegated(controller, Path::new("/sys/fs/cgroup"), View::Container));
        }
        (Some(("0", _)) | None, V2Tree::Unseen(group)) => return Some(invisible(&[controller], Version::V2, group)),
        (Some(("0", _)), _) => (format!("the controller `{controller}` is mounted nowhere"), mount),
        (Some(_), _) => (format!("the controller `{controller}` is in a v1 hierarchy that is not visible here"), mount),
        (None, _) => return None,
    };
    Some(Refusal { controllers: vec![controller], why, errno: None, hint })
}

/// Returns the hierarchy and the `enabled` of a controller.
fn line<'a>(name: &str, proc_cgroups: &'a str) -> Option<(&'a str, &'a str)> {
    let mut fields = proc_cgroups.lines().map(str::split_ascii_whitespace).find_map(|mut fields| {
        let found = fields.next() == Some(name);
        found.then_some(fields)
    })?;
    Some((fields.next()?, fields.nth(1)?))
}

/// Returns the refusal of every controller where no cgroup file system is there at all.
#[must_use]
pub fn none(errno: Option<i32>) -> Refusal {
    Refusal {
        controllers: Controller::ALL.to_vec(),
        why: "no cgroup file system is mounted at `/sys/fs/cgroup` or elsewhere".to_owned(),
        errno,
        hint:
            "`mount -t cgroup2 cgroup2 /sys/fs/cgroup`; if that says ENODEV the kernel is built without CONFIG_CGROUPS"
                .to_owned(),
    }
}

/// Returns the refusal of every controller where sbx cannot ask which groups it is in.
#[must_use]
pub fn no_proc(errno: Option<i32>) -> Refusal {
    Refusal {
        controllers: Controller::ALL.to_vec(),
        why: "no proc file system is mounted at `/proc`".to_owned(),
        errno,
        hint: "`mount -t proc proc /proc`".to_owned(),
    }
}

/// Returns the refusal of a v2 parent that the spec names.
#[must_use]
pub fn given(barrier: Barrier, parent: &Path, meeting: &Path, controllers: &[Controller]) -> Refusal {
    let dir = parent.display();
    let (why, errno, hint) = match barrier {
        Barrier::Denied(errno) if errno == EROFS => {
            (format!("the cgroup file system of `{dir}` is read-only"), Some(errno), WRITABLE_IN_CONTAINER.to_owned())
        }
        Barrier::Denied(errno) => (
            format!("the caller cannot enter a group below `{dir}`"),
            Some(errno),
            format!(
                "the caller has to write `{dir}`, its `cgroup.procs` and `cgroup.subtree_control`, and `{}`",
                meeting.join("cgroup.procs").display()
            ),
        ),
        Barrier::Shared => (
            format!("processes are in the group `{dir}` itself (no internal processes, cgroups(7))"),
            None,
            "name a group without processes, or move them to a group below it".to_owned(),
        ),
        Barrier::Threaded => (
            format!("the group `{dir}` is part of a threaded subtree"),
            None,
            "name a group whose `cgroup.type` is `domain`".to_owned(),
        ),
        Barrier::NoControllers => (
            format!("no controller is handed down to the group `{dir}`"),
            None,
            format!("enable them in `cgroup.subtree_control` of the groups above `{dir}`"),
        ),
    };
    Refusal { controllers: controllers.to_vec(), why, errno, hint }
}

/// Returns the refusal where the parent that the spec names does not have the controllers.
#[must_use]
pub fn no_such_parent(controllers: &[Controller], parent: &Path, errno: i32) -> Refusal {
    Refusal {
        controllers: controllers.to_vec(),
        why: format!("there is no group `{}` with this controller", parent.display()),
        errno: Some(errno),
        hint: "make the group first, in the hierarchy that has the controller, or leave `cgroup` out of `limits`"
            .to_owned(),
    }
}
