//! The verbs beside `run`, and wrong usage.

use crate::harness::{Ran, Sbx, Who};

fn verb(words: &[&str]) -> Ran {
    Sbx::new(Who::Nobody).verb(words).run()
}

#[test]
fn what_is_asked_for_is_printed_on_standard_output() {
    let cases: [(&[&str], &str); 12] = [
        (&["--help"], "Exit status:"),
        (&["run", "--help"], "--report"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
        (&["doctor"], "namespace: user"),
        (&["doctor", "--json"], "{"),
        (&["schema", "report"], "OutcomeKind"),
        (&["completions", "bash"], "_sbx"),
        (&["completions", "zsh"], "#compdef sbx"),
        (&["completions", "fish"], "complete -c sbx"),
        (&["man"], ".TH"),
        (&["plan"], "pivot"),
        (&["plan", "--json"], "sbx.plan/1"),
    ];
    for (words, expected) in cases {
        let sbx = Sbx::new(Who::Nobody).verb(words);
        let ran = if words[0] == "plan" { sbx.cmd(&["true"]).run() } else { sbx.run() };
        assert_eq!((ran.code(), ran.stderr.as_str()), (0, ""), "{words:?}: {ran:?}");
        assert!(ran.stdout.contains(expected), "{words:?}: {ran:?}");
        if words.contains(&"--json") || words[0] == "schema" {
            serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
        }
    }
}

#[test]
fn wrong_usage_has_status_2_and_prints_nothing_on_standard_output() {
    for words in [
        &[][..],
        &["nonsense"],
        &["run", "--nonsense"],
        &["schema"],
        &["schema", "x"],
        &["check", "--x"],
        &["doctor", "x"],
    ] {
        let ran = verb(words);
        assert_eq!((ran.code(), ran.stdout.as_str()), (2, ""), "{words:?}: {ran:?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn a_spec_is_checked_as_a_whole() {
    let good = Sbx::new(Who::Nobody).spec("hostname \"a\"").verb(&["check"]).run();
    assert_eq!((good.code(), good.stdout.as_str(), good.stderr.as_str()), (0, "", ""));
    let spec = "hostnam \"a\"\nlimits { memori \"1M\"; wall 5; }\nmounts { bind \"x\"; }\nnetwork egres";
    let bad = Sbx::new(Who::Nobody).spec(spec).verb(&["check"]).run();
    assert_eq!((bad.code(), bad.stdout.as_str()), (125, ""));
    for words in ["hostnam", "did you mean", "memori", "wall", "bind", "egres"] {
        assert!(bad.stderr.contains(words), "no {words}: {bad:?}");
    }
    for spec in ["service x", "test \"t\" {}", "param X", "extends \"y\"", "changes \"out.tar\""] {
        let ran = Sbx::new(Who::Nobody).spec(spec).sh("echo ran").run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{spec}: {ran:?}");
    }
}

#[test]
fn a_spec_is_a_program() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("script \"echo \\\"$1\\\"; exit 4\"").report(None);
        let path = sbx.path("spec.kdl").display().to_string();
        let ran = sbx.verb(&[&path, "word"]).run();
        assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (4, "word\n", ""), "{ran:?}");
    }
}

#[test]
fn the_stages_are_printed_on_standard_error() {
    let ran = Sbx::new(Who::Nobody).flags(&["-v"]).cmd(&["echo", "out"]).run();
    assert_eq!(ran.ok(), "out");
    assert!(ran.stderr.contains("sbx: resolve") && ran.stderr.contains(" ms\n"), "{ran:?}");
}

#[test]
fn a_repository_whose_hooks_a_command_may_write_is_warned_of() {
    let sbx = Sbx::new(Who::Nobody).dir("p").dir("p/.git").verb(&["check"]);
    let cases = [
        ("bind \"p\" \"/src\" access=\"rw\"", true),
        ("bind \"p/.git\" \"/src/.git\"; bind \"p\" \"/src\" access=\"rw\"", true),
        ("bind \"p\" \"/src\" access=\"rw\"; bind \"p/.git\" \"/src/.git\"", false),
        ("bind \"p\" \"/src\" access=\"rw\"; mask \"/src/.git\"", false),
        ("bind \"p\" \"/src\"", false),
        ("bind \".\" \"/src\" access=\"rw\"", false),
    ];
    let mut sbx = sbx;
    for (mounts, warned) in cases {
        sbx = sbx.spec(&format!("mounts {{\n{mounts}; }}"));
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, ""), "{mounts}: {ran:?}");
        assert_eq!(!ran.stderr.is_empty(), warned, "{mounts}: {ran:?}");
        if warned {
            assert!(ran.stderr.contains("spec.kdl:2: ") && ran.stderr.contains("`/src/.git`"), "{ran:?}");
        }
    }
}
