//! What a stranger found who held the program against its own words: nothing that is written
//! is ignored, nothing is claimed that is not so, and each refusal names its line and its cause.

use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who, skip};

fn errors_line(sbx: &Sbx, words: &str, line: u64) {
    let ran = sbx.run();
    ran.refused(words);
    assert_eq!(ran.report["outcome"]["error"]["line"], line, "{ran:?}");
}

#[test]
fn what_lies_in_a_view_can_be_masked() {
    let cases = [
        ("overlay \"/o\" lower=\"src\"; mask \"/o/a\"", "wc -c < /o/a", "0"),
        ("overlay \"/o\" lower=\"src\"; mask \"/o/sub\"", "ls -A /o/sub | wc -l", "0"),
        ("volume \"v\" \"/v\"; mask \"/v/kept\"", "wc -c < /v/kept", "0"),
        ("overlay \"/o\" lower=\"src\"; file \"/o/new/f\" \"x\"", "cat /o/new/f; cat /o/a", "xaaa"),
    ];
    for who in Who::all() {
        for (mounts, script, expected) in cases {
            let sbx = Sbx::new(who).dir("src").file("src/a", b"aaa\n").dir("src/sub").file("src/sub/b", b"b\n");
            let sbx = sbx.spec("mounts { volume \"v\" \"/v\"; }").sh("echo kept > /v/kept");
            sbx.run().ok();
            let sbx = sbx.spec(&format!("mounts {{ {mounts}; }}")).sh(script);
            assert_eq!(sbx.run().ok(), expected, "{who:?} {mounts}");
            assert_eq!(sbx.read("src/a"), "aaa\n");
        }
        let sbx = Sbx::new(who).dir("src").spec("mounts {\noverlay \"/o\" lower=\"src\"\nmask \"/o/none\"\n}");
        errors_line(&sbx.sh("echo ran"), "nothing at", 3);
    }
}

#[test]
fn a_writable_root_of_the_host_has_one_bound() {
    for who in Who::all() {
        let large = "rootfs \"host\" writable=\"ephemeral\" size=\"2G\"";
        let script = "mkdir /build && head -c 5M /dev/zero > /build/x && stat -c %s /build/x";
        for spec in [large, "rootfs \"host\" writable=\"ephemeral\""] {
            assert_eq!(Sbx::new(who).spec(spec).sh(script).run().ok(), "5242880", "{spec}");
        }
        let small = "rootfs \"host\" writable=\"ephemeral\"\nlimits { disk \"256K\" inodes=64; }";
        let fill = "head -c 200K /dev/zero > /big; head -c 200K /dev/zero > /usr/big; \
                    echo $(($(stat -c %s /big) + $(stat -c %s /usr/big)))";
        let ran = Sbx::new(who).spec(small).sh(fill).run();
        let total: u64 = ran.ok().parse().unwrap();
        assert!((200 << 10..=256 << 10).contains(&total), "{ran:?}");
        let many = "i=0; while touch /f$i 2>/dev/null; do i=$((i + 1)); done; echo $i";
        let ran = Sbx::new(who).spec(small).sh(many).run();
        assert!(ran.ok().parse::<u64>().unwrap() < 64, "{ran:?}");
    }
}

#[test]
fn a_bound_of_the_disk_holds_where_it_says() {
    if !has_rootfs() {
        return;
    }
    let fill = "head -c 1000000 /dev/zero > /tmp/x; stat -c %s /tmp/x";
    for who in Who::all() {
        for rootfs in ["host", "%/root\" writable=\"no"] {
            let spec = format!("rootfs \"{rootfs}\"\nlimits {{ disk \"64K\"; }}");
            let ran = Sbx::new(who).spec(&spec).sh(fill).run();
            assert_eq!(ran.ok(), "65536", "{rootfs}: {ran:?}");
            assert_eq!(ran.report["isolation"]["limits"][0]["by"], "tmpfs size of /tmp", "{ran:?}");
        }
        let ran = Sbx::new(who).spec("rootfs \"%/root\"\nlimits { disk \"64K\"; }").sh("true").run();
        assert_eq!(ran.report["isolation"]["limits"][0]["by"], "tmpfs size", "{ran:?}");
        // Nothing of sbx's is writable then, so nothing would be bounded.
        let sbx = Sbx::new(who)
            .dir("out")
            .sh("true")
            .spec("limits { disk \"64K\"; }\nmounts { bind \"out\" \"/tmp\" access=\"rw\"; }");
        errors_line(&sbx, "`disk`", 1);
    }
}

#[test]
fn hints_name_what_can_be_written() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("mounts { device \"/dev/nope\"; }").sh("true").run();
        ran.refused("`/dev/nope` does not exist");
        assert!(!ran.stderr.contains("optional"), "{ran:?}");
        let ran = Sbx::new(who).flags(&["--bind", "/nope:/x"]).sh("true").run();
        ran.refused("`/nope` does not exist");
        assert!(!ran.stderr.contains("optional"), "{ran:?}");
        let ran = Sbx::new(who).spec("mounts { bind \"/nope\" \"/x\"; }").sh("true").run();
        assert!(ran.stderr.contains("optional=#true"), "{ran:?}");
    }
}

#[test]
fn full_file_systems_are_told_as_what_they_are() {
    for who in Who::all() {
        let tiny = "rootfs \"host\" writable=\"ephemeral\"\nlimits { disk \"64K\" inodes=1; }";
        let ran = Sbx::new(who).spec(tiny).sh("true").run();
        ran.refused("");
        assert!(ran.stderr.contains("`inodes`") && !ran.stderr.contains("mount-max"), "{ran:?}");
        let dirs: String = (0..1100).map(|i| format!("dir \"/m/n{i}\"\n")).collect();
        let ran = Sbx::new(who).spec(&format!("mounts {{\n{dirs}}}")).sh("ls /m | wc -l").run();
        assert_eq!(ran.ok(), "1100");
    }
}

#[test]
fn processors_that_are_not_there_are_named() {
    let Some(who) = Who::root() else { return };
    if std::thread::available_parallelism().is_ok_and(|count| count.get() > 7000) {
        return skip("this machine has as many processors as the language allows");
    }
    let ran = Sbx::new(who).spec("limits {\ncpuset \"8000\"\n}").sh("true").run();
    ran.refused("cpuset");
    assert!(ran.stderr.contains("/sys/devices/system/cpu/online"), "{ran:?}");
    assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
}

#[test]
fn a_group_that_is_named_is_used_or_refused() {
    for who in Who::all() {
        for report in ["", "report \"none\"\n"] {
            let sbx = Sbx::new(who).spec(&format!("{report}limits {{ cgroup \"/nope\"; }}")).sh("echo ran");
            let ran = if report.is_empty() { sbx.run() } else { sbx.report(None).run() };
            assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{ran:?}");
            assert!(ran.stderr.contains("/nope"), "{ran:?}");
        }
    }
    let Some(who) = Who::root() else { return };
    let parent = format!("/sys/fs/cgroup/pids/sbx-it-parent-{}", std::process::id());
    if std::fs::create_dir(&parent).is_err() {
        return skip("no v1 group of the controller pids can be made");
    }
    let spec = format!("report \"none\"\nlimits {{ cgroup \"{parent}\"; }}");
    let ran = Sbx::new(who).spec(&spec).report(None).sh("cat /proc/1/cgroup /proc/self/cgroup | grep -c pids").run();
    std::fs::remove_dir(&parent).unwrap();
    assert_eq!(ran.code(), 0, "{ran:?}");
}

#[test]
fn what_would_be_ignored_is_refused() {
    let cases = [
        ("mounts {\ndir \"/usr\" mode=\"0700\"\n}", "`/usr` exists already", 2),
        ("mounts {\ndir \"/tmp\" mode=\"0700\"\n}", "`/tmp` exists already", 2),
        ("mounts {\nfile \"/a/b\" \"x\"\ndir \"/a\" mode=\"0700\"\n}", "`/a` exists already", 3),
        ("script \"true\"\nmounts {\nfile \"/run/sbx/script\" \"x\"\n}", "`/run/sbx/script`", 3),
        ("secret \"/a\" env=\"HOME\"", "secret", 1),
    ];
    for who in Who::all() {
        for (spec, words, line) in cases {
            errors_line(&Sbx::new(who).spec(spec).sh("echo ran"), words, line);
        }
        let fine = "mounts { dir \"/usr\"; dir \"/tmp\"; dir \"/a\" mode=\"0700\"; file \"/a/b\" \"x\"; }";
        assert_eq!(Sbx::new(who).spec(fine).sh("stat -c %a /a").run().ok(), "700");
    }
}

#[test]
fn devices_of_an_archive_are_missed_aloud() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("rootfs \"a.tar\"\nmounts { bind \"%/root/bin\" \"/bin\"; }").cmd(&["/bin/true"]);
        let mut builder = tar::Builder::new(std::fs::File::create(sbx.path("a.tar")).unwrap());
        for name in ["dev/null", "srv/null"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Char);
            header.set_size(0);
            header.set_mode(0o666);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            builder.append_data(&mut header, name, std::io::empty()).unwrap();
        }
        builder.into_inner().unwrap();
        for _ in 0..2 {
            let ran = sbx.run();
            ran.ok();
            assert_eq!(ran.report["warnings"].as_array().unwrap().len(), 1, "{ran:?}");
            assert!(ran.stderr.contains("1 devices of the archive"), "{ran:?}");
        }
    }
}

/// Its files stay those of the host's users, who are nobody inside: what root keeps to itself stays so.
#[test]
fn a_writable_root_of_the_host_gives_no_rights_over_its_files() {
    for who in Who::all() {
        for user in ["user \"root\"", "user \"root\" ids=\"range\"", "user \"caller\""] {
            if who == Who::Nobody && user.contains("range") {
                continue;
            }
            let script = "echo x > /usr/x && mkdir /new /usr/local/new 2>/dev/null; \
                          for f in /usr/bin/x /etc/passwd; do (: >> $f) 2>/dev/null && echo $f; done; ls -d /new; cat /usr/x";
            let sbx = Sbx::new(who).spec(&format!("rootfs \"host\" writable=\"ephemeral\"\n{user}")).sh(script);
            assert_eq!(sbx.run().ok(), "/new\nx", "{who:?} {user}");
        }
    }
}

#[test]
fn lines_of_dos_are_drawn_as_lines() {
    let ran = Sbx::new(Who::Nobody).spec("hostname \"h\"\r\nworkdir \"x\"\r\n").cmd(&["true"]).run();
    ran.refused("workdir");
    assert!(!ran.stderr.contains("\\r"), "{ran:?}");
}
