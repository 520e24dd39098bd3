//! What a config may say, and what not.

use sbx::image::Platform;
use sbx::image::digest::Digest;
use sbx::image::oci::Config;
use serde_json::{Value, json};

use super::maker::assert_says;

fn sample() -> Value {
    json!({
        "created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": "arm", "variant": "v7",
        "config": {
            "User": "app:www", "Env": ["PATH=/bin", "EMPTY=", "A=b=c"], "Entrypoint": ["/init", "-x"],
            "Cmd": ["sh", "-c", "echo\nhi"], "WorkingDir": "/srv/app", "Volumes": {"/data": {}, "/cache": {}},
            "Labels": {"a": "1\n2", "": "of nobody"}, "StopSignal": "SIGTERM", "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Test": ["NONE"]}, "Memory": 7, "ArgsEscaped": true
        },
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"1").to_string(), Digest::of(b"2").to_string()]},
        "history": [{"created_by": "x", "empty_layer": true}]
    })
}

fn read(config: &Value) -> sbx::error::Result<Config> {
    Config::parse(config.to_string().as_bytes())
}

#[track_caller]
fn refused(member: &str, value: Value, words: &str) {
    let mut config = sample();
    *config.pointer_mut(member).unwrap() = value;
    assert_says(&read(&config).expect_err("accepted"), words);
}

#[test]
fn what_a_run_needs_is_read() {
    let config = read(&sample()).unwrap();
    let strings = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(config.platform, Platform::parse("linux/arm/v7").unwrap());
    assert_eq!(config.env, strings(&["PATH=/bin", "EMPTY=", "A=b=c"]));
    assert_eq!(config.entrypoint, strings(&["/init", "-x"]));
    assert_eq!(config.cmd, strings(&["sh", "-c", "echo\nhi"]));
    assert_eq!(config.user.as_deref(), Some("app:www"));
    assert_eq!(config.workdir.as_deref(), Some("/srv/app"));
    assert_eq!(config.volumes, strings(&["/cache", "/data"]));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
    assert_eq!(config.labels["a"], "1\n2");
    assert_eq!(config.diff_ids, [Digest::of(b"1"), Digest::of(b"2")]);
}

#[test]
fn what_is_not_set_is_absent() {
    let bare = json!({"os": "linux", "architecture": "x86_64", "rootfs": {"type": "layers", "diff_ids": null}});
    let config = read(&bare).unwrap();
    assert_eq!(config.platform, Platform::parse("linux/amd64/v1").unwrap());
    assert_eq!((config.user, config.workdir, config.diff_ids.len()), (None, None, 0));
    let mut nulls = sample();
    nulls["config"] = json!({
        "User": "", "Env": null, "Entrypoint": null, "Cmd": null, "WorkingDir": "", "Volumes": null, "Labels": null,
    });
    let config = read(&nulls).unwrap();
    assert_eq!((config.user, config.workdir), (None, None));
    assert!(config.env.is_empty() && config.entrypoint.is_empty() && config.cmd.is_empty() && config.labels.is_empty());
}

#[test]
fn only_linux_runs_here() {
    refused("/os", "windows".into(), "the image is for `windows/arm/v7`, and only images for linux run here");
    refused("/os", "free\u{1b}bsd".into(), "`free\\u{1b}bsd/arm/v7`");
    refused("/os", "".into(), "does not say for which `os` and `architecture`");
    refused("/os", Value::Null, "does not say for which");
    refused("/architecture", "".into(), "does not say for which");
}

#[test]
fn a_variable_can_have_lines_and_need_not_be_set() {
    let mut image = sample();
    image["config"]["Env"] = json!(["KEY=-----BEGIN\nx=y\n", "UNSET"]);
    assert_eq!(read(&image).unwrap().env, ["KEY=-----BEGIN\nx=y\n", "UNSET"]);
}

#[test]
fn a_value_that_would_mean_two_things_is_refused() {
    refused("/config/Env/0", "A\nLD_PRELOAD=/x".into(), "`Env[0]`, `A\\nLD_PRELOAD=/x`, has a newline in its name");
    refused("/config/Env/0", "A\nB".into(), "has a newline in its name");
    refused("/config/Env/0", "".into(), "`Env[0]`, ``, does not read NAME=VALUE");
    refused("/config/Env/1", "A=\0".into(), "`Env[1]`, `A=\\u{0}`, has a NUL");
    refused("/config/Env/1", "=x".into(), "does not read NAME=VALUE");
    refused("/config/Env", json!({"A": "b"}), "invalid type: map");
    refused("/config/Entrypoint/1", "a\0b".into(), "`Entrypoint[1]`, `a\\u{0}b`, has a NUL");
    refused("/config/Cmd/1", "\0".into(), "`Cmd[1]`");
    refused("/config/Cmd", "sh -c x".into(), "invalid type: string");
    refused("/config/User", "a\nroot".into(), "`User`, `a\\nroot`, has a control character");
    refused("/config/WorkingDir", "srv".into(), "`WorkingDir`, `srv`, is not an absolute path");
    refused("/config/WorkingDir", "/a\u{7}".into(), "has a control character");
    refused("/config/Volumes", json!({"data": {}}), "`Volumes[0]`, `data`, is not an absolute path");
    refused("/config/StopSignal", "a\u{1b}".into(), "`StopSignal`");
    refused("/config/Labels/a", "\0".into(), "the label `a` has a NUL");
    refused("/config/Labels", json!({"x\n": ""}), "the label `x\\n` has a control character");
    refused("/rootfs/type", "squashfs".into(), "its `rootfs` is of the type `squashfs`, not `layers`");
    refused("/rootfs/diff_ids/1", "sha256:../x".into(), "`diff_ids[1]`: `sha256:../x` is not a SHA-256 digest");
    refused("/rootfs", Value::Null, "is not the JSON that is due");
    let twice = sample().to_string().replacen(r#""User""#, r#""User":"root","User""#, 1);
    assert_says(&Config::parse(twice.as_bytes()).unwrap_err(), "the member `User` is there twice");
    let mut shadow = sample();
    shadow["ROOTFS"] = json!({});
    assert_says(&read(&shadow).unwrap_err(), "`ROOTFS` would be read as `rootfs` by some");
}

#[test]
fn counts_and_lengths_are_bounded() {
    let longest = 128 << 10;
    for (name, prefix) in [("Env", "A="), ("Entrypoint", ""), ("Cmd", "")] {
        let mut config = sample();
        config["config"][name] = vec!["A=1"; 1000].into();
        assert!(read(&config).is_ok());
        config["config"][name] = vec!["A=1"; 1001].into();
        assert_says(&read(&config).unwrap_err(), &format!("`{name}` has 1001 entries, more than 1000"));
        let text = |length: usize| format!("{prefix}{}", "x".repeat(length - prefix.len()));
        config["config"][name] = vec![text(longest)].into();
        assert!(read(&config).is_ok());
        config["config"][name] = vec![text(longest + 1)].into();
        assert_says(&read(&config).unwrap_err(), "has 131073 bytes, more than 131072");
    }
    refused("/config/User", "x".repeat(257).into(), "has 257 bytes, more than 256");
    refused("/config/WorkingDir", format!("/{}", "x".repeat(4095)).into(), "has 4096 bytes, more than 4095");
    let labels: serde_json::Map<_, _> = (0..1001).map(|n| (n.to_string(), json!(""))).collect();
    refused("/config/Labels", labels.into(), "`Labels` has 1001 entries");
}

#[test]
fn the_spellings_of_a_platform_come_together() {
    for (spelling, platform) in [
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/aarch64/v8", "linux/arm64"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/riscv64", "linux/riscv64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
    ] {
        assert_eq!(Platform::parse(spelling).unwrap().to_string(), platform);
    }
    for wrong in ["", "linux", "linux/", "/amd64", "linux/a/b/c", "linux/amd 64", "linux/\n", "li/nux/a/"] {
        assert_says(&Platform::parse(wrong).unwrap_err(), "is not a platform");
    }
}
