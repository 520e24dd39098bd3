//! Calls that fail, processes that are killed, descriptors that are missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::faults::{SBX, assert_refused, end, home, skip, spec, text};

#[test]
fn a_caller_that_ignores_signals_changes_nothing() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\n");
    let mut shell = Command::new("/bin/sh");
    let script = "trap '' CHLD TERM HUP INT PIPE; exec \"$1\" run --report none \"$2\" -- /bin/sh -c \
                  'grep SigIgn /proc/self/status; exit 3'";
    let output = end(shell.args(["-c", script, "sh", SBX]).arg(&spec).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "SigIgn:\t0000000000000000\n");
}

/// Closed standard streams become `/dev/null`, never one of sbx's own descriptors.
#[test]
fn closed_streams_stay_apart_from_the_descriptors_of_sbx() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\n");
    let report = home.path().join("report.json");
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let mut shell = Command::new("/bin/sh");
        let inside = "read line; echo out; echo err >&2; exit 5";
        let script = format!("exec \"$1\" run --report \"$2\" \"$3\" -- /bin/sh -c '{inside}' {closed}");
        let output = end(shell.args(["-c", &script, "sh", SBX]).arg(&report).arg(&spec).stdin(Stdio::null()));
        assert_eq!(output.status.code(), Some(5), "{closed}: {}", text(&output.stderr));
        assert!(fs::read_to_string(&report).unwrap().contains(r#""exit_code":5"#), "{closed}");
    }
}

#[test]
fn few_descriptors_are_an_error_or_enough() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\n");
    let mut ran = false;
    for limit in 3..60 {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={limit}:{limit}")).arg(SBX).args(["run", "--report", "none"]).arg(&spec);
        let output = end(limited.args(["--", "/bin/true"]).stdin(Stdio::null()));
        match output.status.code() {
            Some(0) => ran = true,
            _ => assert_refused(&output, 125, "EMFILE"),
        }
    }
    assert!(ran);
}

/// Every call fails in turn, in sbx and in its child alike: the run says so with the errno, or goes on.
#[test]
fn every_call_that_fails_is_named_or_survived() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("/usr/bin/strace, which makes calls fail, is not installed");
    }
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\nlimits { wall \"5s\" }\n");
    let (trace, report) = (home.path().join("trace"), home.path().join("report.json"));
    let faults = [
        ("clone3", "ENOMEM"),
        ("open_tree", "EPERM"),
        ("fsopen", "ENODEV"),
        ("fsmount", "EPERM"),
        ("mount_setattr", "EINVAL"),
        ("move_mount", "EINVAL"),
        ("mount", "EPERM"),
        ("pivot_root", "EINVAL"),
        ("umount2", "EINVAL"),
        ("pipe2", "EMFILE"),
        ("signalfd4", "EMFILE"),
        ("ppoll", "EINTR"),
        ("ppoll", "ENOMEM"),
        ("wait4", "EINTR"),
        ("wait4", "ECHILD"),
        ("read", "EINTR"),
        ("write", "EINTR"),
        ("write", "ENOSPC"),
        ("mkdirat", "ENOSPC"),
        ("mkdir", "ENOSPC"),
        ("rmdir", "EBUSY"),
        ("close_range", "ENOSYS"),
        ("capset", "EPERM"),
        ("clone", "EAGAIN"),
        ("socket", "EMFILE"),
        ("flock", "ENOLCK"),
        ("unshare", "EPERM"),
        ("setresuid", "EPERM"),
        ("landlock_create_ruleset", "EINVAL"),
        ("landlock_add_rule", "ENOMEM"),
        ("landlock_restrict_self", "E2BIG"),
    ];
    for (call, errno) in faults {
        for when in 1..=4 {
            fs::remove_file(&report).ok();
            let mut traced = Command::new("strace");
            traced
                .args(["-f", "-qq", "-o"])
                .arg(&trace)
                .arg("-e")
                .arg(format!("inject={call}:error={errno}:when={when}"));
            traced.arg(SBX).args(["run", "--report"]).arg(&report).arg(&spec).args(["--", "/bin/true"]);
            let output = end(traced.stdin(Stdio::null()));
            if !fs::read_to_string(&trace).unwrap().contains("INJECTED") {
                break;
            }
            let (said, case) = (text(&output.stderr), format!("{call} {errno} {when}"));
            // The faults reach the command too: its loader says 127.
            let loader = said.starts_with("/bin/true:");
            let ended = matches!(output.status.code(), Some(0 | 125 | 126)) || loader;
            assert!(ended, "{case}: {:?} {said}", output.status);
            assert!(!said.contains("panicked"), "{case}: {said}");
            if let Ok(written) = fs::read_to_string(&report)
                .map_err(drop)
                .and_then(|text| if text.is_empty() { Err(()) } else { Ok(text) })
            {
                assert!(written.starts_with("{\"schema\"") && written.ends_with("}\n"), "{case}: {written}");
            }
        }
    }
}

/// sbx and its child are killed at one call after the other: within a second nothing of the sandbox lives.
#[test]
fn a_killed_run_leaves_no_process() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("/usr/bin/strace, which kills at a call, is not installed");
    }
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\n");
    let trace = home.path().join("trace");
    let mark = format!("0.05{}", std::process::id());
    for call in ["clone3", "read", "write", "ppoll", "wait4", "move_mount", "prctl", "clone", "rt_sigtimedwait", "kill"]
    {
        for when in 1..=6 {
            let mut traced = Command::new("strace");
            let inject = format!("inject={call}:signal=SIGKILL:when={when}");
            traced.args(["-f", "-qq", "-o"]).arg(&trace).args(["-e", &inject]).arg(SBX);
            end(traced
                .args(["run", "--report", "none"])
                .arg(&spec)
                .args(["--", "/bin/sleep", &mark])
                .stdin(Stdio::null()));
            let start = Instant::now();
            while is_alive(&mark) {
                assert!(start.elapsed() < Duration::from_secs(1), "{call} {when}: the command outlives sbx");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn is_alive(mark: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok()).any(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(mark) && !line.contains("strace")
    })
}
