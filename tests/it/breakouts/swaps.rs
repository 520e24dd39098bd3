//! Class A with a clock: a command exchanges a directory or a file and a link as fast as it
//! can (renameat2(2), RENAME_EXCHANGE), while other runs start with mounts, sources and streams there.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::breakouts::{Canary, attack};
use crate::harness::{Ran, Sbx, Who};

/// How many runs start while the names are exchanged, for each link and each identity.
const RUNS: usize = 25;

const SHARED: &str = "bind \"rw\" \"/w\" access=rw";

/// Starts runs of `next` while a sandbox exchanges `rw/one` and `rw/other`; returns all that came of them.
fn swapped(next: &Sbx) -> Option<Vec<Ran>> {
    let attack = attack()?;
    let spec = format!(
        "mounts {{ bind {:?} \"/w\" access=rw; bind {attack:?} \"/attack\"; }}\nlimits {{ wall \"60s\"; }}",
        next.path("rw")
    );
    let attacker = Sbx::new(next.who()).spec(&spec).cmd(&["/attack", "exchange", "/w/one", "/w/other"]);
    let running = attacker.start();
    running.await_output("ready");
    let seen = (0..RUNS).map(|_| next.run()).collect();
    running.signal(Signal::SIGTERM);
    let ran = running.wait();
    let count: usize = ran.ok().lines().last().unwrap().parse().unwrap();
    assert!(count > 10 * RUNS, "only {count} exchanges");
    Some(seen)
}

/// Root of the mount and type of the file system: what of the host each mount shows.
fn shown(mountinfo: &str) -> BTreeSet<(String, String)> {
    let line = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        Some((left.split(' ').nth(3)?.to_owned(), right.split(' ').next()?.to_owned()))
    };
    mountinfo.lines().filter_map(line).collect()
}

/// CVE-2021-30465 (what is mounted where), CVE-2024-45310 (nothing is made on the host).
#[test]
fn cve_2021_30465_destination_is_swapped_while_runs_start() {
    for who in Who::all() {
        for target in ["/", "/usr", "canary"] {
            let sbx = Sbx::new(who).dir("canary").dir("canary/bin").file("canary/f", b"untouched\n").dir("src");
            let sbx = sbx.dir("rw").dir("rw/one").dir("rw/one/bin").file("rw/one/f", b"");
            let link = if target == "canary" { sbx.path(target).display().to_string() } else { target.to_owned() };
            std::os::unix::fs::symlink(link, sbx.path("rw/other")).unwrap();
            let spec = "tmpfs \"/w/one/bin\"; bind \"src\" \"/w/one/bin/deep\"; file \"/w/one/f\" \"x\"";
            let spec = format!("landlock none\nmounts {{ {SHARED}; {spec}; }}");
            let sbx = sbx.spec(&spec).sh("cat /proc/self/mountinfo");
            let quiet = shown(sbx.run().ok());
            let (canary, source) = (Canary::of(&sbx.path("canary")), Canary::of(&sbx.path("src")));
            let Some(seen) = swapped(&sbx) else { return };
            for ran in &seen {
                assert!(matches!(ran.code(), 0 | 125), "{who:?} {target}: {ran:?}");
                let strange: Vec<_> = shown(&ran.stdout).difference(&quiet).cloned().collect();
                assert!(strange.is_empty(), "{who:?} {target}: {strange:?}");
            }
            canary.check(target);
            source.check(target);
            let names: BTreeSet<_> =
                std::fs::read_dir(sbx.path("rw")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, BTreeSet::from(["one".into(), "other".into()]), "something was made");
        }
    }
}

/// CVE-2024-42472 of flatpak with a clock, CVE-2025-9566 of podman: a source and a stream are what they were named
/// for, or the run is refused.
#[test]
fn cve_2025_9566_a_source_is_swapped_while_runs_start() {
    for who in Who::all() {
        let cases = [
            ("canary", "bind \"rw/one\" \"/m\"", "", "cat /m/f"),
            ("canary", "overlay \"/m\" lower=\"rw/one\"", "", "cat /m/f"),
            ("canary/f", "bind \"rw/one\" \"/m\"", "", "cat /m"),
            ("canary/f", "dir \"/m\"", "stdin \"rw/one\"", "cat"),
            ("canary/f", "dir \"/m\"", "user root\nsecret \"/k\" file=\"rw/one\"", "cat /k"),
        ];
        for (target, mount, rest, script) in cases {
            let sbx = Sbx::new(who).dir("canary").file("canary/f", b"hunter2\n").dir("rw");
            let sbx = match target {
                "canary" => sbx.dir("rw/one").file("rw/one/f", b"own\n"),
                _ => sbx.file("rw/one", b"own\n"),
            };
            std::os::unix::fs::symlink(sbx.path(target), sbx.path("rw/other")).unwrap();
            let sbx = sbx.spec(&format!("mounts {{ {SHARED}; {mount}; }}\n{rest}")).sh(script);
            let canary = Canary::of(&sbx.path("canary"));
            assert_eq!(sbx.run().ok(), "own", "{who:?} {mount} {rest}");
            let Some(seen) = swapped(&sbx) else { return };
            for ran in &seen {
                let right = (0, "own\n") == (ran.code(), ran.stdout.as_str());
                let refused = (125, "") == (ran.code(), ran.stdout.as_str());
                assert!(right || refused, "{who:?} {mount} {rest}: {ran:?}");
            }
            canary.check(mount);
        }
    }
}

/// A report that goes where a command can reach is written to no other file.
#[test]
fn cve_2019_18837_the_place_of_the_report_is_swapped_while_runs_start() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("canary").file("canary/f", b"hunter2\n").dir("rw").file("rw/one", b"");
        std::os::unix::fs::symlink(sbx.path("canary/f"), sbx.path("rw/other")).unwrap();
        let sbx = sbx.spec(&format!("mounts {{ {SHARED}; }}")).sh("true").report(Some("rw/one"));
        let canary = Canary::of(&sbx.path("canary"));
        let Some(seen) = swapped(&sbx) else { return };
        for ran in &seen {
            assert!(matches!(ran.code(), 0 | 125), "{who:?}: {ran:?}");
        }
        canary.check("a report");
    }
}
