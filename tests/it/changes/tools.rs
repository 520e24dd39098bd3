//! What others make of a layer: skopeo and umoci read the image that has it.

use std::path::Path;
use std::process::Command;

use super::Blobs;
use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who, skip};

pub(super) fn has(program: &str) -> bool {
    let there = Path::new("/usr/bin").join(program).exists();
    if !there {
        skip(&format!("no {program}: apt-get install {program}"));
    }
    there
}

pub(super) fn call(place: &Path, words: &[&str]) -> String {
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

/// Twice: the second run knows the image from what the store says of it.
#[test]
fn a_variable_of_several_lines_arrives_and_one_without_a_value_is_left_out() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let base = crate::fixture::of(who).join("root").display().to_string();
        let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]);
        let words = ["image", "append", "--env", "KEY=one\ntwo=2\n", &base, "empty.tar", "oci:image:v1"];
        let sbx = sbx.verb(&words).cmd(&[]);
        let ran = sbx.run();
        assert_eq!(ran.code(), 0, "{ran:?}");
        Blobs(sbx.path("image")).change(&|config| config["config"]["Env"].as_array_mut().unwrap().push("UNSET".into()));
        let report = sbx.path("report.json").display().to_string();
        let sbx = sbx.verb(&["run"]).report(Some(&report)).spec("rootfs \"oci:@/image:v1\"");
        let sbx = sbx.sh("echo \"$KEY.\"; echo ${UNSET-unset} $two");
        for _ in 0..2 {
            assert_eq!(sbx.run().ok(), "one\ntwo=2\n.\nunset", "{who:?}");
        }
        for (flag, word, why) in [
            ("--label", "a\nb=y", "has a control character"),
            ("--env", "a\nb=y", "has a newline in its name"),
            ("--workdir", "/a\n", "has a control character"),
            ("--user", "a\n", "has a control character"),
        ] {
            let sbx = Sbx::new(who).file("empty.tar", &[0; 1024]).dir("base").flags(&[flag, word]);
            let ran = sbx.verb(&["image", "append", "base", "empty.tar", "oci:image:v1"]).cmd(&[]).run();
            assert!(ran.code() == 2 && ran.stderr.contains(why), "{ran:?}");
        }
    }
}

#[test]
fn many_at_once_lose_no_image_of_a_layout() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("base").file("empty.tar", &[0; 1024]);
        let sbx = sbx.verb(&["image", "append", "base", "empty.tar"]).cmd(&[]);
        let place = sbx.path("out").display().to_string();
        let each = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do \"$@\" oci:PLACE:$n & all=\"$all $!\"; done; \
                    for it in $all; do wait $it || exit 1; done";
        let sbx = sbx.through(&each.replace("PLACE", &place));
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.stdout.lines().count()), (0, 12), "{ran:?}");
        let index: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(format!("{place}/index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 12, "{who:?} {index}");
    }
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

/// Members that sbx knows nothing of are in the new image as they were in the base.
#[test]
fn what_the_base_says_stays() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = crate::layered::maker::image(who, &[crate::image::arena::tar(&[]), Vec::new()]);
        let layout = Blobs(sbx.path("image"));
        let base = layout.change(&|config| {
            config["config"] = serde_json::json!({
                "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGUSR1", "OnBuild": ["RUN x"],
                "Healthcheck": {"Test": ["CMD", "true"]}, "Shell": ["/bin/sh"], "User": "1:2", "Entrypoint": ["/e"], "Cmd": ["c"],
                "Env": ["A=1", "B=2"], "Labels": {"a": "1"},
            });
            config["author"] = "ann".into();
            config["created"] = "2001-02-03T04:05:06Z".into();
            config["history"] = serde_json::json!([
                {"created_by": "one", "comment": "first"}, {"created_by": "env", "empty_layer": true}, {"created_by": "two"},
            ]);
        });
        let sbx = sbx.file("one.tar", &crate::image::arena::tar(&[crate::image::arena::file("f", "x")]));
        let append = |sbx: Sbx, flags: &[&str]| {
            let sbx = sbx.verb(&["image", "append", "oci:image:a", "one.tar", "oci:new:t"]).cmd(&[]).flags(flags);
            let ran = sbx.run();
            assert_eq!(ran.code(), 0, "{ran:?}");
            let config = Blobs(sbx.path("new")).config("t");
            (sbx, config)
        };
        let (sbx, new) = append(sbx, &[]);
        let mut expected = base.clone();
        expected["rootfs"]["diff_ids"] = new["rootfs"]["diff_ids"].clone();
        expected["history"].as_array_mut().unwrap().push(new["history"][3].clone());
        assert_eq!((&new, &new["history"][3]["created_by"]), (&expected, &"sbx image append".into()), "{who:?}");
        assert_eq!(
            new["rootfs"]["diff_ids"].as_array().unwrap()[..2],
            base["rootfs"]["diff_ids"].as_array().unwrap()[..]
        );
        let flags = ["--env", "A=3", "--label", "b=2", "--entrypoint", "/n", "--user", "7", "--workdir", "/w"];
        let (_, new) = append(sbx, &flags);
        for (name, value) in
            [("Env", serde_json::json!(["B=2", "A=3"])), ("Labels", serde_json::json!({"a": "1", "b": "2"}))]
        {
            expected["config"][name] = value;
        }
        for (name, value) in [("User", "7"), ("WorkingDir", "/w")] {
            expected["config"][name] = value.into();
        }
        expected["config"]["Entrypoint"] = serde_json::json!(["/n"]);
        expected["config"].as_object_mut().unwrap().remove("Cmd");
        assert_eq!(new, expected, "{who:?}");
    }
}
