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
    let sum = lines.last().unwrap();
    assert_eq!(
        (&sum["event"], &sum["passed"], &sum["failed"], &sum["error"]),
        (&"summary".into(), &1.into(), &1.into(), &1.into())
    );
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'), "{ran:?}");
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
fn results_that_cannot_be_written_are_a_failure() {
    let spec = "test \"a\" { command \"true\"; }\ntest \"b\" { command \"true\"; }\n";
    for who in Who::all() {
        for call in ["test t --json", "test t --list --json", "test t --list"] {
            let script = format!("exec \"$1\" {call} > /dev/full");
            let ran = tests(who, &[("a.sbx.kdl", spec)]).through(&script).run();
            assert_eq!(ran.code(), 125, "{who:?} {call}: {ran:?}");
            assert_eq!(ran.stderr.matches("cannot write to standard output").count(), 1, "{who:?} {call}: {ran:?}");
            let gone = tests(who, &[("a.sbx.kdl", spec)]).through(&format!("\"$1\" {call} | true")).run();
            assert_eq!((gone.code(), gone.stderr.contains("cannot write")), (0, false), "{who:?} {call}: {gone:?}");
        }
    }
}
