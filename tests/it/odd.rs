//! Odd circumstances of a call: the spec on standard input, huge environments, no arguments, sbx inside
//! of sbx, many at once.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use sbx::sys::process::{Pointers, execute};

use crate::fixture;
use crate::harness::{NOBODY, Sbx, Who};

/// Runs `sbx run FLAGS - -- COMMAND` with a spec on standard input; returns status, output and errors.
fn piped(who: Who, spec: &str, flags: &[&str]) -> (i32, String, String) {
    let sbx = Sbx::new(who).file("beside", b"beside\n");
    let mut command = Command::new(fixture::binary());
    command.arg("run").args(["--report", "none"]).args(flags).current_dir(sbx.path(""));
    if nix::unistd::geteuid().is_root() && who == Who::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), spec.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

#[test]
fn a_spec_comes_from_standard_input() {
    for who in Who::all() {
        let (code, out, err) = piped(who, "command \"echo\" \"hi\"", &["-"]);
        assert_eq!((code, out.as_str()), (0, "hi\n"), "{err}");
        // The command finds the end of the same stream, or what the spec says instead.
        let (code, out, err) = piped(who, "command \"cat\"", &["-"]);
        assert_eq!((code, out.as_str()), (0, ""), "{err}");
        let (code, out, err) = piped(who, "stdin \"beside\"\ncommand \"cat\"", &["-"]);
        assert_eq!((code, out.as_str()), (0, "beside\n"), "{err}");
        let (code, out, err) = piped(who, "", &["-", "--", "echo", "of the line"]);
        assert_eq!((code, out.as_str()), (0, "of the line\n"), "{err}");
        let (code, out, err) = piped(who, "hostnam \"x\"", &["-", "--", "true"]);
        assert_eq!((code, out.as_str()), (125, ""));
        assert!(err.contains("-:1:1") && err.contains("hostname"), "{err}");
    }
}

#[test]
fn an_environment_that_is_too_large_is_told() {
    let value = |size: usize| "x".repeat(size);
    for who in Who::all() {
        for init in ["#true", "#false"] {
            // One string may have 128 KiB, all of them a quarter of the stack (execve(2)).
            let one = format!("init {init}\nenv A=\"{}\"", value(140_000));
            let many: String = (0..5).map(|number| format!("env A{number}=\"{}\"\n", value(60_000))).collect();
            let many = format!("init {init}\nlimits {{ stack \"64K\"; }}\n{many}");
            for spec in [one, many] {
                let ran = Sbx::new(who).spec(&spec).cmd(&["/bin/true"]).run();
                assert_eq!((ran.code(), ran.kind()), (126, "not_executable"), "{init} {}", ran.stderr);
                assert_eq!(ran.report["outcome"]["error"]["errno"], "E2BIG");
                assert!(ran.stderr.contains("environment") && ran.stderr.len() < 1000, "{}", ran.stderr);
            }
        }
    }
}

/// The kernel gives a program without arguments an empty one since Linux 5.18; before, there was none.
#[test]
fn without_any_argument_sbx_says_how_it_is_called() {
    let mut tests = Command::new(std::env::current_exe().unwrap());
    tests.args(["--ignored", "--exact", "--nocapture", "odd::becomes_sbx_without_arguments"]);
    let done = tests.output().unwrap();
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert!(String::from_utf8_lossy(&done.stderr).contains("Usage: sbx"), "{done:?}");
}

#[test]
#[ignore = "started by the test above, in a process of its own"]
fn becomes_sbx_without_arguments() {
    let program = std::ffi::CString::new(fixture::binary().to_str().unwrap()).unwrap();
    let errno = execute(&program, &Pointers::new(Vec::new()), &Pointers::new(Vec::new()));
    panic!("{errno}");
}

#[test]
fn the_filter_of_an_outer_sbx_is_named_by_the_inner_one() {
    for who in Who::all() {
        let spec = format!("user 7 7\nmounts {{ bind {:?} \"/sbx\"; }}", fixture::binary());
        let ran = Sbx::new(who).spec(&spec).sh("echo | /sbx run --report none - -- true").run();
        assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        assert!(ran.stderr.contains("another sbx: `seccomp \"none\"`"), "{ran:?}");
    }
}

/// Without capabilities root may map no id at all (Linux 5.12), so a sandbox in a sandbox takes another user.
#[test]
fn sbx_runs_in_sbx() {
    for who in Who::all() {
        for user in ["caller", "root", "7 7"] {
            let binary = fixture::binary();
            let spec = format!(
                "profile \"compat\"\nuser {user}\nmounts {{ bind \"{}\" \"/sbx\"; bind \"inner.kdl\" \"/inner.kdl\"; }}",
                binary.display()
            );
            let inner = "hostname \"inner\"\nmounts { tmpfs \"/usr/local/x\"; }\n";
            let run = |flags: &[&str], command: &[&str]| {
                let words = [&["/sbx", "run", "--report", "none"], flags, &["/inner.kdl", "--"], command].concat();
                Sbx::new(who).file("inner.kdl", inner.as_bytes()).spec(&spec).cmd(&words).run()
            };
            let ran = run(&[], &["sh", "-c", "uname -n; id -u"]);
            if user == "root" || (user == "caller" && who == Who::Root) {
                assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{who:?} {user} {ran:?}");
                assert!(ran.stderr.contains("hint: run sbx as another user"), "{who:?} {user} {ran:?}");
                continue;
            }
            let uid = if user == "caller" { who.uid() } else { 7 };
            assert_eq!(ran.ok(), format!("inner\n{uid}"), "{who:?} {user} {ran:?}");
            // Rules on files forbid every mount to whoever obeys them.
            let held = format!("landlock {{ read \"/\"; write \"/\"; execute \"/\"; }}\n{spec}");
            let ran = Sbx::new(who)
                .file("inner.kdl", b"")
                .spec(&held)
                .cmd(&["/sbx", "run", "/inner.kdl", "--", "true"])
                .run();
            assert!(ran.stderr.contains("`landlock none` in its spec"), "{ran:?}");
            // A limit that only a cgroup holds is refused there, not let go.
            let ran = run(&["--pids", "9"], &["true"]);
            assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
            assert!(ran.stderr.contains("`pids` cannot be enforced") && ran.stderr.contains("hint:"), "{ran:?}");
        }
    }
}

#[test]
fn many_run_beside_each_other() {
    for who in Who::all() {
        let runs: Vec<Sbx> = (0..20)
            .map(|number| {
                let spec = "limits { wall \"20s\"; }\nmounts { tmpfs \"/usr/local/x\"; volume \"shared\" \"/v\"; }";
                Sbx::new(who).spec(spec).sh(&format!("echo {number} > /usr/local/x/y; sleep 0.05; cat /usr/local/x/y"))
            })
            .collect();
        let running: Vec<_> = runs.iter().map(Sbx::start).collect();
        for (number, running) in running.into_iter().enumerate() {
            assert_eq!(running.wait().ok(), number.to_string());
        }
    }
}
