//! What a command plants beside its spec, where it may write: `sbx test` reads and writes there with the rights of the
//! caller, and is led nowhere.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::{run, tests};
use crate::harness::{Sbx, Who};

/// A spec whose command may write beside it.
fn open(who: Who, script: &str) -> Sbx {
    let spec = format!(
        "mounts {{ bind \".\" \"/src\" access=\"rw\"; }}\n\
         test \"one\" {{ command \"sh\" \"-c\" \"{script}\"; expect {{ snapshot; }}; }}"
    );
    tests(who, &[("a.sbx.kdl", &spec)]).file("victim", b"of the caller\n").dir("elsewhere").flags(&["t"])
}

#[track_caller]
fn untouched(sbx: &Sbx) {
    assert_eq!(sbx.read("victim"), "of the caller\n");
    assert_eq!(std::fs::read_dir(sbx.path("elsewhere")).unwrap().count(), 0);
}

/// A spec with a snapshot in `t/z`, where the command of another one writes before it.
fn beside(who: Who, script: &str) -> Sbx {
    let mover = format!(
        "mounts {{ bind \".\" \"/src\" access=\"rw\"; }}\n\
         test \"plants\" {{ command \"sh\" \"-c\" \"{script}\"; }}"
    );
    let other = b"test \"one\" { command \"echo\" \"x\"; expect { snapshot; }; }\n";
    let sbx = tests(who, &[("a.sbx.kdl", &mover)]).dir("t/z").file("t/z/z.sbx.kdl", other);
    sbx.dir("elsewhere").file("victim", b"of the caller\n").flags(&["t", "-j1", "--update"])
}

#[test]
fn an_update_writes_through_no_link() {
    for who in Who::all() {
        let links = "mkdir /src/z/snapshots; cd /src/z/snapshots; for name in z__one.snap z__one.snap.new; \
                     do ln -s ../../../victim $name; done";
        let sbx = beside(who, links);
        let ran = run(&sbx);
        untouched(&sbx);
        assert_eq!(ran.code(), 0, "{ran:?}");
        let kept = sbx.path("t/z/snapshots/z__one.snap");
        assert!(std::fs::symlink_metadata(&kept).unwrap().is_file());
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "exited 0\n--- stdout\nx\n");

        let sbx = beside(who, "ln -s ../../elsewhere /src/z/snapshots");
        let ran = run(&sbx);
        untouched(&sbx);
        assert!(ran.code() == 125 && ran.stderr.contains("cannot write the snapshot"), "{ran:?}");
    }
}

#[test]
fn an_update_writes_to_the_directory_that_the_spec_was_found_in() {
    for who in Who::all() {
        let sbx = beside(who, "mv /src/z /src/y; ln -s ../elsewhere /src/z");
        let ran = run(&sbx);
        untouched(&sbx);
        assert!(ran.code() == 125 && ran.stderr.contains("is not the directory that it was"), "{ran:?}");
    }
}

#[test]
fn nothing_else_is_read_in_the_place_of_a_snapshot() {
    for who in Who::all() {
        for (flags, directory) in [(&[][..], "snapshots"), (&["--update"], "snapshots"), (&[], "linked")] {
            let sbx = open(who, "echo x").dir("t/real").flags(flags);
            let place = if directory == "linked" {
                symlink("real", sbx.path("t/snapshots")).unwrap();
                sbx.path("t/real/a__one.snap")
            } else {
                std::fs::create_dir(sbx.path("t/snapshots")).unwrap();
                sbx.path("t/snapshots/a__one.snap")
            };
            match directory {
                "linked" => std::fs::write(&place, "of the caller\n").unwrap(),
                _ => symlink("../../victim", &place).unwrap(),
            }
            let ran = run(&sbx);
            untouched(&sbx);
            assert!(ran.code() == 1 && ran.stderr.contains("cannot read the snapshot"), "{ran:?}");
            assert!(!format!("{ran:?}").contains("of the caller"), "{ran:?}");
        }
    }
}

#[test]
fn a_fifo_in_the_place_of_a_snapshot_holds_nobody() {
    let Some(who) = Who::all().pop() else { return };
    let sbx = open(who, "echo x").dir("t/snapshots").through("exec timeout -s KILL 20 \"$@\"");
    let made = std::process::Command::new("mkfifo").arg(sbx.path("t/snapshots/a__one.snap")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let ran = run(&sbx);
    assert!(ran.code() == 1 && ran.stderr.contains("is not a regular file"), "{ran:?}");
}

/// A command decides neither what it is held against nor what the next run holds another against.
#[test]
fn snapshots_are_read_only_inside() {
    for who in Who::all() {
        let script = "exec 2>/dev/null; (echo x >/src/snapshots/a__one.snap) && echo written; \
                      rm /src/snapshots/a__one.snap && echo removed; mv /src/snapshots /src/s && echo moved; \
                      touch /src/snapshots/new && echo made; touch /src/new && echo done";
        let sbx = open(who, script).dir("t/snapshots").file("t/snapshots/a__one.snap", b"exited 0\n--- stdout\ndone\n");
        let ran = run(&sbx);
        assert_eq!(ran.code(), 0, "{ran:?}");
        // Where there is none yet, nobody makes one inside: neither for this run nor for the next.
        for plant in ["mkdir /src/snapshots; echo exited 0 >/src/snapshots/a__one.snap", "mv /src/snapshots /src/s"] {
            let sbx = open(who, &format!("exec 2>/dev/null; {plant}; rmdir /src/snapshots; true"));
            for _ in 0..2 {
                let ran = run(&sbx);
                assert!(ran.code() == 1 && ran.stderr.contains("there is no snapshot"), "{ran:?}");
                assert!(!sbx.path("t/snapshots").exists() && !sbx.path("t/s").exists(), "{ran:?}");
            }
        }
    }
}

/// A link that leads nowhere is in its place, too.
#[test]
fn a_directory_of_snapshots_is_made_in_no_other_place() {
    for who in Who::all() {
        let plant = "exec 2>/dev/null; cd /src; rm snapshots; mv snapshots s; mkdir snapshots elsewhere; \
                     echo exited 0 >snapshots/a__one.snap; true";
        let sbx = open(who, plant);
        symlink("elsewhere", sbx.path("t/snapshots")).unwrap();
        for _ in 0..2 {
            let ran = run(&sbx);
            assert!(ran.code() == 1 && ran.stderr.contains("cannot read the snapshot"), "{ran:?}");
            assert_eq!(std::fs::read_link(sbx.path("t/snapshots")).unwrap().to_str(), Some("elsewhere"));
        }
    }
}

/// The first call to end would take away the directory below which the other one still protects its own.
#[test]
fn the_directory_of_snapshots_stays_as_long_as_anybody_needs_it() {
    for who in Who::all() {
        let spec = |name: &str, then: &str| {
            let wait = format!("touch /src/{name}.in; while ! test -e /src/{name}.go; do sleep 0.01; done; {then}");
            format!(
                "mounts {{ bind \".\" \"/src\" access=\"rw\"; }}\nlimits {{ wall \"20s\"; }}\n\
                 test \"one\" {{ command \"sh\" \"-c\" \"{wait}\"; expect {{ snapshot; }}; }}"
            )
        };
        let plant = "mkdir /src/snapshots; echo exited 0 >/src/snapshots/b__one.snap; true";
        let both = "\"$@\" t/a.sbx.kdl & a=$!; await() { while ! test -e $1; do sleep 0.01; done; }; await t/a.in; \
                    \"$@\" t/b.sbx.kdl & b=$!; await t/b.in; touch t/a.go; wait $a; touch t/b.go; wait $b";
        let sbx = tests(who, &[("a.sbx.kdl", &spec("a", "true")), ("b.sbx.kdl", &spec("b", plant))]).through(both);
        let ran = run(&sbx);
        assert!(ran.code() == 1 && !sbx.path("t/snapshots/b__one.snap").exists(), "{ran:?}");
    }
}

/// What stands in the way of protecting a place leaves it to nobody.
#[test]
fn without_a_place_for_snapshots_nothing_is_run() {
    let Some(who) = Who::all().pop() else { return };
    let plant = "chmod 755 /src; mkdir /src/snapshots; echo exited 0 >/src/snapshots/a__one.snap";
    let sbx = open(who, plant);
    std::fs::set_permissions(sbx.path("t"), std::fs::Permissions::from_mode(0o555)).unwrap();
    let ran = run(&sbx);
    std::fs::set_permissions(sbx.path("t"), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(ran.code() == 125 && ran.stderr.contains("/t/snapshots`"), "{ran:?}");
    assert!(ran.stderr.contains("hint: make it"), "{ran:?}");
    assert!(!sbx.path("t/snapshots").exists());
}

/// Nobody can write there, so there is nothing to protect and nothing to refuse.
#[test]
fn a_read_only_file_system_needs_no_place_for_snapshots() {
    let Some(who) = Who::root() else { return };
    let inner = "mount --bind t t && mount -o remount,ro,bind t && exec \"$@\"";
    let sbx = open(who, "mkdir /src/snapshots").through(&format!("exec unshare -m sh -c '{inner}' sh \"$@\""));
    let ran = run(&sbx);
    assert!(ran.code() == 1 && ran.stderr.contains("there is no snapshot"), "{ran:?}");
    assert!(ran.stderr.contains("Read-only file system"), "{ran:?}");
}
