//! A signal ends everything: sandboxes are gone, results are written, and who waits is told.

use nix::sys::signal::Signal;

use super::{empty, tests};
use crate::harness::{Running, Sbx, Who};
use crate::pty::{Leader, Pty};

/// Two that take long, one of which does not want to end, and more than there are workers.
const SPEC: &str = r#"
mounts { bind "../kept" "/kept" access="rw"; }
test "polite" { command "sh" "-c" "touch /kept/a; sleep 100"; stdin "x"; }
test "stubborn" { command "sh" "-c" "trap '' TERM INT; touch /kept/b; while :; do sleep 100; done"; }
test "later" { command "true"; }
"#;

fn sbx(who: Who) -> Sbx {
    tests(who, &[("a.sbx.kdl", SPEC)]).dir("kept").flags(&["t", "-j2", "--junit", "j.xml", "--json"])
}

fn await_both(sbx: &Sbx) {
    let begin = std::time::Instant::now();
    while !["kept/a", "kept/b"].iter().all(|name| sbx.path(name).exists()) {
        assert!(begin.elapsed().as_secs() < 20, "they do not start: {}", sbx.read(".stderr"));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_signal_ends_all_and_the_results_are_written() {
    for who in Who::all() {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            let sbx = sbx(who);
            let running = sbx.start();
            await_both(&sbx);
            running.signal(signal);
            let ran = running.wait();
            empty(&sbx);
            assert_eq!(ran.code(), 128 + signal as i32, "{ran:?}");
            assert!(ran.stderr.contains("2 canceled, 1 not run"), "{ran:?}");
            assert!(ran.stderr.contains(&format!("Canceling by {signal}")), "{ran:?}");
            let lines: Vec<_> = ran.stdout.lines().filter(|line| line.contains("\"status\":\"canceled\"")).collect();
            assert_eq!(lines.len(), 2, "{ran:?}");
            let xml = sbx.read("j.xml");
            assert!(xml.contains("tests=\"3\"") && xml.contains("skipped=\"1\""), "{xml}");
        }
    }
}

#[test]
fn a_second_signal_does_not_wait() {
    let Some(who) = Who::all().pop() else { return };
    let seconds = || {
        let sbx = sbx(who);
        let running = sbx.start();
        await_both(&sbx);
        let begin = std::time::Instant::now();
        running.signal(Signal::SIGINT);
        std::thread::sleep(std::time::Duration::from_millis(100));
        running.signal(Signal::SIGINT);
        assert_eq!(running.wait().code(), 130);
        begin.elapsed().as_secs_f64()
    };
    // After one signal they have two seconds. A busy machine takes its time now and then, who waits does each time.
    let slow: Vec<f64> = (0..3).map(|_| seconds()).take_while(|seconds| *seconds >= 1.9).collect();
    assert!(slow.len() < 3, "{slow:?}");
}

/// Nobody is left to end the sandboxes, so the kernel does.
#[test]
fn when_sbx_is_killed_nothing_runs_on() {
    for who in Who::all() {
        let sbx = sbx(who);
        let running = sbx.start();
        await_both(&sbx);
        running.murder();
        let xml = sbx.read("j.xml");
        assert!(xml.contains("message=\"sbx test did not come to its end\""), "{xml}");
        assert!(!xml.contains("no test could be run"), "{xml}");
    }
}

#[test]
fn on_a_terminal_what_runs_is_shown_and_ctrl_c_ends_it() {
    let Some(who) = Who::all().pop() else { return };
    let spec = "test \"quick\" { command \"true\"; }\ntest \"long one\" { command \"sleep\" \"100\"; }\n";
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).env("TERM", "xterm").flags(&["t", "-j2"]);
    let mut pty = Pty::start(&sbx, Leader::Itself);
    pty.expect("PASS");
    pty.expect("Running [");
    pty.expect("1 passed, 0 failed");
    pty.expect("long one");
    pty.send("\u{3}");
    pty.expect("CANCELED");
    pty.expect("1 passed, 1 canceled");
    let (ran, seen) = pty.end();
    assert_eq!(ran.code(), 130, "{seen}");
    empty(&sbx);
}

/// How a command ends that was asked to is no result of its test, whether it is the one that is expected or not.
#[test]
fn what_ends_because_it_was_asked_to_is_canceled() {
    const SPEC: &str = r#"
mounts { bind "../kept" "/kept" access="rw"; }
test "before" { command "true"; }
test "expected" { command "sh" "-c" "trap 'exit 0' TERM; touch /kept/a; sleep 100 & wait"; expect { snapshot; }; }
test "another" { command "sh" "-c" "trap 'exit 143' TERM; touch /kept/b; sleep 100 & wait"; }
"#;
    for who in Who::all() {
        let flags = ["t", "-j2", "--retries", "2", "--update", "--junit", "j.xml", "--json"];
        let sbx = tests(who, &[("a.sbx.kdl", SPEC)]).dir("kept").flags(&flags);
        let running = sbx.start();
        await_both(&sbx);
        running.signal(Signal::SIGINT);
        let ran = running.wait();
        empty(&sbx);
        assert_eq!(ran.code(), 130, "{ran:?}");
        assert!(ran.stderr.contains("1 test run: 1 passed, 2 canceled"), "{ran:?}");
        assert!(!ran.stderr.contains("RETRY") && !sbx.path("t/snapshots").exists(), "{ran:?}");
        assert_eq!(ran.stdout.matches("\"status\":\"canceled\"").count(), 2, "{ran:?}");
        assert!(ran.stderr.contains("a.sbx.kdl:5:1: exited 143 after it was asked to end"), "{ran:?}");
        let xml = sbx.read("j.xml");
        assert!(xml.contains("failures=\"0\" errors=\"2\"") && !xml.contains("<failure"), "{xml}");
    }
}

fn signal_workers(running: &Running, signal: Signal) {
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    for worker in std::fs::read_to_string(children).unwrap().split_whitespace() {
        let worker = nix::unistd::Pid::from_raw(worker.parse().unwrap());
        nix::sys::signal::kill(worker, signal).unwrap();
    }
}

/// The ends of both are seen in one look. The third case has a new worker.
#[test]
fn workers_that_end_together_are_both_told_of() {
    let Some(who) = Who::all().pop() else { return };
    let sbx = sbx(who);
    let running = sbx.start();
    await_both(&sbx);
    running.signal(Signal::SIGSTOP);
    signal_workers(&running, Signal::SIGKILL);
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal(Signal::SIGCONT);
    let ran = running.wait();
    assert_eq!(ran.code(), 125, "{ran:?}");
    assert!(ran.stderr.contains("1 passed, 2 could not be run"), "{ran:?}");
}

/// One that does not answer is ended, too: what it ran ends with it.
#[test]
fn a_worker_that_does_not_hear_is_killed() {
    let Some(who) = Who::all().pop() else { return };
    let sbx = sbx(who);
    let mut running = sbx.start();
    await_both(&sbx);
    signal_workers(&running, Signal::SIGSTOP);
    let begin = std::time::Instant::now();
    running.signal(Signal::SIGTERM);
    while running.is_alive() {
        if begin.elapsed().as_secs() > 20 {
            running.murder();
            panic!("it does not end");
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ran = running.wait();
    assert_eq!(ran.code(), 128 + 15, "{ran:?}");
    assert!(ran.stderr.contains("2 canceled, 1 not run"), "{ran:?}");
    assert!(sbx.read("j.xml").contains("tests=\"3\""), "{}", sbx.read("j.xml"));
}

/// What is looked up for a case before any is run can take long.
#[test]
fn a_signal_while_an_image_is_pulled_cancels() {
    let Some(who) = Who::all().pop() else { return };
    let registry = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("docker://{}/x:1", registry.local_addr().unwrap());
    let spec = format!("rootfs \"{image}\"\ntest \"a\" {{ command \"true\"; }}\ntest \"b\" {{ command \"true\"; }}\n");
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).flags(&["t", "--junit", "j.xml", "--json"]);
    let running = sbx.start();
    let called = registry.accept().unwrap();
    running.signal(Signal::SIGINT);
    let ran = running.wait();
    drop(called);
    assert!(ran.code() == 130 && ran.stderr.contains("2 not run"), "{ran:?}");
    assert!(!ran.stderr.contains("ERROR") && ran.stdout.matches("not_run").count() == 3, "{ran:?}");
    assert!(sbx.read("j.xml").contains("skipped=\"2\""), "{}", sbx.read("j.xml"));
}
