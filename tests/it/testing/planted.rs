//! What a command plants beside its spec, where it may write: `sbx test` reads and writes there with the rights of the
//! caller, and is led nowhere.

use std::os::unix::fs::symlink;

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

#[test]
fn an_update_writes_through_no_link() {
    for who in Who::all() {
        let links = "mkdir -p /src/snapshots; cd /src/snapshots; for name in a__one.snap a__one.snap.new; \
                     do ln -s ../../victim $name; done; echo x";
        let sbx = open(who, links).flags(&["--update"]);
        let ran = run(&sbx);
        untouched(&sbx);
        assert_eq!(ran.code(), 0, "{ran:?}");
        let kept = sbx.path("t/snapshots/a__one.snap");
        assert!(std::fs::symlink_metadata(&kept).unwrap().is_file());
        assert_eq!(std::fs::read_to_string(kept).unwrap(), "exited 0\n--- stdout\nx\n");

        let sbx = open(who, "ln -s ../elsewhere /src/snapshots; echo x").flags(&["--update"]);
        let ran = run(&sbx);
        untouched(&sbx);
        assert!(ran.code() == 125 && ran.stderr.contains("cannot write the snapshot"), "{ran:?}");
    }
}

#[test]
fn an_update_writes_to_the_directory_that_the_spec_was_found_in() {
    for who in Who::all() {
        let mover = "mounts { bind \".\" \"/src\" access=\"rw\"; }\n\
                     test \"moves\" { command \"sh\" \"-c\" \"mv /src/z /src/y; ln -s ../elsewhere /src/z\"; }";
        let sbx = tests(who, &[("a.sbx.kdl", mover)]).dir("t/z").dir("elsewhere").file("victim", b"of the caller\n");
        let other = b"test \"one\" { command \"echo\" \"x\"; expect { snapshot; }; }\n";
        let sbx = sbx.file("t/z/z.sbx.kdl", other).flags(&["t", "-j1", "--update"]);
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
        // And it is read before anybody may write there.
        let sbx = open(who, "mkdir /src/snapshots; echo exited 0 >/src/snapshots/a__one.snap");
        let ran = run(&sbx);
        assert!(ran.code() == 1 && ran.stderr.contains("there is no snapshot"), "{ran:?}");
    }
}
