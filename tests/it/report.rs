//! The report on every kind of outcome, and the exit status that goes with it.

use nix::errno::Errno;
use sbx::error::{Error, Kind};
use sbx::plan::{Op, Opener, Plan};
use sbx::report::exit::{error_status, exit_status};
use sbx::report::{Report, Subject};
use sbx::run::conclude::Dead;
use sbx::run::seen::Seen;
use sbx::run::{Ended, Failure, Killer, Outcome, ParentCall, Usage};
use sbx::sys::process::{Pid, Reaped, Rusage};
use serde_json::Value;

use crate::example::{SECRET, at, outcome, plan, subject};
use crate::schema::validate;

fn line(subject: &Subject<'_>, plan: Option<&Plan>, happened: Result<&Outcome, &Error>) -> String {
    let line = Report::new(subject, plan, happened).to_line().unwrap();
    validate(&line);
    let line = String::from_utf8(line).unwrap();
    assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
    assert!(!line.contains(SECRET), "{line}");
    line
}

/// The exit status and the member `outcome`, which differ from case to case.
fn said(ended: Ended, killed_by: Option<Killer>) -> String {
    let (plan, outcome) = (plan(), outcome(ended, killed_by));
    let report: Value = serde_json::from_str(&line(&subject(&[]), Some(&plan), Ok(&outcome))).unwrap();
    let never_started = matches!(ended, Ended::NotStarted(_));
    assert_eq!(report["time"]["wall_ns"].is_null(), never_started, "a command that never ran took no known time");
    format!("exit status {}\n{}", exit_status(&outcome), members(&report["outcome"]))
}

/// The number of the first step that `is` true of.
fn step(is: impl Fn(&Op) -> bool) -> usize {
    plan().steps.iter().position(|step| is(&step.op)).unwrap()
}

fn failed(failure: Failure) -> String {
    said(Ended::NotStarted(failure), None)
}

/// One member a line; objects are sorted by name, as the reader of JSON keeps them.
fn members(object: &Value) -> String {
    object.as_object().unwrap().iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

fn whole(report: &str) -> String {
    let report: Value = serde_json::from_str(report).unwrap();
    assert_eq!(report["sbx"], env!("CARGO_PKG_VERSION"));
    members(&report).replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn exited() {
    let (plan, subject) = (plan(), subject(&[]));
    let outcome = outcome(Ended::Exited { code: 3 }, None);
    let line = line(&subject, Some(&plan), Ok(&outcome));
    assert!(line.starts_with(r#"{"schema":"sbx.report/1","sbx":"#), "the name of the format comes first");
    assert_eq!(exit_status(&outcome), 3);
    insta::assert_snapshot!(whole(&line), @r##"
    changes: {"added":null,"bytes":null,"deleted":null,"modified":null,"path":null}
    command: ["make","check all"]
    context_switches: {"involuntary":10,"voluntary":9}
    cpu: {"limit_cores":1.5,"periods":15,"throttled_ns":17,"throttled_periods":16}
    io: {"read_bytes":21,"read_ops":23,"write_bytes":22,"write_ops":24}
    isolation: {"capabilities":["CHOWN"],"cgroup":{"path":"/user.slice/sbx-1","version":2},"landlock":{"abi":6,"status":"partial"},"limits":[{"applied":536870912,"by":"memory.max","name":"memory","requested":"512M"},{"applied":256,"by":"pids.max","name":"pids","requested":"256"}],"namespaces":["user","mount","pid","net"],"no_new_privileges":true,"seccomp":{"denied":[{"count":3,"syscall":"mount"},{"count":1,"syscall":"#511"}],"profile":"none"},"user":{"inside":[0,0],"outside":[1000,1000]},"weakened":[{"feature":"cpuset","why":"controller not delegated"}]}
    leftovers: ["/sys/fs/cgroup/sbx-1"]
    memory: {"limit_bytes":536870912,"limit_hits":14,"max_rss_bytes":6,"oom_kills":13,"page_faults_major":8,"page_faults_minor":7,"peak_bytes":11,"source":"memory.peak","swap_peak_bytes":12}
    network: {"connections":[],"interfaces":[{"name":"lo","rx_bytes":39,"rx_packets":41,"tx_bytes":40,"tx_packets":42}],"mode":"none","unlisted_connections":0}
    outcome: {"core_dumped":false,"error":null,"exit_code":3,"killed_by":null,"kind":"exited","mistakes":[],"reason":null,"signal":null}
    output: {"stderr":"�\u001b[2J","stderr_bytes":38,"stdout":"token=…\n","stdout_bytes":37,"truncated":false}
    pids: {"denied_forks":19,"left_at_exit":20,"limit":256,"peak":18}
    pressure: {"cpu_some_ns":25,"io_full_ns":29,"io_some_ns":28,"memory_full_ns":27,"memory_some_ns":26}
    rootfs: {"digest":null,"kind":"directory","layers":null,"source":"/srv/root","writable":"no"}
    sbx: "VERSION"
    schema: "sbx.report/1"
    spec: {"labels":{"job":"7"},"path":"build.kdl","sha256":"00ff"}
    time: {"finished_at":"2027-01-15T08:00:01.500123Z","setup_ns":2,"source":"cgroup2","started_at":"2027-01-15T08:00:00.000123Z","system_ns":5,"teardown_ns":3,"user_ns":4,"wall_ns":1}
    warnings: ["the spec is world-writable","a process did not end"]
    workdir: "/src"
    "##);
}

#[test]
fn a_spec_error() {
    let command = ["true".into()];
    let subject = Subject { rootfs: Default::default(), ..subject(&command) };
    let error = Error::new(Kind::Spec, "unknown limit `memry`").with_hint("did you mean `memory`").at(at("memory"));
    let line = line(&subject, None, Err(&error));
    assert_eq!(error_status(&error), 125);
    assert_eq!(error_status(&Error::new(Kind::Usage, "no spec")), 2);
    insta::assert_snapshot!(whole(&line), @r#"
    changes: {"added":null,"bytes":null,"deleted":null,"modified":null,"path":null}
    command: ["true"]
    context_switches: {"involuntary":null,"voluntary":null}
    cpu: {"limit_cores":null,"periods":null,"throttled_ns":null,"throttled_periods":null}
    io: {"read_bytes":null,"read_ops":null,"write_bytes":null,"write_ops":null}
    isolation: {"capabilities":null,"cgroup":{"path":null,"version":null},"landlock":{"abi":null,"status":"none"},"limits":[],"namespaces":null,"no_new_privileges":null,"seccomp":{"denied":null,"profile":"none"},"user":{"inside":null,"outside":null},"weakened":[]}
    leftovers: []
    memory: {"limit_bytes":null,"limit_hits":null,"max_rss_bytes":null,"oom_kills":null,"page_faults_major":null,"page_faults_minor":null,"peak_bytes":null,"source":null,"swap_peak_bytes":null}
    network: {"connections":null,"interfaces":null,"mode":null,"unlisted_connections":null}
    outcome: {"core_dumped":false,"error":{"column":5,"errno":null,"file":"build.kdl","hint":"did you mean `memory`","kind":"spec","line":8,"message":"unknown limit `memry`","step":null},"exit_code":null,"killed_by":null,"kind":"setup_failed","mistakes":[],"reason":"unknown limit `memry`","signal":null}
    output: {"stderr":null,"stderr_bytes":null,"stdout":null,"stdout_bytes":null,"truncated":false}
    pids: {"denied_forks":null,"left_at_exit":null,"limit":null,"peak":null}
    pressure: {"cpu_some_ns":null,"io_full_ns":null,"io_some_ns":null,"memory_full_ns":null,"memory_some_ns":null}
    rootfs: {"digest":null,"kind":null,"layers":null,"source":null,"writable":null}
    sbx: "VERSION"
    schema: "sbx.report/1"
    spec: {"labels":{"job":"7"},"path":"build.kdl","sha256":"00ff"}
    time: {"finished_at":null,"setup_ns":null,"source":null,"started_at":null,"system_ns":null,"teardown_ns":null,"user_ns":null,"wall_ns":null}
    warnings: []
    workdir: null
    "#);
}

#[test]
fn an_error_without_a_spec() {
    let error = Error::new(Kind::Io, "cannot read `gone.kdl`").with_errno(Errno::ENOENT as i32).at(at("limits"));
    let report: Value = serde_json::from_str(&line(&Subject::default(), None, Err(&error))).unwrap();
    assert_eq!(report["command"], Value::Null);
    assert_eq!(report["spec"]["path"], Value::Null);
    insta::assert_snapshot!(members(&report["outcome"]), @r#"
    core_dumped: false
    error: {"column":null,"errno":"ENOENT","file":null,"hint":"look at the spelling: a part of the path does not exist","kind":"io","line":null,"message":"cannot read `gone.kdl`","step":null}
    exit_code: null
    killed_by: null
    kind: "setup_failed"
    mistakes: []
    reason: "cannot read `gone.kdl`: No such file or directory (ENOENT)"
    signal: null
    "#);
}

#[test]
fn what_nobody_measured_is_null_and_never_zero() {
    let plan = plan();
    let mut outcome = outcome(Ended::Exited { code: 0 }, None);
    outcome.usage = Usage::default();
    outcome.output = Default::default();
    let report: Value = serde_json::from_str(&line(&subject(&[]), Some(&plan), Ok(&outcome))).unwrap();
    for group in ["cpu", "memory", "pids", "io", "context_switches", "pressure", "output", "changes"] {
        for (name, figure) in report[group].as_object().unwrap() {
            let known = matches!(name.as_str(), "limit" | "limit_bytes" | "limit_cores" | "truncated");
            assert!(known || figure.is_null(), "{group}.{name} is {figure}");
        }
    }
    assert!(report["time"]["user_ns"].is_null() && report["time"]["source"].is_null());
}

#[test]
fn signaled() {
    insta::assert_snapshot!(said(Ended::Signaled { signal: 11, core_dumped: true }, None), @r#"
    exit status 139
    core_dumped: true
    error: null
    exit_code: null
    killed_by: null
    kind: "signaled"
    mistakes: []
    reason: "ended by SIGSEGV, core dumped"
    signal: "SIGSEGV"
    "#);
    insta::assert_snapshot!(said(Ended::Signaled { signal: 40, core_dumped: false }, Some(Killer::Caller)), @r#"
    exit status 168
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "caller"
    kind: "signaled"
    mistakes: []
    reason: "ended by signal 40"
    signal: "signal 40"
    "#);
}

#[test]
fn time_limits() {
    insta::assert_snapshot!(said(Ended::WallTimeout, Some(Killer::Sbx)), @r#"
    exit status 124
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "sbx"
    kind: "wall_timeout"
    mistakes: []
    reason: "killed at the wall limit of 5m"
    signal: null
    "#);
    insta::assert_snapshot!(said(Ended::CpuTimeout, Some(Killer::Sbx)), @r#"
    exit status 124
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "sbx"
    kind: "cpu_timeout"
    mistakes: []
    reason: "killed at the cpu-time limit of 1s500ms"
    signal: null
    "#);
}

#[test]
fn other_limits() {
    insta::assert_snapshot!(said(Ended::OutOfMemory, Some(Killer::Kernel)), @r#"
    exit status 137
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "kernel"
    kind: "out_of_memory"
    mistakes: []
    reason: "killed at the memory limit of 512M"
    signal: null
    "#);
    insta::assert_snapshot!(said(Ended::OutputLimit, Some(Killer::Sbx)), @r#"
    exit status 137
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "sbx"
    kind: "output_limit"
    mistakes: []
    reason: "killed at the output limit of 1M"
    signal: null
    "#);
}

#[test]
fn canceled() {
    insta::assert_snapshot!(said(Ended::Canceled { signal: 2 }, Some(Killer::Caller)), @r#"
    exit status 130
    core_dumped: false
    error: null
    exit_code: null
    killed_by: "caller"
    kind: "canceled"
    mistakes: []
    reason: "canceled by SIGINT"
    signal: "SIGINT"
    "#);
}

#[test]
fn a_failed_step_names_its_line() {
    let bind = step(|op| matches!(op, Op::OpenTree { opener: Opener::Parent(_), .. }));
    insta::assert_snapshot!(failed(Failure::Step { step: bind, errno: Errno::ENOENT as i32 }), @r#"
    exit status 125
    core_dumped: false
    error: {"column":5,"errno":"ENOENT","file":"build.kdl","hint":"the source does not exist on the host: create it, or write `optional=#true` at the `bind`","kind":"spec","line":4,"message":"cannot open the source `/home/u/my src`","step":"open-tree \"/home/u/my src\" ro nosuid nodev opener=parent idmap=inside"}
    exit_code: null
    killed_by: null
    kind: "setup_failed"
    mistakes: []
    reason: "cannot open the source `/home/u/my src`: No such file or directory (ENOENT)"
    signal: null
    "#);
    let tmpfs = step(|op| matches!(op, Op::Mount { .. }));
    insta::assert_snapshot!(failed(Failure::Step { step: tmpfs, errno: Errno::ENOSPC as i32 }), @r#"
    exit status 125
    core_dumped: false
    error: {"column":5,"errno":"ENOSPC","file":"build.kdl","hint":"the namespace holds as many mounts as the sysctl fs.mount-max allows: raise it","kind":"host","line":5,"message":"cannot mount tmpfs on `/tmp`","step":"mount tmpfs /tmp size=512M rw nosuid nodev"}
    exit_code: null
    killed_by: null
    kind: "setup_failed"
    mistakes: []
    reason: "cannot mount tmpfs on `/tmp`: No space left on device (ENOSPC)"
    signal: null
    "#);
}

#[test]
fn a_failure_around_the_clone() {
    insta::assert_snapshot!(failed(Failure::Parent { call: ParentCall::Clone, errno: Errno::EPERM as i32 }), @r#"
    exit status 125
    core_dumped: false
    error: {"column":null,"errno":"EPERM","file":null,"hint":"user namespaces are forbidden here: look at the sysctls kernel.unprivileged_userns_clone (should be 1) and kernel.apparmor_restrict_unprivileged_userns (should be 0); in a container start it with `--security-opt seccomp=unconfined`, as Docker's seccomp profile forbids them; in a chroot they cannot be had","kind":"host","line":null,"message":"cannot make the namespaces","step":"clone"}
    exit_code: null
    killed_by: null
    kind: "setup_failed"
    mistakes: []
    reason: "cannot make the namespaces: Operation not permitted (EPERM)"
    signal: null
    "#);
    insta::assert_snapshot!(failed(Failure::Killed { signal: 9 }), @r#"
    exit status 125
    core_dumped: false
    error: {"column":null,"errno":null,"file":null,"hint":"the memory limit may be too small to start the command: raise `memory`","kind":"setup","line":null,"message":"the sandbox was ended by SIGKILL before the command started","step":null}
    exit_code: null
    killed_by: null
    kind: "setup_failed"
    mistakes: []
    reason: "the sandbox was ended by SIGKILL before the command started"
    signal: null
    "#);
}

#[test]
fn not_found() {
    insta::assert_snapshot!(failed(Failure::Exec { errno: Errno::ENOENT as i32 }), @r#"
    exit status 127
    core_dumped: false
    error: {"column":null,"errno":"ENOENT","file":null,"hint":"inside the sandbox there is no such file, or none in PATH; if there is, what its `#!` line or its ELF header names as interpreter is missing in the rootfs","kind":"spec","line":null,"message":"cannot execute `make`","step":"exec make"}
    exit_code: null
    killed_by: null
    kind: "not_found"
    mistakes: []
    reason: "cannot execute `make`: No such file or directory (ENOENT)"
    signal: null
    "#);
}

#[test]
fn not_executable() {
    insta::assert_snapshot!(failed(Failure::Exec { errno: Errno::EACCES as i32 }), @r#"
    exit status 126
    core_dumped: false
    error: {"column":null,"errno":"EACCES","file":null,"hint":"the file, its interpreter or a directory above it denies execution to the command's user: `chmod +x`, and no `exec=#false` on its mount","kind":"spec","line":null,"message":"cannot execute `make`","step":"exec make"}
    exit_code: null
    killed_by: null
    kind: "not_executable"
    mistakes: []
    reason: "cannot execute `make`: Permission denied (EACCES)"
    signal: null
    "#);
}

/// Every step can fail, with an errno that has a hint and with one that has none.
#[test]
fn any_step_that_fails_is_named_with_its_origin() {
    let plan = plan();
    for (number, step) in plan.steps.iter().enumerate() {
        for errno in [Errno::EMFILE, Errno::EXDEV] {
            let failure = Failure::Step { step: number, errno: errno as i32 };
            let outcome = outcome(Ended::NotStarted(failure), None);
            let report: Value = serde_json::from_str(&line(&subject(&[]), Some(&plan), Ok(&outcome))).unwrap();
            let error = &report["outcome"]["error"];
            assert_eq!(error["step"], step.op.to_string());
            assert_eq!(error["errno"], format!("{errno:?}"));
            assert_eq!(error["hint"].is_null(), errno == Errno::EXDEV, "{error}");
            assert_eq!(error["line"].is_u64(), matches!(step.origin, sbx::units::Origin::Spec(_)), "{error}");
            assert_eq!(exit_status(&outcome), 125);
        }
    }
}

/// A child that ends without a word was either killed or ended by itself, which is no signal.
#[test]
fn nothing_is_ended_by_signal_zero() {
    let plan = plan();
    for (status, words) in [(9, "ended by SIGKILL"), (1 << 8, "ended with status 1")] {
        let reaped = Reaped { pid: Pid(1), status, usage: Rusage::default() };
        let clocks = (std::time::SystemTime::UNIX_EPOCH, 0);
        let dead = Dead { plan: &plan, verdicts: Vec::new(), reaped, seen: Seen::default(), clocks, traffic: None };
        let outcome = dead.outcome(None, Vec::new(), Vec::new());
        let report: Value = serde_json::from_str(&line(&subject(&[]), Some(&plan), Ok(&outcome))).unwrap();
        let reason = report["outcome"]["reason"].as_str().unwrap();
        assert!(reason.contains(words) && report["outcome"]["kind"] == "setup_failed", "{reason}");
        assert_eq!(exit_status(&outcome), 125);
    }
}
