//! Refused calls are counted, and nobody inside can tell: the same answers with and without a
//! report, floods, threads, signals, a stopped and a killed sbx, another supervisor outside.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sbx::spec::Syscall;
use serde_json::{Value, json};

use crate::harness::{Ran, Sbx, Who, skip};
use crate::seccomp::probe::{compiled, every_call, probe};

fn program() -> Option<PathBuf> {
    static PROGRAM: std::sync::LazyLock<Option<(tempfile::TempDir, PathBuf)>> =
        std::sync::LazyLock::new(|| compiled("refused", include_str!("refused.c"), &["-pthread"]));
    let found = PROGRAM.as_ref().map(|(_, program)| program.clone());
    if found.is_none() {
        skip("no C compiler that links statically: apt-get install build-essential");
    }
    found
}

/// A run of the program that sees it as `/run/refused`.
fn sbx(who: Who, spec: &str) -> Option<Sbx> {
    let program = program()?;
    Some(Sbx::new(who).spec(&format!("mounts {{ bind {program:?} \"/run/refused\"; }}\n{spec}")))
}

fn run(who: Who, spec: &str, words: &str) -> Option<Ran> {
    let words: Vec<&str> = std::iter::once("/run/refused").chain(words.split(' ')).collect();
    Some(sbx(who, spec)?.cmd(&words).run())
}

fn denied(ran: &Ran) -> &Value {
    &ran.report["isolation"]["seccomp"]["denied"]
}

/// What the probe was answered, as it prints it.
fn answers(who: Who, spec: &str, calls: &[String], report: Option<&str>) -> Option<Ran> {
    let probe = probe()?;
    let spec = format!("{spec}\nmounts {{ bind {probe:?} \"/run/probe\"; }}\nstdin \"null\"");
    let words: Vec<&str> = std::iter::once("/run/probe").chain(calls.iter().map(String::as_str)).collect();
    let sbx = Sbx::new(who).spec(&spec).cmd(&words);
    Some(match report {
        Some(target) => sbx.report(Some(target)).run(),
        None => sbx.run(),
    })
}

fn call(name: &str, operands: &str) -> String {
    format!("{name}:{}:{operands}", Syscall::named(name).unwrap().number)
}

#[test]
fn each_refused_call_is_counted_by_its_name() {
    let mounts = call("mount", "/a:/b:/c:0:0");
    let calls = [call("keyctl", "0:-3:0"), mounts.clone(), mounts.clone(), call("clone3", ""), mounts];
    for who in Who::all() {
        let Some(ran) = answers(who, "", &calls, None) else { return };
        ran.ok();
        assert_eq!(*denied(&ran), json!([{"syscall": "mount", "count": 3}, {"syscall": "keyctl", "count": 1}]));
        let ran = Sbx::new(who).sh("true").run();
        assert_eq!(*denied(&ran), json!([]), "nothing was refused");
        // At a terminal two messages bring descriptors.
        let ran = Sbx::new(who).flags(&["-t"]).sh("unshare -m true; true").run();
        assert_eq!(*denied(&ran), json!([{"syscall": "unshare", "count": 1}]), "{ran:?}");
        // The command as the first process itself.
        let ran = Sbx::new(who).spec("init #false").cmd(&["unshare", "-m", "true"]).run();
        assert_eq!(*denied(&ran), json!([{"syscall": "unshare", "count": 1}]), "{ran:?}");
        // In a time namespace the command has its memory for itself.
        let time = "namespaces user mount pid net time { time monotonic=\"+500h\"; }";
        let ran = Sbx::new(who).spec(time).cmd(&["unshare", "-m", "true"]).run();
        assert_eq!(*denied(&ran), json!([{"syscall": "unshare", "count": 1}]), "{ran:?}");
        // Without a pid namespace.
        let ran = Sbx::new(who).spec("namespaces user mount net").cmd(&["unshare", "-m", "true"]).run();
        assert_eq!(*denied(&ran), json!([{"syscall": "unshare", "count": 1}]), "{ran:?}");
    }
}

#[test]
fn the_answers_are_the_same_whether_or_not_somebody_counts() {
    let calls = every_call();
    let own =
        "seccomp \"default\" { deny \"getppid\" errno=\"EXDEV\"; deny \"dup3\" errno=\"ENOTUNIQ\" { arg 0 eq 9; }; }";
    let calls: Vec<String> = calls.into_iter().chain([call("getppid", ""), call("dup3", "9:9:0")]).collect();
    for who in Who::all() {
        for spec in ["", "seccomp \"strict\"", own, "seccomp \"none\" { deny \"mount\" errno=\"ENOSPC\"; }"] {
            let Some(counted) = answers(who, spec, &calls, None) else { return };
            let plain = answers(who, spec, &calls, Some("none")).unwrap();
            assert_eq!(counted.ok(), plain.stdout.trim_end(), "{spec}");
            assert_eq!(plain.code(), 0);
            // What was refused and how often is what the answers without a count say.
            let mut expected: BTreeMap<String, u64> = BTreeMap::new();
            let free = answers(who, "seccomp \"none\"", &calls, None).unwrap();
            for (refused, free) in plain.stdout.lines().zip(free.stdout.lines()) {
                if refused != free && !refused.ends_with(&format!(" {}", libc::ENOSYS)) {
                    let name = refused.split(['.', ' ']).next().unwrap();
                    *expected.entry(name.to_owned()).or_default() += 1;
                }
            }
            let counts = denied(&counted).as_array().unwrap_or_else(|| panic!("not counted: {spec} {counted:?}"));
            let count = |name: &str| counts.iter().find(|it| it["syscall"] == name).map(|it| it["count"].as_u64());
            for (name, least) in expected {
                // The kernel may have refused some by itself, with the same errno.
                assert!(count(&name).flatten() >= Some(least), "{name} {least}: {counts:?}");
            }
            assert_eq!(count("clone3"), None, "what is not there is not refused");
            let sorted: Vec<_> = counts.iter().map(|it| it["count"].as_u64().unwrap()).rev().collect();
            assert!(sorted.is_sorted(), "{counts:?}");
        }
    }
}

#[test]
fn a_number_without_a_name_is_shown_as_such() {
    let Some(_) = probe() else { return };
    let names: Vec<&str> = Syscall::all().map(|call| call.name).filter(|name| *name != "mount").collect();
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    });
    for who in Who::all() {
        let probe = probe().unwrap();
        let spec = format!("seccomp \"./profile.json\"\nmounts {{ bind {probe:?} \"/run/probe\"; }}");
        let sbx = Sbx::new(who).spec(&spec).file("profile.json", profile.to_string().as_bytes());
        let ran =
            sbx.cmd(&["/run/probe", "gap:400", "gap:400", "new:511", "new:600", &call("mount", "0:0:0:0:0")]).run();
        assert_eq!(ran.ok(), "gap 1\ngap 1\nnew 38\nnew 38\nmount 1");
        assert_eq!(*denied(&ran), json!([{"syscall": "#400", "count": 2}, {"syscall": "mount", "count": 1}]));
    }
}

#[test]
fn no_call_of_any_thread_is_lost_or_counted_twice() {
    for who in Who::all() {
        let Some(ran) = run(who, "", "threads 8 2000") else { return };
        assert_eq!(ran.ok(), "other answers: 0");
        assert_eq!(*denied(&ran), json!([{"syscall": "mount", "count": 16000}]));
    }
}

#[test]
fn a_flood_of_refused_calls_hides_nothing() {
    for who in Who::all() {
        let Some(ran) = run(who, "limits { wall \"1s\"; }", "flood 16") else { return };
        assert_eq!(ran.kind(), "wall_timeout", "{ran:?}");
        let wall = ran.report["time"]["wall_ns"].as_u64().unwrap();
        assert!((1_000_000_000..2_000_000_000).contains(&wall), "{wall}");
        assert!(denied(&ran)[0]["count"].as_u64().unwrap() > 1000, "{}", denied(&ran));
        // Output and signals have their turn too.
        let sbx = sbx(who, "limits { wall \"30s\"; output \"1M\"; }").unwrap();
        let ran = sbx.sh("/run/refused flood 16 & exec yes").run();
        assert_eq!(ran.kind(), "output_limit", "{ran:?}");
        let sbx = sbx_for_signals(who);
        let running = sbx.start();
        running.await_output("ready");
        running.signal(Signal::SIGTERM);
        let ran = running.wait();
        assert_eq!(ran.kind(), "canceled", "{ran:?}");
    }
}

fn sbx_for_signals(who: Who) -> Sbx {
    let sbx = sbx(who, "limits { wall \"30s\"; }").unwrap();
    sbx.sh("/run/refused flood 16 & echo ready; wait")
}

#[test]
fn a_killed_sbx_leaves_no_call_waiting() {
    for who in Who::all() {
        let Some(sbx) = sbx(who, "") else { return };
        let sbx = sbx.sh("echo ready; exec /run/refused flood 16");
        let running = sbx.start();
        running.await_output("ready");
        running.murder();
    }
}

#[test]
fn a_stopped_sbx_answers_when_it_goes_on() {
    for who in Who::all() {
        let Some(sbx) = sbx(who, "") else { return };
        let sbx = sbx.sh("echo ready; sleep 0.3; /run/refused mount 3; echo over");
        let mut running = sbx.start();
        running.await_output("ready");
        running.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_millis(800));
        assert!(!sbx.read(".stdout").contains("over"), "nobody answers");
        assert!(running.is_alive());
        running.signal(Signal::SIGCONT);
        let ran = running.wait();
        assert_eq!(ran.ok(), "ready\nother answers: 0\nover");
        assert_eq!(*denied(&ran), json!([{"syscall": "mount", "count": 3}]));
    }
}

/// The targets of the descriptors of a process and of all below it.
fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let read = |path: String| std::fs::read_dir(path).into_iter().flatten().flatten();
    let targets = read(format!("/proc/{pid}/fd")).filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let mut all: Vec<_> = targets.map(|target| (pid, target)).collect();
    for task in read(format!("/proc/{pid}/task")) {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        all.extend(children.split_whitespace().flat_map(|child| descriptors(child.parse().unwrap())));
    }
    all
}

#[test]
fn who_is_asked_is_sbx_alone_and_only_for_a_report() {
    for who in Who::all() {
        for (report, expected) in [("report.json", 1), ("none", 0)] {
            let Some(sbx) = sbx(who, "") else { return };
            let target = if report == "none" { report.to_owned() } else { sbx.path(report).display().to_string() };
            let sbx = sbx.report(Some(&target)).sh("echo ready; sleep 1.5; ls /proc/self/fd");
            let running = sbx.start();
            running.await_output("ready");
            let asked = Path::new("anon_inode:seccomp notify");
            let begin = Instant::now();
            let holders = loop {
                let all = descriptors(running.pid());
                let holders: Vec<u32> = all.iter().filter(|(_, to)| to == asked).map(|(pid, _)| *pid).collect();
                if holders.len() == expected || begin.elapsed() > Duration::from_secs(1) {
                    break holders;
                }
            };
            assert_eq!(holders, vec![running.pid(); expected], "{report}");
            let ran = running.wait();
            assert_eq!(ran.stdout, "ready\n0\n1\n2\n3\n", "3 is the list itself");
        }
        let listens = |spec: &str, report: &str| {
            let sbx = sbx(who, spec).unwrap().report(Some(report)).cmd(&["/run/refused", "listen"]);
            sbx.run().stdout
        };
        let busy = format!("{}\n", libc::EBUSY);
        assert_eq!(listens("", "fd:2"), busy, "a process has one supervisor");
        assert_eq!(listens("", "none"), "0\n");
        assert_eq!(listens("profile \"compat\"", "fd:2"), "0\n");
        assert_eq!(listens("profile \"compat\"\nseccomp \"default\"", "fd:2"), "0\n");
        assert_eq!(listens("seccomp \"none\"", "fd:2"), "0\n");
    }
}

#[test]
fn without_a_way_to_count_the_filter_is_the_same() {
    let Some(program) = program() else { return };
    for who in Who::all() {
        let sbx = sbx(who, "").unwrap().through(&format!("exec {} outer \"$@\"", program.display()));
        let ran = sbx.cmd(&["/run/refused", "mount", "3"]).run();
        assert_eq!(ran.ok(), "other answers: 0");
        assert!(denied(&ran).is_null(), "another supervisor: not counted is not none");
        assert_eq!(ran.report["isolation"]["seccomp"]["profile"], "default");
        assert!(ran.report["time"]["wall_ns"].as_u64().unwrap() > 0);
        // A wall limit asks when the command started, which was said without a descriptor.
        let sbx = sbx_in(who, &program, "limits { wall \"300ms\"; }");
        assert_eq!(sbx.cmd(&["/run/refused", "flood", "2"]).run().kind(), "wall_timeout");
        for spec in [
            "seccomp \"default\" { deny \"sendmsg\"; }",
            "seccomp \"default\" { deny \"sendmsg\" { arg 0 eq 3; }; }",
            "seccomp \"default\" { deny \"write\" { arg 0 eq 77; }; }",
            "profile \"compat\"\nseccomp \"default\"",
        ] {
            let ran = run(who, spec, "mount 3").unwrap();
            assert_eq!(ran.ok(), "other answers: 0", "{spec}");
            assert!(denied(&ran).is_null(), "{spec}: {}", denied(&ran));
        }
    }
}

fn sbx_in(who: Who, program: &Path, spec: &str) -> Sbx {
    sbx(who, spec).unwrap().through(&format!("exec {} outer \"$@\"", program.display()))
}

#[test]
fn what_is_not_started_says_why() {
    for who in Who::all() {
        let ran = Sbx::new(who).cmd(&["/nowhere"]).run();
        assert_eq!((ran.code(), ran.kind()), (127, "not_found"), "{ran:?}");
        let ran = Sbx::new(who).flags(&["-t"]).cmd(&["/etc/passwd"]).run();
        assert_eq!((ran.code(), ran.kind()), (126, "not_executable"), "{ran:?}");
    }
}
