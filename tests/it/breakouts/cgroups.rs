//! Class E: groups of the host: not to be seen, mounted, written or left.

use super::python;
use crate::harness::{Sbx, Who, skip};

/// Mounts every hierarchy that the kernel has, in every way, with and without namespaces of one's own, and says what worked.
const MOUNTS: &str = "mkdir -p /tmp/g; for c in memory cpu cpuacct cpuset pids devices freezer blkio rdma net_cls none,name=systemd; do \
    mount -t cgroup -o $c none /tmp/g 2>/dev/null && echo mounted $c; \
    unshare -UrC mount -t cgroup -o $c none /tmp/g 2>/dev/null && echo mounted $c; \
    unshare -UrmC mount -t cgroup -o $c none /tmp/g 2>/dev/null && echo mounted $c; done; \
    mount -t cgroup2 none /tmp/g 2>/dev/null && echo mounted v2; unshare -UrmC mount -t cgroup2 none /tmp/g 2>/dev/null && echo mounted v2; \
    for f in $(find / -xdev -name release_agent -o -name cgroup.procs 2>/dev/null) /sys/fs/cgroup; do test -e $f && echo there $f; done; \
    grep -c ' - cgroup' /proc/self/mountinfo; echo end";

/// A new user namespace had the right to mount a hierarchy of version 1, and whoever wrote `release_agent` was not asked
/// for a capability: the host's root ran it.
#[test]
fn cve_2022_0492_no_hierarchy_can_be_mounted() {
    for who in Who::all() {
        for spec in [
            "",
            "user \"root\"",
            "user \"root\"\nseccomp \"none\"",
            "user \"root\"\nseccomp \"none\"\nlandlock none",
            "user \"root\"\nseccomp \"none\"\nlandlock none\ncapabilities \"SYS_ADMIN\" \"DAC_OVERRIDE\"",
        ] {
            assert_eq!(Sbx::new(who).spec(spec).sh(MOUNTS).run().ok(), "0\nend", "{who:?} {spec}");
        }
    }
}

/// `compat` lets a sandbox make one of its own, which may mount what it is in: the agent of a release is still the host's.
#[test]
fn cve_2022_0492_what_compat_lets_mount_has_no_agent_to_write() {
    let script = "unshare -UrmC sh -c 'for c in memory pids cpu name=systemd; do mount -t cgroup -o $c none /mnt && \
                  for f in release_agent cgroup.procs notify_on_release tasks memory.limit_in_bytes pids.max; do \
                  test -e /mnt/$f && (echo 1 > /mnt/$f) && echo written $f; done; umount /mnt; done' 2>/dev/null; echo end";
    for who in Who::all() {
        let ran = Sbx::new(who).spec("profile \"compat\"\nuser 7 7").sh(script).run();
        assert_eq!(ran.ok(), "end", "{who:?}");
    }
}

/// Rootless runc left the host's groups writable where no cgroup namespace was asked for: it is always new here.
#[test]
fn cve_2023_25809_the_groups_of_the_host_are_out_of_sight() {
    let script = "cut -d: -f3 /proc/self/cgroup | sort -u; cut -d: -f3 /proc/1/cgroup | sort -u; grep -c cgroup /proc/self/mountinfo; \
                  ls /sys 2>/dev/null | wc -l";
    for who in Who::all() {
        for spec in
            ["", "user \"root\"", "profile \"compat\"", "init #false", "network \"host\"", "limits { wall \"10s\"; }"]
        {
            assert_eq!(Sbx::new(who).spec(spec).sh(script).run().ok(), "/\n/\n0\n0", "{who:?} {spec}");
        }
    }
    let Some(root) = Who::root() else { return };
    let ran = Sbx::new(root).spec("limits { pids 20; memory \"64M\"; }").sh(script).run();
    if ran.kind() == "setup_failed" {
        return skip("no limit can be had here, so no group is made");
    }
    assert_eq!(ran.ok(), "/\n/\n0\n0");
}

/// Who gets the hierarchies bound, writable, still cannot leave: the files are root's, which nobody inside is.
#[test]
fn nobody_moves_to_another_group() {
    const PROGRAM: &str = r"
import os
for top, directories, files in os.walk('/cg'):
    if top.count('/') > 3: directories.clear()
    for name in files:
        if name in ('cgroup.procs', 'tasks', 'release_agent', 'notify_on_release', 'cgroup.subtree_control'):
            try: os.write(os.open(os.path.join(top, name), os.O_WRONLY), b'0'); print('written', top, name)
            except OSError: pass
    try: os.mkdir(os.path.join(top, 'sbx-escape')); print('made', top)
    except OSError: pass
print('end')
";
    if !std::path::Path::new("/sys/fs/cgroup").is_dir() {
        return skip("no cgroups are mounted");
    }
    for who in Who::all() {
        for user in ["", "user \"root\"\n", "user \"root\"\nseccomp \"none\"\nlandlock none\n"] {
            let spec = format!("{user}mounts {{ bind \"/sys/fs/cgroup\" \"/cg\" access=\"rw\"; }}");
            let Some(sbx) = python(Sbx::new(who).spec(&spec), PROGRAM) else { return };
            let ran = sbx.run();
            // For root the owners of a bind are mapped, which cgroups cannot be.
            if who == Who::Root {
                ran.refused("/sys/fs/cgroup");
            } else {
                assert_eq!(ran.ok(), "end", "{user}");
            }
        }
    }
}

/// CRI-O passed text of a pod on to systemd; crun took `..` in the names of groups.
#[test]
fn cve_2024_3154_a_group_is_named_by_a_plain_path_or_refused() {
    let names = [
        "/sys/fs/cgroup/pids/../../../../tmp",
        "/sys/fs/cgroup/memory/..",
        "../x",
        "x",
        "/tmp",
        "/proc/self/cwd",
        "/../../../tmp",
        "/sys/fs/cgroup/none-such",
        "/sys/fs/cgroup/pids/a\\nb",
        "/sys/fs/cgroup/pids/\\u{0}",
        "",
        "system.slice:x:y",
        "/sys/fs/cgroup/pids; CPUQuota=1%",
    ];
    for who in Who::all() {
        for name in names {
            let spec = format!("limits {{ pids 10; cgroup \"{name}\"; }}");
            let ran = Sbx::new(who).spec(&spec).sh("echo ran").run();
            assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{who:?} {name}: {ran:?}");
        }
    }
}
