//! Each expectation: that it holds where it holds, and what is said where it does not.

use super::{one, run, said, tests};
use crate::harness::{Who, skip};

#[test]
fn a_test_is_its_file_with_what_it_says_over_it() {
    for who in Who::all() {
        let ran = one(
            who,
            r#"
command "sh" "-c" "echo $A $B; cat; cat /etc/own; pwd; ulimit -n"
env A="file" B="file"
workdir "/tmp"
mounts { file "/etc/own" "of the file\n"; tmpfs "/x"; }
limits { open-files 100; wall "9s"; }
test "as the file says" { expect { stdout "file file\nof the file\n/tmp\n100\n"; }; }
test "with its own" {
    env B="test"
    stdin "typed\n"
    workdir "/"
    limits { open-files 50; }
    mounts { file "/x/more" "x"; }
    expect { stdout "file test\ntyped\nof the file\n/\n50\n"; }
}
test "another command" { script "test -e /x/more || echo none"; expect { stdout "none\n"; }; }
"#,
        );
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert_eq!(said(&ran, "PASS").len(), 3, "{ran:?}");
    }
}

/// As with `extends`: a variable has one value, whichever node gives it.
#[test]
fn a_variable_of_a_test_is_put_over_that_of_its_file() {
    let spec = r#"
command "sh" "-c" "echo $A $B $C $SBX_IT_MARK; cat /secret"
env A="file"
secret "B" env="SBX_IT_ONE"
pass-env "SBX_IT_ONE"
secret "/secret" file="one"
test "as the file says" { expect { stdout matches="^file first [^ ]+$" contains="one"; }; }
test "another way" {
    pass-env "A"
    env B="test" SBX_IT_MARK="test"
    secret "C" env="SBX_IT_ONE"
    secret "/secret" file="two"
    expect { stdout "callers test first test\ntwo\n"; }
}
test "another secret" { secret "B" env="SBX_IT_TWO"; expect { stdout matches="^file second "; }; }
test "a secret instead" {
    secret "SBX_IT_ONE" env="SBX_IT_TWO"
    secret "A" env="SBX_IT_TWO"
    expect { stdout matches="^second first "; }
}
"#;
    let Some(who) = Who::all().pop() else { return };
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).file("t/one", b"one\n").file("t/two", b"two\n").flags(&["t"]);
    let ran = run(&sbx.env("SBX_IT_ONE", "first").env("SBX_IT_TWO", "second").env("A", "callers"));
    assert!(!ran.stderr.contains("comes twice"), "{ran:?}");
    assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 4), "{ran:?}");
}

#[test]
fn every_expectation_holds_or_is_told_with_its_line() {
    let spec = r#"mounts { tmpfs "/out" }
test "all hold" {
    command "sh" "-c" "printf 'one\ntwo\n'; echo three >&2; echo '{ok}' >/out/a; : >/out/b; exit 7"
    expect {
        exit 7
        stdout "one\ntwo\n"
        stdout contains="two" matches="^one\\ntwo"
        stderr empty=#false contains="thr"
        file "/out/a" "{ok}\n" contains="ok" matches="^.ok.$"
        file "/out/b" empty=#true
        file "/out/b"
        wall below="20s"
    }
}
test "none holds" {
    command "sh" "-c" "printf 'one\ntwo\n'; echo three >&2; echo '{ok}' >/out/a; mkdir /out/d; exit 7"
    expect {
        exit 8
        stdout "one\nthree\n"
        stdout contains="TWO" matches="^tw$"
        stderr empty=#true
        file "/out/a" "{no}\n"
        file "/out/d"
        file "/out/none"
        wall below="1ns"
    }
}
"#;
    for who in Who::all() {
        let ran = one(who, spec);
        assert_eq!((ran.code(), said(&ran, "PASS")), (1, vec!["all hold"]), "{ran:?}");
        for line in [
            "t/a.sbx.kdl:18:9: exit code 7, expected 8",
            "t/a.sbx.kdl:19:16: stdout is not what is expected",
            "        one",
            "      - three",
            "      + two",
            "t/a.sbx.kdl:20:16: stdout does not contain `TWO`",
            "t/a.sbx.kdl:20:31: stdout does not match `^tw$`",
            "t/a.sbx.kdl:21:16: stderr is not empty",
            "t/a.sbx.kdl:22:9: `/out/a` is not what is expected",
            "      + {ok}",
            "t/a.sbx.kdl:23:9: `/out/d` is not a regular file",
            "t/a.sbx.kdl:24:9: `/out/none` is not there",
            "t/a.sbx.kdl:25:9: wall: 0.",
        ] {
            assert!(ran.stderr.contains(line), "no `{line}` in {ran:?}");
        }
    }
}

#[test]
fn an_outcome_is_expected_like_any_other_thing() {
    let spec = r#"
test "signaled" { command "sh" "-c" "kill -SEGV $$"; expect { outcome "signaled"; }; }
test "wall" { command "sleep" "9"; limits { wall "200ms"; }; expect { outcome "wall_timeout"; }; }
test "output" { command "cat" "/dev/zero"; limits { output "1K"; }; expect { outcome "output_limit"; }; }
test "not found" { command "nonesuch"; expect { outcome "not_found"; }; }
test "not executable" { command "/etc/passwd"; expect { outcome "not_executable"; }; }
test "setup" { command "true"; mounts { bind "/nonesuch" "/x"; }; expect { outcome "setup_failed"; }; }
test "exited, not signaled" { command "true"; expect { outcome "signaled"; }; }
test "signaled, not exited" { command "sh" "-c" "kill -SEGV $$"; }
test "could not be run" { command "true"; mounts { bind "/nonesuch" "/x"; }; }
"#;
    for who in Who::all() {
        let ran = one(who, spec);
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (1, 6), "{ran:?}");
        assert_eq!(said(&ran, "ERROR"), ["could not be run"], "{ran:?}");
        for line in [
            "t/a.sbx.kdl:8:56: outcome `exited` with 0, expected `signaled`",
            "t/a.sbx.kdl:9:1: outcome `signaled`, expected `exited`: ended by SIGSEGV",
            "t/a.sbx.kdl:10:52: outcome `setup_failed`, expected `exited`: `/nonesuch` does not exist",
        ] {
            assert!(ran.stderr.contains(line), "no `{line}` in {ran:?}");
        }
    }
}

#[test]
fn an_outcome_that_nothing_brings_about_is_a_mistake() {
    let Some(who) = Who::all().pop() else { return };
    for (outcome, limit, own) in [
        ("wall_timeout", "wall", "wall \"5s\""),
        ("cpu_timeout", "cpu-time", "cpu-time \"5s\""),
        ("output_limit", "output", "output \"1K\""),
    ] {
        let spec = format!("test \"a\" {{ command \"true\"; expect {{ outcome \"{outcome}\"; }}; }}");
        let check = |text: &str| tests(who, &[("a.sbx.kdl", text)]).verb(&["check"]).flags(&["t/a.sbx.kdl"]).run();
        let ran = check(&spec);
        let told = format!("no run ends as `{outcome}` without `{limit}`");
        assert!(ran.code() == 125 && ran.stderr.contains(&told), "{ran:?}");
        assert_eq!(check(&format!("limits {{ {own}; }}\n{spec}")).code(), 0);
    }
}

/// Its output is what came through the terminal; what is taken out of `sbx run` is for that alone.
#[test]
fn a_test_has_the_terminal_of_its_file_and_takes_nothing_out() {
    let spec = r#"
tty "yes"
report "../kept/report"
collect "/etc/passwd" to="../kept/passwd"
rootfs "host" writable="ephemeral"
changes "../kept/changes.tar"
test "draws" { command "sh" "-c" "test -t 0 && test -t 1 && test -t 2 && stty size"; expect { stdout "24 80\r\n"; }; }
test "reads" { command "sh" "-c" "cat; test -t 1"; stdin "text\n"; expect { stdout "text\r\n"; }; }
test "reads nothing" { command "cat"; expect { stdout empty=#true; }; }
"#;
    for who in Who::all() {
        let sbx = tests(who, &[("a.sbx.kdl", spec)]).dir("kept").flags(&["t"]);
        let ran = run(&sbx);
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 3), "{ran:?}");
        assert_eq!(std::fs::read_dir(sbx.path("kept")).unwrap().count(), 0);
    }
}

#[test]
fn what_no_run_could_be_made_of_is_125() {
    let Some(who) = Who::all().pop() else { return };
    let ran = one(who, "test \"a\" { command \"true\"; mounts { bind \"/nonesuch\" \"/x\"; }; }");
    assert_eq!((ran.code(), said(&ran, "ERROR")), (125, vec!["a"]), "{ran:?}");
}

#[test]
fn figures_are_counted_where_they_are_expected() {
    let Some(who) = Who::root() else { return };
    let ran = one(
        who,
        r#"
test "small" { command "true"; expect { memory below="64M"; cpu-time below="5s"; }; }
test "large" { command "sh" "-c" "head -c 90M /dev/zero | tail -c 80M >/dev/null"; expect { memory below="64M"; }; }
test "busy" { command "sh" "-c" "i=0; while [ $i -lt 99999 ]; do i=$((i+1)); done"; expect { cpu-time below="1ms"; }; }
"#,
    );
    if ran.stderr.contains("memory is not known") {
        return skip("no memory controller for root here");
    }
    assert_eq!((ran.code(), said(&ran, "PASS")), (1, vec!["small"]), "{ran:?}");
    assert!(ran.stderr.contains("bytes, expected below 64M"), "{ran:?}");
    assert!(ran.stderr.contains("cpu-time: 0.") && ran.stderr.contains("expected below 1ms"), "{ran:?}");
}

/// What the command leaves behind is known to a group and to an init; whether there is a group depends on the host.
#[test]
fn processor_time_that_nobody_counts_is_not_below() {
    for who in Who::all() {
        let spec = r#"
command "sh" "-c" "(sh -c 'while :; do :; done' &); exec sleep 1"
test "with an init" { expect { cpu-time below="50ms"; }; }
test "without" { init #false; expect { cpu-time below="50ms"; }; }
test "too much" { init #false; expect { cpu-time below="1us"; }; }
"#;
        let ran = run(&tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "-j1", "--json"]));
        assert_eq!((ran.code(), said(&ran, "FAIL").len()), (1, 3), "{ran:?}");
        let unknown =
            "a.sbx.kdl:4:40: cpu-time is not known, expected below 50ms: no group of this host counts it, and without";
        let is_counted = !ran.stdout.contains(r#""source":"rusage""#);
        assert_eq!(ran.stderr.contains(unknown), !is_counted, "{ran:?}");
        for line in ["a.sbx.kdl:3:32: cpu-time: ", "a.sbx.kdl:5:41: cpu-time: "] {
            assert!(ran.stderr.contains(line), "no `{line}` in {ran:?}");
        }
    }
}

#[test]
fn a_snapshot_is_compared_shown_and_only_then_written() {
    let Some(who) = Who::all().pop() else { return };
    let spec = |word: &str| {
        format!(
            "test \"Says: things!\" {{ command \"sh\" \"-c\" \"echo {word}; echo two >&2\"; expect {{ snapshot; }}; }}"
        )
    };
    let sbx = tests(who, &[("a.sbx.kdl", &spec("one"))]).flags(&["t"]);
    let ran = run(&sbx);
    let missing = "there is no snapshot `t/snapshots/a__says-things.snap` yet; `--update` makes it";
    assert!(ran.code() == 1 && ran.stderr.contains(missing), "{ran:?}");
    assert!(!sbx.path("t/snapshots").exists(), "made without being asked");

    let updating = sbx.flags(&["--update"]);
    let ran = run(&updating);
    assert!(ran.code() == 0 && ran.stderr.contains("      + one"), "{ran:?}");
    let kept = "exited 0\n--- stdout\none\n--- stderr\ntwo\n";
    assert_eq!(updating.read("t/snapshots/a__says-things.snap"), kept);

    let sbx = tests(who, &[("a.sbx.kdl", &spec("uno"))]).dir("t/snapshots").flags(&["t"]);
    let sbx = sbx.file("t/snapshots/a__says-things.snap", kept.as_bytes());
    let ran = run(&sbx);
    assert!(ran.code() == 1 && ran.stderr.contains("      - one\n      + uno\n"), "{ran:?}");
    assert_eq!(sbx.read("t/snapshots/a__says-things.snap"), kept, "changed without being asked");
    let sbx = sbx.flags(&["--update"]);
    assert_eq!(run(&sbx).code(), 0);
    assert_eq!(sbx.read("t/snapshots/a__says-things.snap"), kept.replace("one", "uno"));
    let again = run(&sbx);
    assert!(!again.stderr.contains("UPDATE"), "nothing has changed: {again:?}");
}

#[test]
fn a_snapshot_of_a_test_that_fails_is_not_written() {
    let Some(who) = Who::all().pop() else { return };
    let sbx = tests(who, &[("a.sbx.kdl", "test \"a\" { command \"false\"; expect { snapshot; }; }")]);
    let sbx = sbx.flags(&["t", "--update"]);
    let ran = run(&sbx);
    assert!(ran.code() == 1 && !sbx.path("t/snapshots").exists(), "{ran:?}");
}

#[test]
fn two_tests_cannot_have_one_snapshot() {
    let Some(who) = Who::all().pop() else { return };
    let ran =
        one(who, "command \"true\"\ntest \"a b\" { expect { snapshot; }; }\ntest \"A-b\" { expect { snapshot; }; }");
    assert!(ran.code() == 125 && ran.stderr.contains("would have one snapshot"), "{ran:?}");
}

/// A file system takes 255 bytes for a name.
#[test]
fn a_name_that_no_snapshot_can_have_is_a_mistake() {
    let Some(who) = Who::all().pop() else { return };
    let spec = |name: &str, expect: &str| format!("command \"true\"\ntest \"{name}\" {{ expect {{ {expect} }}; }}");
    let (long, fits) = ("\u{4e2d}".repeat(100), "\u{4e2d}".repeat(82));
    for verb in [&["test"][..], &["test", "--list"], &["check"]] {
        let sbx = tests(who, &[("a.sbx.kdl", &spec(&long, "snapshot;"))]).verb(verb).flags(&["t/a.sbx.kdl"]);
        let ran = sbx.run();
        assert!(ran.code() == 125 && ran.stderr.contains("the name of the snapshot has 308 bytes"), "{ran:?}");
        assert!(ran.stderr.contains("t/a.sbx.kdl:2:1"), "{ran:?}");
    }
    let sbx = tests(who, &[("a.sbx.kdl", &spec(&long, "exit 0;"))]).flags(&["t"]);
    assert_eq!(run(&sbx).code(), 0, "no snapshot, no file");
    let sbx = tests(who, &[("a.sbx.kdl", &spec(&fits, "snapshot;"))]).flags(&["t", "--update"]);
    let ran = run(&sbx);
    assert!(ran.code() == 0 && sbx.path(&format!("t/snapshots/a__{fits}.snap")).exists(), "{ran:?}");
}

#[test]
fn a_secret_is_told_nowhere() {
    let Some(who) = Who::all().pop() else { return };
    let spec = r#"
secret "TOKEN" env="MY_TOKEN"
mounts { tmpfs "/out" }
test "a" { command "sh" "-c" "echo $TOKEN | tee /out/a; echo $TOKEN >&2"; expect { stdout "x"; stderr "y"; file "/out/a" "z"; }; }
"#;
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).env("MY_TOKEN", "hunter2").flags(&["t", "--junit", "j.xml", "--json"]);
    let ran = run(&sbx);
    let all = format!("{}{}{}", ran.stdout, ran.stderr, sbx.read("j.xml"));
    assert!(ran.code() == 1 && all.contains('…') && !all.contains("hunter2"), "{all}");
}

#[test]
fn what_is_too_long_is_cut_and_said_to_be() {
    let Some(who) = Who::all().pop() else { return };
    let spec = r#"
test "a" { command "sh" "-c" "yes | head -c 3000000; echo end"; expect { stdout contains="end"; }; }
test "b" { command "sh" "-c" "head -c 3000000 /dev/zero"; expect { stdout ""; snapshot; }; }
"#;
    let ran = one(who, spec);
    assert_eq!(ran.code(), 1, "{ran:?}");
    assert!(ran.stderr.contains("does not contain `end` (only its first 1048576 bytes are looked at)"), "{ran:?}");
    assert!(ran.stderr.contains("a snapshot holds at most 1048576 bytes of a stream"), "{ran:?}");
    assert!(ran.stderr.len() < 200_000, "{} bytes were said", ran.stderr.len());
}

/// Its owner can remove it, if not as it is.
#[test]
fn a_directory_in_the_place_of_a_file_leaves_nothing() {
    for who in Who::all() {
        let made = "mkdir -p /tmp/o/x; echo a > /tmp/o/x/f; chmod 555 /tmp/o /tmp/o/x; mkdir -m 0 /tmp/o/x/y || :";
        let spec = format!("test \"a\" {{ command \"sh\" \"-c\" \"{made}\"; expect {{ file \"/tmp/o\"; }}; }}");
        let ran = one(who, &spec);
        assert!(ran.code() == 1 && ran.stderr.contains("`/tmp/o` is not a regular file"), "{who:?} {ran:?}");
    }
}

/// Bytes that are no text, and text that looks like the mark of something else, differ.
#[test]
fn a_snapshot_of_one_output_is_none_of_another() {
    let Some(who) = Who::all().pop() else { return };
    let spec = |script: &str| format!("test \"a\" {{ command \"sh\" \"-c\" #\"{script}\"#; expect {{ snapshot; }}; }}");
    for (one, other) in [
        ("printf '\\377\\200'", "printf '\\376\\201'"),
        ("printf '\\033'", "printf '%s' '\\u{1b}'"),
        ("printf a", "printf 'a\\n(no newline at the end)\\n'"),
        ("echo a; echo b >&2", "echo a; echo '--- stderr'; echo b"),
    ] {
        let sbx = tests(who, &[("a.sbx.kdl", &spec(one))]).flags(&["t", "--update"]);
        assert_eq!(run(&sbx).code(), 0);
        let kept = sbx.read("t/snapshots/a__a.snap");
        let again = |script: &str| {
            let sbx = tests(who, &[("a.sbx.kdl", &spec(script))]).dir("t/snapshots").flags(&["t"]);
            run(&sbx.file("t/snapshots/a__a.snap", kept.as_bytes())).code()
        };
        assert_eq!((again(one), again(other)), (0, 1), "{kept}");
    }
}

/// The copy is sbx's own, whatever the command forbids; what it makes of the path is its own affair.
#[test]
fn a_file_that_nobody_may_read_is_looked_at() {
    for who in Who::all() {
        let ran = one(
            who,
            r#"
mounts { tmpfs "/out"; }
command "sh" "-c" "echo ok >/out/a; chmod 0 /out/a; ln -s ring /out/ring"
test "closed" { expect { file "/out/a" "ok\n"; }; }
test "ring" { expect { file "/out/ring"; }; }
"#,
        );
        assert_eq!((ran.code(), said(&ran, "PASS"), said(&ran, "FAIL")), (1, vec!["closed"], vec!["ring"]), "{ran:?}");
    }
}

/// A disk that is full is not a command that wrote nothing.
#[test]
fn a_file_that_cannot_be_taken_out_is_not_missing() {
    let Some(who) = Who::root() else { return };
    let spec = "mounts { tmpfs \"/out\"; }\n\
                test \"a\" { command \"sh\" \"-c\" \"head -c 1M /dev/zero >/out/a\"; expect { file \"/out/a\"; }; }";
    let small = "exec unshare -m sh -c 'mount -t tmpfs -o size=100k none tmp && exec \"$@\"' sh \"$@\"";
    let ran = run(&tests(who, &[("a.sbx.kdl", spec)]).flags(&["t"]).through(small));
    assert_eq!((ran.code(), said(&ran, "ERROR")), (125, vec!["a"]), "{ran:?}");
    assert!(ran.stderr.contains("ENOSPC"), "{ran:?}");
    assert!(!ran.stderr.contains("is not there"), "{ran:?}");
}

#[test]
fn connections_are_counted_where_they_are_expected() {
    let Some(who) = Who::all().pop() else { return };
    let spec = r#"
network "egress" { allow "192.0.2.1:80"; }
command "bash" "-c" "for port in 1 2; do (exec 3<>/dev/tcp/192.0.2.7/$port) 2>/dev/null; done; true"
test "refused" { expect { connections refused=2 allowed=0; }; }
test "not so many" { expect { connections refused=1; }; }
test "one" {
    command "bash" "-c" "(exec 3<>/dev/tcp/192.0.2.7/1) 2>/dev/null; true"
    expect { connections refused=2; }
}
"#;
    let ran = one(who, spec);
    assert_eq!((ran.code(), said(&ran, "PASS")), (1, vec!["refused"]), "{ran:?}");
    assert!(ran.stderr.contains("a.sbx.kdl:5:31: 2 connections were refused, expected 1"), "{ran:?}");
    assert!(ran.stderr.contains(": 1 connection was refused, expected 2"), "{ran:?}");
}

/// What nobody looks at does not fill the host's disk on its way: the place for what comes out has one mebibyte.
#[test]
fn what_is_too_large_to_look_at_stays_in_the_sandbox() {
    for who in Who::all() {
        let spec = "mounts { tmpfs \"/out\" size=\"40M\"; }\ncommand \"sh\" \"-c\" \"head -c 17M /dev/zero >/out/a\"\n\
                    test \"file\" { expect { file \"/out/a\"; }; }\n\
                    test \"directory\" { expect { file \"/out\"; }; }\n\
                    test \"largest\" { command \"sh\" \"-c\" \"head -c 16M /dev/zero >/out/a\"; expect { file \"/out/a\" empty=#true; }; }";
        let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "-j1", "--json"]);
        let ran = run(&sbx);
        assert!(ran.code() == 1 && ran.stderr.contains("`/out/a` is not empty"), "{ran:?}");
        if who != Who::Root {
            continue;
        }
        let small = "mount -t tmpfs -o size=1M none tmp && exec \"$@\"";
        let sbx = sbx.flags(&["--filter", "file", "--filter", "directory"]);
        let ran = run(&sbx.through(&format!("exec unshare -m sh -c '{small}' sh \"$@\"")));
        let told = "`/out/a` has 17825792 bytes, and no more than 16777216 are looked at";
        assert!(ran.code() == 1 && ran.stderr.contains(told), "{ran:?}");
        assert!(ran.stderr.contains("`/out` is not a regular file"), "{ran:?}");
        assert!(!ran.stdout.contains("cannot collect"), "{ran:?}");
    }
}
