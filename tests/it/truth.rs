//! The report says what happened: its figures are those of others, its form is that of the
//! schema, and it goes where it was sent, whatever the outcome.

use serde_json::Value;

use crate::harness::{Ran, Sbx, Who, skip};

/// Python's own account of the processor time of itself, in nanoseconds.
const BURN: &str = "import time\nwhile time.process_time() < 0.6: pass\nprint(time.process_time_ns())";

#[test]
fn the_processor_time_is_true() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return skip("no /usr/bin/python3");
    }
    for who in Who::all() {
        for init in ["", "init #false"] {
            let is_true = || {
                let ran = Sbx::new(who).spec(init).cmd(&["/usr/bin/python3", "-c", BURN]).run();
                let own: u64 = ran.ok().parse().unwrap();
                let time = &ran.report["time"];
                let told = time["user_ns"].as_u64().unwrap() + time["system_ns"].as_u64().unwrap();
                assert!(told >= own && time["wall_ns"].as_u64().unwrap() >= own, "{who:?} {init}: {time} of {own}");
                // Its start and end, which it cannot see, are in the bound too.
                if told - own < own / 50 + 8_000_000 { Ok(()) } else { Err((told, own)) }
            };
            // A busy machine makes start and end longer now and then; a wrong account is wrong each time.
            let tries: Vec<_> = (0..5).map_while(|_| is_true().err()).collect();
            assert!(tries.len() < 5, "{who:?} {init}: {tries:?}");
        }
    }
}

#[test]
fn the_memory_peak_is_true() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return skip("no /usr/bin/python3");
    }
    let touch = "import mmap\nm = mmap.mmap(-1, 200 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nfor at in range(0, 200 << 20, 4096): m[at] = 1";
    for who in Who::all() {
        let ran = Sbx::new(who).cmd(&["/usr/bin/python3", "-c", touch]).run();
        ran.ok();
        let memory = &ran.report["memory"];
        let within = |bytes: &Value| {
            let bytes = bytes.as_u64().unwrap();
            (200 << 20..(200 << 20) + (20 << 20)).contains(&bytes)
        };
        assert!(within(&memory["max_rss_bytes"]), "{memory}");
        assert!(memory["peak_bytes"].is_null() || within(&memory["peak_bytes"]), "{memory}");
    }
}

#[test]
fn captured_bytes_are_exact_and_bounded() {
    for who in Who::all() {
        let ran = Sbx::new(who).flags(&["--capture"]).sh("printf out; printf err >&2").run();
        assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
        let output = &ran.report["output"];
        assert_eq!((&output["stdout"], &output["stderr"]), (&"out".into(), &"err".into()));
        let ran = Sbx::new(who).flags(&["--capture"]).sh("yes | head -c 3000000").run();
        let output = &ran.report["output"];
        assert_eq!((&output["stdout_bytes"], &output["truncated"]), (&3_000_000.into(), &true.into()));
        assert_eq!(output["stdout"].as_str().unwrap().len(), 1 << 20);
    }
}

#[test]
fn what_goes_through_the_loopback_is_counted() {
    for who in Who::all() {
        let ran = Sbx::new(who).cmd(&["true"]).run();
        let idle = serde_json::json!([{"name": "lo", "rx_bytes": 0, "tx_bytes": 0, "rx_packets": 0, "tx_packets": 0}]);
        assert_eq!(ran.report["network"]["interfaces"], idle, "{who:?} {ran:?}");
        if std::path::Path::new("/bin/bash").exists() {
            // 28 bytes of headers and 100 of content, which nobody listens to: the answer has 28 bytes more.
            let send = "head -c 100 /dev/zero > /dev/udp/127.0.0.1/9";
            let spec = ["", "init #false", "limits { wall \"2s\"; }"];
            for (spec, command) in spec.into_iter().zip([send, send, &format!("{send}; sleep 9")]) {
                let ran = Sbx::new(who).spec(spec).cmd(&["/bin/bash", "-c", command]).run();
                let lo = &ran.report["network"]["interfaces"][0];
                assert_eq!(
                    (&lo["tx_packets"], &lo["tx_bytes"]),
                    (&2.into(), &(128 + 156).into()),
                    "{spec} {lo} {ran:?}"
                );
                assert_eq!((&lo["rx_packets"], &lo["rx_bytes"]), (&lo["tx_packets"], &lo["tx_bytes"]));
            }
        }
        let ran = Sbx::new(who).spec("network host").cmd(&["true"]).run();
        assert!(ran.report["network"]["interfaces"].is_null(), "{ran:?}");
    }
}

/// Whichever of the two is slow: the command may have ended before sbx goes on.
#[test]
fn what_a_quick_command_sent_is_counted() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("/usr/bin/strace, which holds sbx up, is not installed");
    }
    for who in Who::all() {
        for spec in ["", "init #false", "namespaces net mount pid"] {
            for call in ["clone3", "write", "sendto"] {
                let hold = format!("exec strace -qq -o /dev/null -e inject={call}:delay_exit=100000 \"$@\"");
                let ran = Sbx::new(who).spec(spec).through(&hold).cmd(&["true"]).run();
                let refused = ran.code() == 125 && who != Who::Root && spec.starts_with("namespaces");
                assert!(ran.report["network"]["interfaces"].is_array() || refused, "{who:?} {call} {spec}: {ran:?}");
            }
        }
    }
}

/// Every kind of outcome that takes no group.
fn outcomes(who: Who) -> Vec<(&'static str, i32, Ran)> {
    let run = |spec: &str, script: &str| Sbx::new(who).spec(spec).sh(script).run();
    vec![
        ("exited", 3, run("", "exit 3")),
        ("signaled", 139, run("", "kill -SEGV $$")),
        ("wall_timeout", 124, run("limits { wall \"50ms\"; }", "sleep 9")),
        ("output_limit", 137, run("limits { output 10; }", "yes")),
        ("not_found", 127, Sbx::new(who).cmd(&["/none"]).run()),
        ("not_executable", 126, Sbx::new(who).cmd(&["/etc"]).run()),
        ("setup_failed", 125, run("workdir \"/none\"", "true")),
        ("setup_failed", 125, run("rootfs \"/none\"", "true")),
        ("setup_failed", 125, run("mounts { bind \"/none\" \"/x\"; }", "true")),
        ("setup_failed", 125, run("notanode 1\nhostname 7", "true")),
        ("setup_failed", 125, run("mounts {", "true")),
    ]
}

#[test]
fn every_outcome_has_a_report_of_the_same_form() {
    for who in Who::all() {
        let schema = Sbx::new(who).verb(&["schema", "report"]).run();
        let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
        for (kind, code, ran) in outcomes(who) {
            assert_eq!((ran.kind(), ran.code()), (kind, code), "{ran:?}");
            assert_eq!(ran.report["schema"], "sbx.report/1");
            fits(&ran.report, &schema, &schema).unwrap_or_else(|why| panic!("{kind}: {why}"));
            if kind == "setup_failed" {
                let error = &ran.report["outcome"]["error"];
                assert!(error["message"].is_string() && error["line"].is_u64(), "{error}");
                assert_eq!(ran.report["time"]["wall_ns"].as_u64().unwrap_or(0), 0);
            }
        }
    }
}

/// Checks the part of JSON Schema that the report's uses: types, members, references, alternatives.
fn fits(value: &Value, schema: &Value, all: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fits(value, all.pointer(name.trim_start_matches('#')).ok_or(name)?, all);
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        let tried: Vec<_> = choices.iter().map(|choice| fits(value, choice, all)).collect();
        return if tried.iter().any(Result::is_ok) { Ok(()) } else { Err(format!("{value}: {tried:?}")) };
    }
    let wrong = |why: &str| Err(format!("{value}: {why} of {schema}"));
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |allowed: &Value| allowed == kind || (allowed == "number" && kind == "integer");
    let typed = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is),
        Value::Null => true,
        one => is(one),
    };
    if !typed {
        return wrong("the type");
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(value))
        || schema.get("const").is_some_and(|only| only != value)
    {
        return wrong("not a value");
    }
    if schema["required"].as_array().into_iter().flatten().any(|name| value.get(name.as_str().unwrap()).is_none()) {
        return wrong("a member is missing");
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(known) => fits(member, known, all).map_err(|why| format!("{name}: {why}"))?,
            None if schema["additionalProperties"].is_object() => {}
            None => return wrong(&format!("`{name}` is no member")),
        }
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(item, &schema["items"], all))
}

#[test]
fn the_report_goes_where_it_is_sent() {
    let is_report =
        |text: &str| serde_json::from_str::<Value>(text).is_ok_and(|report| report["schema"] == "sbx.report/1");
    for who in Who::all() {
        let run = |target: Option<&str>| Sbx::new(who).report(target).cmd(&["echo", "out"]).run();
        let ran = run(None);
        assert!(ran.stdout == "out\n" && is_report(&ran.stderr) && ran.stderr.ends_with('\n'), "{ran:?}");
        let ran = run(Some("stderr"));
        assert!(ran.stdout == "out\n" && is_report(&ran.stderr), "{ran:?}");
        let ran = run(Some("none"));
        assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (0, "out\n", ""));
        let ran = run(Some("stdout"));
        assert!(is_report(ran.stdout.strip_prefix("out\n").unwrap()) && ran.stderr.is_empty(), "{ran:?}");
        let sbx = Sbx::new(who).report(Some("fd:7")).through("exec \"$@\" 7>seven").cmd(&["ls", "/proc/self/fd"]);
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, "0\n1\n2\n3\n"), "{ran:?}");
        assert!(is_report(&sbx.read("seven")));
        let sbx = Sbx::new(who).report(None).spec("report \"of-spec.json\"").cmd(&["true"]);
        sbx.run();
        assert!(is_report(&sbx.read("of-spec.json")));
        for target in ["fd:55", "/none/report", "fd:x", ""] {
            let sbx = Sbx::new(who).report(Some(target)).sh("echo ran");
            let ran = sbx.run();
            assert!(matches!(ran.code(), 2 | 125) && ran.stdout.is_empty(), "{target} {ran:?}");
        }
        let ran = Sbx::new(who).report(Some("/dev/full")).cmd(&["true"]).run();
        if who == Who::Root {
            assert!(ran.code() == 125 && ran.stderr.contains("/dev/full"), "{ran:?}");
        }
    }
}

#[test]
fn labels_and_the_spec_are_in_the_report() {
    for who in Who::all() {
        let ran =
            Sbx::new(who).flags(&["--label", "job=7", "--label", "x="]).spec("hostname \"a\"").cmd(&["true"]).run();
        ran.ok();
        assert_eq!(ran.report["spec"]["labels"], serde_json::json!({"job": "7", "x": ""}));
        assert_eq!(ran.report["spec"]["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(ran.report["command"], serde_json::json!(["true"]));
    }
}

/// Whoever reads an error is told what to change, and no hint is longer than a few lines of a terminal.
#[test]
fn each_refusal_says_what_to_change() {
    let cases = [
        "rootfs \"none\"",
        "rootfs \"spec.kdl\"",
        "rootfs \"tar:src\"",
        "rootfs \"dir:spec.kdl\"",
        "rootfs \"src\" digest=\"sha256:00\"",
        "rootfs \"src\" writable=\"persist\" upper=\"spec.kdl\"",
        "rootfs \"src\" writable=\"persist\" upper=\"kept\" size=\"1M\"",
        "rootfs scratch writable=\"persist\" upper=\"kept\"",
        "mounts { bind \"none\" \"/x\"; }",
        "mounts { bind \"spec.kdl\" \"/etc\"; }",
        "mounts { bind \"src\" \"/etc/passwd\"; }",
        "mounts { bind \"src\" \"/x\"; tmpfs \"/x/y\"; }",
        "mounts { bind \"src\" \"/x\"; dir \"/x/y\"; }",
        "mounts { bind \"src\" \"/x\"; dir \"/etc/passwd\"; }",
        "mounts { tmpfs \"/etc/passwd/y\"; }",
        "mounts { overlay \"/x\" lower=\"spec.kdl\"; }",
        "mounts { overlay \"/a,b\" lower=\"src\"; }",
        "mounts { symlink \"/etc/passwd\" \"x\"; }",
        "mounts { device \"/dev/none\"; }",
        "mounts { mask \"/none\"; }",
        "secret \"/run/x\" file=\"none\"",
        "secret \"/run/x\" file=\"src\"",
        "secret \"X\" env=\"NONE\"",
        "stdin \"none\"",
        "stdin \"src\"",
        "user \"nobody-of-that-name\"",
        "user 0 0\nnamespaces mount pid\nnetwork host",
        "user 70000 70000 ids=\"range\"",
        "limits { io \"none\" read=\"1M/s\"; }",
        "limits { io \"/proc\" read=\"1M/s\"; }",
        "limits { memory \"64M\"; cgroup \"/none\"; }",
        "workdir \"/none\"",
        "workdir \"/etc/passwd\"",
        "network host\nnamespaces time",
        "limits { open-files 99999999999; }",
        "capabilities \"CHOWN\"\nnamespaces mount pid\nnetwork host",
    ];
    for who in Who::all() {
        for spec in cases {
            let ran = Sbx::new(who).dir("src").spec(spec).cmd(&["true"]).run();
            if ran.code() == 0 && who == Who::Root {
                continue;
            }
            assert_eq!(ran.code(), 125, "{spec} {ran:?}");
            let error = &ran.report["outcome"]["error"];
            let hint = error["hint"].as_str().unwrap_or_default();
            assert!(!hint.is_empty() && hint.len() < 330, "{who:?} {spec}: {error}");
            assert!(error["line"].is_u64(), "{who:?} {spec}: {error}");
            assert!(!ran.stderr.contains("AppArmor"), "{who:?} {spec}: {error}");
        }
    }
}
