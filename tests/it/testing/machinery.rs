//! Which cases are found, chosen and run, in which order, how often and how many at once.

use std::time::Instant;

use super::{one, run, said, tests};
use crate::harness::{Sbx, Who};

const TRIVIAL: &str = "command \"true\"\ntest \"one\" {}\ntest \"two\" {}\n";

fn somebody() -> Option<Who> {
    Who::all().pop()
}

#[test]
fn specs_are_found_below_the_paths_in_the_order_of_their_names() {
    let Some(who) = somebody() else { return };
    let sbx = tests(who, &[("b.sbx.kdl", TRIVIAL), ("a.sbx.kdl", TRIVIAL), ("c.kdl", TRIVIAL)]);
    let mut sbx = sbx.file("t/none.sbx.kdl", b"command \"true\"").flags(&["--list"]);
    for directory in ["t/sub", "t/target", "t/.git", "t/.hidden", "t/node_modules"] {
        sbx = sbx.dir(directory).file(&format!("{directory}/x.sbx.kdl"), TRIVIAL.as_bytes());
    }
    std::os::unix::fs::symlink("..", sbx.path("t/sub/loop")).unwrap();
    std::os::unix::fs::symlink("../c.kdl", sbx.path("t/sub/linked.sbx.kdl")).unwrap();
    // The lock of an editor.
    std::os::unix::fs::symlink("who@where.1", sbx.path("t/sub/.#x.sbx.kdl")).unwrap();
    let found = |sbx: &Sbx| run(sbx).stdout;
    let all = ["t/a.sbx.kdl", "t/b.sbx.kdl", "t/sub/linked.sbx.kdl", "t/sub/x.sbx.kdl"];
    let all: String = all.iter().map(|path| format!("{path}::one\n{path}::two\n")).collect();
    let listed = found(&sbx);
    assert_eq!(listed, all, "the working directory is the default");
    // A file that is named is a spec whatever it is called, and none comes twice.
    let sbx = sbx.flags(&["t/c.kdl", "t/a.sbx.kdl", "./t/a.sbx.kdl"]);
    assert_eq!(found(&sbx), "t/c.kdl::one\nt/c.kdl::two\nt/a.sbx.kdl::one\nt/a.sbx.kdl::two\n");
}

/// A link has another directory, and other snapshots beside it.
#[test]
fn a_spec_is_found_before_the_links_to_it() {
    let Some(who) = somebody() else { return };
    let spec = "mounts { bind \"data\" \"/data\"; }\ntest \"a\" { command \"true\"; }";
    for (link, file) in [("a", "b"), ("b", "a")] {
        let sbx = tests(who, &[]).dir(&format!("t/{link}")).dir(&format!("t/{file}")).dir(&format!("t/{file}/data"));
        let sbx = sbx.file(&format!("t/{file}/t.sbx.kdl"), spec.as_bytes()).flags(&["--list"]);
        std::os::unix::fs::symlink(format!("../{file}/t.sbx.kdl"), sbx.path(&format!("t/{link}/t.sbx.kdl"))).unwrap();
        let listed = run(&sbx);
        assert_eq!(listed.stdout, format!("t/{file}/t.sbx.kdl::a\n"), "{listed:?}");
    }
}

/// A test that is not run any more is not one that passes.
#[test]
fn a_link_to_nowhere_is_a_spec_that_cannot_be_read() {
    let Some(who) = somebody() else { return };
    for (target, words) in [("nowhere", "No such file"), ("b.sbx.kdl", "symbolic link")] {
        let sbx = tests(who, &[("a.sbx.kdl", TRIVIAL)]).flags(&["t"]);
        std::os::unix::fs::symlink(target, sbx.path("t/b.sbx.kdl")).unwrap();
        let ran = run(&sbx);
        assert!(ran.code() == 125 && !ran.stderr.contains("PASS"), "{ran:?}");
        assert!(ran.stderr.contains("cannot read the spec `t/b.sbx.kdl`") && ran.stderr.contains(words), "{ran:?}");
    }
}

#[test]
fn what_cannot_be_run_is_told_before_anything_is() {
    let Some(who) = somebody() else { return };
    let proof = "mounts { bind \"../tmp\" \"/tmp\" access=\"rw\"; }\ncommand \"touch\" \"/tmp/ran\"\ntest \"a\" {}\n";
    let files = [
        ("a.sbx.kdl", "comand \"x\"\ntest {}"),
        ("b.sbx.kdl", "test \"x\" {}"),
        ("d.sbx.kdl", "test \"y\" { expect { exti 1; }; }"),
        ("c.sbx.kdl", proof),
    ];
    let ran = run(&tests(who, &files).flags(&["t"]));
    assert_eq!(ran.code(), 125, "{ran:?}");
    for words in ["did you mean `command`", "`test` needs a name", "did you mean `exit`", "the test `x` has no command"]
    {
        assert!(ran.stderr.contains(words), "no `{words}` in {ran:?}");
    }
    let refused = |flags: &[&str], status: i32, words: &str| {
        let ran = run(&tests(who, &[("a.sbx.kdl", TRIVIAL), ("none.kdl", "")]).dir("d").flags(flags));
        assert!(ran.code() == status && ran.stderr.contains(words), "{flags:?}: {ran:?}");
    };
    refused(&["d"], 125, "no test is there");
    refused(&["nowhere"], 125, "cannot look at `nowhere`");
    refused(&["t/none.kdl"], 125, "`t/none.kdl` has no `test`");
    refused(&["t", "--filter", "three"], 125, "`--filter` leaves none of 2 tests");
    refused(&["t", "--junit", "no/such/file"], 125, "cannot open `no/such/file`");
    refused(&["t", "--timeout", "5"], 2, "the time `5` has no unit");
    refused(&["t", "-j", "0"], 2, "0 is not in");
}

#[test]
fn a_filter_leaves_the_others_out() {
    let Some(who) = somebody() else { return };
    let sbx = tests(who, &[("a.sbx.kdl", TRIVIAL), ("b.sbx.kdl", TRIVIAL)]);
    let ran = run(&sbx.flags(&["t", "-f", "a.sbx.kdl::two", "-f", "b.sbx::one", "-j1"]));
    assert_eq!((ran.code(), said(&ran, "PASS")), (0, vec!["two", "one"]), "{ran:?}");
    assert!(ran.stderr.contains("2 tests of 2 specs, 1 at once, 2 left out"), "{ran:?}");
    let ran = run(&tests(who, &[("a.sbx.kdl", TRIVIAL), ("none.sbx.kdl", "command \"true\"")]).flags(&["t"]));
    assert!(ran.stderr.contains("2 tests of 1 spec,"), "one without tests is none of them: {ran:?}");
}

#[test]
fn a_seed_is_an_order() {
    let Some(who) = somebody() else { return };
    let many: String = (0..12).map(|number| format!("test \"{number}\" {{}}\n")).collect();
    let ordered = |seed: &str| {
        let sbx = tests(who, &[("a.sbx.kdl", &format!("command \"true\"\n{many}"))]);
        let ran = run(&sbx.flags(&["t", "--list", "--shuffle", seed]));
        ran.stdout.lines().map(|line| line.rsplit("::").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut order = ordered("1");
    assert_eq!(order, ordered("1"));
    assert_ne!(order, ordered("2"));
    order.sort_by_key(|name| name.parse::<u32>().unwrap());
    assert_eq!(order, (0..12).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn cases_run_beside_each_other() {
    let Some(who) = somebody() else { return };
    let spec = "command \"sleep\" \"3\"\ntest \"a\" {}\ntest \"b\" {}\ntest \"c\" {}\ntest \"d\" {}\n";
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "-j4"]);
    let begin = Instant::now();
    assert_eq!(run(&sbx).code(), 0);
    assert!(begin.elapsed().as_secs() < 9, "{:?}", begin.elapsed());
}

#[test]
fn no_more_run_than_fit_into_memory() {
    let Some(who) = Who::root() else { return };
    let spec = "limits { memory \"900T\"; }\ncommand \"true\"\ntest \"a\" {}\ntest \"b\" {}\n";
    let ran = one(who, spec);
    assert!(ran.stderr.contains("2 tests of 1 spec, 1 at once"), "{ran:?}");
}

/// A directory of the host in which a command can leave a mark for its next attempt.
fn with_memory(script: &str) -> String {
    format!("mounts {{ bind \"../kept\" \"/kept\" access=\"rw\"; }}\ntest \"a\" {{ script \"{script}\"; }}\n")
}

#[test]
fn a_case_that_passes_when_run_again_is_flaky() {
    let Some(who) = somebody() else { return };
    let spec = with_memory("echo try; test -e /kept/mark || { touch /kept/mark; exit 3; }");
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).dir("kept").flags(&["t", "--retries", "2", "--junit", "j.xml"]);
    let ran = run(&sbx);
    assert_eq!(
        (ran.code(), said(&ran, "FLAKY"), said(&ran, "RETRY")),
        (0, vec!["a (2 attempts)"], vec!["a"]),
        "{ran:?}"
    );
    assert!(ran.stderr.contains("exit code 3, expected 0") && ran.stderr.contains("1 passed (1 flaky)"), "{ran:?}");
    assert!(sbx.read("j.xml").contains("<flakyFailure"), "{}", sbx.read("j.xml"));
    // And without retries it is just a failure.
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).dir("kept").flags(&["t"]);
    assert_eq!(run(&sbx).code(), 1);
    let sbx = tests(who, &[("a.sbx.kdl", &with_memory("exit 1"))]).dir("kept").flags(&["t", "--retries", "2"]);
    let ran = run(&sbx);
    assert_eq!((ran.code(), said(&ran, "RETRY").len(), said(&ran, "FAIL")), (1, 2, vec!["a (3 attempts)"]), "{ran:?}");
}

#[test]
fn after_a_failure_nothing_more_is_started_if_so_wanted() {
    let Some(who) = somebody() else { return };
    let spec =
        "test \"a\" { command \"true\"; }\ntest \"b\" { command \"false\"; }\ntest \"c\" { command \"true\"; }\n";
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "-j1", "--fail-fast"]);
    let ran = run(&sbx);
    assert_eq!((ran.code(), said(&ran, "PASS"), said(&ran, "FAIL")), (1, vec!["a"], vec!["b"]), "{ran:?}");
    assert!(ran.stderr.contains("1 passed, 1 failed, 1 not run"), "{ran:?}");
}

#[test]
fn a_time_out_is_the_shorter_of_the_two() {
    let Some(who) = somebody() else { return };
    let spec = r#"
test "spec" { command "sleep" "9"; limits { wall "100ms"; }; expect { outcome "wall_timeout"; wall below="5s"; }; }
test "flag" { command "sleep" "9"; limits { wall "8s"; }; expect { outcome "wall_timeout"; wall below="5s"; }; }
test "none" { command "sleep" "9"; }
test "equal" { command "sleep" "9"; limits { wall "300ms"; }; expect { outcome "wall_timeout"; }; }
"#;
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "--timeout", "300ms"]);
    let ran = run(&sbx);
    let mut failed = said(&ran, "FAIL");
    failed.sort_unstable();
    assert_eq!((ran.code(), said(&ran, "PASS").len(), failed), (1, 2, vec!["flag", "none"]), "{ran:?}");
    assert!(ran.stderr.contains("killed at the wall limit of 300ms"), "{ran:?}");
    // The limit of the call is not the one that the test is about.
    let told = "a.sbx.kdl:3:68: `--timeout 300ms` ended it before its own `wall` of 8s could";
    assert!(ran.stderr.contains(told), "{ran:?}");
}

#[test]
fn a_case_reads_nothing_and_has_no_terminal() {
    let Some(who) = somebody() else { return };
    let spec = "tty \"auto\"\ntest \"a\" { command \"sh\" \"-c\" \"cat; test -t 0 || test -t 1 || echo none\"; expect { stdout \"none\\n\"; }; }";
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t"]).stdin(b"of the caller\n");
    assert_eq!(run(&sbx).code(), 0);
}

/// More than one worker runs before another takes its place.
#[test]
fn workers_are_replaced() {
    let Some(who) = somebody() else { return };
    let many: String = (0..300).map(|number| format!("test \"{number}\" {{}}\n")).collect();
    let ran = run(&tests(who, &[("a.sbx.kdl", &format!("command \"true\"\n{many}"))]).flags(&["t", "-j1"]));
    assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 300), "{ran:?}");
}

#[test]
fn cases_of_one_image_share_it() {
    let Some(who) = somebody() else { return };
    if !crate::fixture::has_rootfs() {
        return;
    }
    let rootfs = crate::fixture::of(who).join("root");
    let spec = format!(
        "rootfs \"{}\"\ntest \"a\" {{ command \"/bin/echo\" \"a\"; expect {{ stdout \"a\\n\"; }}; }}\n\
         test \"b\" {{ command \"/bin/sh\" \"-c\" \"touch /new && echo b\"; expect {{ stdout \"b\\n\"; file \"/new\"; }}; }}\n\
         test \"c\" {{ command \"/bin/sh\" \"-c\" \"test ! -e /new\"; }}\n",
        rootfs.display()
    );
    let ran = one(who, &spec);
    assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 3), "{ran:?}");
}

#[test]
fn tests_are_inherited_and_parameters_set() {
    let Some(who) = somebody() else { return };
    let base = "param \"WORD\" default=\"none\"\ntest \"of the base\" {\n    command \"cat\" \"/data/${WORD}\"\n    \
                mounts { bind \"data\" \"/data\"; }\n    stdin \"data\"\n    expect { stdout \"x\"; }\n}\n";
    let own = "extends \"base/base.kdl\"\ntest \"of its own\" { command \"cat\"; stdin \"data\"; expect { stdout \"data\"; }; }\n";
    let sbx = tests(who, &[("a.sbx.kdl", own)]).dir("t/base").dir("t/base/data");
    let sbx = sbx.file("t/base/base.kdl", base.as_bytes()).file("t/base/data/one", b"y");
    let ran = run(&sbx.flags(&["t", "--set", "WORD=one"]));
    assert_eq!(
        (ran.code(), said(&ran, "PASS"), said(&ran, "FAIL")),
        (1, vec!["of its own"], vec!["of the base"]),
        "{ran:?}"
    );
    // A place in what is extended is told as one there.
    assert!(ran.stderr.contains("t/base/base.kdl:6:21: stdout is not what is expected"), "{ran:?}");
}

/// With fewer workers, if it must be; and what came of the cases is told in any case.
#[test]
fn a_worker_that_cannot_be_made_loses_no_result() {
    let Some(who) = Who::all().pop().filter(|who| who.uid() != 0) else { return };
    // In a user namespace of its own: the processes of other tests do not count there.
    for (processes, status, told) in [("1", "not_run", "cannot fork a worker"), ("2", "error", "Fewer 1 at once")] {
        let through = format!("exec unshare -U prlimit --nproc={processes} \"$@\"");
        let sbx = tests(who, &[("a.sbx.kdl", TRIVIAL)]).flags(&["t", "-j2", "--json", "--junit", "j.xml"]);
        let ran = run(&sbx.through(&through));
        assert!(ran.code() == 125 && ran.stderr.contains(told), "{processes}: {ran:?}");
        assert_eq!(ran.stdout.matches(&format!("\"status\":\"{status}\"")).count(), 2, "{processes}: {ran:?}");
    }
}

#[test]
fn a_parameter_need_not_be_one_of_every_spec() {
    let Some(who) = somebody() else { return };
    let with =
        "param \"WORD\" default=\"none\"\ncommand \"echo\" \"${WORD}\"\ntest \"a\" { expect { stdout \"x\\n\"; }; }";
    let sbx = tests(who, &[("a.sbx.kdl", with), ("b.sbx.kdl", TRIVIAL)]);
    let ran = run(&sbx.flags(&["t", "--set", "WORD=x"]));
    assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 3), "{ran:?}");
    let sbx = tests(who, &[("a.sbx.kdl", with), ("b.sbx.kdl", TRIVIAL)]);
    let ran = run(&sbx.flags(&["t", "--set", "WROD=x"]));
    assert!(ran.code() == 125 && ran.stderr.contains("no spec has the parameter `WROD`"), "{ran:?}");
    assert!(ran.stderr.contains("did you mean `WORD`"), "{ran:?}");
    // Nothing else is possible, so there is nothing to hint at.
    let ran = run(&tests(who, &[("a.sbx.kdl", TRIVIAL)]).flags(&["t", "--set", "ZZZ=1"]));
    assert!(ran.code() == 125 && ran.stderr.contains("no spec has the parameter `ZZZ`"), "{ran:?}");
    assert!(!ran.stderr.contains("hint"), "{ran:?}");
}

/// Who declares a parameter where nobody can read it has another mistake.
#[test]
fn a_parameter_is_not_missed_in_what_cannot_be_read() {
    let Some(who) = somebody() else { return };
    let declared = "param \"WORD\"\ntest \"a\" { command \"${WORD}\"; }";
    for (name, text, mistake) in [
        ("script", "# /// sbx\n# param \"WORD\"\n", "the spec of the script has no end".to_owned()),
        ("open", "limits {\nparam \"WORD\"\n", "never closed".to_owned()),
        ("extends", "extends \"base.kdl\"\ntest \"a\" { }", "base.kdl".to_owned()),
    ] {
        let sbx = tests(who, &[("b.sbx.kdl", TRIVIAL)]).file(&format!("t/{name}.sbx.kdl"), text.as_bytes());
        let ran = run(&sbx.flags(&["t", "--set", "WORD=x"]));
        assert!(ran.code() == 125 && ran.stderr.contains(&mistake), "{ran:?}");
        assert!(!ran.stderr.contains("no spec has the parameter"), "{ran:?}");
    }
    // Where all are read, the wrong name is told beside what it leads to.
    let ran = run(&tests(who, &[("a.sbx.kdl", declared)]).flags(&["t", "--set", "WRD=x"]));
    assert!(ran.code() == 125 && ran.stderr.contains("no spec has the parameter `WRD`"), "{ran:?}");
    assert!(ran.stderr.contains("the parameter `WORD` is not set"), "{ran:?}");
}

#[test]
fn two_names_of_a_directory_have_one_snapshot() {
    let Some(who) = somebody() else { return };
    let spec = "command \"true\"\ntest \"a\" { expect { snapshot; }; }";
    let sbx = tests(who, &[("a.sbx.kdl", spec), ("a.kdl", spec)]).flags(&["t/a.sbx.kdl", "./t/../t/a.kdl"]);
    let ran = run(&sbx);
    assert!(ran.code() == 125 && ran.stderr.contains("would have one snapshot"), "{ran:?}");
}

#[test]
fn a_time_out_of_the_caller_has_no_grace_beyond_it() {
    let Some(who) = somebody() else { return };
    let spec = "limits { wall \"60s\" grace=\"30s\"; }\n\
                test \"a\" { command \"sh\" \"-c\" \"trap '' TERM; while :; do sleep 1; done\"; }";
    let begin = Instant::now();
    let ran = run(&tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "--timeout", "300ms"]));
    assert!(ran.code() == 1 && begin.elapsed().as_secs() < 10, "{ran:?}");
}

/// Sandboxes are cloned where only procfs is mounted, but for whom that would not do: where the kernel lets nobody
/// enter, or where another procfs is the one that is not covered.
#[test]
fn cases_run_wherever_one_run_does() {
    if Who::all().len() < 2 {
        return;
    }
    let bounded = "exec setpriv --bounding-set=-all,+sys_admin,+setuid,+setgid,+setfcap,+dac_override \"$@\"";
    let covered = "mkdir -p p && exec unshare -m sh -c 'mount -t proc proc p && mount --bind /dev/null /proc/version && exec \"$@\"' x \"$@\"";
    // Where the root is not that of the mount namespace the kernel makes no user namespaces.
    let moved = "mkdir -p p && exec unshare -m sh -c 'mount --rbind / p && exec chroot p sh -c \"cd \\\"\\$0\\\" && exec \\\"\\$@\\\"\" \"$@\"' x \"$PWD\" \"$@\"";
    for (through, code) in [(bounded, 0), (covered, 0), (moved, 125)] {
        for cases in [1, 60] {
            let tests_of: String = (0..cases).map(|number| format!("test \"{number}\" {{}}\n")).collect();
            let sbx = tests(Who::Root, &[("a.sbx.kdl", &format!("command \"true\"\n{tests_of}"))]).flags(&["t"]);
            let ran = run(&sbx.through(through));
            let told = said(&ran, if code == 0 { "PASS" } else { "ERROR" }).len();
            assert_eq!((ran.code(), told), (code, cases), "{through}: {ran:?}");
        }
    }
}
