//! Each kind of mount, what comes of their order, and that none of them touches its source.

use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Sbx, Who};

/// Runs `script` in a sandbox of the host's system with these mounts.
fn with(who: Who, mounts: &str, script: &str) -> Sbx {
    let sbx = Sbx::new(who).dir("src").file("src/a", b"aaa\n").dir("src/sub").file("src/sub/b", b"bbb\n").dir("out");
    let tool = sbx.file("src/tool", b"#!/bin/sh\necho tool\n");
    std::fs::set_permissions(tool.path("src/tool"), std::fs::Permissions::from_mode(0o755)).unwrap();
    tool.spec(&format!("mounts {{\n{mounts}\n}}")).sh(script)
}

#[test]
fn each_kind_shows_what_it_says() {
    let cases = [
        ("bind \"src\" \"/s\"", "cat /s/a /s/sub/b; echo x 2>/dev/null > /s/a || echo ro", "aaa\nbbb\nro"),
        ("bind \"@/src/a\" \"/deep/er/file\"", "cat /deep/er/file", "aaa"),
        ("bind \"src\" \"/s\" access=\"rw\"", "echo new > /s/new; cat /s/new", "new"),
        ("bind \"src\" \"/s\"", "/s/tool", "tool"),
        ("bind \"src\" \"/s\" exec=#false", "/s/tool 2>/dev/null || echo refused", "refused"),
        ("bind \"none\" \"/s\" optional=#true", "ls -d /s 2>/dev/null || echo absent", "absent"),
        ("tmpfs \"/t\" mode=\"0700\"", "echo x > /t/y; cat /t/y; stat -c %a /t", "x\n700"),
        ("tmpfs \"/t\" size=\"64K\"", "head -c 100000 /dev/zero > /t/y 2>/dev/null || stat -c %s /t/y", "65536"),
        ("tmpfs \"/t\" inodes=4", "for i in 1 2 3 4 5 6; do touch /t/$i; done 2>/dev/null; ls /t | wc -l", "3"),
        ("overlay \"/o\" lower=\"src\"", "echo changed > /o/a; rm -r /o/sub; cat /o/a; ls /o", "changed\na\ntool"),
        (
            "file \"/etc/greeting\" \"hello\\n\" mode=\"0640\"",
            "cat /etc/greeting; stat -c %a /etc/greeting",
            "hello\n640",
        ),
        ("file \"/f\" \"\"", "stat -c %s:%a /f", "0:644"),
        ("dir \"/d/e\" mode=\"0711\"", "stat -c %a /d/e", "711"),
        ("symlink \"/l/k\" \"../etc/passwd\"", "readlink /l/k; grep -c ^root: /l/k", "../etc/passwd\n1"),
        ("mask \"/etc/passwd\"", "wc -c < /etc/passwd", "0"),
        ("mask \"/etc/ssl\"", "ls -A /etc/ssl | wc -l", "0"),
        ("bind \"src\" \"/s\"; mask \"/s/sub\"; mask \"/s/a\"", "ls /s/sub; wc -c < /s/a", "0"),
        ("mask \"/proc/cpuinfo\"; mask \"/proc/sys\"", "wc -c < /proc/cpuinfo; ls -A /proc/sys | wc -l", "0\n0"),
        ("file \"/proc/cpuinfo\" \"none\"", "cat /proc/cpuinfo", "none"),
        (
            "mask \"/dev/full\"; mask \"/dev/shm\"",
            "echo x > /dev/full && echo null; touch /dev/shm/x 2>/dev/null || echo no",
            "null\nno",
        ),
        ("volume \"v\" \"/v\"", "echo x > /v/y; cat /v/y", "x"),
        ("device \"/dev/null\"", "echo x > /dev/null && echo fine", "fine"),
    ];
    for who in Who::all() {
        for (mounts, script, expected) in cases {
            let sbx = with(who, mounts, script);
            let ran = sbx.run();
            assert_eq!((ran.code(), ran.stdout.trim_end()), (0, expected), "{who:?} {mounts}: {ran:?}");
            assert_eq!(
                (sbx.read("src/a"), sbx.read("src/sub/b")),
                ("aaa\n".to_owned(), "bbb\n".to_owned()),
                "{mounts}"
            );
        }
    }
}

#[test]
fn the_order_is_that_of_the_spec() {
    let cases = [
        ("tmpfs \"/s\"; bind \"src\" \"/s/in\"", "cat /s/in/a", "aaa"),
        ("bind \"src\" \"/s\"; tmpfs \"/s/sub\"", "ls -A /s/sub; cat /s/a", "aaa"),
        ("bind \"src\" \"/s/x\"; tmpfs \"/s\"", "ls -A /s", ""),
        ("tmpfs \"/tmp\" size=\"1M\"; bind \"src\" \"/tmp/x\"", "cat /tmp/x/a", "aaa"),
        ("bind \"out\" \"/tmp\" access=\"rw\"", "echo 1 > /tmp/x; cat /tmp/x", "1"),
        ("bind \"src\" \"/s\"; file \"/s/a\" \"over\"", "cat /s/a", "over"),
        ("file \"/etc/new\" \"x\"; tmpfs \"/etc\"", "echo 1 > /etc/x; cat /etc/x", "1"),
        ("dir \"/x\"; bind \"src\" \"/x/y/z\"; file \"/x/y/f\" \"f\"", "cat /x/y/z/a /x/y/f", "aaa\nf"),
        ("overlay \"/o\" lower=\"src\"; tmpfs \"/o/sub\"; file \"/o/new\" \"n\"", "ls -A /o/sub; cat /o/new", "n"),
    ];
    for who in Who::all() {
        for (mounts, script, expected) in cases {
            let ran = with(who, mounts, script).run();
            assert_eq!((ran.code(), ran.stdout.trim_end()), (0, expected), "{who:?} {mounts}: {ran:?}");
        }
    }
}

#[test]
fn what_cannot_be_mounted_is_refused_with_its_line() {
    let cases = [
        ("bind \"none\" \"/s\"", "none", 2),
        ("bind \"src\" \"/s\"\nbind \"src\" \"/s/new\"", "does not exist", 3),
        ("bind \"src\" \"/s\"\nfile \"/s/new\" \"x\"", "does not exist", 3),
        ("bind \"src\" \"/s\" access=\"rw\"\ndir \"/s/new\"", "nothing is ever made on the host", 3),
        ("bind \"src\" \"/s\" access=\"rw\"\nsymlink \"/s/new\" \"x\"", "nothing is ever made on the host", 3),
        ("bind \"src\" \"/etc/passwd\"", "is a file", 2),
        ("bind \"src/a\" \"/etc\"", "is a directory", 2),
        ("overlay \"/o\" lower=\"src/a\"", "not a directory", 2),
        ("mask \"/none\"", "nothing at", 2),
        ("tmpfs \"/proc/none\"", "nothing can be made in `/proc`", 2),
        ("dir \"/proc/none\"", "nothing can be made in `/proc`", 2),
        ("device \"/dev/none\"", "does not exist", 2),
        ("symlink \"/etc/passwd\" \"x\"", "exists already", 2),
        ("bind \"src\" \"/s\"\nbind \"out\" \"/s\"", "comes twice", 3),
    ];
    for who in Who::all() {
        for (mounts, words, line) in cases {
            let sbx = with(who, mounts, "echo ran");
            let ran = sbx.run();
            ran.refused(words);
            assert_eq!(ran.report["outcome"]["error"]["line"], line, "{mounts}: {ran:?}");
            assert_eq!(std::fs::read_dir(sbx.path("src")).unwrap().count(), 3, "{mounts} made something on the host");
        }
    }
}

#[test]
fn a_volume_is_kept_and_shared() {
    for who in Who::all() {
        let sbx = with(who, "volume \"cache\" \"/c\"", "cat /c/x 2>/dev/null; echo more >> /c/x");
        assert_eq!(sbx.run().ok(), "");
        assert_eq!(sbx.run().ok(), "more");
        let other = sbx
            .spec("user 1000 1000\nmounts { volume \"cache\" \"/elsewhere\"; }")
            .sh("cat /elsewhere/x; touch /elsewhere/z");
        assert_eq!(other.run().ok(), "more\nmore");
    }
}

#[test]
fn no_mount_gives_rights() {
    for who in Who::all() {
        let script = "cut -d' ' -f5,6 /proc/self/mountinfo | grep -v ' .*nosuid' ; mount -t tmpfs x /tmp 2>/dev/null && echo mounted; mknod /tmp/n c 1 3 2>/dev/null && echo node; true";
        for user in ["caller", "root"] {
            let sbx = with(
                who,
                "bind \"src\" \"/s\"; tmpfs \"/t\"; overlay \"/o\" lower=\"src\"; volume \"v\" \"/v\"",
                script,
            );
            let text = sbx.read("spec.kdl");
            let ran = sbx.spec(&format!("user {user}\n{text}")).run();
            assert_eq!(ran.ok(), "", "{who:?} {user}");
        }
    }
}

#[test]
fn dev_is_fresh_and_small() {
    for who in Who::all() {
        let ran = Sbx::new(who).sh("ls /dev; echo x > /dev/full").run();
        let names: Vec<&str> = ran.stdout.lines().collect();
        let expected = [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
        ];
        assert_eq!(names, expected);
        assert!(ran.stderr.contains("I/O error") || ran.stderr.contains("No space left"), "{ran:?}");
        Sbx::new(who).sh("echo out > /dev/stdout; head -c 4 /dev/zero | wc -c; test -c /dev/ptmx").run().ok();
    }
}

/// The host's own directories belong to root, an id that nobody is inside.
#[test]
fn mount_points_are_made_at_any_depth_of_the_host_s_system() {
    let cases = [
        (
            "tmpfs \"/usr/local/v\"",
            "echo x > /usr/local/v/y; cat /usr/local/v/y; ls -d /usr/local/bin",
            "x\n/usr/local/bin",
        ),
        (
            "bind \"src\" \"/usr/local/share/a/b\"",
            "cat /usr/local/share/a/b/a; ls -d /usr/local/share/man",
            "aaa\n/usr/local/share/man",
        ),
        ("bind \"src\" \"/opt/a/b\"", "cat /opt/a/b/a", "aaa"),
        ("file \"/etc/foo/bar.conf\" \"text\\n\"", "cat /etc/foo/bar.conf; grep -c ^root: /etc/passwd", "text\n1"),
        (
            "file \"/etc/ssl/certs/extra/own.pem\" \"text\\n\"",
            "cat /etc/ssl/certs/extra/own.pem; ls -d /etc/ssl/openssl.cnf",
            "text\n/etc/ssl/openssl.cnf",
        ),
        (
            "dir \"/usr/share/x/y\"; symlink \"/usr/lib/l\" \"x\"",
            "ls -d /usr/share/x/y; readlink /usr/lib/l",
            "/usr/share/x/y\nx",
        ),
        ("tmpfs \"/lib/v\"", "touch /usr/lib/v/y; ls /lib/v", "y"),
        (
            "tmpfs \"/usr/local/man/v\"",
            "ls -d /usr/local/share/man/v; readlink /usr/local/man",
            "/usr/local/share/man/v\nshare/man",
        ),
        (
            "file \"/etc/ssl/private/key.pem\" \"own\\n\"",
            "cat /etc/ssl/private/key.pem; ls -A /etc/ssl/private",
            "own\nkey.pem",
        ),
        ("overlay \"/usr/local/o\" lower=\"src\"", "cat /usr/local/o/a", "aaa"),
    ];
    for who in Who::all() {
        for (mounts, script, expected) in cases {
            let ran = with(who, mounts, script).run();
            assert_eq!((ran.code(), ran.stdout.trim_end()), (0, expected), "{who:?} {mounts}: {ran:?}");
            let write = with(
                who,
                mounts,
                "for d in /usr/local /usr/local/share /etc/ssl /etc/foo /usr/lib; do touch $d/written 2>/dev/null && echo $d; done; true",
            );
            assert_eq!(write.run().ok(), "", "{who:?} {mounts}");
        }
    }
}
