//! Volumes: directories of the store that outlive the sandboxes that name them.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Sbx, Who};

const ONE: &str = "mounts { volume \"one\" \"/v\"; }";

/// Two sandboxes that run at the same time see one directory, and the next one still does.
#[test]
fn what_one_writes_the_other_reads() {
    for who in Who::all() {
        let first = Sbx::new(who).spec(ONE);
        let wait = |name: &str| {
            format!("n=0; until test -e /v/{name}; do n=$((n + 1)); test $n -lt 400 || exit 9; sleep 0.05; done")
        };
        let first = first.sh(&format!("echo a >/v/a; {}; cat /v/b", wait("b")));
        let running = first.start();
        let store = first.path("store").display().to_string();
        let second = Sbx::new(who).spec(ONE).env("SBX_STORE", &store);
        let second = second.sh(&format!("{}; cat /v/a; echo b >/v/new; mv /v/new /v/b", wait("a")));
        assert_eq!(second.run().ok(), "a", "{who:?}");
        assert_eq!(running.wait().ok(), "b", "{who:?}");
        assert_eq!(first.sh("cat /v/a /v/b").run().ok(), "a\nb", "{who:?}");
        let other = second.spec("mounts { volume \"two\" \"/v\"; }").sh("ls -A /v").run();
        assert_eq!(other.ok(), "", "{who:?}: a volume of another name");
    }
}

#[test]
fn a_store_of_somebody_else_has_no_volumes_for_the_caller() {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(ONE).sh("echo ran");
        assert_eq!(sbx.run().ok(), "ran");
        let store = sbx.path("store");
        std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777)).unwrap();
        sbx.run().refused("can be written by others");
        std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(sbx.run().ok(), "ran");
        if Who::root().is_some() {
            std::os::unix::fs::chown(&store, Some(12), None).unwrap();
            std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o755)).unwrap();
            sbx.run().refused("can be written by others");
            std::os::unix::fs::chown(&store, Some(who.uid()), None).unwrap();
            assert_eq!(sbx.run().ok(), "ran");
        }
    }
}

#[test]
fn a_name_is_a_name_and_no_path() {
    let long = "n".repeat(129);
    for who in Who::all() {
        for name in ["", ".", "..", "../x", "a/b", "/a", ".hidden", "-x", "a..b", "a b", "caf\u{e9}", &long] {
            let ran = Sbx::new(who).spec(&ONE.replace("one", name)).sh("echo ran").run();
            assert!(ran.code() == 125 && ran.stderr.contains("is not the name of a volume"), "{name}: {ran:?}");
        }
        for name in ["a", "A_b-c.d", "0", &long[1..]] {
            let sbx = Sbx::new(who).spec(&ONE.replace("one", name)).sh("echo 1 >/v/x");
            sbx.run().ok();
            assert!(sbx.path("store/volumes").join(name).join("x").exists(), "{name}");
        }
    }
}
