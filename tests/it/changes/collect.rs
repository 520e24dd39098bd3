//! `collect`: files and directories come out whole, whatever the command has put in their way.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};

use super::leftovers;
use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who};

fn sbx(who: Who, nodes: &str) -> Sbx {
    Sbx::new(who).spec(&format!("rootfs \"%/root\"\n{nodes}"))
}

#[test]
fn a_file_and_a_directory_come_out_after_a_failure_too() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = sbx(who, "collect \"/out\" to=\"@/dist\"\ncollect \"/out/a\" to=\"@/a\"\ncollect \"/m/t\" to=\"@/t\"\nmounts { tmpfs \"/m\"; }\nseccomp \"none\"")
            .sh("mkdir -p /out/d && echo 1 >/out/a && echo 2 >/out/d/b && echo 3 >/m/t && busybox ln -s /etc/shadow /out/l \
                && busybox mkfifo /out/p && chmod 4711 /out/a && chmod 0 /out/d/b && chmod 555 /out/d; exit 7");
        let ran = sbx.run();
        assert_eq!(ran.code(), 7, "{ran:?}");
        assert_eq!((sbx.read("a"), sbx.read("t")), ("1\n".to_owned(), "3\n".to_owned()));
        assert_eq!(std::fs::read_link(sbx.path("dist/l")).unwrap().to_str(), Some("/etc/shadow"));
        assert!(ran.stderr.contains("`/out/p` is left out") && !sbx.path("dist/p").exists(), "{ran:?}");
        for (name, mode) in [("a", 0o711), ("dist/a", 0o711), ("dist/d/b", 0), ("dist/d", 0o555)] {
            let found = std::fs::metadata(sbx.path(name)).unwrap();
            assert_eq!((found.permissions().mode() & 0o7777, found.uid()), (mode, who.uid()), "{who:?} {name}");
        }
        std::fs::set_permissions(sbx.path("dist/d"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(leftovers(&sbx), Vec::<String>::new());
    }
}

#[test]
fn a_link_leads_nowhere_but_into_the_sandbox() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = sbx(who, "collect \"/out\" to=\"@/out\"\ncollect \"/up/passwd\" to=\"@/up\"");
        let sbx = sbx.sh(
            "echo inside >/etc/passwd; busybox ln -s ../../../../etc/passwd /out; busybox ln -s ../../../../etc /up",
        );
        sbx.run().ok();
        assert_eq!((sbx.read("out"), sbx.read("up")), ("inside\n".to_owned(), "inside\n".to_owned()), "{who:?}");
        assert!(!sbx.path("out").is_symlink());
        for target in ["/proc/self/root/etc/passwd", "/proc/1/environ", "/proc/version", "/dev/null", "/etc"] {
            let sbx = sbx_for(who, target);
            let ran = sbx.run();
            let is_directory = target == "/etc";
            assert_eq!(ran.code() == 0, is_directory, "{target} {ran:?}");
            assert_eq!(sbx.path("out").exists(), is_directory, "{target} {ran:?}");
        }
    }
}

fn sbx_for(who: Who, target: &str) -> Sbx {
    sbx(who, "collect \"/out\" to=\"@/out\"").sh(&format!("busybox ln -s {target} /out"))
}

#[test]
fn what_is_there_is_replaced_never_written_through() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = sbx(who, "collect \"/f\" to=\"@/link\"\ncollect \"/f\" to=\"@/file\"\ncollect \"/d\" to=\"@/dir\"\nmounts { bind \"@/shared\" \"/shared\" access=\"rw\"; }")
            .dir("shared").dir("dir").file("dir/kept", b"kept").file("dir/both", b"old").file("victim", b"victim").file("file", b"old");
        symlink("victim", sbx.path("link")).unwrap();
        let sbx = sbx.sh("echo new >/f; mkdir -p /d/sub; echo new >/d/both; echo new >/d/sub/x");
        sbx.run().ok();
        assert_eq!((sbx.read("victim").as_str(), sbx.path("link").is_symlink()), ("victim", false), "{who:?}");
        for name in ["link", "file", "dir/both", "dir/sub/x"] {
            assert_eq!(sbx.read(name), "new\n", "{who:?} {name}");
        }
        assert_eq!(sbx.read("dir/kept"), "kept");
    }
}

#[test]
fn a_destination_in_a_given_directory_is_reached_without_links() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx =
            sbx(who, "collect \"/f\" to=\"@/shared/d/f\"\nmounts { bind \"@/shared\" \"/shared\" access=\"rw\"; }");
        let sbx = sbx.dir("shared").dir("shared/d").dir("victim").file("victim/f", b"victim");
        // The directory was opened before the command ran: what takes its name gets nothing.
        let swap = "echo new >/f; busybox mv /shared/d /shared/e; busybox ln -s ../victim /shared/d";
        let sbx = sbx.sh(swap);
        sbx.run().ok();
        assert_eq!((sbx.read("victim/f").as_str(), sbx.read("shared/e/f").as_str()), ("victim", "new\n"), "{who:?}");
        // And what an earlier run has put there is not followed.
        let ran = sbx.run();
        assert_eq!(ran.code(), 125, "{ran:?}");
        assert_eq!(sbx.read("victim/f"), "victim", "{who:?}");
    }
}

#[test]
fn what_is_not_there_is_said_once_the_command_did_its_part() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let ran = sbx(who, "collect \"/none\" to=\"@/none\"").sh("true").run();
        assert_eq!((ran.code(), ran.kind()), (125, "exited"), "{ran:?}");
        assert!(ran.stderr.contains("there is nothing at `/none` to collect"), "{ran:?}");
        let ran = sbx(who, "collect \"/none\" to=\"@/none\"").sh("exit 4").run();
        assert_eq!(ran.code(), 4, "{ran:?}");
        assert!(ran.stderr.contains("warning: there is nothing at `/none`"), "{ran:?}");
        let ran = sbx(who, "collect \"/none\" to=\"@/none\" optional=#true").sh("true").run();
        ran.ok();
        assert_eq!(ran.stderr, "");
    }
}

/// What costs the sandbox nothing must not fill the host's disk: a tar has no holes.
#[test]
fn a_file_of_holes_is_refused() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for nodes in ["collect \"/out\" to=\"@/out\"", "changes \"@/out\""] {
            let sbx = sbx(who, nodes).sh("mkdir /out; for n in 1 2 3; do dd if=/dev/zero of=/out/$n bs=1 count=1 seek=500000000 2>/dev/null; done");
            let ran = sbx.run();
            assert_eq!(ran.code(), 125, "{who:?} {nodes} {ran:?}");
            assert!(ran.stderr.contains("1 GiB of holes") && ran.stderr.contains("/out/3"), "{nodes} {ran:?}");
            assert!(!sbx.path("out").exists(), "{nodes}");
            assert_eq!(leftovers(&sbx), Vec::<String>::new());
        }
    }
}

#[test]
fn a_full_disk_is_sbx_s_failure_and_leaves_what_was_there() {
    let (true, Some(who)) = (has_rootfs(), Who::root()) else { return };
    let sbx = sbx(
        who,
        "collect \"/big\" to=\"@/small/big\"\ncollect \"/tree\" to=\"@/small/tree\"\nchanges \"@/small/out.tar\"",
    );
    let sbx = sbx
        .dir("small")
        .sh("dd if=/dev/zero of=/big bs=64k count=64 2>/dev/null; mkdir /tree; busybox cp /big /tree/big");
    // In a mount namespace of the test's own, so that nothing is left on the host whatever happens.
    let place = sbx.path("small").display().to_string();
    let script = format!(
        "exec unshare -m sh -c 'mount -t tmpfs -o size=1m none {place} && echo old >{place}/big && \"$@\"; s=$?; \
         ls -A {place} >&2; cat {place}/big >&2; exit $s' sh \"$@\""
    );
    let ran = sbx.through(&script).run();
    assert_eq!(ran.code(), 125, "{ran:?}");
    for name in ["big", "tree", "out.tar"] {
        assert!(ran.stderr.contains(&format!("small/{name}`: No space left on device (ENOSPC)")), "{name} {ran:?}");
    }
    assert!(ran.stderr.ends_with("big\nold\n"), "{ran:?}");
}
