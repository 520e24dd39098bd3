//! What others make of a layer: skopeo and umoci read the image that has it.

use std::path::Path;
use std::process::Command;

use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who, skip};

fn has(program: &str) -> bool {
    let there = Path::new("/usr/bin").join(program).exists();
    if !there {
        skip(&format!("no {program}: apt-get install {program}"));
    }
    there
}

fn call(place: &Path, words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).current_dir(place).env("HOME", place).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn others_read_the_image() {
    let (true, true, true) = (has_rootfs(), has("skopeo"), has("umoci")) else { return };
    let Some(who) = Who::root() else { return };
    let sbx = Sbx::new(who).spec("rootfs \"%/root\"\nuser \"root\"\nchanges \"@/one.tar\"");
    let sbx = sbx.sh("rm /etc/passwd; echo x >/new; mkdir -p /a/b; echo y >/a/b/c; busybox ln /new /other");
    sbx.run().ok();
    let base = crate::fixture::of(who).join("root").display().to_string();
    let flags = ["--env", "A=b", "--label", "made=here", "--workdir", "/a", "--cmd", "sh", "--user", "0"];
    let sbx = sbx.verb(&["image", "append", &base, "one.tar", "oci:image:v1"]).cmd(&[]).flags(&flags);
    let ran = sbx.run();
    assert_eq!(ran.code(), 0, "{ran:?}");
    let home = sbx.path("");
    let seen: serde_json::Value = serde_json::from_str(&call(&home, &["skopeo", "inspect", "oci:image:v1"])).unwrap();
    assert_eq!(seen["Digest"], ran.stdout.trim());
    assert_eq!((&seen["Labels"]["made"], seen["Layers"].as_array().unwrap().len()), (&"here".into(), 2));
    let config = call(&home, &["skopeo", "inspect", "--config", "oci:image:v1"]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!((&config["config"]["WorkingDir"], &config["config"]["Env"][0]), (&"/a".into(), &"A=b".into()));
    call(&home, &["skopeo", "copy", "oci:image:v1", "docker-archive:saved.tar:x:1"]);
    call(&home, &["umoci", "unpack", "--image", "image:v1", "bundle"]);
    call(&home, &["umoci", "stat", "--image", "image:v1"]);
    let root = sbx.path("bundle/rootfs");
    assert!(!root.join("etc/passwd").exists() && root.join("etc").is_dir());
    assert_eq!(std::fs::read_to_string(root.join("a/b/c")).unwrap(), "y\n");
    // Its own way through another format.
    let sbx = Sbx::new(who).spec(&format!("rootfs \"docker-archive:{}\"", sbx.path("saved.tar").display()));
    let ran = sbx.sh("pwd; cat /new /other b/c; test -e /etc/passwd || echo gone; echo $A").run();
    assert_eq!(ran.ok(), "/a\nx\nx\ny\ngone\nb", "{ran:?}");
}

#[test]
fn a_layer_that_is_none_and_a_place_that_is_taken_are_refused() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("base").file("text", &[b'x'; 2000]).dir("taken").file("taken/x", b"");
        let append = |sbx: Sbx, words: [&str; 3]| {
            let sbx = sbx.verb(&["image", "append", words[0], words[1], words[2]]).cmd(&[]);
            let ran = sbx.run();
            (sbx, ran)
        };
        let (sbx, ran) = append(sbx, ["./base", "text", "oci:image"]);
        assert_eq!(ran.code(), 125, "{ran:?}");
        let (sbx, ran) = append(sbx, ["./base", "text", "oci:taken"]);
        assert!(ran.code() == 125 && ran.stderr.contains("neither empty nor an OCI layout"), "{ran:?}");
        let (sbx, ran) = append(sbx, ["./base", "text", "image"]);
        assert!(ran.code() == 2 && ran.stderr.contains("an image is written as"), "{ran:?}");
        let (_, ran) = append(sbx, ["host", "text", "oci:image"]);
        assert_eq!(ran.code(), 2, "{ran:?}");
    }
}
