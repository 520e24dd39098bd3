//! What stands where something is taken out to: nothing but a file is replaced.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::leftovers;
use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who, give};

fn sbx(who: Who, nodes: &str) -> Sbx {
    Sbx::new(who).spec(&format!("rootfs \"%/root\"\n{nodes}")).sh("mkdir /d; echo ran | tee /d/n")
}

/// Makes a character device of the driver for memory: 3 is `null`, 7 is `full`.
fn device(sbx: &Sbx, name: &str, minor: u64) {
    mknod(&sbx.path(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor)).unwrap();
}

fn fifo(sbx: &Sbx, name: &str, who: Who) {
    nix::unistd::mkfifo(&sbx.path(name), Mode::from_bits_truncate(0o600)).unwrap();
    give(&sbx.path(name), who);
}

#[test]
fn changes_are_written_to_a_device_which_stays() {
    let (true, Some(who)) = (has_rootfs(), Who::root()) else { return };
    for name in ["null", "link"] {
        let sbx = sbx(who, &format!("changes \"@/{name}\""));
        device(&sbx, "null", 3);
        symlink("null", sbx.path("link")).unwrap();
        let ran = sbx.run();
        ran.ok();
        assert!(std::fs::metadata(sbx.path("null")).unwrap().file_type().is_char_device());
        assert!(sbx.path("link").is_symlink());
        let changes = &ran.report["changes"];
        assert_eq!((changes["added"].as_u64(), changes["bytes"].as_u64() > Some(512)), (Some(2), true), "{ran:?}");
    }
    let sbx = sbx(who, "changes \"@/full\"");
    device(&sbx, "full", 7);
    let ran = sbx.run();
    assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
    assert!(ran.stderr.contains("full`: No space left on device (ENOSPC)"), "{ran:?}");
    assert!(std::fs::metadata(sbx.path("full")).unwrap().file_type().is_char_device());
}

#[test]
fn changes_go_through_a_fifo_to_its_reader() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = sbx(who, "changes \"@/fifo\"");
        fifo(&sbx, "fifo", who);
        sbx.run().refused("start what reads the FIFO");
        let running = sbx.start();
        let read = std::fs::read(sbx.path("fifo")).unwrap();
        let ran = running.wait();
        ran.ok();
        assert_eq!(ran.report["changes"]["bytes"].as_u64(), u64::try_from(read.len()).ok(), "{ran:?}");
        std::fs::write(sbx.path("out.tar"), &read).unwrap();
        assert_eq!(super::names(&sbx, "out.tar"), ["d/", "d/n"], "{who:?}");
    }
}

#[test]
fn changes_replace_nothing_but_a_file() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let bound = "mounts { bind \"@/rw\" \"/rw\" access=\"rw\"; }";
        for (place, why) in [
            ("socket", "it is a socket"),
            ("link", "it is a link"),
            ("nowhere", "it is a link"),
            ("dir", "Is a directory"),
            ("rw/fifo", "it is a FIFO"),
            ("rw/link", "it is a link"),
        ] {
            let sbx = sbx(who, &format!("changes \"@/{place}\"\n{bound}")).dir("dir").dir("rw").file("victim", b"kept");
            let _listens = UnixListener::bind(sbx.path("socket")).unwrap();
            symlink("victim", sbx.path("link")).unwrap();
            symlink("none", sbx.path("nowhere")).unwrap();
            symlink("../victim", sbx.path("rw/link")).unwrap();
            fifo(&sbx, "rw/fifo", who);
            let ran = sbx.run();
            ran.refused(why);
            assert!(ran.stderr.contains(&format!("{place}`")) && ran.stderr.contains("hint: "), "{ran:?}");
            assert_eq!((sbx.read("victim").as_str(), ran.stdout.as_str()), ("kept", ""), "{place}");
            assert!(sbx.path(place).symlink_metadata().is_ok_and(|found| !found.is_file()), "{place}");
        }
        // What the command itself has put there.
        let sbx = sbx(who, &format!("changes \"@/rw/out\"\n{bound}")).dir("rw").sh("busybox mkfifo /rw/out");
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        assert!(ran.stderr.contains("rw/out`: it is a FIFO"), "{ran:?}");
        assert!(std::fs::metadata(sbx.path("rw/out")).unwrap().file_type().is_fifo());
    }
}

#[test]
fn collect_replaces_no_device_no_fifo_and_no_socket() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for source in ["/d", "/d/n"] {
            let sbx = sbx(who, &format!("collect \"{source}\" to=\"@/fifo\""));
            fifo(&sbx, "fifo", who);
            let ran = sbx.run();
            ran.refused("it is a FIFO; `collect` writes files and directories");
            assert_eq!(ran.stdout, "", "{ran:?}");
            assert!(std::fs::metadata(sbx.path("fifo")).unwrap().file_type().is_fifo());
        }
        let sbx = sbx(who, "collect \"/d\" to=\"@/dir\"").dir("dir");
        fifo(&sbx, "dir/n", who);
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        assert!(ran.stderr.contains("dir`: `/n` there is a FIFO"), "{ran:?}");
        assert!(std::fs::metadata(sbx.path("dir/n")).unwrap().file_type().is_fifo());
        assert_eq!(leftovers(&sbx), Vec::<String>::new());
    }
    let Some(who) = Who::root() else { return };
    let sbx = sbx(who, "collect \"/d/n\" to=\"@/null\"");
    device(&sbx, "null", 3);
    sbx.run().refused("null`: it is a device; `collect` writes files and directories");
    assert!(std::fs::metadata(sbx.path("null")).unwrap().file_type().is_char_device());
}
