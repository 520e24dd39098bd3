//! What ends before there is a command: it is reported like any other end, names the line that asked
//! for it, and claims no figure that nobody measured.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Ran, Sbx, Who};

/// Waits for the end and reads the report, which has to be there whatever the end was.
fn reported(ran: &Ran, kind: &str, code: i32) {
    assert_eq!((ran.code(), ran.kind()), (code, kind), "{ran:?}");
    assert_eq!(ran.stdout, "", "{ran:?}");
}

/// A tar of so many empty files that it takes long to unpack.
fn long_archive(sbx: &Sbx) {
    let file = std::fs::File::create(sbx.path("long.tar")).unwrap();
    let mut builder = tar::Builder::new(std::io::BufWriter::new(file));
    // To make files takes longer than to fill them, on every disk.
    for number in 0..150_000 {
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("f{number}"), std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap().flush().unwrap();
}

#[test]
fn a_signal_while_an_archive_is_unpacked_is_reported() {
    for who in Who::all() {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let sbx = Sbx::new(who).spec("rootfs \"long.tar\"").cmd(&["true"]);
            long_archive(&sbx);
            let running = sbx.start();
            let begin = Instant::now();
            let unpacking = || std::fs::read_dir(sbx.path("store/tmp")).is_ok_and(|entries| entries.count() > 0);
            while !unpacking() {
                assert!(begin.elapsed() < Duration::from_secs(10), "nothing was unpacked");
                std::thread::sleep(Duration::from_millis(1));
            }
            running.signal(signal);
            let ran = running.wait();
            reported(&ran, "canceled", 128 + signal as i32);
            assert_eq!(ran.report["outcome"]["signal"], signal.as_str());
            assert_eq!(ran.report["outcome"]["killed_by"], "caller");
            assert!(ran.stderr.contains(signal.as_str()), "{ran:?}");
        }
    }
}

#[test]
fn a_fifo_without_a_writer_holds_nothing() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("stdin \"fifo\"\nlimits { wall \"300ms\"; }").cmd(&["cat"]);
        nix::unistd::mkfifo(&sbx.path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        std::fs::set_permissions(sbx.path("fifo"), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let ran = sbx.run();
        reported(&ran, "wall_timeout", 124);
        let sbx = sbx.spec("stdin \"fifo\"");
        let running = sbx.start();
        std::thread::sleep(Duration::from_millis(200));
        running.signal(Signal::SIGTERM);
        reported(&running.wait(), "canceled", 143);
        // A writer who comes late is waited for, and all that it writes arrives.
        let running = sbx.start();
        std::thread::sleep(Duration::from_millis(200));
        let mut writer = std::fs::OpenOptions::new().write(true).open(sbx.path("fifo")).unwrap();
        writer.write_all(b"first\n").unwrap();
        running.await_output("first");
        writer.write_all(b"second\n").unwrap();
        drop(writer);
        assert_eq!(running.wait().ok(), "first\nsecond");
        // The command starts as soon as there is a writer, before it writes.
        let sbx = sbx.sh("echo begun; cat");
        let running = sbx.start();
        let mut writer = std::fs::OpenOptions::new().write(true).open(sbx.path("fifo")).unwrap();
        running.await_output("begun");
        writer.write_all(b"x\n").unwrap();
        drop(writer);
        assert_eq!(running.wait().ok(), "begun\nx");
    }
}

#[test]
fn a_volume_without_a_home_is_reported_with_its_line() {
    let sbx = Sbx::new(Who::Nobody).spec("report \"stderr\"\nmounts {\nvolume \"v\" \"/v\"\n}").cmd(&["true"]);
    let ran = sbx.through("unset HOME SBX_STORE; exec \"$@\"").run();
    ran.refused("HOME");
    assert!(ran.stderr.contains("volumes"), "{ran:?}");
    assert_eq!(ran.report["outcome"]["error"]["line"], 3, "{ran:?}");
    let ran = Sbx::new(Who::Nobody).verb(&["gc"]).through("unset HOME SBX_STORE; exec \"$@\"").run();
    assert_eq!(ran.code(), 0, "{ran:?}");
    assert!(ran.stderr.contains("HOME"), "{ran:?}");
}

#[test]
fn all_mistakes_of_a_spec_are_in_its_report() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("rotfs \"host\"\nworkdir \"x\"\nlimits { memry \"1M\"; }").cmd(&["true"]).run();
        ran.refused("did you mean");
        let mistakes = ran.report["outcome"]["mistakes"].as_array().unwrap();
        let lines: Vec<&Value> = mistakes.iter().map(|mistake| &mistake["line"]).collect();
        assert_eq!(lines, [1, 2, 3], "{:?}", ran.report["outcome"]);
        assert_eq!(mistakes[0], ran.report["outcome"]["error"]);
        for index in [0, 2] {
            assert!(mistakes[index]["hint"].as_str().is_some_and(|hint| hint.contains("did you mean")), "{mistakes:?}");
        }
        let ran = Sbx::new(who).cmd(&["true"]).run();
        assert_eq!(ran.report["outcome"]["mistakes"], serde_json::json!([]));
    }
}

#[test]
fn what_was_not_measured_is_not_zero() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("workdir \"/nope\"").cmd(&["true"]).run();
        ran.refused("/nope");
        for (group, name) in [
            ("pids", "peak"),
            ("pids", "left_at_exit"),
            ("time", "user_ns"),
            ("time", "system_ns"),
            ("time", "source"),
            ("memory", "max_rss_bytes"),
            ("memory", "page_faults_minor"),
            ("context_switches", "voluntary"),
        ] {
            assert_eq!(ran.report[group][name], Value::Null, "{group}.{name}: {}", ran.report);
        }
    }
}

#[test]
fn v1_knows_no_peak_of_swap() {
    let Some(who) = Who::root() else { return };
    let ran = Sbx::new(who).spec("limits { memory \"8M\"; }").sh("x=$(yes | head -c 100000000)").run();
    assert_eq!(ran.kind(), "out_of_memory", "{ran:?}");
    if ran.report["memory"]["source"] == "memory.max_usage_in_bytes" {
        assert_eq!(ran.report["memory"]["swap_peak_bytes"], Value::Null, "{}", ran.report["memory"]);
    }
    assert_ne!(ran.report["memory"]["oom_kills"], 0, "{}", ran.report["memory"]);
}

#[test]
fn a_variable_that_is_not_text_is_told() {
    for who in Who::all() {
        for (spec, words) in [("pass-env \"A\"", "`A`"), ("secret \"T\" env=\"A\"", "`A`")] {
            let sbx = Sbx::new(who).spec(&format!("hostname \"h\"\n{spec}")).sh("echo ran");
            let ran = sbx.through("A=$(printf 'a\\377b') exec \"$@\"").run();
            ran.refused(words);
            assert!(ran.stderr.contains("UTF-8") && !ran.stderr.contains("not set"), "{ran:?}");
            assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
        }
    }
}

#[test]
fn namespaces_without_user_name_what_is_missing() {
    let ran = Sbx::new(Who::Nobody).spec("hostname \"h\"\nnamespaces \"uts\" \"mount\" \"net\"").sh("true").run();
    ran.refused("namespace");
    assert!(ran.stderr.contains("add `user`") && !ran.stderr.contains("Docker"), "{ran:?}");
    assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
}

#[test]
fn a_command_that_is_not_there_has_its_line() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("hostname \"h\"\ncommand \"nope\"").run();
        assert_eq!((ran.code(), ran.kind()), (127, "not_found"), "{ran:?}");
        assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
        assert!(ran.stderr.contains("spec.kdl:2"), "{ran:?}");
        let ran = Sbx::new(who).spec("hostname \"h\"\ncommand \"true\"").cmd(&["nope"]).run();
        assert_eq!(ran.report["outcome"]["error"]["line"], Value::Null, "{ran:?}");
    }
}

#[test]
fn names_need_not_be_text() {
    for who in Who::all() {
        let sbx = Sbx::new(who).through("exec \"$@\" -- cat \"$(printf 'a\\377b')\"");
        let ran = sbx.spec("mounts { bind \"@\" \"/w\"; }\nworkdir \"/w\"");
        std::fs::write(ran.path("").join(std::ffi::OsStr::from_bytes(b"a\xffb")), "found\n").unwrap();
        let ran = ran.run();
        assert_eq!(ran.ok(), "found");
        assert_eq!(ran.report["command"][1], "a\u{fffd}b");
        let sbx = Sbx::new(who).report(Some("r.json")).cmd(&["true"]);
        let sbx = sbx.through("d=$(printf 'd\\377'); mkdir -p \"$d\" && cd \"$d\" && exec \"$@\"");
        let ran = sbx.run();
        assert_eq!(ran.code(), 0, "{ran:?}");
        let report = std::fs::read(sbx.path("").join(std::ffi::OsStr::from_bytes(b"d\xff/r.json"))).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&report).unwrap()["outcome"]["kind"], "exited");
    }
}

#[test]
fn a_working_directory_that_is_gone_is_told() {
    for who in Who::all() {
        let gone = "mkdir gone && cd gone && rmdir ../gone && exec \"$@\"";
        let sbx = Sbx::new(who).verb(&["run", "--report", "stderr", "-", "--", "echo", "ran"]).through(gone);
        let ran = sbx.stdin(b"hostname \"h\"").run();
        assert_eq!(ran.code(), 125, "{ran:?}");
        assert!(ran.stderr.contains("working directory") && !ran.stderr.contains("cannot read the spec"), "{ran:?}");
    }
}

#[test]
fn a_dash_is_no_name_of_a_report() {
    for who in Who::all() {
        let ran = Sbx::new(who).report(Some("-")).cmd(&["true"]).run();
        assert_eq!(ran.code(), 2, "{ran:?}");
        assert!(ran.stderr.contains("`stdout`"), "{ran:?}");
        let ran = Sbx::new(who).spec("report \"-\"").report(None).cmd(&["true"]).run();
        assert_eq!(ran.code(), 125, "{ran:?}");
    }
}

/// Their numbers come before what sbx looks for in the text about itself.
#[test]
fn who_is_in_many_groups_can_run() {
    let Some(who) = Who::root() else { return };
    let groups: Vec<String> = (1000..4000).map(|group| group.to_string()).collect();
    let through = format!("trap '' HUP; exec setpriv --groups {} \"$@\"", groups.join(","));
    let ran = Sbx::new(who).through(&through).sh("grep SigIgn /proc/self/status").run();
    assert_eq!(ran.ok(), "SigIgn:\t0000000000000000");
}
