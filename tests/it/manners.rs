//! How sbx behaves as a process: signals, ends, what it leaves behind, its own streams.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::aftermath::groups_of;
use crate::harness::{Sbx, Who};

const INITS: [&str; 2] = ["", "init #false"];

#[test]
fn signals_reach_the_command() {
    let names = [
        (Signal::SIGINT, "INT"),
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGWINCH, "WINCH"),
    ];
    for who in Who::all() {
        for init in INITS {
            for (signal, name) in names {
                let script = format!("trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.01; done");
                let sbx = Sbx::new(who).spec(init).sh(&script);
                let running = sbx.start();
                running.await_output("ready");
                running.signal(signal);
                let ran = running.wait();
                assert_eq!((ran.code(), ran.kind()), (7, "exited"), "{init} {name}: {ran:?}");
                assert!(ran.stdout.contains(&format!("got {name}\n")), "{ran:?}");
            }
        }
    }
}

#[test]
fn a_signal_that_ends_the_command_is_told_as_canceled() {
    for who in Who::all() {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
            let sbx = Sbx::new(who).sh("echo ready; exec sleep 100");
            let running = sbx.start();
            running.await_output("ready");
            running.signal(signal);
            let ran = running.wait();
            assert_eq!((ran.code(), ran.kind()), (code, "canceled"), "{ran:?}");
            assert_eq!(ran.report["outcome"]["signal"], signal.as_str());
            assert_eq!(ran.report["outcome"]["killed_by"], "caller");
        }
    }
}

#[test]
fn the_second_request_ends_it_at_once() {
    for who in Who::all() {
        for init in INITS {
            let sbx = Sbx::new(who).spec(init).sh("trap '' TERM INT; echo ready; sleep 100; sleep 100");
            let running = sbx.start();
            running.await_output("ready");
            running.signal(Signal::SIGTERM);
            std::thread::sleep(Duration::from_millis(100));
            let begin = Instant::now();
            running.signal(Signal::SIGTERM);
            let ran = running.wait();
            assert_eq!(ran.kind(), "canceled", "{ran:?}");
            assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        }
    }
}

#[test]
fn the_grace_after_sigterm_is_the_spec_s() {
    for who in Who::all() {
        let sbx = Sbx::new(who)
            .spec("limits { wall \"1m\" grace=\"300ms\"; }")
            .sh("trap '' TERM; echo ready; sleep 100; sleep 100");
        let running = sbx.start();
        running.await_output("ready");
        let begin = Instant::now();
        running.signal(Signal::SIGTERM);
        let ran = running.wait();
        assert_eq!(ran.kind(), "canceled", "{ran:?}");
        assert!((0.3..10.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
    }
}

/// Returns the state letter of a process.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

#[test]
fn a_stop_holds_the_command_too() {
    for who in Who::all() {
        let sbx = Sbx::new(who)
            .sh("echo ready; i=0; while [ $i -lt 40 ]; do sleep 0.01; i=$((i+1)); echo tick; done; echo end");
        let running = sbx.start();
        running.await_output("ready");
        running.signal(Signal::SIGTSTP);
        let begin = Instant::now();
        while state(running.pid()) != 'T' {
            assert!(begin.elapsed() < Duration::from_secs(5), "sbx did not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        let then = sbx.read(".stdout").len();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(sbx.read(".stdout").len(), then, "the command went on");
        running.signal(Signal::SIGCONT);
        assert!(running.wait().ok().ends_with("end"));
    }
}

#[test]
fn a_killed_sbx_leaves_nothing() {
    for who in Who::all() {
        for spec in ["", "init #false", "network host\nnamespaces user mount"] {
            let sbx = Sbx::new(who).spec(spec).sh("setsid sleep 100 & (sleep 100 &) ; echo ready; sleep 100");
            let running = sbx.start();
            running.await_output("ready");
            // The harness waits at most a second for all processes.
            let ran = running.murder();
            let next = Sbx::new(who).sh("true");
            next.run().ok();
            assert_eq!(groups_of(ran.pid), Vec::<std::path::PathBuf>::new(), "{spec}: the next run left the groups");
        }
    }
}

#[test]
fn gc_removes_what_a_killed_run_left() {
    let Some(root) = Who::root() else { return };
    let sbx = Sbx::new(root).spec("limits { pids 20; memory \"64M\"; }").sh("echo ready; sleep 100");
    let running = sbx.start();
    running.await_output("ready");
    let ran = running.murder();
    let gc = Sbx::new(root).verb(&["gc"]);
    let swept = gc.run();
    assert_eq!(swept.code(), 0, "{swept:?}");
    assert_eq!(groups_of(ran.pid), Vec::<std::path::PathBuf>::new());
    let alive = sbx.start();
    alive.await_output("ready");
    let swept = gc.run();
    assert_eq!(swept.code(), 0, "{swept:?}");
    assert!(!groups_of(alive.pid()).is_empty(), "gc took the groups of a run that lives");
    alive.signal(Signal::SIGTERM);
    assert_eq!(alive.wait().kind(), "canceled");
}

#[test]
fn orphans_are_reaped_and_leftovers_counted() {
    for who in Who::all() {
        let ran = Sbx::new(who).sh("i=0; while [ $i -lt 20 ]; do (true &) ; i=$((i+1)); done; sleep 0.2; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l").run();
        assert_eq!(ran.ok(), "0");
        assert_eq!(ran.report["pids"]["left_at_exit"], 0);
        let ran = Sbx::new(who).sh("(setsid sleep 100 &) ; sleep 100 & sleep 0.1").run();
        ran.ok();
        assert_eq!(ran.report["pids"]["left_at_exit"], 2, "{ran:?}");
    }
}

#[test]
fn closed_streams_are_no_danger() {
    for who in Who::all() {
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let sbx = Sbx::new(who).dir("out").spec("mounts { bind \"out\" \"/out\" access=\"rw\"; }");
            let sbx = sbx
                .through(&format!("exec \"$@\" {closed}"))
                .sh("echo out; echo err >&2; ls /proc/self/fd > /out/fds; exit 0");
            let ran = sbx.run();
            assert_eq!((ran.code(), ran.kind()), (0, "exited"), "{closed}: {ran:?}");
            assert!(sbx.read("out/fds").lines().count() <= 4, "{closed}: {:?}", sbx.read("out/fds"));
        }
        for flags in [&[][..], &["--output", "1G"]] {
            let sbx = Sbx::new(who).flags(flags).through("\"$@\" | head -n 1").cmd(&["yes"]);
            let ran = sbx.run();
            assert_eq!(ran.stdout, "y\n", "{flags:?}");
            assert_eq!(ran.report["outcome"]["signal"], "SIGPIPE", "{flags:?} {ran:?}");
        }
    }
}
