//! Finds, hierarchy by hierarchy, the directory in which this caller can make a group:
//! v1, v2 and both at once (hybrid). It reads and asks; it never makes, moves or enables.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::host::delegation::{self, Barrier, Group, Kind, Members, Permission, View};
use crate::host::membership::{self, Membership, Mount};
use crate::host::refusal::{self, Scoped, Situation, V2Tree};
use crate::host::scope::{Surroundings, scope_command};
use crate::host::{Caller, Cgroups, Controller, Hierarchy, Preparation, Version};
use crate::sys::probe::{self as ask, Access, Contents, FileSystem};

const MOUNT_POINT: &str = "/sys/fs/cgroup";
/// What systemd hands on to users by default; without any of them in v2 a scope is of no use.
const SCOPED: [Controller; 2] = [Controller::Memory, Controller::Pids];
const MEMBERSHIPS: &str = "/proc/self/cgroup";

/// Returns where groups with the `wanted` controllers can be made, starting from the
/// caller's own groups. What is not wanted may be missing from the answer.
#[must_use]
pub fn discover(caller: Caller, wanted: &[Controller]) -> Cgroups {
    let text = match ask::read_text(Path::new(MEMBERSHIPS)) {
        Ok(text) => text,
        Err(error) => return refuse_all(error.raw_os_error()),
    };
    let memberships = membership::parse_self_cgroup(&text);
    let tree = Tree::new();
    let mut cgroups = Cgroups::default();
    let mut v2 = None;
    for member in &memberships {
        if member.version == Version::V2 {
            v2 = Some(member);
        } else if member.controllers.iter().any(|controller| wanted.contains(controller)) {
            match tree.find(caller, member) {
                Some(place) => v1(member, place.own, place.entry, &mut cgroups),
                None => cgroups.refusals.push(refusal::invisible(&member.controllers, Version::V1, &member.path)),
            }
        }
    }
    let is_open = |cgroups: &Cgroups| unexplained(cgroups).iter().any(|controller| wanted.contains(controller));
    let mut seen = V2Tree::NotAsked;
    if let Some(member) = v2.filter(|_| is_open(&cgroups)) {
        seen = match tree.find(caller, member) {
            Some(place) => V2Tree::Seen(self::v2(caller, &place, &mut cgroups)),
            None => V2Tree::Unseen(&member.path),
        };
    }
    if is_open(&cgroups) {
        explain_absent(seen, &mut cgroups);
    }
    cgroups
}

/// Returns where groups can be made below `parent` only: a directory of one mounted
/// hierarchy, or a group that every hierarchy is asked for.
#[must_use]
pub fn under(caller: Caller, parent: &Path) -> Cgroups {
    let mut cgroups = Cgroups::default();
    let text = match ask::read_text(Path::new(MEMBERSHIPS)) {
        Ok(text) => text,
        Err(error) => return refuse_all(error.raw_os_error()),
    };
    let memberships = membership::parse_self_cgroup(&text);
    let tree = Tree::new();
    let real = std::fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned());
    let given = match ask::file_system(&real) {
        Ok(FileSystem::Cgroup | FileSystem::Cgroup2) => Some(real.as_path()),
        _ if real.starts_with(MOUNT_POINT) => Some(real.as_path()),
        _ => None,
    };
    for member in &memberships {
        let Some(place) = tree.find(caller, member) else { continue };
        let dir = match given {
            Some(parent) if parent.starts_with(&place.point) => Some(parent.to_owned()),
            Some(_) => None,
            None => membership::locate(&parent.to_string_lossy(), "/", &place.point),
        };
        let Some(dir) = dir else { continue };
        match (member.version, ask::file_system(&dir)) {
            (Version::V1, Ok(FileSystem::Cgroup)) => v1(member, dir, None, &mut cgroups),
            (Version::V2, Ok(FileSystem::Cgroup2)) => given_v2(caller, &dir, &place, &mut cgroups),
            (_, Ok(_)) | (Version::V2, Err(_)) => {}
            (Version::V1, Err(errno)) => {
                cgroups.refusals.push(refusal::no_such_parent(&member.controllers, &dir, errno))
            }
        }
    }
    let open = unexplained(&cgroups);
    if !open.is_empty() {
        cgroups.refusals.push(refusal::no_such_parent(&open, parent, ask::ENOENT));
    }
    cgroups
}

/// Returns where cgroup hierarchies are mounted that sbx can use, whoever may make groups there.
#[must_use]
pub fn mounted() -> Vec<PathBuf> {
    let text = ask::read_text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
    let mounts = membership::parse_mountinfo(&text).into_iter();
    mounts.filter(|mount| mount.version == Version::V2 || !mount.controllers.is_empty()).map(|it| it.point).collect()
}

/// The caller's own group in one hierarchy.
#[derive(Debug)]
struct Place {
    own: PathBuf,
    /// The mount point through which it is seen.
    point: PathBuf,
    /// Whether groups can be made there, where finding it has told.
    entry: Option<Permission>,
}

/// The mounted hierarchies, found by convention and otherwise by mountinfo.
struct Tree {
    v2: OnceCell<PathBuf>,
    mounts: OnceCell<Vec<Mount>>,
}

impl Tree {
    fn new() -> Self {
        Self { v2: OnceCell::new(), mounts: OnceCell::new() }
    }

    fn v2(&self) -> &Path {
        self.v2.get_or_init(|| match ask::file_system(Path::new(MOUNT_POINT)) {
            Ok(FileSystem::Cgroup2) => PathBuf::from(MOUNT_POINT),
            _ => Path::new(MOUNT_POINT).join("unified"),
        })
    }

    /// Root gets one question a v1 group answered for two: only a group has `tasks`, and who may write that may
    /// make groups.
    fn find(&self, caller: Caller, member: &Membership) -> Option<Place> {
        let point = match member.version {
            Version::V1 => Path::new(MOUNT_POINT).join(&member.names),
            Version::V2 => self.v2().to_owned(),
        };
        let place = membership::locate(&member.path, "/", &point).and_then(|own| {
            let entry = match member.version {
                Version::V1 if caller.is_root() => match ask::access(&own.join("tasks"), Access::Write) {
                    Err(ask::ENOENT) => return None,
                    answer => Some(permission(answer)),
                },
                Version::V1 if ask::file_system(&own) == Ok(FileSystem::Cgroup) => None,
                Version::V2 if ask::file_system(&own) == Ok(FileSystem::Cgroup2) && is_own(member, &own) => None,
                Version::V1 | Version::V2 => return None,
            };
            Some(Place { own, point, entry })
        });
        place.or_else(|| self.search(member))
    }

    /// Asks mountinfo, which is slow on a machine with many mounts.
    fn search(&self, member: &Membership) -> Option<Place> {
        let mounts = self.mounts.get_or_init(|| {
            let text = ask::read_text(Path::new("/proc/self/mountinfo")).unwrap_or_default();
            membership::parse_mountinfo(&text)
        });
        mounts
            .iter()
            .filter(|mount| mount.version == member.version && mount.controllers == member.controllers)
            .find_map(|mount| {
                let own = membership::locate(&member.path, &mount.root, &mount.point)?;
                Some(Place { own, point: mount.point.clone(), entry: None })
            })
    }
}

/// Returns whether `own` is what it looks like. A v2 tree of the machine that was bound
/// into a container (`-v /sys/fs/cgroup:/sys/fs/cgroup`) shows another group at the place
/// of the container's own: its root, which alone has no `cgroup.type`.
fn is_own(member: &Membership, own: &Path) -> bool {
    if member.version == Version::V1 || member.path != "/" || kind(own) != Kind::Root {
        return true;
    }
    let pid = std::process::id().to_string();
    ask::read_text(&own.join("cgroup.procs")).is_ok_and(|text| text.lines().any(|line| line == pid))
}

fn v1(member: &Membership, dir: PathBuf, entry: Option<Permission>, cgroups: &mut Cgroups) {
    match entry.unwrap_or_else(|| permission(ask::access(&dir, Access::MakeIn))) {
        Permission::Granted => cgroups.hierarchies.push(Hierarchy {
            version: Version::V1,
            controllers: member.controllers.clone(),
            parent: dir,
            preparation: Preparation::Ready,
        }),
        Permission::Denied(errno) => cgroups.refusals.push(refusal::v1(&member.controllers, &dir, errno)),
    }
}

fn v2(caller: Caller, place: &Place, cgroups: &mut Cgroups) -> View {
    let own = group(&place.own);
    let top = if place.own == place.point { own.kind } else { kind(&place.point) };
    let view = match top {
        Kind::Root => View::Machine,
        Kind::Domain | Kind::Threaded => View::Container,
    };
    if own.available.is_empty() && view == View::Machine && names(&place.point, "cgroup.controllers").is_empty() {
        // The empty v2 tree beside v1: its controllers are explained by the others.
        return view;
    }
    let above = || Some(group(place.own.parent().filter(|dir| dir.starts_with(&place.point))?));
    let top = || Some(group(&place.point));
    match delegation::choose(caller, &own, view, above, top) {
        Ok(mut hierarchy) => {
            settle(&mut hierarchy);
            explain_withheld(&hierarchy, &place.point, view, cgroups);
            cgroups.hierarchies.push(hierarchy);
        }
        Err(barrier) => refuse_v2(caller, barrier, place, view, cgroups),
    }
    view
}

/// A group of sbx below the real root that an earlier run has prepared is ready.
fn settle(hierarchy: &mut Hierarchy) {
    if hierarchy.preparation == Preparation::MakeThenEnable {
        let enabled = names(&hierarchy.parent, "cgroup.subtree_control");
        if hierarchy.controllers.iter().all(|controller| enabled.contains(controller)) {
            hierarchy.preparation = Preparation::Ready;
        }
    }
}

fn refuse_v2(caller: Caller, barrier: Barrier, place: &Place, view: View, cgroups: &mut Cgroups) {
    let surroundings = Surroundings::read();
    let mut controllers = names(&place.point, "cgroup.controllers");
    if controllers.is_empty() {
        controllers = unexplained(cgroups);
    }
    let scope = match view {
        View::Machine if SCOPED.iter().any(|controller| controllers.contains(controller)) => {
            scope_command(caller, &surroundings)
        }
        View::Machine | View::Container => None,
    };
    let inside_scope = match surroundings.guard {
        Some(_) => Scoped::Yes,
        None => Scoped::No,
    };
    let situation = Situation { own: &place.own, view, scope: scope.as_ref(), inside_scope };
    cgroups.refusals.push(refusal::v2(barrier, &situation, &controllers));
    cgroups.scope = scope;
}

/// Says of each controller that the machine has and the parent has not who withholds it.
fn explain_withheld(hierarchy: &Hierarchy, point: &Path, view: View, cgroups: &mut Cgroups) {
    if hierarchy.parent == point {
        return;
    }
    for controller in names(point, "cgroup.controllers") {
        if !hierarchy.controllers.contains(&controller) {
            cgroups.refusals.push(refusal::not_delegated(controller, &hierarchy.parent, view));
        }
    }
}

/// Explains what is in no hierarchy and not refused yet; what the kernel does not have
/// stays without a refusal.
fn explain_absent(seen: V2Tree<'_>, cgroups: &mut Cgroups) {
    let open = unexplained(cgroups);
    let text = ask::read_text(Path::new("/proc/cgroups")).unwrap_or_default();
    cgroups.refusals.extend(open.into_iter().filter_map(|controller| refusal::absent(controller, seen, &text)));
}

/// Returns the controllers that nothing is known of yet. cpuacct exists only beside a v1
/// cpu: in v2 every group has `cpu.stat`.
fn unexplained(cgroups: &Cgroups) -> Vec<Controller> {
    let v1_cpu = cgroups.find(Controller::Cpu).is_ok_and(|hierarchy| hierarchy.version == Version::V1);
    Controller::ALL
        .into_iter()
        .filter(|controller| v1_cpu || *controller != Controller::Cpuacct)
        .filter(|controller| cgroups.find(*controller) == Err(None))
        .collect()
}

/// A parent that the spec names. It must be possible to get into a group below it (rule 3).
fn given_v2(caller: Caller, dir: &Path, place: &Place, cgroups: &mut Cgroups) {
    let group = group(dir);
    let chosen = match delegation::as_parent(&group) {
        _ if dir == place.own => delegation::choose(caller, &group, View::Container, || None, || None),
        chosen => chosen,
    };
    let meeting = common_ancestor(dir, &place.own);
    let entered = chosen.and_then(|hierarchy| match ask::access(&meeting.join("cgroup.procs"), Access::Write) {
        Ok(()) => Ok(hierarchy),
        Err(errno) => Err(Barrier::Denied(errno)),
    });
    match entered {
        Ok(hierarchy) => cgroups.hierarchies.push(hierarchy),
        Err(barrier) => cgroups.refusals.push(refusal::given(barrier, dir, &meeting, &group.available)),
    }
}

fn common_ancestor(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(one, other)| one == other).map(|(part, _)| part).collect()
}

fn refuse_all(errno: Option<i32>) -> Cgroups {
    // Where /proc is missing nothing can be said about cgroups.
    let refusal = if Path::new("/proc/self").exists() { refusal::none(errno) } else { refusal::no_proc(errno) };
    Cgroups { refusals: vec![refusal], ..Cgroups::default() }
}

/// Reads what is so for one v2 directory. What cannot be read counts as not there.
fn group(dir: &Path) -> Group {
    let control = permission(ask::access(&dir.join("cgroup.subtree_control"), Access::Write));
    let entry = ask::access(dir, Access::MakeIn).and_then(|()| ask::access(&dir.join("cgroup.procs"), Access::Write));
    Group {
        dir: dir.to_owned(),
        kind: kind(dir),
        available: names(dir, "cgroup.controllers"),
        enabled: names(dir, "cgroup.subtree_control"),
        members: members(dir),
        entry: permission(entry),
        control,
    }
}

fn kind(dir: &Path) -> Kind {
    match ask::read_text(&dir.join("cgroup.type")) {
        Err(error) if error.raw_os_error() == Some(ask::ENOENT) => Kind::Root,
        Ok(text) if text.trim_end() == "domain" => Kind::Domain,
        _ => Kind::Threaded,
    }
}

fn names(dir: &Path, file: &str) -> Vec<Controller> {
    let text = ask::read_text(&dir.join(file)).unwrap_or_default();
    membership::parse_names(&text, ' ', Version::V2)
}

fn members(dir: &Path) -> Members {
    let alone = format!("{}\n", std::process::id());
    match ask::holds_only(&dir.join("cgroup.procs"), &alone) {
        Ok(Contents::Empty) => Members::Nobody,
        Ok(Contents::Same) => Members::Caller,
        Ok(Contents::Different) | Err(_) => Members::Others,
    }
}

fn permission(answer: Result<(), i32>) -> Permission {
    match answer {
        Ok(()) => Permission::Granted,
        Err(errno) => Permission::Denied(errno),
    }
}
