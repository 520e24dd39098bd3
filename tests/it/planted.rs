//! Paths that a spec names and a command of an earlier run has had its hands on: links that it
//! planted lead nowhere, and what is not what it should be is refused before anything is made.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, Instant};

use crate::fixture::{self, has_rootfs};
use crate::harness::{NOBODY, Sbx, Who, skip};

const WRITABLE: &str = "bind \"rw\" \"/w\" access=\"rw\"";

/// A directory that commands write to, with links in it to what they must not see, and two aliases of it.
fn planted(who: Who) -> Sbx {
    let sbx = Sbx::new(who).dir("rw").dir("rw/sub").dir("d").dir("hidden").dir("hidden/up");
    let sbx = sbx.file("hidden/key", b"hunter2\n").file("rw/sub/plain", b"plain\n").file("d/f", b"outside\n");
    let link = |target: std::path::PathBuf, name: &str| {
        symlink(target, sbx.path(name)).unwrap();
        let owner = nix::unistd::geteuid().is_root().then_some(if who == Who::Root { 0 } else { NOBODY });
        std::os::unix::fs::lchown(sbx.path(name), owner, owner).unwrap();
    };
    link(sbx.path("hidden/key"), "rw/key");
    link(sbx.path("hidden"), "rw/a");
    link(sbx.path("hidden/up"), "rw/up");
    link(fixture::of(who).join("root"), "rw/img");
    link(fixture::of(who).join("root.tar"), "rw/p.tar");
    link("rw".into(), "alias");
    link("alias/a/key".into(), "far");
    sbx
}

fn is_refused(sbx: &Sbx, what: &str) {
    let ran = sbx.run();
    assert_eq!((ran.code(), ran.stdout.as_str()), (125, ""), "{what}: {ran:?}");
    assert!(ran.stderr.contains("ELOOP"), "{what}: {ran:?}");
    assert_eq!(std::fs::read_dir(sbx.path("hidden/up")).unwrap().count(), 0, "{what} made something");
}

#[test]
fn no_path_of_a_spec_follows_a_planted_link() {
    let places = ["rw/a", "d/../rw/a", "alias/a", "@/alias/sub/../a", "d/../alias/./a"];
    for who in Who::all() {
        let sbx = planted(who).cmd(&["sh", "-c", "cat /k /f /f/key /o/key; cat"]);
        let mut cases = vec![
            format!("mounts {{ {WRITABLE}; bind \"far\" \"/f\"; }}"),
            format!("mounts {{ {WRITABLE}; }}\nsecret \"/k\" file=\"rw/key\""),
            format!("mounts {{ {WRITABLE}; }}\nsecret \"/k\" file=\"far\""),
            format!("mounts {{ {WRITABLE}; }}\nstdin \"alias/key\""),
        ];
        for place in places {
            cases.extend([
                format!("mounts {{ {WRITABLE}; bind \"{place}\" \"/f\"; }}"),
                format!("mounts {{ {WRITABLE}; bind \"{place}/key\" \"/f\"; }}"),
                format!("mounts {{ {WRITABLE}; overlay \"/o\" lower=\"{place}\"; }}"),
                format!("mounts {{ {WRITABLE}; }}\nsecret \"/k\" file=\"{place}/key\""),
                format!("mounts {{ {WRITABLE}; }}\nstdin \"{place}/key\""),
            ]);
        }
        if has_rootfs() {
            for root in ["dir:rw/img", "alias/img", "tar:rw/p.tar", "d/../rw/p.tar"] {
                cases.push(format!("rootfs \"{root}\"\nmounts {{ {WRITABLE}; }}"));
            }
            for upper in ["rw/up", "alias/up", "d/../rw/up/deeper"] {
                let rootfs = format!("rootfs \"%/root\" writable=\"persist\" upper=\"{upper}\"");
                cases.push(format!("{rootfs}\nmounts {{ {WRITABLE}; }}"));
            }
        }
        let mut sbx = sbx;
        for spec in cases {
            sbx = sbx.spec(&spec);
            is_refused(&sbx, &format!("{who:?} {spec}"));
        }
    }
}

#[test]
fn a_report_does_not_go_through_a_planted_link() {
    for who in Who::all() {
        for report in ["rw/a/rep.json", "alias/a/rep.json", "@/d/../rw/a/rep.json", "far"] {
            let sbx = planted(who).spec(&format!("mounts {{ {WRITABLE}; }}")).sh("echo ran");
            let report = report.replace('@', &sbx.path("").display().to_string());
            let sbx = sbx.report(Some(&report));
            is_refused(&sbx, &report);
            assert!(!sbx.path("hidden/rep.json").exists(), "{report}");
            assert_eq!(sbx.read("hidden/key"), "hunter2\n", "{report}");
        }
        let sbx = planted(who).spec(&format!("mounts {{ {WRITABLE}; }}")).sh("echo ran").report(Some("alias/new.json"));
        assert_eq!(sbx.run().code(), 0);
        assert!(sbx.read("rw/new.json").contains("sbx.report/1"));
    }
}

#[test]
fn what_is_no_link_is_found_by_any_name() {
    for who in Who::all() {
        let mut sbx = planted(who).sh("cat /k /f /f/plain /o/plain 2>/dev/null; cat");
        let cases = [
            (format!("mounts {{ {WRITABLE}; bind \"alias/sub\" \"/f\"; }}"), "plain"),
            (format!("mounts {{ {WRITABLE}; bind \"d/../rw/sub/plain\" \"/f\"; }}"), "plain"),
            (format!("mounts {{ {WRITABLE}; bind \"rw/sub/../../d/f\" \"/f\"; }}"), "outside"),
            (format!("mounts {{ {WRITABLE}; bind \"alias/../d/f\" \"/f\"; }}"), "outside"),
            (format!("mounts {{ {WRITABLE}; overlay \"/o\" lower=\"alias/sub\"; }}"), "plain"),
            (format!("mounts {{ {WRITABLE}; }}\nsecret \"/k\" file=\"alias/sub/plain\"\nuser root"), "plain"),
            (format!("mounts {{ {WRITABLE}; }}\nstdin \"alias/sub/plain\""), "plain"),
            ("mounts { bind \"alias/a/key\" \"/f\"; }".to_owned(), "hunter2"),
        ];
        for (spec, expected) in cases {
            sbx = sbx.spec(&spec);
            let ran = sbx.run();
            assert_eq!((ran.code(), ran.stdout.trim_end()), (0, expected), "{who:?} {spec}: {ran:?}");
        }
    }
}

#[test]
fn a_volume_is_a_place_that_commands_write_to() {
    for who in Who::all() {
        let sbx = planted(who).spec("mounts { volume \"v\" \"/v\"; }").sh("ln -s \"$1\" /v/a; ln -s \"$1\" /v/k");
        let hidden = sbx.path("hidden").display().to_string();
        let plant = sbx.cmd(&["sh", "-c", "ln -s $0 /v/a", &hidden]);
        assert_eq!(plant.run().code(), 0);
        let stdin = "mounts { volume \"v\" \"/v\"; }\nstdin \"store/volumes/v/a/key\"";
        is_refused(&plant.spec(stdin).cmd(&["cat"]), "volume");
    }
}

#[test]
fn a_kept_layer_is_not_where_a_link_says() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for name in ["upper", "work"] {
            let sbx = planted(who).dir("rw/kept").dir("kept");
            symlink(sbx.path("hidden/up"), sbx.path("rw/kept").join(name)).unwrap();
            symlink(sbx.path("hidden/up"), sbx.path("kept").join(name)).unwrap();
            let spec = format!("writable=\"persist\" upper=\"rw/kept\"\nmounts {{ {WRITABLE}; }}");
            let sbx = sbx.spec(&format!("rootfs \"%/root\" {spec}")).sh("echo > /etc/evil");
            is_refused(&sbx, name);
            let sbx = sbx.spec("rootfs \"%/root\" writable=\"persist\" upper=\"kept\"");
            is_refused(&sbx, name);
        }
        let spec = format!("rootfs \"%/root\" writable=\"persist\" upper=\"alias/sub/kept\"\nmounts {{ {WRITABLE}; }}");
        let sbx =
            planted(who).spec(&spec).sh("cat /etc/new; ln -s canary /etc/link; echo new > /etc/new; cat /etc/link");
        assert_eq!(sbx.run().stdout, "untouched\n");
        assert_eq!(sbx.run().stdout, "new\nuntouched\n");
    }
}

#[test]
fn a_secret_is_a_regular_file_of_bounded_size() {
    for who in Who::all() {
        let big = vec![b'x'; (1 << 20) + 1];
        let sbx = Sbx::new(who).dir("d").file("big", &big).file("fits", &big[1..]);
        nix::unistd::mkfifo(&sbx.path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        let mut sbx = sbx.sh("wc -c < /k");
        let cases = [
            ("/dev/zero", "not a regular file"),
            ("fifo", "not a regular file"),
            ("d", "not a regular file"),
            ("/dev/stdin", "1 MiB"),
            ("big", "1 MiB"),
            ("none", "ENOENT"),
        ];
        for (file, words) in cases {
            let started = Instant::now();
            sbx = sbx.spec(&format!("\nsecret \"/k\" file=\"{file}\"")).stdin(&big);
            let ran = sbx.run();
            ran.refused(words);
            assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
            assert!(started.elapsed() < Duration::from_secs(5), "{file}");
        }
        let sbx = sbx.spec("user root\nsecret \"/k\" file=\"fits\"");
        assert_eq!(sbx.run().ok(), "1048576");
    }
}

#[test]
fn a_device_is_a_device() {
    let file = std::path::PathBuf::from(format!("/dev/shm/sbx-it-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    for who in Who::all() {
        for path in ["/dev/shm", "/dev/pts", "/dev/fd", file.to_str().unwrap()] {
            let ran = Sbx::new(who).spec(&format!("\nmounts {{ device \"{path}\"; }}")).sh("echo ran").run();
            ran.refused("no device");
            assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{path}: {ran:?}");
        }
        let ran = Sbx::new(who).spec("mounts { device \"/dev/full\"; }").sh("test -c /dev/full && echo yes").run();
        assert_eq!(ran.ok(), "yes");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_kept_layer_and_its_source_lie_apart() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("out").dir("out/img").dir("out/img/etc").dir("up");
        symlink("out/img", sbx.path("alias")).unwrap();
        let mut sbx = sbx.cmd(&["true"]);
        for upper in ["out/img", "out/img/etc", "out/img/new/er", "out", "alias", "alias/new", "out/none/../img"] {
            for source in ["out/img", "alias"] {
                let rootfs = format!("\nrootfs \"{source}\" writable=\"persist\" upper=\"{upper}\"");
                sbx = sbx.spec(&rootfs);
                let ran = sbx.run();
                ran.refused("apart");
                assert_eq!(ran.report["outcome"]["error"]["line"], 2, "{ran:?}");
                let there = |name: &str| std::fs::read_dir(sbx.path(name)).unwrap().count();
                assert_eq!((there("out"), there("out/img"), there("out/img/etc")), (1, 1, 0), "{rootfs}");
            }
        }
    }
}

#[test]
fn nothing_is_made_for_a_run_that_is_refused() {
    let refused = [
        "rootfs host writable=persist upper=nope",
        "rootfs scratch writable=persist upper=nope",
        "rootfs \"img\" writable=persist upper=nope\nnamespaces user pid net",
        "rootfs \"img\" writable=persist upper=nope\nmounts { bind none \"/x\"; }",
        "rootfs \"img\" writable=persist upper=nope\nuser nobody-of-that-name",
        "mounts { volume v \"/v\"; bind none \"/x\"; }",
        "mounts { volume v \"/v\"; }\nsecret A env=NOT_SET_ANYWHERE",
    ];
    for who in Who::all() {
        let mut sbx = Sbx::new(who).dir("img").cmd(&["true"]);
        for spec in refused {
            sbx = sbx.spec(spec);
            let ran = sbx.run();
            assert_eq!(ran.code(), 125, "{spec}: {ran:?}");
            assert!(!sbx.path("nope").exists() && !sbx.path("store").exists(), "{spec} made something");
        }
    }
}

#[test]
fn the_working_directory_is_not_behind_a_descriptor() {
    let below = ["/proc/self/cwd", "/proc/self/root/etc", "/proc/thread-self/cwd", "/proc/1/root", "/dev/fd/3"];
    let numbered = (3..80).map(|number| format!("/proc/self/fd/{number}"));
    let paths: Vec<String> = below.into_iter().map(str::to_owned).chain(numbered).collect();
    for who in Who::all() {
        let mut sbx = Sbx::new(who).dir("src").file("src/x", b"").sh("pwd; ls");
        for path in &paths {
            sbx = sbx.spec(&format!("workdir \"{path}\"\nmounts {{ overlay \"/o\" lower=\"src\"; }}"));
            sbx.run().refused("working directory");
        }
        if has_rootfs() {
            let copy =
                Sbx::new(who).dir("img").dir("img/bin").dir("img/proc").dir("img/dev").dir("img/tmp").dir("img/run");
            for number in [3, 5, 6, 7, 8, 9, 10, 11, 12] {
                symlink(format!("/proc/self/fd/{number}"), copy.path(&format!("img/l{number}"))).unwrap();
            }
            let mut sbx = copy.cmd(&["/bin/true"]);
            for number in [3, 5, 6, 7, 8, 9, 10, 11, 12] {
                sbx = sbx.spec(&format!("rootfs \"img\"\nworkdir \"/l{number}\""));
                sbx.run().refused("working directory");
            }
        }
        let ran = Sbx::new(who).spec("workdir \"/proc/self/task\"").sh("true").run();
        assert_eq!(ran.code(), 0, "a plain link of procfs is a link: {ran:?}");
    }
}

/// The kernel answers EAGAIN for a way with `..` in it while anything on the machine is moved (openat2(2)).
#[test]
fn a_way_is_tried_again_while_the_machine_changes() {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        skip("/usr/bin/strace, which answers in place of the kernel, is not installed");
        return;
    }
    let busy = "exec strace -qq -o /dev/null -e trace=openat2 -e inject=openat2:error=EAGAIN:when=1..9 \"$@\"";
    for who in Who::all() {
        let spec = format!("mounts {{ {WRITABLE}; }}\nstdin \"rw/sub/../sub/plain\"");
        let ran = planted(who).spec(&spec).through(busy).cmd(&["cat"]).run();
        assert_eq!(ran.ok(), "plain", "{who:?}");
    }
}
