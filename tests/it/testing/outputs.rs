//! What other programs read: JUnit XML, lines of JSON, annotations and the summary of a job.

use std::process::Command;

use serde_json::Value;

use super::{run, tests};
use crate::harness::{Sbx, Who, skip};

const SPEC: &str = r##"
test "passes" { command "echo" "a <b> & \"c\""; }
test "fails" { command "sh" "-c" #"printf 'one\ntwo\033[1m\001\n'; echo '::error::of the command'; exit 3"#; expect { stdout "one\n"; }; }
test "cannot" { command "true"; mounts { bind "/nonesuch" "/x"; }; }
"##;

fn sbx(flags: &[&str]) -> Option<Sbx> {
    let who = Who::all().pop()?;
    Some(tests(who, &[("a.sbx.kdl", SPEC)]).flags(&["t", "-j1"]).flags(flags))
}

#[test]
fn junit_has_every_case_with_its_output_and_its_report() {
    let Some(sbx) = sbx(&["--junit", "j.xml"]) else { return };
    assert_eq!(run(&sbx).code(), 1);
    let xml = sbx.read("j.xml");
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
    assert_eq!((report.tests, report.failures, report.errors), (3, 1, 1), "{xml}");
    let suite = &report.test_suites[0];
    assert_eq!(suite.name.as_str(), "t/a.sbx.kdl");
    let [passes, fails, cannot] = suite.test_cases.as_slice() else { panic!("{xml}") };
    assert_eq!(passes.system_out.as_ref().unwrap().as_str().trim_end(), "a <b> & \"c\"");
    for case in [passes, fails, cannot] {
        let property = case.properties.iter().find(|property| property.name.as_str() == "sbx.report").unwrap();
        let report: Value = serde_json::from_str(property.value.as_str()).unwrap();
        assert_eq!(report["schema"], "sbx.report/1");
        assert_eq!(report["output"]["stdout"], Value::Null, "it is in the case already");
    }
    let quick_junit::TestCaseStatus::NonSuccess { message, description, .. } = &fails.status else { panic!("{xml}") };
    assert_eq!(message.as_ref().unwrap().as_str(), "exit code 3, expected 0");
    let description = description.as_ref().unwrap().as_str();
    assert!(description.contains("3:") && description.contains("+ two\\u{1b}[1m\\u{1}"), "{description}");
    // By a reader of another make, which refuses what XML may not hold.
    let script = "import sys, xml.etree.ElementTree as e; print(len(e.parse(sys.argv[1]).findall('.//testcase')))";
    match Command::new("python3").args(["-c", script]).arg(sbx.path("j.xml")).output() {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), "3\n", "{output:?}"),
        Err(_) => skip("no python3"),
    }
}

#[test]
fn each_line_of_json_is_a_case_and_the_last_the_sum() {
    let Some(sbx) = sbx(&["--json"]) else { return };
    let ran = run(&sbx);
    let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| lines.iter().find(|line| line["name"] == name).unwrap();
    assert_eq!(lines.len(), 4, "{ran:?}");
    assert!(lines.iter().all(|line| line["schema"] == "sbx.test/1"));
    assert_eq!((&of("passes")["status"], &of("passes")["stdout"]), (&"passed".into(), &"a <b> & \"c\"\n".into()));
    assert_eq!(of("passes")["report"]["outcome"]["kind"], "exited");
    assert_eq!((&of("fails")["status"], &of("fails")["line"]), (&"failed".into(), &3.into()));
    assert_eq!(of("fails")["failures"][0]["message"], "exit code 3, expected 0");
    assert_eq!(of("cannot")["status"], "error");
    assert_eq!(of("cannot")["report"]["outcome"]["error"]["kind"], "spec");
    // Each member is explained.
    let document = include_str!("../../../docs/runners.md");
    let listed = run(&sbx.flags(&["--list"])).stdout;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 3);
    for line in lines.iter().chain(&listed) {
        for member in line.as_object().unwrap().keys() {
            assert!(document.contains(&format!("`{member}`")), "{member}");
        }
    }
    let failures = of("fails")["failures"].as_array().unwrap().iter().flat_map(|it| it.as_object().unwrap().keys());
    failures.for_each(|member| assert!(document.contains(&format!("`{member}`")), "{member}"));
    let sum = lines.last().unwrap();
    assert_eq!(
        (&sum["event"], &sum["passed"], &sum["failed"], &sum["error"]),
        (&"summary".into(), &1.into(), &1.into(), &1.into())
    );
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
}

/// One that is inherited stands in another file than the spec that is run.
#[test]
fn the_line_of_a_test_is_one_of_its_file() {
    let Some(who) = Who::all().pop() else { return };
    let base = "\n\n\ncommand \"true\"\ntest \"first\" {}\ntest \"second\" { expect { exit 1; }; }";
    let own = "extends \"base.kdl\"\ntest \"own\" {}";
    let places = [("first", "t/base.kdl", 5), ("second", "t/base.kdl", 6), ("own", "t/a.sbx.kdl", 2)];
    let mut xml = String::new();
    for flags in [&["--list"][..], &["--junit", "j.xml"]] {
        let sbx = tests(who, &[("base.kdl", base), ("a.sbx.kdl", own)]).flags(&["t", "--json"]).flags(flags);
        let ran = run(&sbx);
        if !flags.contains(&"--list") {
            xml = sbx.read("j.xml");
        }
        let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (name, file, line) in places {
            let case = lines.iter().find(|line| line["name"] == name).unwrap();
            let found = (case["spec"].as_str(), case["file"].as_str(), case["line"].as_i64());
            assert_eq!(found, (Some("t/a.sbx.kdl"), Some(file), Some(line)), "{ran:?}");
        }
    }
    let at = places.map(|(name, file, line)| {
        let case = format!("name=\"{name}\" classname=\"t/a.sbx.kdl\"");
        let at = xml.find(&case).unwrap_or_else(|| panic!("{xml}"));
        let place = format!("file=\"{file}\" line=\"{line}\"");
        assert!(xml[at..].lines().next().unwrap().contains(&place), "no `{place}`: {xml}");
        at
    });
    assert!(at.is_sorted(), "in the order in which they come: {xml}");
}

/// Whatever way leads to a spec, GitHub knows it by its path in the repository.
#[test]
fn an_annotation_names_a_file_of_the_repository() {
    let Some(who) = Who::all().pop() else { return };
    let sbx = tests(who, &[("a.sbx.kdl", SPEC)]).dir("t/sub").dir("common");
    let sbx = sbx.file("common/base.kdl", b"test \"b\" { command \"false\"; }");
    let sbx = sbx.file("t/sub/b.sbx.kdl", b"extends \"../../common/base.kdl\"");
    std::os::unix::fs::symlink(".", sbx.path("linked")).unwrap();
    let root = sbx.path("linked").display().to_string();
    let sbx = sbx.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", &root).flags(&["t/../t/sub", "t/a.sbx.kdl"]);
    let ran = run(&sbx);
    for place in ["common/base.kdl,line=1,", "t/a.sbx.kdl,line=3,"] {
        assert!(ran.stderr.contains(&format!("\n::error file={place}")), "no `{place}`: {ran:?}");
    }
}

#[test]
fn a_mistake_in_a_spec_is_annotated_too() {
    let Some(who) = Who::all().pop() else { return };
    let files = [("a.sbx.kdl", "\ncomand \"x\"\ntest \"a\" {}"), ("b.sbx.kdl", "test \"y\" { expect { exti 1; }; }")];
    let sbx = tests(who, &files).flags(&["t"]);
    std::os::unix::fs::symlink("nowhere", sbx.path("t/c.sbx.kdl")).unwrap();
    let ran = run(&sbx.env("GITHUB_ACTIONS", "true"));
    let lines: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("::")).collect();
    for place in ["a.sbx.kdl,line=2,col=1::", "b.sbx.kdl,line=1,col=21::", "c.sbx.kdl,line=1,col=1::cannot read"] {
        let place = format!("::error file=t/{place}");
        assert!(lines.iter().any(|line| line.starts_with(&place)), "no `{place}` in {lines:?}");
    }
    assert_eq!(ran.code(), 125, "{ran:?}");
}

#[test]
fn github_gets_annotations_and_a_summary() {
    let Some(sbx) = sbx(&[]) else { return };
    let here = sbx.path("").display().to_string();
    let sbx = sbx.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", "sum.md").env("GITHUB_WORKSPACE", &here);
    let ran = run(&sbx);
    let commands: Vec<&str> = ran.stderr.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    // Nothing that a command writes is one of these: the runner is told not to look.
    let (first, rest) = commands.split_first().unwrap();
    let token = first.strip_prefix("::stop-commands::").unwrap();
    assert!(token.len() >= 16, "{token}");
    let resumed = rest.iter().position(|line| *line == format!("::{token}::")).unwrap();
    assert!(rest[..resumed].iter().all(|line| line.contains("of the command")), "{commands:?}");
    let [fails @ .., cannot] = &rest[resumed + 1..] else { panic!("{commands:?}") };
    assert_eq!(fails.len(), 2, "{commands:?}");
    assert_eq!(fails[0], "::error file=t/a.sbx.kdl,line=3,col=1,title=fails::exit code 3, expected 0");
    assert!(fails[1].starts_with("::error file=t/a.sbx.kdl,line=3,col=") && fails[1].contains("%0A+ two"), "{fails:?}");
    assert!(cannot.starts_with("::error file=t/a.sbx.kdl,line=4,col="), "{cannot}");
    let summary = sbx.read("sum.md");
    assert!(
        summary.contains("1 passed, 1 failed, 1 could not be run")
            && summary.contains("| t/a.sbx.kdl::fails | failed |"),
        "{summary}"
    );
    let ran = run(&sbx.env("GITHUB_ACTIONS", "false"));
    assert!(!ran.stderr.contains("::error file"), "{ran:?}");
}

#[test]
fn colours_are_for_terminals() {
    let Some(sbx) = sbx(&[]) else { return };
    assert!(!run(&sbx).stderr.contains('\u{1b}'));
    let forced = run(&sbx.env("CLICOLOR_FORCE", "1"));
    assert!(forced.stderr.contains("\u{1b}[1m\u{1b}[32m        PASS"), "{forced:?}");
}

#[test]
fn junit_is_xml_whatever_is_written() {
    let Some(who) = Who::all().pop() else { return };
    let spec = r##"test "a" { command "sh" "-c" #"printf '\357\277\276 \357\277\277 \000\013\033[1m'; exit 1"#; expect { stdout "\u{7}"; }; }"##;
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "--junit", "j.xml"]);
    assert_eq!(run(&sbx).code(), 1);
    let xml = sbx.read("j.xml");
    assert!(!xml.contains(['\u{fffe}', '\u{ffff}', '\0', '\u{b}', '\u{1b}', '\u{7}']), "{xml:?}");
    assert!(xml.contains("\u{fffd} \u{fffd}"), "{xml:?}");
}

/// Who reads the file of the last run would take it for this one's.
#[test]
fn junit_says_that_nothing_could_be_run() {
    let Some(who) = Who::all().pop() else { return };
    for (flags, words) in [
        (&["t"][..], "did you mean `command`"),
        (&["nowhere"], "cannot look at `nowhere`"),
        (&["t", "--set", "x"], "--set x"),
    ] {
        let sbx =
            tests(who, &[("a.sbx.kdl", "comand \"x\"\ntest \"a\" {}")]).file("j.xml", b"<testsuites tests=\"7\"/>");
        let sbx = sbx.flags(&["--junit", "j.xml"]).flags(flags);
        assert_ne!(run(&sbx).code(), 0);
        let xml = sbx.read("j.xml");
        let report = quick_junit::Report::deserialize_from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"));
        assert_eq!((report.tests, report.failures, report.errors), (1, 0, 1), "{xml}");
        assert!(xml.contains(words), "no `{words}` in {xml}");
    }
}

#[test]
fn an_attempt_that_could_not_be_run_is_an_error_there_too() {
    let Some(who) = Who::all().pop() else { return };
    let spec = "test \"a\" { command \"true\"; mounts { bind \"/nonesuch\" \"/x\"; }; }";
    let sbx = tests(who, &[("a.sbx.kdl", spec)]).flags(&["t", "--retries", "1", "--junit", "j.xml"]);
    assert_eq!(run(&sbx).code(), 125);
    let xml = sbx.read("j.xml");
    assert!(xml.contains("<rerunError") && !xml.contains("failure\""), "{xml}");
}

#[test]
fn what_cannot_be_written_is_told() {
    for flags in [&["--json"][..], &["--list"], &["--list", "--json"]] {
        let Some(sbx) = sbx(flags) else { return };
        let ran = run(&sbx.through("exec \"$@\" >/dev/full"));
        assert!(ran.code() == 125 && ran.stderr.contains("cannot write to standard output"), "{flags:?}: {ran:?}");
        let Some(sbx) = self::sbx(flags) else { return };
        let sbx = sbx.through("(\"$@\"; echo $? >code) | true");
        let ran = run(&sbx);
        // A reader that is gone is no error.
        assert!(!ran.stderr.contains("cannot write") && sbx.read("code") != "125\n", "{flags:?}: {ran:?}");
    }
}
