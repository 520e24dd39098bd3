//! `sbx image`: the built program with real images, as root and as nobody in particular.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod damage;
mod memo;
mod range;
mod shop;

use serde_json::json;

use crate::harness::Who;
use crate::image_verbs::shop::{SAID, Shop};

#[test]
fn what_is_pulled_is_listed_and_runs() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        assert_eq!(shop.json(&["list"]), json!([]), "a store that is not there is empty");
        let digest = shop.image_verb(&["pull", "oci:lay:a"]);
        assert_eq!(shop.image_verb(&["pull", "oci-archive:oci.tar"]), digest);
        let other = shop.image_verb(&["pull", "docker-archive:docker.tar"]);
        assert!(digest.starts_with("sha256:") && other != digest, "{digest}{other}");
        let root = shop.json(&["pull", "root.tar"]);
        let rows = shop.json(&["list"]);
        let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        for (name, kind) in
            [("oci:", "lay:a"), ("oci-archive:", "oci.tar"), ("docker-archive:", "docker.tar"), ("tar:", "root.tar")]
        {
            let name = format!("{name}{}", shop.text(kind));
            assert!(names.contains(&name.as_str()), "{name} is not in {names:?}");
        }
        assert_eq!(names.len(), 4, "{names:?}");
        let text = shop.image_verb(&["ls"]);
        let head: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(head, ["NAME", "DIGEST", "LAYERS", "SIZE", "PULLED"]);
        assert!(text.lines().count() == 5 && text.contains(&digest[7..19]), "{text}");
        assert_eq!(root["digest"].as_str().unwrap().len(), 71);

        let ran = shop.run("oci:lay:a");
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{ran:?}");
        assert_eq!(shop.image_verb(&["verify"]), "");
    }
}

#[test]
fn inspect_shows_an_image_by_whatever_means_it() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let digest = shop.image_verb(&["pull", "oci:lay:a"]).trim().to_owned();
        let all = shop.json(&["inspect", "oci:lay:a"]);
        for word in ["lay", "lay:a", "./1/../lay", &digest, &digest[7..15], &shop.text("lay:a")] {
            assert_eq!(shop.json(&["inspect", word]), all, "{word}");
        }
        let image = &all[0];
        assert_eq!((&image["digest"], &image["kind"]), (&json!(digest), &json!("oci")));
        assert_eq!(image["config"]["env"], json!(["A=b"]));
        assert_eq!(image["config"]["cmd"], json!(["/bin/busybox", "cat", "/d/two"]));
        let layers = image["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 3);
        assert_eq!((&layers[1]["size"], &layers[2]["size"]), (&json!(20), &json!(2)));
        assert!(layers.iter().all(|layer| layer["digest"] != layer["diff_id"] && layer["entries"].is_u64()));
        // The root that is named by the chain id is the one in the store.
        let chain = image["chain_id"].as_str().unwrap();
        let roots: Vec<String> = shop.files().into_iter().filter(|file| file.starts_with("roots/")).collect();
        assert!(roots.iter().all(|file| file.contains(&chain[7..])) && !roots.is_empty(), "{roots:?}");

        let missing = shop.sbx(&["image", "inspect", "nothing", "abcdef"]);
        assert_eq!(missing.status, 125);
        for word in ["`nothing`", "`abcdef`", "sbx image list"] {
            assert!(missing.err.contains(word), "{missing:?}");
        }
    }
}

#[test]
fn a_store_that_is_mounted_read_only_is_enough() {
    let Some(who) = Who::root() else { return };
    let Some(shop) = Shop::new(who) else { return };
    shop.image_verb(&["pull", "oci:lay:a"]);
    let spec = shop.text("image.kdl");
    std::fs::write(&spec, "rootfs \"oci:lay:a\"\n").unwrap();
    let script = "set -e; mount --bind \"$2\" \"$2\"; mount -o remount,ro,bind \"$2\"; export SBX_STORE=\"$2\"; cd \"$(dirname \"$3\")\"
        ! touch \"$2\"/x 2>/dev/null; \"$1\" image verify; \"$1\" image du >/dev/null; \"$1\" image list >/dev/null; \"$1\" run --report none \"$3\"";
    let program = crate::fixture::binary().display().to_string();
    let store = shop.store("").display().to_string();
    let mut done = std::process::Command::new("unshare");
    done.args(["-m", "sh", "-c", script, "sh"]);
    let done = done.args([&program, &store, &spec]).output().unwrap();
    let said = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && said.0 == SAID && said.1.is_empty(), "{said:?}");
}

#[test]
fn a_name_means_what_it_meant_last() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let first = shop.image_verb(&["pull", "root.tar"]);
        let one = shop.json(&["inspect", "root.tar"]);
        // Names are noted by the second; the digests come in one order or the other.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        shop.script("cd \"$1\"; cp 2.tar root.tar; chmod a+r root.tar", &[&shop.text("")]);
        let second = shop.image_verb(&["pull", "root.tar"]);
        let other = shop.json(&["inspect", "root.tar"]);
        assert!(first != second && one != other);
        assert_eq!(format!("{}\n", other[0]["digest"].as_str().unwrap()), second);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        shop.script("cd \"$1\"; cp 3.tar root.tar; chmod a+r root.tar", &[&shop.text("")]);
        let third = shop.image_verb(&["pull", "root.tar"]);
        assert_eq!(format!("{}\n", shop.json(&["inspect", "root.tar"])[0]["digest"].as_str().unwrap()), third);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        shop.script("cd \"$1\"; cp 1.tar root.tar; chmod a+r root.tar", &[&shop.text("")]);
        assert_eq!(shop.image_verb(&["pull", "root.tar"]), first);
        assert_eq!(shop.json(&["inspect", "root.tar"])[0]["digest"], one[0]["digest"], "{who:?}");
    }
}

/// A path means the same however it is written, when an image is taken and when it is named.
#[test]
fn a_path_with_dots_names_what_was_imported_by_it() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let up = format!("../{}", shop.path("").file_name().unwrap().to_str().unwrap());
        for (source, words) in [
            (format!("oci:{up}/lay:a"), ["lay", "oci:lay:a", &format!("{up}/lay"), &format!("oci:{up}/./lay:a")]),
            (
                format!("tar:{up}/root.tar"),
                ["root.tar", "tar:root.tar", &format!("{up}/root.tar"), "./lay/../root.tar"],
            ),
        ] {
            shop.image_verb(&["pull", &source]);
            for word in words {
                assert_eq!(shop.json(&["inspect", word]).as_array().unwrap().len(), 1, "{source} {word}");
            }
            assert_eq!(shop.sbx(&["image", "inspect", "lay:b"]).status, 125);
            shop.image_verb(&["remove", &source]);
            assert_eq!(shop.json(&["list"]), json!([]));
        }
    }
}

/// An archive and a layer, when they are extracted and when they are there.
#[test]
fn a_pull_counts_what_is_left_out() {
    const MAKE: &str = r#"
import sys, tarfile
with tarfile.open(sys.argv[1] + "/odd.tar", "w", format=tarfile.PAX_FORMAT) as archive:
    for name, kind, mode in [("dev/null", tarfile.CHRTYPE, 0o666), ("null", tarfile.CHRTYPE, 0o666),
                             ("su", tarfile.REGTYPE, 0o4755), ("mail", tarfile.REGTYPE, 0o2755),
                             ("plain", tarfile.REGTYPE, 0o755)]:
        member = tarfile.TarInfo(name)
        member.type, member.mode = kind, mode
        if name == "plain":
            member.pax_headers = {"SCHILY.xattr.security.capability": "x", "SCHILY.xattr.user.x": "y"}
        archive.addfile(member)
"#;
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.script(
            "python3 -c \"$2\" \"$1\"; chmod a+r \"$1\"/odd.tar; mkdir -m 777 \"$1\"/odd",
            &[&shop.text(""), MAKE],
        );
        shop.image_verb(&["append", "oci:lay:a", "odd.tar", "oci:odd:x"]);
        // The base has a set-id file of its own.
        for (source, devices, set_id, attributes) in [
            ("oci:lay:a", 0, 1, 0),
            ("odd.tar", 1, 2, 1),
            ("oci:odd:x", 1, 3, 1),
            ("odd.tar", 1, 2, 1),
            ("oci:odd:x", 1, 3, 1),
        ] {
            let skipped = &shop.json(&["pull", source])["skipped"];
            assert_eq!(*skipped, json!({"devices": devices, "set_id": set_id, "attributes": attributes}), "{source}");
        }
    }
}

/// As deep as a tree is verified, and deeper, of which nothing is kept: neither of an archive nor of a layer.
#[test]
fn a_deep_tree_is_verified_and_removed() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let script = "cd \"$1\"; mkdir deep; (cd deep; cp -a ../1/bin .; n=0; \
            while [ $n -lt 510 ]; do mkdir d; cd -P d; n=$((n+1)); done; echo x > f; tar -C \"$1\"/deep -cf \"$1\"/deep.tar .; \
            mkdir -p d/d/d/d/d; tar -C \"$1\"/deep -cf \"$1\"/deeper.tar .); chmod a+r deep*.tar; mkdir -m 777 deeper";
        shop.script(script, &[&shop.text("")]);
        shop.image_verb(&["pull", "deep.tar"]);
        assert_eq!(shop.image_verb(&["verify"]), "");
        shop.image_verb(&["append", "oci:lay:a", "deeper.tar", "oci:deeper:x"]);
        for source in ["deeper.tar", "oci:deeper"] {
            let said = shop.sbx(&["image", "pull", source]);
            assert!(said.status == 125 && said.err.contains("lies deeper than 512 directories"), "{said:?}");
            assert_eq!(shop.image_verb(&["verify"]), "", "{source}");
        }
        shop.image_verb(&["remove", "deep.tar"]);
        assert_eq!(shop.json(&["list"]), json!([]));
    }
}

#[test]
fn removal_takes_what_no_other_image_needs() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        for source in ["oci:lay:a", "oci-archive:oci.tar", "docker-archive:docker.tar", "tar:root.tar"] {
            shop.image_verb(&["pull", source]);
        }
        let trees = |shop: &Shop| shop.files().iter().filter(|file| file.ends_with("/skipped")).count();
        assert_eq!(trees(&shop), 4, "the tar is that of the first layer: {:?}", shop.files());
        let removed = shop.json(&["remove", "oci:lay:a"]);
        assert_eq!(removed, json!([{"kind": "name", "name": format!("oci:{}", shop.text("lay:a"))}]));
        shop.image_verb(&["rm", "oci-archive:oci.tar", "docker.tar"]);
        assert_eq!((shop.json(&["list"]).as_array().unwrap().len(), trees(&shop)), (1, 1), "{:?}", shop.files());
        assert_eq!(shop.image_verb(&["verify"]), "");
        assert_eq!(shop.json(&["prune"]), json!([]));
        shop.image_verb(&["remove", "root.tar"]);
        assert_eq!(trees(&shop), 0);
        let ran = shop.run("oci-archive:oci.tar");
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{ran:?}");
    }
}

#[test]
fn what_a_sandbox_runs_in_stays() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.image_verb(&["pull", "oci:lay:a"]);
        let mut running = shop.linger("oci:lay:a");
        use std::io::{Read as _, Write as _};
        running.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        running.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let refused = shop.sbx(&["image", "remove", "oci:lay:a"]);
        assert!(refused.status == 125 && refused.err.contains("is in use by a running sbx"), "{refused:?}");
        assert_eq!(shop.json(&["prune", "--older-than", "1ms"]), json!([]));
        assert_eq!(shop.json(&["list"]).as_array().unwrap().len(), 1);
        drop(running.stdin.take());
        assert!(running.wait().unwrap().success());
        assert_eq!(shop.json(&["prune", "--older-than", "1h"]), json!([]));
        assert!(!shop.json(&["prune", "--older-than", "0s"]).as_array().unwrap().is_empty());
        assert_eq!(shop.json(&["list"]), json!([]));
        assert!(shop.files().is_empty(), "{:?}", shop.files());
    }
}

#[test]
fn usage_counts_shared_files_once() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        shop.image_verb(&["pull", "oci:lay:a"]);
        let rows = shop.json(&["du"]);
        let rows = rows.as_array().unwrap();
        let sum = |kind: &str| -> u64 {
            rows.iter().filter(|row| row["kind"] == kind).map(|row| row["bytes"].as_u64().unwrap()).sum()
        };
        let program = std::fs::metadata("/bin/busybox").unwrap().len();
        assert!(sum("layer") > program && sum("root") < program / 2, "{rows:?}");
        assert_eq!(sum("layer") + sum("root") + sum("blob") + sum("other"), sum("total"), "{rows:?}");
        assert!(shop.image_verb(&["du"]).lines().last().unwrap().starts_with("total"));
    }
}

#[test]
fn the_store_is_where_the_command_line_says() {
    for who in Who::all() {
        let Some(shop) = Shop::new(who) else { return };
        let other = shop.text("own/other");
        shop.image_verb(&["--store", &other, "pull", "oci:lay:a"]);
        assert_eq!(shop.json(&["list"]), json!([]));
        assert_eq!(shop.json(&["list", "--store", "own/other"]).as_array().unwrap().len(), 1);
        let path = shop.path("image.kdl");
        std::fs::write(&path, "rootfs \"oci:lay:a\"\n").unwrap();
        let spec = path.display().to_string();
        let ran = shop.sbx(&["run", "--report", "none", "--store", &other, &spec]);
        assert_eq!((ran.out.as_str(), ran.status), (SAID, 0), "{ran:?}");
        assert_eq!(shop.files(), Vec::<String>::new());
        assert_eq!(shop.sbx(&["gc", "--store", &other]).status, 0);
    }
}

#[test]
fn what_is_no_image_is_not_pulled() {
    let who = Who::Nobody;
    let Some(shop) = Shop::new(who) else { return };
    for (source, words) in
        [("host", "is no image"), ("dir:1", "is no image"), ("1", "is a directory"), ("none.tar", "No such file")]
    {
        let said = shop.sbx(&["image", "pull", source]);
        assert!([2, 125].contains(&said.status) && said.err.contains(words), "{source}: {said:?}");
    }
    let said = shop.sbx(&["image", "pull", "oci:lay:a", "--platform", "linux/arm64"]);
    assert!(said.status == 125 && said.err.contains("linux/arm64"), "{said:?}");
}
