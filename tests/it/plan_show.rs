//! What `sbx plan` prints.

use crate::example::{SECRET, SPEC, plan};

#[test]
fn a_plan_is_one_fact_a_line() {
    let shown = sbx::plan::show::show(&plan(), SPEC);
    assert!(!shown.contains(SECRET), "{shown}");
    crate::spec::with_snapshots(|| insta::assert_snapshot!("show_text", shown));
}

#[test]
fn a_hostile_path_stays_on_its_line() {
    let mut plan = plan();
    plan.steps.clear();
    plan.exec.argv = vec!["a\nb\u{1b}[2J".into(), std::ffi::OsString::new()];
    plan.exec.candidates = plan.exec.argv[..1].to_vec();
    let shown = sbx::plan::show::show(&plan, SPEC);
    let line = shown.lines().find(|line| line.starts_with("exec")).unwrap();
    assert_eq!(line, r#"exec "a\nb\u{1b}[2J" """#);
    assert!(!shown.contains("candidates"));
}

#[test]
fn the_json_of_a_plan_has_the_same_steps_and_no_secret() {
    let plan = plan();
    let line = sbx::report::plan_json::to_line(&plan, SPEC).unwrap();
    let text = String::from_utf8(line).unwrap();
    assert!(!text.contains(SECRET) && text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kinds: Vec<_> = plan.steps.iter().map(|step| step.op.kind()).collect();
    let found: Vec<_> = json["steps"].as_array().unwrap().iter().map(|step| step["op"].as_str().unwrap()).collect();
    assert_eq!(found, kinds);
    let steps: Vec<_> = json["steps"].as_array().unwrap().iter().map(|step| format!("{step}\n")).collect();
    crate::spec::with_snapshots(|| insta::assert_snapshot!("show_json_steps", steps.concat()));
    let rest = json.as_object().unwrap().iter().filter(|(name, _)| *name != "steps");
    let rest: String = rest.map(|(name, value)| format!("{name}: {value}\n")).collect();
    crate::spec::with_snapshots(|| insta::assert_snapshot!("show_json_rest", rest));
}
