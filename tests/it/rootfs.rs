//! What the root of a sandbox shows, what can be written, and that its source stays as it was.

use std::os::unix::fs::PermissionsExt as _;

use crate::fixture::{self, has_rootfs};
use crate::harness::{Sbx, Who};

#[test]
fn the_host_shows_its_system_and_nothing_else() {
    for who in Who::all() {
        let ran = Sbx::new(who).sh("ls /; for d in home root var srv boot; do ls -A /$d 2>/dev/null; done; true").run();
        let names: Vec<&str> = ran.ok().lines().collect();
        for name in ["usr", "etc", "proc", "dev", "tmp", "run"] {
            assert!(names.contains(&name), "{name} is missing: {names:?}");
        }
        for name in ["home", "root", "var", "srv", "boot", "sys", "mnt"] {
            assert!(!names.contains(&name), "{name} is there: {names:?}");
        }
        let ran =
            Sbx::new(who).sh("cat /etc/shadow | wc -c; ls -A /tmp /run | grep -v :; grep root: /etc/passwd").run();
        assert!(ran.ok().starts_with("0\n"), "{ran:?}");
        for path in ["/x", "/usr/x", "/etc/x"] {
            let ran = Sbx::new(who).cmd(&["touch", path]).run();
            assert_eq!((ran.code(), ran.kind()), (1, "exited"), "{path}: {ran:?}");
        }
        Sbx::new(who).sh("echo a > /tmp/x && echo b > /dev/shm/x && cat /tmp/x").run().ok();
    }
}

#[test]
fn a_writable_part_is_gone_at_the_end_or_kept() {
    if !has_rootfs() {
        return;
    }
    let write = "echo new > /etc/canary; echo more > /work/x; cat /etc/canary";
    for who in Who::all() {
        let ran = Sbx::new(who).spec("rootfs \"%/root\" writable=\"no\"").sh("echo a > /etc/canary").run();
        assert_eq!((ran.code(), ran.kind()), (1, "exited"), "{ran:?}");
        let sbx = Sbx::new(who).spec("rootfs \"%/root\" writable=\"ephemeral\"").sh(write);
        assert_eq!((sbx.run().ok(), sbx.run().ok()), ("new", "new"));
        let sbx = Sbx::new(who).spec("rootfs \"%/root\"").sh("cat /work/x");
        assert_eq!(sbx.run().code(), 1);
        let kept = Sbx::new(who).spec("rootfs \"%/root\" writable=\"persist\" upper=\"kept\"").sh(write);
        kept.run().ok();
        let again = kept.sh("cat /etc/canary /work/x; rm /etc/canary");
        assert_eq!(again.run().ok(), "new\nmore");
        assert_eq!(again.run().code(), 1, "the removal was not kept");
        let source = fixture::of(who).join("root");
        assert_eq!(std::fs::read_to_string(source.join("etc/canary")).unwrap(), "untouched\n");
        assert!(!source.join("work/x").exists());
    }
}

#[test]
fn an_archive_is_the_same_in_every_form() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for form in ["tar", "tar.gz", "tar.zst", "tar.xz"] {
            let sbx = Sbx::new(who).spec(&format!("rootfs \"%/root.{form}\"")).sh("cat /etc/canary; id -u");
            assert_eq!(sbx.run().ok(), "untouched\n0", "{form}");
            let ran = sbx.run();
            assert_eq!(ran.report["rootfs"]["kind"], "tar", "{form}");
            let digest = ran.report["rootfs"]["digest"].as_str().unwrap().to_owned();
            let right = sbx.spec(&format!("rootfs \"%/root.{form}\" digest=\"{digest}\""));
            right.run().ok();
            let other = format!("sha256:{}", "0".repeat(64));
            right.spec(&format!("rootfs \"%/root.{form}\" digest=\"{other}\"")).run().refused("digest");
        }
    }
}

#[test]
fn the_writable_part_is_bounded() {
    if !has_rootfs() {
        return;
    }
    let fill = "dd if=/dev/zero of=/work/x bs=1M count=8 2>&1; true";
    for who in Who::all() {
        for spec in ["rootfs \"%/root\" size=\"2M\"", "rootfs \"%/root\"\nlimits { disk \"2M\"; }"] {
            let ran = Sbx::new(who).spec(spec).sh(fill).run();
            assert!(ran.ok().contains("No space left"), "{spec}: {ran:?}");
        }
    }
}

#[test]
fn scratch_is_empty_but_for_the_base() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let spec = "rootfs scratch\nmounts { bind \"%/root/bin\" \"/bin\"; }";
        let ran = Sbx::new(who).spec(spec).sh("ls /; echo x > /y && cat /y").run();
        assert_eq!(ran.ok(), "bin\ndev\nproc\nrun\ntmp\nx");
    }
}

/// Mount points that are missing, or links out of the image, are made or followed inside only.
#[test]
fn mount_points_never_lead_out() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("root").dir("root/var").dir("root/var/tmp").dir("canary");
        let canary = sbx.path("canary");
        std::os::unix::fs::symlink("/var/tmp", sbx.path("root/tmp")).unwrap();
        std::os::unix::fs::symlink(&canary, sbx.path("root/out")).unwrap();
        std::os::unix::fs::symlink("../../../../../../../..", sbx.path("root/up")).unwrap();
        let spec =
            "rootfs \"@/root\"\nmounts { bind \"%/root/bin\" \"/bin\"; tmpfs \"/up/made\"; file \"/var/f\" \"x\"; }";
        let sbx = sbx.spec(spec).sh("echo a > /tmp/t; cat /var/tmp/t /var/f; ls -d /made /proc/self /dev/null");
        assert_eq!(sbx.run().ok(), "a\nx/dev/null\n/made\n/proc/self");
        // Followed inside the image, the target of this link does not exist.
        let sbx = sbx.spec("rootfs \"@/root\"\nmounts { bind \"%/root/bin\" \"/bin\"; tmpfs \"/out/deep\"; }");
        let sbx = sbx.sh("true");
        let ran = sbx.run();
        assert!(ran.code() == 0 || ran.code() == 125, "{ran:?}");
        let left: Vec<_> = std::fs::read_dir(&canary).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        assert!(!std::path::Path::new("/made").exists());
    }
}

#[test]
fn a_root_that_cannot_be_had_is_refused() {
    for who in Who::all() {
        let cases = [
            ("rootfs \"@/missing\"", "missing"),
            ("rootfs \"./missing\"", "missing"),
            ("rootfs \"tar:missing\"", "missing"),
            ("rootfs \"dir:missing\"", "missing"),
            ("rootfs \"@/spec.kdl\"", "spec.kdl"),
            ("rootfs \"@/cut.tar\"", "cut.tar"),
            ("rootfs scratch writable=\"persist\" upper=\"@/up\"", "persist"),
        ];
        for (spec, words) in cases {
            let sbx = Sbx::new(who).file("cut.tar", &[0x1f, 0x8b, 8, 0]).spec(spec).sh("true");
            let ran = sbx.run();
            ran.refused(words);
            let written = spec.split('"').nth(1).filter(|_| !spec.contains("scratch"));
            let written = written.map(|text| text.replace('@', &sbx.path("").display().to_string()));
            assert_eq!(ran.report["rootfs"]["source"].as_str(), written.as_deref(), "{ran:?}");
            assert!(ran.report["outcome"]["error"]["message"].is_string(), "{ran:?}");
        }
    }
}

/// Directories of an image that belong to nobody inside, open, without a listing, and closed.
#[test]
fn mount_points_are_made_in_the_directories_of_others() {
    if Who::root().is_none() {
        // Nobody else can make directories that are another's.
        return;
    }
    if !has_rootfs() {
        return;
    }
    let script = "cat /open/a/f /dark/b/f /shut/c/f /open/k; ls /open; cat /open/old /dark/old; ls -A /shut";
    let shown = "openabdarkabshutabold\na\nk\nold\nold\nold\nc";
    for who in Who::all() {
        for rest in ["writable=\"no\"", "writable=\"ephemeral\"", "writable=\"persist\" upper=\"kept\""] {
            let text = format!(
                "rootfs \"@/root\" {rest}\nmounts {{\n file \"/open/a/f\" \"openab\"\n file \"/dark/b/f\" \"darkab\"\n \
                 file \"/shut/c/f\" \"shutab\"\n bind \"%/root/bin\" \"/bin\"\n}}\nsecret \"/open/k\" file=\"key\"\nuser 7 7"
            );
            let sbx = Sbx::new(who).dir("root").file("key", b"old\n").spec(&text);
            for (name, mode) in [("bin", 0o755), ("open", 0o755), ("dark", 0o711), ("shut", 0o700)] {
                let path = sbx.path("root").join(name);
                std::fs::create_dir(&path).unwrap();
                std::fs::write(path.join("old"), "old\n").unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            }
            let sbx = sbx.sh(script);
            for _ in 0..2 {
                assert_eq!(sbx.run().ok(), shown, "{who:?} {rest}");
            }
            let listing = std::fs::read_dir(sbx.path("root/open")).unwrap().count();
            assert_eq!(listing, 1, "something was made in the image");
        }
    }
}

/// A kept layer has what earlier commands made in it, links to anywhere among them.
#[test]
fn a_link_in_a_kept_layer_leads_no_mount_point_out() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for link in ["open", "open/deep"] {
            let sbx = Sbx::new(who).dir("root").dir("canary").dir("kept").dir("kept/upper").dir("kept/work");
            for name in ["root/bin", "root/open", "root/open/deep"] {
                std::fs::create_dir(sbx.path(name)).unwrap();
            }
            let sbx = if link == "open" { sbx } else { sbx.dir("kept/upper/open") };
            std::os::unix::fs::symlink(sbx.path("canary"), sbx.path("kept/upper").join(link)).unwrap();
            let sbx = sbx.spec(
                "user 7 7\nrootfs \"@/root\" writable=\"persist\" upper=\"kept\"\nmounts { bind \"%/root/bin\" \"/bin\"; file \"/open/deep/a/f\" \"x\"; }",
            );
            let sbx = sbx.sh("true");
            let ran = sbx.run();
            assert!(matches!(ran.code(), 0 | 125), "{ran:?}");
            let made: Vec<_> = std::fs::read_dir(sbx.path("canary")).unwrap().collect();
            assert!(made.is_empty(), "{who:?} {link}: {made:?}");
        }
    }
}
