//! Makes each step of a rich plan fail in turn: the report names the step and the line that
//! asked for it, the exit status says that it was sbx, and the host is as it was.

use serde_json::Value;

use crate::harness::{Sbx, Who, skip};

const SPEC: &str = r#"rootfs "host"
namespaces user mount pid net ipc uts cgroup time { time boottime="+1h"; }
user 1000 1000
hostname "step"
workdir "/work"
mounts {
    bind "src" "/src"
    bind "out" "/work" access="rw"
    tmpfs "/t"
    overlay "/o" lower="src"
    file "/etc/passwd" "x"
    dir "/d"
    symlink "/l" "d"
    volume "v" "/v"
    device "/dev/full"
    mask "/src/sub"
}
limits {
    open-files 64
    wall "10s"
}
secret "/run/key" file="src/key"
capabilities "CHOWN"
landlock {
    write "/work" "/t"
    connect 80
}
"#;

fn sandbox(who: Who, spec: &str) -> Sbx {
    let sbx = Sbx::new(who).dir("src").dir("src/sub").dir("out").file("src/key", b"hunter2");
    sbx.spec(spec).cmd(&["sh", "-c", "echo ran; touch /work/ran"])
}

/// Fails every step of `spec` once; returns how many there were.
fn fail_each(who: Who, spec: &str) -> usize {
    let sbx = sandbox(who, spec);
    assert_eq!(sbx.run().ok(), "ran");
    std::fs::remove_file(sbx.path("out/ran")).ok();
    // The words of a step are those of the text; the places those of the JSON.
    let shown = sandbox(who, spec).verb(&["plan", "--json"]).run();
    let plan: Value = serde_json::from_str(&shown.stdout).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    for (number, step) in steps.iter().enumerate() {
        let ran = sandbox_at(&sbx, number);
        let error = &ran["outcome"]["error"];
        let op = step["op"].as_str().unwrap();
        assert_eq!(ran["outcome"]["kind"], "setup_failed", "{number} {step}");
        assert_eq!(error["errno"], "ENOTRECOVERABLE", "{number} {step}: {error}");
        assert_eq!(error["step"].as_str().unwrap().split(' ').next(), Some(op), "{number}: {error}");
        let origin = &step["origin"];
        assert_eq!(
            (&error["line"], &error["column"]),
            (&origin["line"], &origin["column"]),
            "{number} {step}: {error}"
        );
        assert!(!sbx.path("out/ran").exists(), "{number} {step}: the command ran");
    }
    steps.len()
}

fn sandbox_at(sbx: &Sbx, number: usize) -> Value {
    let ran = sbx.run_with("SBX_FAIL_STEP", &number.to_string());
    assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{number}: {ran:?}");
    assert!(!ran.stderr.contains("hunter2") && !ran.stderr.is_empty(), "{number}: {ran:?}");
    ran.report
}

#[test]
fn each_step_that_fails_is_told_and_undone() {
    if !cfg!(debug_assertions) {
        skip("a release has no step that can be made to fail");
        return;
    }
    for who in Who::all() {
        assert!(fail_each(who, SPEC) > 60);
        if who == Who::Root {
            let limited = SPEC.replace("    wall \"10s\"", "    memory \"64M\"\n    pids 20");
            assert!(fail_each(who, &limited) > 60);
            let capable = SPEC.replace("\"CHOWN\"", "\"SYS_ADMIN\"");
            assert!(fail_each(who, &capable) > 60);
            let unmapped = "namespaces mount pid ipc\nnetwork host\nmounts { file \"/f\" \"x\"; tmpfs \"/work\"; }";
            assert!(fail_each(who, unmapped) > 20);
        }
        let around = "mounts { bind \".\" \"/src\" access=\"rw\"; bind \"out\" \"/work\" access=\"rw\"; }";
        assert!(fail_each(who, around) > 20);
        if crate::fixture::has_rootfs() {
            let spec = "rootfs \"%/root\"\nmounts { bind \"out\" \"/work\" access=\"rw\"; tmpfs \"/new\"; }";
            assert!(fail_each(who, spec) > 30);
        }
    }
}
