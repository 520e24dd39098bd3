//! The sandbox's own terminal: what is on it, what reaches it, and that the caller's is
//! never touched from inside and always given back.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Ran, Sbx, Who, skip};
use crate::pty::{Leader, Pty};

fn at_terminal(who: Who, spec: &str, words: &[&str]) -> Sbx {
    Sbx::new(who).spec(spec).cmd(words)
}

/// Runs `words` at a terminal to the end; returns what was shown too.
fn shown(sbx: &Sbx) -> (Ran, String) {
    Pty::start(sbx, Leader::Itself).end()
}

#[test]
fn the_command_has_a_terminal_of_its_own_and_nothing_of_the_callers() {
    for who in Who::all() {
        let script = "tty; for n in 0 1 2; do readlink /proc/self/fd/$n; done; stat -L -c %t:%T /dev/stdin; \
            stat -c %t:%T /dev/console; ls /dev/pts; echo $TERM; ls /proc/self/fd | wc -l; echo >/dev/tty tty; \
            ps -o tty= -p $$";
        let sbx = at_terminal(who, "", &["sh", "-c", script]).env("TERM", "vt220");
        let (ran, screen) = shown(&sbx);
        assert_eq!(ran.kind(), "exited", "{screen}");
        let lines = "/dev/pts/0 /dev/pts/0 /dev/pts/0 /dev/pts/0 88:0 88:0 0 ptmx vt220 4 tty pts/0";
        let seen: Vec<_> = screen.split_whitespace().collect();
        assert_eq!(seen.join(" "), lines, "{who:?}");
    }
}

#[test]
fn without_a_terminal_at_both_ends_there_is_none_unless_asked_for() {
    for who in Who::all() {
        assert_eq!(Sbx::new(who).sh("tty; test -e /dev/console || echo none").run().stdout, "not a tty\nnone\n");
        let sbx = at_terminal(who, "", &["sh", "-c", "tty; echo $TERM"]).env("TERM", "vt220");
        let mut pty = Pty::start_with(&sbx, Leader::Itself, |line| {
            [line.try_clone().unwrap().into(), File::create(sbx.path("out")).unwrap().into(), Stdio::null()]
        });
        pty.until("an end", |pty| !pty.running().is_alive());
        pty.end();
        // The caller's: its name is not known inside.
        assert_eq!(sbx.read("out"), "not a tty\n\n", "{who:?}");
    }
}

#[test]
fn an_error_stream_that_leads_elsewhere_still_does() {
    for who in Who::all() {
        for flags in [&[][..], &["--output", "1M"]] {
            let sbx = at_terminal(who, "", &["sh", "-c", "echo seen; echo kept >&2"]).flags(flags);
            let pty = Pty::start_with(&sbx, Leader::Itself, |line| {
                let line = || line.try_clone().unwrap().into();
                [line(), line(), File::create(sbx.path("err")).unwrap().into()]
            });
            let (ran, screen) = pty.end();
            assert_eq!((screen.as_str(), sbx.read("err").as_str()), ("seen\r\n", "kept\n"));
            assert_eq!(ran.report["output"]["stdout_bytes"], 6, "{}", ran.report["output"]);
            let errors = if flags.is_empty() { serde_json::Value::Null } else { 5.into() };
            assert_eq!(ran.report["output"]["stderr_bytes"], errors);
        }
    }
}

#[test]
fn a_shell_has_job_control() {
    for who in Who::all() {
        let sbx = at_terminal(who, "env PS1=\"in> \"", &["bash", "--norc", "--noprofile", "-i"]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        assert!(!pty.expect("in> ").contains("job control"), "{}", pty.seen());
        pty.send("sleep 100\n");
        // Only what runs can be stopped.
        pty.expect("sleep 100\r\n");
        std::thread::sleep(Duration::from_millis(300));
        pty.send("\x1a");
        pty.expect("Stopped");
        pty.send("jobs\n");
        pty.expect("Stopped");
        pty.expect("in> ");
        pty.send("bg; fg\n");
        pty.expect("sleep 100\r\n");
        std::thread::sleep(Duration::from_millis(300));
        pty.send("\x03");
        pty.expect("in> ");
        pty.send("echo =$?=\n");
        pty.expect("=130=");
        pty.send("exit 7\n");
        let (ran, screen) = pty.end();
        assert_eq!(ran.code(), 7, "{screen}");
        assert!(!screen.contains("no job control"), "{screen}");
    }
}

#[test]
fn the_command_that_is_pid_1_has_it_too() {
    for who in Who::all() {
        let sbx = at_terminal(who, "init #false", &["bash", "--norc", "-i", "-c", "tty; echo $$; ps -o tty= -p 1"]);
        let (ran, screen) = shown(&sbx);
        assert_eq!(screen, "/dev/pts/0\r\n1\r\npts/0\r\n", "{ran:?}");
    }
}

#[test]
fn the_size_of_the_window_follows() {
    for who in Who::all() {
        let script = "trap 'echo changed; stty size; exit' WINCH; stty size; while :; do sleep 0.05; done";
        let sbx = at_terminal(who, "", &["bash", "-c", script]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.expect("30 100\r\n");
        pty.until_raw();
        pty.resize("41", "97");
        pty.expect("changed\r\n41 97\r\n");
        assert_eq!(pty.end().0.code(), 0);
    }
}

#[test]
fn the_callers_terminal_is_given_back_on_every_way_out() {
    let waits = ["sh", "-c", "echo up; exec sleep 100"];
    let ways: [(&str, &[&str], &str); 9] = [
        ("", &["true"], "exited"),
        ("", &["sh", "-c", "kill -9 $$"], "signaled"),
        ("", &["sh", "-c", "stty raw -echo; kill -9 $$"], "signaled"),
        ("", &["/no/such/file"], "not_found"),
        ("", &["/etc/passwd"], "not_executable"),
        ("limits { wall \"300ms\"; }", &waits, "wall_timeout"),
        ("limits { output \"10K\"; }", &["yes"], "output_limit"),
        (
            "limits { cpu-time \"100ms\"; }\nbest-effort \"cpu-time\"\n",
            &["sh", "-c", "ulimit -t 1; while :; do :; done"],
            "",
        ),
        ("mounts { file \"/proc/no\" \"x\"; }", &["true"], "setup_failed"),
    ];
    for who in Who::all() {
        for (spec, words, kind) in ways {
            let (ran, screen) = shown(&at_terminal(who, spec, words));
            assert!(kind.is_empty() || ran.kind() == kind, "{spec} {words:?} {}: {screen}", ran.kind());
        }
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
            let sbx = at_terminal(who, "", &waits);
            let mut pty = Pty::start(&sbx, Leader::Itself);
            pty.expect("up");
            pty.until_raw();
            pty.running().signal(signal);
            let (ran, screen) = pty.end();
            assert_eq!(ran.kind(), "canceled", "{signal} {screen}");
        }
    }
}

#[test]
fn a_megabyte_arrives_whole() {
    for who in Who::all() {
        let script = "i=0; while [ $i -lt 10000 ]; do echo \
            123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456; \
            i=$((i+1)); done; echo the end";
        let (ran, screen) = shown(&at_terminal(who, "", &["bash", "-c", script]));
        assert_eq!(ran.code(), 0);
        assert_eq!(screen.len(), 10_000 * 98 + 9, "{}", &screen[screen.len() - 200..]);
        assert!(screen.ends_with("the end\r\n"));
        assert_eq!(ran.report["output"]["stdout_bytes"], screen.len());
        // The last words of one who ends at once.
        for _ in 0..20 {
            let (_, screen) = shown(&at_terminal(who, "", &["seq", "9000"]));
            assert!(screen.ends_with("\r\n8999\r\n9000\r\n"), "{}", &screen[screen.len() - 100..]);
        }
    }
}

#[test]
fn what_is_typed_goes_in_and_control_d_ends_it() {
    for who in Who::all() {
        let sbx = at_terminal(who, "", &["sh", "-c", "cat; echo over"]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.until_raw();
        pty.send("hello\r");
        pty.expect("hello\r\nhello\r\n");
        pty.send("\x04");
        pty.expect("over\r\n");
        let (ran, screen) = pty.end();
        // One echo, which is the sandbox's.
        assert_eq!((ran.code(), screen.as_str()), (0, "hello\r\nhello\r\nover\r\n"));
    }
}

#[test]
fn who_draws_gets_each_byte_as_it_is_typed() {
    for who in Who::all() {
        let script = "stty raw -echo; printf ready; head -c 3 | od -An -tx1; stty sane";
        let sbx = at_terminal(who, "", &["sh", "-c", script]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.expect("ready");
        pty.until_raw();
        pty.send("\x03\x1a\r");
        pty.expect("03 1a 0d");
        assert_eq!(pty.end().0.code(), 0);
    }
}

#[test]
fn a_stopped_sbx_gives_the_terminal_back_and_takes_it_again() {
    for who in Who::all() {
        let sbx = at_terminal(who, "", &["sh", "-c", "echo up; cat"]);
        let mut pty = Pty::start(&sbx, Leader::Shell);
        pty.expect("outside> ");
        pty.send(&format!("{}\n", quoted(&sbx)));
        pty.expect("up\r\n");
        pty.until_raw();
        nix::sys::signal::kill(child_of(pty.running().pid()), Signal::SIGTSTP).unwrap();
        pty.expect("Stopped");
        pty.expect("outside> ");
        pty.send("stty -a; fg\n");
        let settings = pty.expect("echoke");
        assert!(!settings.contains("-isig") && !settings.contains("-icanon"), "{settings}");
        pty.until_raw();
        pty.send("again\r");
        pty.expect("again\r\nagain\r\n");
        pty.send("\x04");
        pty.expect("outside> ");
        pty.send("exit\n");
        pty.end();
    }
}

/// Returns the call of `sbx` as one types it.
fn quoted(sbx: &Sbx) -> String {
    sbx.words().iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

/// Returns the only child of a shell.
fn child_of(pid: u32) -> nix::unistd::Pid {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    nix::unistd::Pid::from_raw(children.trim().parse().unwrap())
}

#[test]
fn in_the_background_sbx_leaves_the_terminal_alone() {
    for who in Who::all() {
        let sbx = at_terminal(who, "", &["sh", "-c", "echo up; cat; echo over"]);
        let mut pty = Pty::start(&sbx, Leader::Shell);
        pty.expect("outside> ");
        pty.send(&format!("{} &\n", quoted(&sbx)));
        pty.expect("up");
        // What is typed is the shell's.
        std::thread::sleep(Duration::from_millis(700));
        pty.send("echo to-$((1+1))\n");
        pty.expect("to-2\r\n");
        pty.send("fg\n");
        pty.until_raw();
        pty.send("in\r");
        pty.expect("in\r\nin\r\n");
        pty.send("\x04");
        pty.expect("over\r\n");
        pty.expect("outside> ");
        pty.send("exit\n");
        pty.end();
    }
}

#[test]
fn a_closed_window_ends_the_run() {
    for who in Who::all() {
        let sbx = at_terminal(who, "", &["sh", "-c", "echo up; exec sleep 100"]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.expect("up");
        let ran = pty.close();
        assert_eq!((ran.kind(), ran.report["outcome"]["signal"].as_str()), ("canceled", Some("SIGHUP")), "{ran:?}");
    }
}

#[test]
fn a_terminal_can_be_had_without_one() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("tty \"yes\"").stdin(b"one\ntwo").sh("tty; stty size; cat; echo; echo over >&2");
        let ran = sbx.run();
        assert_eq!(ran.stdout, "/dev/pts/0\r\n24 80\r\none\r\ntwo\r\nover\r\n", "{ran:?}");
        assert_eq!(ran.stderr, "", "{ran:?}");
        let ran = Sbx::new(who).flags(&["-t", "--capture"]).sh("echo out; echo err >&2; exit 3").run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (3, ""), "{ran:?}");
        assert_eq!(ran.report["output"]["stdout"], "out\r\nerr\r\n", "{}", ran.report);
        assert_eq!(ran.report["output"]["stderr"], serde_json::Value::Null);
        let ran = Sbx::new(who).spec("limits { output \"4K\"; }").flags(&["--tty"]).cmd(&["yes"]).run();
        assert_eq!((ran.kind(), ran.stdout.len()), ("output_limit", 4096), "{ran:?}");
        let ran = Sbx::new(who).spec("tty \"yes\"\nstdin \"null\"").sh("cat; tty; tty <&1").run();
        assert_eq!(ran.stdout, "not a tty\r\n/dev/pts/0\r\n", "{ran:?}");
        let sbx = Sbx::new(who).spec("stdin \"null\"").flags(&["-it"]).stdin(b"in").sh("cat");
        assert_eq!(sbx.run().stdout, "in");
    }
}

#[test]
fn a_terminal_that_cannot_be_is_refused() {
    for who in Who::all() {
        Sbx::new(who).spec("tty \"yes\"\nmounts { tmpfs \"/dev\"; }").cmd(&["true"]).run().refused("`/dev`");
        Sbx::new(who).spec("tty \"yes\"\nnamespaces user pid net").cmd(&["true"]).run().refused("mount namespace");
        let ran = Sbx::new(who).flags(&["--tty=often"]).cmd(&["true"]).run();
        assert!(ran.code() == 2 && ran.stderr.contains("`auto`, `yes` or `no`"), "{ran:?}");
        // Nobody asked here, so there is none.
        let (ran, screen) = shown(&at_terminal(who, "mounts { tmpfs \"/dev\"; }", &["echo", "ran"]));
        assert_eq!((ran.code(), screen.as_str()), (0, "ran\r\n"));
    }
}

#[test]
fn sbx_in_script_and_script_in_sbx() {
    for who in Who::all() {
        let sbx = at_terminal(who, "", &["script", "-qec", "tty; stty size", "/dev/null"]);
        let (ran, screen) = shown(&sbx);
        assert_eq!((ran.code(), screen.as_str()), (0, "/dev/pts/1\r\n30 100\r\n"));
        let sbx = at_terminal(who, "", &["sh", "-c", "tty; exit 4"]);
        let sbx = sbx.through("exec script -qec \"$*\" /dev/null");
        let ran = sbx.run();
        assert!(ran.stdout.contains("/dev/pts/0\r\n"), "{ran:?}");
    }
}

/// CVE-2025-52565 and its kin: the console is made in a `/dev` that the image has no part in.
#[test]
fn cve_2025_52565_the_image_has_no_say_in_where_the_terminal_is() {
    if !crate::fixture::has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("canary").spec("rootfs \"dir:%/root\"\ntty \"yes\"");
        let plain =
            sbx.sh("test -c /dev/console && ls -1 /dev/pts && ls -l /proc/self/fd/0 | grep -c ' /dev/pts/0'").run();
        assert_eq!(plain.stdout, "0\r\nptmx\r\n1\r\n", "{plain:?}");
        // A whole `/dev` that leads elsewhere is refused or covered, and nothing comes of it outside.
        let sbx = Sbx::new(who).dir("canary").dir("image").dir("image/dev").dir("image/dev/pts");
        for (name, target) in [("console", "/canary"), ("ptmx", "/canary/ptmx"), ("pts/ptmx", "/canary/x")] {
            std::os::unix::fs::symlink(target, sbx.path("image/dev").join(name)).unwrap();
        }
        for name in ["proc", "tmp", "run", "bin", "canary"] {
            std::fs::create_dir(sbx.path("image").join(name)).unwrap();
        }
        let busybox = sbx.path("image/bin/busybox");
        std::fs::copy("/bin/busybox", &busybox).unwrap();
        let sbx = sbx.spec("rootfs \"dir:@/image\"\ntty \"yes\"");
        let ran = sbx
            .cmd(&["/bin/busybox", "sh", "-c", "busybox ls -1 /dev/pts /canary; busybox test -c /dev/console"])
            .run();
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert_eq!(ran.stdout, "/canary:\r\n\r\n/dev/pts:\r\n0\r\nptmx\r\n", "{ran:?}");
    }
}

#[test]
fn a_terminal_that_fails_is_given_back_too() {
    for who in Who::all() {
        let shown = Sbx::new(who).verb(&["plan", "--json", "--tty"]).cmd(&["true"]).run();
        let plan: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(plan["terminal"], serde_json::json!(["stdin", "stdout", "stderr"]));
        let steps = plan["steps"].as_array().unwrap();
        let step = steps.iter().position(|step| step["op"] == "open-terminal").unwrap();
        for step in [step, step + 1] {
            let sbx = at_terminal(who, "", &["true"]).env("SBX_FAIL_STEP", &step.to_string());
            let (ran, screen) = self::shown(&sbx);
            assert_eq!(ran.kind(), "setup_failed", "{screen}");
        }
    }
}

#[test]
fn a_screen_that_nobody_reads_holds_no_clock() {
    for who in Who::all() {
        let sbx = at_terminal(who, "limits { wall \"500ms\"; }", &["yes"]);
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.expect("y\r\ny\r\n");
        pty.stop_reading();
        // Only sbx's own words still wait for room.
        pty.until("no report", |_| std::fs::read(sbx.path("report.json")).is_ok_and(|report| !report.is_empty()));
        pty.start_reading();
        let (ran, screen) = pty.end();
        assert_eq!(ran.kind(), "wall_timeout", "{ran:?}");
        assert!(screen.ends_with("sbx: killed at the wall limit of 500ms\r\n"));
    }
}

#[test]
fn a_terminal_of_somebody_else_works_as_well() {
    let Some(_) = Who::root() else { return };
    let sbx = at_terminal(Who::Nobody, "", &["sh", "-c", "echo up; cat; seq 9000"]);
    let mut pty = Pty::start(&sbx, Leader::Shell);
    pty.expect("outside> ");
    // As after su(1): it is open, and cannot be opened anew.
    pty.give_to_root();
    pty.send(&format!("{}; exit\n", quoted(&sbx)));
    pty.expect("up\r\n");
    pty.until_raw();
    pty.send("typed\r\x04");
    pty.expect("typed\r\ntyped\r\n");
    pty.expect("\r\n8999\r\n9000\r\n");
    pty.end();
}

#[test]
fn a_reader_that_goes_away_hangs_the_terminal_up() {
    for who in Who::all() {
        let sbx = Sbx::new(who).flags(&["-t"]).cmd(&["yes"]).through("\"$@\" | head -n 1; echo over");
        let ran = sbx.run();
        assert_eq!(ran.stdout, "y\r\nover\n", "{ran:?}");
        assert_eq!(ran.report["outcome"]["signal"], "SIGHUP", "{}", ran.report["outcome"]);
    }
}

#[test]
fn an_editor_works() {
    if !std::path::Path::new("/usr/bin/vim").exists() {
        return skip("no /usr/bin/vim");
    }
    for who in Who::all() {
        let spec = "mounts { bind \"out\" \"/out\" access=\"rw\"; }";
        let words = ["vim", "-u", "NONE", "-i", "NONE", "/out/text"];
        let sbx = at_terminal(who, spec, &words).dir("out").env("TERM", "xterm");
        let mut pty = Pty::start(&sbx, Leader::Itself);
        pty.expect("[New");
        pty.send("ihello\x1b:wq\r");
        let (ran, screen) = pty.end();
        assert_eq!((ran.code(), sbx.read("out/text").as_str()), (0, "hello\n"), "{screen}");
    }
}
