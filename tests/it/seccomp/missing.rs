//! A kernel without filters, played by an outer sbx whose filter hides seccomp(2): refused,
//! unless the spec may do without, and then the report says so.

use serde_json::Value;

use crate::fixture;
use crate::harness::{Ran, Sbx, Who};

fn inside(who: Who, spec: &str) -> Ran {
    let outer = format!(
        "profile \"compat\"\nseccomp \"none\" {{ deny \"seccomp\" errno=\"ENOSYS\"; }}\nuser 7 7\n\
         mounts {{ bind {:?} \"/sbx\"; bind \"inner.kdl\" \"/inner.kdl\"; }}",
        fixture::binary()
    );
    let words =
        ["/sbx", "run", "--report", "stdout", "/inner.kdl", "--", "grep", "Seccomp_filters", "/proc/self/status"];
    Sbx::new(who).spec(&outer).file("inner.kdl", spec.as_bytes()).cmd(&words).run()
}

fn inner_report(ran: &Ran) -> Value {
    let line = ran.stdout.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("no report: {ran:?}"));
    serde_json::from_str(line).unwrap()
}

#[test]
fn without_filters_nothing_runs() {
    for who in Who::all() {
        let ran = inside(who, "");
        let report = inner_report(&ran);
        assert_eq!((ran.code(), &report["outcome"]["kind"]), (125, &Value::from("setup_failed")), "{ran:?}");
        let error = &report["outcome"]["error"];
        assert!(error["step"].as_str().unwrap().starts_with("seccomp default "), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("CONFIG_SECCOMP_FILTER"), "{error}");
        assert_eq!(error["errno"], "ENOSYS");
        assert!(!ran.stdout.contains("Seccomp_filters:"), "the command ran: {ran:?}");
    }
}

#[test]
fn best_effort_does_without_and_says_so() {
    for who in Who::all() {
        let ran = inside(who, "best-effort \"seccomp\"");
        // One filter, the outer one.
        assert!(ran.stdout.contains("Seccomp_filters:\t1\n"), "{ran:?}");
        let isolation = &inner_report(&ran)["isolation"];
        assert_eq!(isolation["seccomp"]["profile"], "none");
        assert_eq!(isolation["weakened"][0]["feature"], "seccomp", "{isolation}");
        let not_asked = inside(who, "best-effort \"seccomp\"\nseccomp \"none\"");
        assert_eq!(inner_report(&not_asked)["isolation"]["weakened"], Value::Array(Vec::new()));
        assert!(isolation["weakened"][0]["why"].as_str().unwrap().contains("ENOSYS"), "{isolation}");
    }
}

#[test]
fn best_effort_changes_nothing_where_there_are_filters() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("best-effort \"seccomp\"").sh("grep Seccomp_filters /proc/self/status").run();
        assert_eq!(ran.ok(), "Seccomp_filters:\t1");
        assert_eq!(ran.report["isolation"]["seccomp"]["profile"], "default");
        assert_eq!(ran.report["isolation"]["weakened"], Value::Array(Vec::new()));
    }
}
