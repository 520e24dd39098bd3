//! Which namespaces are new, and what each of them keeps apart.

use crate::harness::{Sbx, Who};

const ALL: [&str; 8] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"];

/// Returns the namespaces of a run that are not those of the tests. The command's own `/proc` is looked at
/// through the link of each, which names the namespace by its inode.
fn new_in(who: Who, spec: &str) -> Vec<&'static str> {
    let ran = Sbx::new(who)
        .spec(spec)
        .sh("for n in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done")
        .run();
    let inside: Vec<String> = ran.ok().lines().map(str::to_owned).collect();
    let host = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap().display().to_string();
    let pairs = ALL.into_iter().zip(&inside);
    let new: Vec<_> = pairs.filter(|(name, link)| host(name) != **link).map(|(name, _)| name).collect();
    let reported: Vec<_> = ran.report["isolation"]["namespaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().replace("mount", "mnt"))
        .collect();
    assert_eq!(new, reported, "{spec}");
    new
}

#[test]
fn exactly_those_that_are_named_are_new() {
    let cases: [(&str, &[&str]); 7] = [
        ("", &["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"]),
        ("network host", &["user", "mnt", "pid", "ipc", "uts", "cgroup"]),
        ("network host\nnamespaces user mount", &["user", "mnt"]),
        ("network host\nnamespaces user mount pid", &["user", "mnt", "pid"]),
        ("network host\nnamespaces user", &["user"]),
        ("network host\nnamespaces user mount time", &["user", "mnt", "time"]),
        ("namespaces user mount pid net ipc uts cgroup time", &ALL),
    ];
    for who in Who::all() {
        for (spec, expected) in cases {
            assert_eq!(new_in(who, spec), expected, "{who:?} {spec}");
        }
    }
}

#[test]
fn the_clocks_are_shifted() {
    let spec = "namespaces user mount pid net time { time boottime=\"+1000h\" monotonic=\"+500h\"; }";
    let host: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    for who in Who::all() {
        let ran = Sbx::new(who).spec(spec).cmd(&["cat", "/proc/uptime"]).run();
        let inside: f64 = ran.ok().split(' ').next().unwrap().parse().unwrap();
        let shift = inside - host;
        assert!((3_600_000.0..3_600_060.0).contains(&shift), "{shift}");
    }
}

#[test]
fn without_a_pid_namespace_what_is_left_dies_too() {
    for who in Who::all() {
        for spec in ["network host\nnamespaces user mount", "namespaces user mount ipc uts net", ""] {
            let script = "setsid sleep 100 & (setsid sleep 100 & setsid sleep 100 &) ; sleep 0.1; echo done";
            let ran = Sbx::new(who).spec(spec).sh(script).run();
            assert_eq!(ran.ok(), "done");
            assert_eq!(ran.report["pids"]["left_at_exit"], 3, "{spec}");
        }
    }
}

#[test]
fn the_loopback_works_and_is_alone() {
    for who in Who::all() {
        let ran = Sbx::new(who).sh("cat /proc/net/dev | tail -n +3").run();
        let names: Vec<&str> = ran.ok().lines().filter_map(|line| line.trim().split(':').next()).collect();
        assert_eq!(names, ["lo"]);
        if crate::fixture::has_rootfs() {
            let script = "nc -l -p 7777 -e cat & for i in 1 2 3 4 5; do sleep 0.1; echo hello | nc -w 1 127.0.0.1 7777 && break; done";
            let ran = Sbx::new(who).spec("rootfs \"%/root\"").sh(script).run();
            assert!(ran.stdout.contains("hello"), "{ran:?}");
        }
        let ran = Sbx::new(who).spec("network host").cmd(&["cat", "/proc/net/dev"]).run();
        let host = std::fs::read_to_string("/proc/net/dev").unwrap().lines().count();
        assert_eq!(ran.ok().lines().count(), host);
    }
}

#[test]
fn the_host_name_is_the_sandbox_s() {
    for who in Who::all() {
        assert_eq!(Sbx::new(who).cmd(&["uname", "-n"]).run().ok(), "sbx");
        assert_eq!(Sbx::new(who).spec("hostname \"ci\"").cmd(&["uname", "-n"]).run().ok(), "ci");
        assert_eq!(Sbx::new(who).flags(&["--hostname", "flag"]).cmd(&["uname", "-n"]).run().ok(), "flag");
    }
}

#[test]
fn the_first_process_is_in_sight_of_its_own_only() {
    for who in Who::all() {
        let ran = Sbx::new(who)
            .sh("ls /proc | grep -c '^[0-9]*$'; tr '\\0' ' ' < /proc/1/cmdline; wc -c < /proc/1/environ")
            .run();
        let count: u32 = ran.stdout.lines().next().unwrap().parse().unwrap();
        assert!(count <= 5, "{ran:?}");
        assert!(!ran.stdout.contains("--report"), "{ran:?}");
    }
}
