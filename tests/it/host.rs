//! What sbx finds out about the machine: the texts of the kernel, the rules of
//! delegation, and the machine that runs the tests.

use std::path::{Path, PathBuf};

use sbx::host::delegation::{Barrier, Group, Kind, LEAF, Members, Permission, View, as_parent, choose};
use sbx::host::membership::{Membership, locate, parse_mountinfo, parse_self_cgroup};
use sbx::host::probe::{Depth, caller, probe};
use sbx::host::refusal::{self, Scoped, Situation, V2Tree};
use sbx::host::{Caller, Cgroups, Controller, Hierarchy, Preparation, Rights, Version, scope};

const ROOT: Caller = Caller { uid: 0, gid: 0, rights: Rights::Root };
const USER: Caller = Caller { uid: 1000, gid: 1000, rights: Rights::User };
const EACCES: i32 = 13;
const EROFS: i32 = 30;

fn membership(version: Version, controllers: &[Controller], names: &str, path: &str) -> Membership {
    Membership { version, controllers: controllers.to_vec(), names: names.to_owned(), path: path.to_owned() }
}

#[test]
fn memberships_of_a_hybrid_machine() {
    let text =
        "9:name=systemd:/\n8:pids:/\n7:blkio:/\n6:freezer:/\n4:memory:/jobs/7\n2:cpuacct,cpu:/\n0::/\nnonsense\n";
    let expected = [
        membership(Version::V1, &[Controller::Pids], "pids", "/"),
        membership(Version::V1, &[Controller::Io], "blkio", "/"),
        membership(Version::V1, &[Controller::Memory], "memory", "/jobs/7"),
        membership(Version::V1, &[Controller::Cpuacct, Controller::Cpu], "cpuacct,cpu", "/"),
        membership(Version::V2, &[], "", "/"),
    ];
    assert_eq!(parse_self_cgroup(text), expected);
}

#[test]
fn membership_of_a_user_session() {
    let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/a:b.scope";
    assert_eq!(parse_self_cgroup(&format!("0::{path}\n")), [membership(Version::V2, &[], "", path)]);
    assert_eq!(parse_self_cgroup("0::/gone (deleted)\n")[0].path, "/gone");
}

#[test]
fn mounts_of_a_hybrid_machine() {
    let text = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
                33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct\n\
                40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
                41 31 0:38 / /mnt/my\\040groups rw,relatime - cgroup2 cgroup2 rw\n";
    let mounts = parse_mountinfo(text);
    assert_eq!(mounts.len(), 3);
    assert_eq!(mounts[0].controllers, [Controller::Cpu, Controller::Cpuacct]);
    assert_eq!(mounts[1].controllers, []);
    assert_eq!((mounts[2].version, mounts[2].point.as_path()), (Version::V2, Path::new("/mnt/my groups")));
}

#[test]
fn an_own_group_is_found_only_through_a_mount_that_shows_it() {
    let point = Path::new("/m");
    let cases = [
        // A host, or a container with a cgroup namespace of its own.
        ("/a/b", "/", Some("/m/a/b")),
        ("/", "/", Some("/m")),
        // Docker on v1 without a cgroup namespace: its group is bound to the mount point.
        ("/docker/7", "/docker/7", Some("/m")),
        ("/docker/7/sub", "/docker/7", Some("/m/sub")),
        ("/docker/77", "/docker/7", None),
        // The machine's tree bound into a container with a cgroup namespace of its own.
        ("/", "/../..", None),
        // Moved out of its own cgroup namespace.
        ("/../x", "/", None),
        ("/a/../../etc", "/", None),
    ];
    for (group, root, expected) in cases {
        assert_eq!(locate(group, root, point), expected.map(PathBuf::from), "`{group}` under `{root}`");
    }
}

/// A delegated group with memory and pids in which sbx is alone.
fn group(dir: &str) -> Group {
    Group {
        dir: PathBuf::from(dir),
        kind: Kind::Domain,
        available: vec![Controller::Memory, Controller::Pids],
        enabled: Vec::new(),
        members: Members::Caller,
        entry: Permission::Granted,
        control: Permission::Granted,
    }
}

fn denied(dir: &str, errno: i32) -> Group {
    Group {
        entry: Permission::Denied(errno),
        control: Permission::Denied(errno),
        members: Members::Others,
        ..group(dir)
    }
}

fn parent(dir: &str, preparation: Preparation) -> Result<Hierarchy, Barrier> {
    Ok(Hierarchy {
        version: Version::V2,
        controllers: vec![Controller::Memory, Controller::Pids],
        parent: PathBuf::from(dir),
        preparation,
    })
}

fn not_asked() -> Option<Group> {
    panic!("asked for a group that is not needed");
}

#[test]
fn the_real_root_is_a_parent_even_with_processes() {
    let own = Group { kind: Kind::Root, members: Members::Others, ..group("/cg") };
    assert_eq!(choose(ROOT, &own, View::Machine, not_asked, not_asked), parent("/cg", Preparation::Enable));
    let own = Group { enabled: own.available.clone(), ..own };
    assert_eq!(choose(ROOT, &own, View::Machine, not_asked, not_asked), parent("/cg", Preparation::Ready));
}

#[test]
fn alone_in_a_delegated_group_sbx_moves_itself() {
    let own = group("/cg/run-1.scope");
    let expected = parent("/cg/run-1.scope", Preparation::MoveSelfThenEnable);
    assert_eq!(choose(USER, &own, View::Machine, not_asked, not_asked), expected);
    assert_eq!(choose(ROOT, &own, View::Container, not_asked, not_asked), expected);
}

#[test]
fn a_leaf_that_sbx_made_leads_to_the_group_above() {
    let own = group(&format!("/cg/run-1.scope/{LEAF}"));
    let own = Group { available: Vec::new(), ..own };
    let above = Group { members: Members::Nobody, enabled: own.available.clone(), ..group("/cg/run-1.scope") };
    let ready = Group { enabled: above.available.clone(), ..above.clone() };
    for caller in [ROOT, USER] {
        let found = choose(caller, &own, View::Machine, || Some(ready.clone()), not_asked);
        assert_eq!(found, parent("/cg/run-1.scope", Preparation::Ready));
    }
    assert_eq!(
        choose(USER, &own, View::Machine, || Some(above), not_asked),
        parent("/cg/run-1.scope", Preparation::Enable)
    );
}

#[test]
fn a_shared_group_of_a_user_is_refused_and_a_slice_is_never_taken() {
    let own = Group { members: Members::Others, ..group("/cg/app.slice/terminal.scope") };
    assert_eq!(choose(USER, &own, View::Machine, not_asked, not_asked), Err(Barrier::Shared));
    let own = Group { dir: PathBuf::from("/cg/ci/job"), ..own };
    let above = Group { members: Members::Nobody, ..group("/cg/ci") };
    assert_eq!(choose(USER, &own, View::Machine, || Some(above), not_asked), parent("/cg/ci", Preparation::Enable));
}

#[test]
fn a_session_that_is_not_delegated_is_refused() {
    let own = denied("/cg/user-1000.slice/session-3.scope", EACCES);
    assert_eq!(choose(USER, &own, View::Machine, not_asked, not_asked), Err(Barrier::Denied(EACCES)));
}

#[test]
fn root_in_a_shared_group_works_below_the_real_root() {
    let own = Group { members: Members::Others, ..group("/cg/system.slice/cron.service") };
    let top = Group { kind: Kind::Root, members: Members::Others, ..group("/cg") };
    let found = choose(ROOT, &own, View::Machine, not_asked, || Some(top.clone()));
    assert_eq!(found, parent("/cg/sbx", Preparation::MakeThenEnable));
    let read_only = Group { control: Permission::Denied(EROFS), ..top };
    assert_eq!(choose(ROOT, &own, View::Machine, not_asked, || Some(read_only)), Err(Barrier::Shared));
}

#[test]
fn root_in_a_container_stays_in_it() {
    let own = Group { members: Members::Others, ..group("/cg") };
    assert_eq!(choose(ROOT, &own, View::Container, || None, not_asked), Err(Barrier::Shared));
    let own = Group { members: Members::Others, ..group("/cg/init") };
    let above = Group { members: Members::Nobody, ..group("/cg") };
    assert_eq!(choose(ROOT, &own, View::Container, || Some(above), not_asked), parent("/cg", Preparation::Enable));
    let read_only = denied("/cg", EROFS);
    assert_eq!(choose(ROOT, &read_only, View::Container, || None, not_asked), Err(Barrier::Denied(EROFS)));
}

#[test]
fn a_parent_has_no_processes_no_threads_and_some_controller() {
    let vacant = Group { members: Members::Nobody, ..group("/cg/p") };
    assert_eq!(as_parent(&vacant), parent("/cg/p", Preparation::Enable));
    assert_eq!(as_parent(&Group { members: Members::Others, ..vacant.clone() }), Err(Barrier::Shared));
    assert_eq!(as_parent(&Group { kind: Kind::Threaded, ..vacant.clone() }), Err(Barrier::Threaded));
    assert_eq!(as_parent(&Group { available: Vec::new(), ..vacant.clone() }), Err(Barrier::NoControllers));
    let fixed = Group { control: Permission::Denied(EACCES), ..vacant };
    assert_eq!(as_parent(&fixed), Err(Barrier::Denied(EACCES)));
    let some = Group { enabled: vec![Controller::Pids], ..fixed };
    let found = as_parent(&some).map(|hierarchy| (hierarchy.controllers, hierarchy.preparation));
    assert_eq!(found, Ok((vec![Controller::Pids], Preparation::Ready)));
}

#[test]
fn hints_name_the_switch() {
    let command = scope::compose(Path::new("/usr/bin/systemd-run"), Path::new("/run/user/1000"));
    let own = Path::new("/cg/session-3.scope");
    let plain = Situation { own, view: View::Machine, scope: None, inside_scope: Scoped::No };
    let cases = [
        (Barrier::Denied(EACCES), plain, "loginctl enable-linger"),
        (Barrier::Denied(EACCES), Situation { scope: Some(&command), ..plain }, "systemd-run --user --scope"),
        (
            Barrier::Denied(EACCES),
            Situation { inside_scope: Scoped::Yes, ..plain },
            "Delegate=cpu cpuset io memory pids",
        ),
        (Barrier::Denied(EROFS), Situation { view: View::Container, ..plain }, "writable-cgroups=true"),
        (Barrier::Shared, plain, "systemd-run --user --scope"),
        (Barrier::Shared, Situation { view: View::Container, ..plain }, "/init/cgroup.procs"),
        (Barrier::NoControllers, plain, "Delegate=cpu cpuset io memory pids"),
    ];
    for (barrier, situation, expected) in cases {
        let refusal = refusal::v2(barrier, &situation, &[Controller::Memory]);
        assert!(refusal.hint.contains(expected), "{barrier:?}: `{}` does not say `{expected}`", refusal.hint);
        assert!(!refusal.why.ends_with('.'), "{}", refusal.why);
    }
}

#[test]
fn an_absent_controller_says_why() {
    let text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\nmemory\t0\t1\t0\ncpuset\t0\t1\t1\nio\t0\t1\t1\nblkio\t3\t1\t1\n";
    let hint = |controller, tree| refusal::absent(controller, tree, text).map(|refusal| refusal.hint);
    let says = |controller, tree, expected: &str| hint(controller, tree).is_some_and(|hint| hint.contains(expected));
    assert!(says(Controller::Memory, V2Tree::Seen(View::Machine), "cgroup_disable=memory"));
    assert!(says(Controller::Cpuset, V2Tree::NotAsked, "mount -t cgroup -o cpuset"));
    assert!(says(Controller::Cpuset, V2Tree::Seen(View::Container), "+cpuset"));
    assert!(says(Controller::Cpuset, V2Tree::Unseen("/"), "--cgroupns host"));
    assert!(says(Controller::Io, V2Tree::NotAsked, "-o blkio"));
    assert_eq!(hint(Controller::Hugetlb, V2Tree::NotAsked), None);
    assert_eq!(hint(Controller::Hugetlb, V2Tree::Seen(View::Machine)), None);
    // A kernel that has it for v2 only does not list it.
    assert!(says(Controller::Hugetlb, V2Tree::Seen(View::Container), "+hugetlb"));
    assert!(says(Controller::Hugetlb, V2Tree::Unseen("/"), "mount -t cgroup2"));
}

#[test]
fn the_scope_command_is_absolute_and_guarded() {
    let command = scope::compose(Path::new("/usr/bin/systemd-run"), Path::new("/run/user/1000"));
    assert_eq!(command.arguments.last().map(String::as_str), Some("--"));
    assert!(command.arguments.iter().any(|argument| argument == "Delegate=yes"));
    assert!(command.environment.contains(&("XDG_RUNTIME_DIR".to_owned(), "/run/user/1000".to_owned())));
    let guarded = scope::Surroundings { guard: Some("1".to_owned()), ..scope::Surroundings::default() };
    assert_eq!(scope::scope_command(USER, &guarded), None);
    assert_eq!(scope::scope_command(ROOT, &scope::Surroundings::default()), None);
}

#[test]
fn a_run_without_limits_asks_for_no_cgroups() {
    let host = probe(&Depth::Caller);
    assert_eq!(host.cgroups, Cgroups::default());
    assert_eq!(host.caller, caller());
}

#[test]
fn a_controller_is_in_one_hierarchy_or_refused_and_never_both() {
    let cgroups = probe(&Depth::Cgroups(Controller::ALL.to_vec())).cgroups;
    for controller in Controller::ALL {
        let homes = cgroups.hierarchies.iter().filter(|hierarchy| hierarchy.controllers.contains(&controller)).count();
        let refused = cgroups.refusals.iter().any(|refusal| refusal.controllers.contains(&controller));
        assert!(homes <= 1, "{controller} is in {homes} hierarchies: {cgroups:#?}");
        assert!(homes == 0 || !refused, "{controller} is both found and refused: {cgroups:#?}");
    }
    for refusal in &cgroups.refusals {
        assert!(!refusal.hint.is_empty() && !refusal.controllers.is_empty(), "{refusal:#?}");
    }
}
