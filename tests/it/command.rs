//! What the command is, and what it finds: arguments, environment, secrets, streams,
//! descriptors, signals as a fresh process has them.

use crate::harness::{Sbx, Who};

#[test]
fn the_environment_is_what_the_spec_says() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("env A=\"1\" B=\"two words\"\npass-env \"PASSED\" \"ABSENT\"");
        let sbx = sbx.env("PASSED", "yes").env("HIDDEN", "no").flags(&["--env", "A=flag"]).cmd(&["env"]);
        let ran = sbx.run();
        let mut names: Vec<&str> = ran.ok().lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        names.sort_unstable();
        assert_eq!(names, ["A", "B", "HOME", "LANG", "PASSED", "PATH", "SBX", "SBX_IT_MARK", "USER"]);
        assert!(ran.stdout.contains("A=flag\n") && ran.stdout.contains("B=two words\n"), "{ran:?}");
        let ran = sbx.flags(&["--pass-env", "HIDDEN"]).run();
        assert!(ran.stdout.contains("HIDDEN=no\n"), "{ran:?}");
    }
}

#[test]
fn secrets_are_seen_by_the_command_only() {
    const VALUE: &str = "hunter2-secret";
    for who in Who::all() {
        let spec = "secret \"TOKEN\" env=\"MINE\"\nsecret \"/run/key\" file=\"key\"";
        let sbx = Sbx::new(who).spec(spec).file("key", VALUE.as_bytes()).env("MINE", VALUE);
        let sbx = sbx.sh("echo $TOKEN; cat /run/key; stat -c ' %a' /run/key");
        let ran = sbx.run();
        assert_eq!(ran.ok(), format!("{VALUE}\n{VALUE} 400"));
        assert!(!ran.report.to_string().contains(VALUE) && !ran.stderr.contains(VALUE), "{ran:?}");
        let sbx = sbx.flags(&["--verbose"]).sh("exit 3");
        let ran = sbx.run();
        assert!(!format!("{}{}", ran.report, ran.stderr).contains(VALUE), "{ran:?}");
        for verb in [&["plan"][..], &["plan", "--json"]] {
            let sbx =
                Sbx::new(who).spec(spec).file("key", VALUE.as_bytes()).env("MINE", VALUE).verb(verb).cmd(&["true"]);
            let ran = sbx.run();
            assert_eq!(ran.code(), 0, "{ran:?}");
            assert!(!ran.stdout.contains(VALUE) && ran.stdout.contains("TOKEN"), "{ran:?}");
        }
        Sbx::new(who).spec(spec).file("key", b"").cmd(&["true"]).run().refused("MINE");
        Sbx::new(who).spec("secret \"/run/key\" file=\"none\"").cmd(&["true"]).run().refused("none");
    }
}

#[test]
fn what_runs_is_the_last_that_was_said() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("command \"echo\" \"of the spec\"");
        assert_eq!(sbx.run().ok(), "of the spec");
        assert_eq!(sbx.cmd(&["echo", "of the line"]).run().ok(), "of the line");
        let script = "script #\"\"\"\n    echo \"$#:$1:$2\"\n    \"\"\"#";
        assert_eq!(Sbx::new(who).spec(script).cmd(&["a b", "c"]).run().ok(), "2:a b:c");
        let script = "script \"print(1+1)\" interpreter=\"/usr/bin/cat\"";
        assert_eq!(Sbx::new(who).spec(script).run().ok(), "print(1+1)");
        Sbx::new(who).run().refused("no command");
        Sbx::new(who).spec("command").run().refused("command");
    }
}

#[test]
fn what_cannot_be_started_has_a_status_of_its_own() {
    for who in Who::all() {
        for init in ["", "init #false"] {
            for (command, code, kind) in [
                ("nothing-of-that-name", 127, "not_found"),
                ("/none/such", 127, "not_found"),
                ("/etc/passwd", 126, "not_executable"),
                ("/etc", 126, "not_executable"),
            ] {
                let ran = Sbx::new(who).spec(init).cmd(&[command]).run();
                assert_eq!((ran.code(), ran.kind()), (code, kind), "{init} {command}: {ran:?}");
                assert!(ran.stderr.contains(command), "{ran:?}");
            }
            let ran = Sbx::new(who).spec(init).sh("kill -9 $$").run();
            if init.is_empty() {
                assert_eq!((ran.code(), ran.kind()), (137, "signaled"), "{ran:?}");
                assert_eq!(ran.report["outcome"]["signal"], "SIGKILL");
            }
            let ran = Sbx::new(who).spec(init).sh("exit 125").run();
            assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        }
    }
}

#[test]
fn standard_input_is_the_caller_s_or_what_the_spec_says() {
    for who in Who::all() {
        let read = |spec: &str| Sbx::new(who).file("in", b"file\n").spec(spec).stdin(b"mine\n").cmd(&["cat"]).run();
        for (spec, expected) in
            [("", "mine"), ("stdin \"inherit\"", "mine"), ("stdin \"null\"", ""), ("stdin \"in\"", "file")]
        {
            assert_eq!(read(spec).ok(), expected, "{spec}");
        }
        read("stdin \"none\"").refused("none");
    }
}

#[test]
fn the_working_directory_is_inside() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("d").spec("workdir \"/w\"\nmounts { bind \"d\" \"/w\"; }").cmd(&["pwd"]);
        assert_eq!(sbx.run().ok(), "/w");
        assert_eq!(sbx.flags(&["--workdir", "/usr"]).run().ok(), "/usr");
        assert_eq!(Sbx::new(who).cmd(&["pwd"]).run().ok(), "/");
        Sbx::new(who).spec("workdir \"/none\"").cmd(&["pwd"]).run().refused("/none");
    }
}

/// Ignored and blocked signals, descriptors, the file mode mask and the caller's own words do not come along.
#[test]
fn the_command_starts_as_a_fresh_process() {
    let script =
        "grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2 | sort -u; umask; ls /proc/self/fd | tr '\\n' ' '";
    let callers = [
        "exec \"$@\"",
        "trap '' HUP INT TERM CHLD PIPE QUIT USR1; umask 077; exec \"$@\"",
        "exec env --block-signal \"$@\"",
        "exec 3</dev/null 9</etc/passwd; exec \"$@\"",
        "exec bash -c 'exec 77</dev/null 1023</etc; exec \"$@\"' bash \"$@\"",
    ];
    for who in Who::all() {
        for init in ["", "init #false"] {
            for caller in callers {
                let ran = Sbx::new(who).spec(init).through(caller).cmd(&["sh", "-c", script]).run();
                // `ls` has the directory itself open as 3.
                assert_eq!(ran.ok(), "0000000000000000\n0022\n0 1 2 3 ", "{init} {caller}");
            }
        }
    }
}

#[test]
fn the_first_process_knows_nothing_of_the_caller() {
    for who in Who::all() {
        let sbx = Sbx::new(who).env("OF_CALLER", "canary").cmd(&["sh", "-c", "cat /proc/1/cmdline /proc/1/environ 2>/dev/null | grep -c -e canary -e report.json; ls /proc/1/fd 2>/dev/null; true"]);
        assert_eq!(sbx.run().ok(), "0");
        let ran = Sbx::new(who).spec("init #false").sh("echo $$; tr '\\0' ' ' < /proc/1/cmdline | head -c 2").run();
        assert_eq!(ran.ok(), "1\nsh");
    }
}

#[test]
fn the_flags_edit_the_spec() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("d").file("d/x", b"bound\n");
        let bind = format!("{}:/m", sbx.path("d").display());
        assert_eq!(
            sbx.flags(&["--bind", &bind, "--tmpfs", "/t"])
                .sh("cat /m/x; touch /m/y 2>/dev/null || echo ro; touch /t/y && echo t")
                .run()
                .ok(),
            "bound\nro\nt"
        );
        let sbx = Sbx::new(who).dir("d").file("d/x", b"bound\n").flags(&["--bind", "d:/m:rw"]).sh("touch /m/y");
        sbx.run().ok();
        assert!(sbx.path("d/y").exists());
        let ran = Sbx::new(who).spec("limits { wall \"1h\"; }").flags(&["--wall", "100ms"]).cmd(&["sleep", "9"]).run();
        assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"));
        for flags in
            [["--memory", "1X"], ["--env", "novalue"], ["--bind", "/usr"], ["--pids", "0"], ["--network", "wlan"]]
        {
            let ran = Sbx::new(who).flags(&flags).cmd(&["true"]).run();
            assert!(matches!(ran.code(), 2 | 125) && ran.stderr.contains(flags[1]), "{flags:?} {ran:?}");
        }
    }
}

#[test]
fn the_command_leads_a_session_of_its_own() {
    for who in Who::all() {
        for init in ["#true", "#false"] {
            // Field 6 of proc_pid_stat(5) is the session: the command's own process, not one from outside (0).
            let script = "read -r stat < /proc/self/stat; set -- $stat; echo $(($1 == $6))";
            let ran = Sbx::new(who).spec(&format!("init {init}")).sh(script).run();
            assert_eq!(ran.ok(), "1", "{who:?} {init}");
        }
    }
}
