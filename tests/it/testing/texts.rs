//! What is expected of a text: which outputs a rule holds for, to the last byte, and what is shown where it does not.

use super::{one, run, said, tests};
use crate::harness::{Ran, Who};

/// Runs tests of the one command `script` with these expectations, which name them.
#[track_caller]
fn judged(script: &str, expectations: &[&str]) -> Ran {
    let case = |of: &&str| format!("test ##\"{of}\"## {{ expect {{ {of}; }}; }}\n");
    let cases: String = expectations.iter().map(case).collect();
    let spec = format!("command \"sh\" \"-c\" ##\"{script}\"##\n{cases}");
    run(&tests(Who::all().pop().unwrap(), &[("a.sbx.kdl", &spec)]).flags(&["t", "-j1"]))
}

/// The end that nobody has seen could be anything.
#[test]
fn no_pattern_holds_for_a_stream_that_was_cut() {
    let script = r"head -c 2000000 /dev/zero | tr '\0' x; echo; echo FATAL";
    let contains = r#"stdout contains="xxx""#;
    let patterns = [r##"stdout matches=#"\Ax+\z"#"##, r##"stdout matches=#"x\z"#"##, r##"stdout matches="^x+$""##];
    let ran = judged(script, &[&patterns[..], &[contains, r#"stdout contains="FATAL""#]].concat());
    assert_eq!((ran.code(), said(&ran, "PASS")), (1, vec![contains]), "{ran:?}");
    for line in [
        r"whether stdout matches `\Ax+\z` is not known (only its first 1048576 bytes are looked at)",
        r"whether stdout matches `x\z` is not known (only its first 1048576 bytes are looked at)",
        r"whether stdout matches `^x+$` is not known (only its first 1048576 bytes are looked at)",
        "stdout does not contain `FATAL` (only its first 1048576 bytes are looked at)",
    ] {
        assert!(ran.stderr.contains(line), "no `{line}` in {ran:?}");
    }
}

/// Otherwise `^…*$` would hold for whatever ends with a newline.
#[test]
fn behind_the_last_newline_there_is_no_line() {
    let [digits, empty, ends] =
        [r##"stdout matches="^[0-9]*$""##, r##"stdout matches="^$""##, r##"stdout matches=#"broke\n\z"#"##];
    let all = [digits, empty, ends];
    for (script, holds) in [
        ("echo 'error: all broke'", &[ends][..]),
        ("printf 'error: all broke'", &[]),
        ("echo 12", &[digits]),
        ("printf 12", &[digits]),
        ("printf 'a\\n\\nb\\n'", &[digits, empty]),
        ("printf '\\n'", &[digits, empty]),
        ("printf 'a\\n\\n'", &[digits, empty]),
        (":", &[digits, empty]),
    ] {
        assert_eq!(said(&judged(script, &all), "PASS"), holds, "{script}");
    }
}

#[test]
fn bytes_that_are_no_text_are_none_of_a_rule() {
    let replaced = "stdout contains=\"\u{fffd}\"";
    let [one, any] = [r#"stdout matches="^.$""#, r#"stdout matches="^a.*z$""#];
    let around = r#"stdout contains="é" matches="é$""#;
    let all = [replaced, one, any, around];
    for (script, holds) in [
        (r"printf '\377'", &[][..]),
        (r"printf 'a\377z'", &[]),
        (r"printf '\377\na\377\naz\n'", &[any]),
        (r"printf '\377\303\251\n\351'", &[around]),
        (r"printf '\357\277\275'", &[replaced, one]),
    ] {
        assert_eq!(said(&judged(script, &all), "PASS"), holds, "{script}");
    }
}

/// Two lines that look alike would say nothing.
#[test]
fn a_difference_shows_what_differs() {
    let long = "x".repeat(2000);
    let cases = [
        (r"printf 'caf\351\n'".to_owned(), "caf\u{fffd}\\n".to_owned(), "- caf\u{fffd}\n", "+ caf\\xe9\n"),
        (r"printf 'caf\351\n'".to_owned(), r"caf\\xe9\n".to_owned(), "- caf\\\\xe9\n", "+ caf\\xe9\n"),
        (r"printf 'a\302\240b\n'".to_owned(), r"a b\n".to_owned(), "- a b\n", "+ a\\u{a0}b\n"),
        (format!("echo {long}1{long}"), format!(r"{long}2{long}\n"), "x2x", "x1x"),
        (format!("echo {long}1"), format!(r"{long}\n"), "xxx\n", "xx1\n"),
    ];
    for (script, expected, removed, added) in cases {
        let spec = format!("test \"a\" {{ script #\"{script}\"#; expect {{ stdout \"{expected}\"; }}; }}");
        let ran = one(Who::all().pop().unwrap(), &spec);
        assert!(ran.code() == 1 && ran.stderr.contains(removed) && ran.stderr.contains(added), "{ran:?}");
    }
}

/// What is updated is shown in the same way.
#[test]
fn an_update_shows_what_differs_in_a_long_line() {
    let Some(who) = Who::all().pop() else { return };
    let long = "x".repeat(2000);
    let spec = format!("test \"a\" {{ command \"echo\" \"{long}1\"; expect {{ snapshot; }}; }}");
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).dir("t/snapshots").flags(&["t", "--update"]);
    let kept = format!("exited 0\n--- stdout\n{long}2\n");
    let ran = run(&sbx.file("t/snapshots/a__a.snap", kept.as_bytes()));
    assert!(ran.code() == 0 && ran.stderr.contains("xx2\n") && ran.stderr.contains("xx1\n"), "{ran:?}");
}

#[test]
fn an_empty_pattern_is_refused() {
    let ran = one(Who::all().pop().unwrap(), "test \"a\" { command \"true\"; expect { stdout matches=\"\"; }; }");
    assert!(ran.code() == 125 && ran.stderr.contains("every text matches the empty pattern"), "{ran:?}");
}
