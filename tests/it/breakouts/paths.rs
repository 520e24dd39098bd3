//! Class A: paths that an image or an earlier command chose, resolved while the host is in
//! reach. Nothing of an image leads out, and what cannot be made inside is refused.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::breakouts::{BIN, Canary, clear, hostile, plant};
use crate::fixture::has_rootfs;
use crate::harness::{Ran, Sbx, Who, skip};

/// Ways out of an image, as the target of a link in it; `@` is the canary on the host.
const WAYS_OUT: [&str; 9] = [
    "@",
    "../../../../../../../..@",
    "/proc/self/cwd/canary",
    "/proc/self/root@",
    "/proc/1/root@",
    "/proc/self/fd/3",
    "/oldroot@",
    "..",
    "/",
];

fn ways_out(sbx: &Sbx) -> Vec<String> {
    let canary = sbx.path("canary").display().to_string();
    WAYS_OUT.iter().map(|way| way.replace('@', &canary)).collect()
}

/// A run may be refused; it may not do anything else that is not a run.
#[track_caller]
fn is_run_or_refusal(ran: &Ran, what: &str) -> bool {
    assert!(matches!(ran.code(), 0 | 125), "{what}: {ran:?}");
    assert_eq!(ran.code() == 125, ran.kind() == "setup_failed", "{what}: {ran:?}");
    ran.code() == 0
}

/// Looks wherever a procfs could have come to lie, whether it tells of the host or can be written. `/..` is what
/// covers the root, if anything does.
const LOOK_AT_PROC: &str = "for d in / /.. /proc /bad /dev /tmp /run /work; do
    for f in interrupts kallsyms keys; do
        [ \"$(head -c 1 $d/$f 2>/dev/null | wc -c)\" = 0 ] || echo $d/$f is shown
    done
    if (: > $d/sys/kernel/core_pattern) 2>/dev/null; then echo $d/sys can be written; fi
    if [ $d = /.. ] && [ -e $d/self ]; then echo the root is covered; fi
done; echo looked";

/// CVE-2019-16884, CVE-2019-19921, and CVE-2023-27561 and CVE-2023-28642, by which they came back.
/// Puts something in the way.
type Plant = fn(&Sbx, &str);

#[test]
fn cve_2019_16884_proc_of_the_image_is_a_link() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = hostile(who).spec(&format!("rootfs \"img\"\nlandlock none\nmounts {{ {BIN}; }}"));
        let mut sbx = sbx.sh(LOOK_AT_PROC);
        let canary = Canary::of(&sbx.path("canary"));
        let mut targets = ways_out(&sbx);
        targets.extend(["/bad", "bad", "/dev", "/tmp", "proc", "/proc"].map(str::to_owned));
        for name in ["proc", "sys"] {
            for target in &targets {
                plant(&sbx, &format!("img/{name}"), target);
                let (ran, what) = (sbx.run(), format!("{who:?} /{name} -> {target}"));
                if is_run_or_refusal(&ran, &what) {
                    assert_eq!(ran.ok(), "looked", "{what}");
                }
                canary.check(&what);
            }
            clear(&sbx, &format!("img/{name}"));
            std::fs::create_dir(sbx.path("img").join(name)).unwrap();
        }
        clear(&sbx, "img/proc");
        sbx = sbx.file("img/proc", b"");
        sbx.run().refused("`/proc` is a file");
        clear(&sbx, "img/proc");
        nix::unistd::mkfifo(&sbx.path("img/proc"), Mode::S_IRWXU).unwrap();
        sbx.run().refused("`/proc` is a file");
        clear(&sbx, "img/proc");
        assert_eq!(sbx.run().ok(), "looked", "a mount point that is missing is made");
        canary.check("no link at all");
    }
}

/// The masks are of the sandbox's own null, whatever the image has at that name.
#[test]
fn cve_2025_31133_null_of_the_image_is_a_link() {
    if !has_rootfs() {
        return;
    }
    let masked = "stat -c %F:%t:%T /dev/null; wc -c < /etc/key; ls -A /etc/keys | wc -l; (: > /etc/key) 2>/dev/null; cat /etc/key";
    let expected = "character special file:1:3\n0\n0";
    for who in Who::all() {
        let mounts = format!("mounts {{ {BIN}; mask \"/etc/key\"; mask \"/etc/keys\"; }}");
        let sbx = hostile(who).dir("img/etc/keys").file("img/etc/key", b"hunter2").file("img/etc/keys/k", b"hunter2");
        let mut sbx = sbx.spec(&format!("rootfs \"img\"\nlandlock none\n{mounts}"));
        let canary = Canary::of(&sbx.path("canary"));
        let mut nulls = ways_out(&sbx);
        nulls.extend(["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/etc/key"].map(str::to_owned));
        for target in &nulls {
            plant(&sbx, "img/dev/null", target);
            for script in [masked, LOOK_AT_PROC] {
                sbx = sbx.sh(script);
                let ran = sbx.run();
                assert_eq!(ran.ok(), if script == masked { expected } else { "looked" }, "{who:?} {target}");
            }
            canary.check(target);
        }
        for target in ["/proc", "/bad", "/proc/self/fd", "/tmp"] {
            plant(&sbx, "img/dev", target);
            for script in [masked, LOOK_AT_PROC] {
                sbx = sbx.sh(script);
                let ran = sbx.run();
                if is_run_or_refusal(&ran, target) {
                    // Not everywhere can devices be found again; what is masked is.
                    assert!(
                        ran.stdout.ends_with(if script == masked { "0\n0\n" } else { "looked\n" }),
                        "{who:?} {target}"
                    );
                }
            }
            canary.check(target);
        }
    }
}

/// Once the image can be seen, sbx opens no file of procfs for writing by a path that the image could bend.
#[test]
fn cve_2025_52881_no_write_to_proc_after_the_image_is_there() {
    if !Path::new("/usr/bin/strace").exists() || !has_rootfs() {
        return skip("no strace(1)");
    }
    let rests = [
        "",
        "user 7 7",
        "capabilities SYS_ADMIN\nseccomp none",
        "namespaces user mount net pid time { time boottime=\"1h\"; }",
    ];
    for who in Who::all() {
        for rest in rests {
            let sbx = hostile(who).spec(&format!("rootfs \"img\"\n{rest}\nmounts {{ {BIN}; }}")).sh("echo ran");
            let trace = sbx.path("canary/trace").display().to_string();
            let sbx =
                sbx.through(&format!("exec strace -f -qq -o {trace} -e trace=open,openat,openat2,pivot_root \"$@\""));
            assert_eq!(sbx.run().ok(), "ran", "{rest}");
            let trace = sbx.read("canary/trace");
            let (mut pivoted, mut seen) = (false, 0);
            for line in trace.lines() {
                pivoted |= line.contains("pivot_root(");
                let writes = ["O_WRONLY", "O_RDWR"].iter().any(|word| line.contains(word));
                if writes && line.contains("\"/proc") {
                    seen += 1;
                    assert!(!pivoted, "{who:?} {rest}: {line}");
                }
            }
            assert!(pivoted && (seen > 0 || who == Who::Root), "nothing is seen:\n{trace}");
        }
    }
}

const DEVICES: [&str; 14] = [
    "null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "fd", "stdin", "stdout", "shm", "pts",
    "mqueue",
];

/// CVE-2026-41579 of runc, CVE-2026-47766, CVE-2026-88264 and CVE-2026-88265 of crun: what the image has in its
/// `/dev` is neither opened nor removed nor given away.
#[test]
fn cve_2026_41579_dev_of_the_image_leads_out() {
    if !has_rootfs() {
        return;
    }
    let look = "echo x > /dev/null && stat -c %t:%T /dev/null /dev/zero /dev/full /dev/random /dev/urandom && \
                for l in fd stdin ptmx; do readlink /dev/$l; done && head -c 1 /dev/zero | wc -c; touch /dev/shm/x && echo made";
    let expected = "1:3\n1:5\n1:7\n1:8\n1:9\n/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n1\nmade";
    for who in Who::all() {
        let mut sbx = hostile(who).spec(&format!("rootfs \"img\"\nmounts {{ {BIN}; }}")).sh(look);
        let canary = Canary::of(&sbx.path("canary"));
        for target in ways_out(&sbx) {
            plant(&sbx, "img/dev", &target);
            let ran = sbx.run();
            if is_run_or_refusal(&ran, &target) {
                assert_eq!(ran.ok(), expected, "{who:?} /dev -> {target}");
            }
            canary.check(&target);
        }
        let kinds: [(&str, Plant); 5] = [
            ("link", |sbx, name| {
                plant(sbx, &format!("img/dev/{name}"), &sbx.path("canary").join(name).display().to_string())
            }),
            ("link to a file", |sbx, name| plant(sbx, &format!("img/dev/{name}"), "/proc/self/cwd/canary/x/file")),
            ("fifo", |sbx, name| nix::unistd::mkfifo(&sbx.path("img/dev").join(name), Mode::S_IRWXU).unwrap()),
            ("directory", |sbx, name| std::fs::create_dir(sbx.path("img/dev").join(name)).unwrap()),
            ("file", |sbx, name| std::fs::write(sbx.path("img/dev").join(name), "").unwrap()),
        ];
        for (kind, make) in kinds {
            clear(&sbx, "img/dev");
            sbx = sbx.dir("img/dev");
            for name in DEVICES {
                make(&sbx, name);
            }
            assert_eq!(sbx.run().ok(), expected, "{who:?} {kind}");
            canary.check(kind);
        }
    }
}

/// A parent of a mount point is a link out of the image: for each kind of mount, and for the base.
#[test]
fn cve_2026_87766_a_parent_of_a_mount_point_leads_out() {
    if !has_rootfs() {
        return;
    }
    let kinds = [
        "dir \"/a/new\"",
        "file \"/a/new\" \"x\"",
        "tmpfs \"/a/new\"",
        "tmpfs \"/a/x\"",
        "bind \"src\" \"/a/new/er\"",
        "bind \"src/f\" \"/a/file\" access=rw",
        "overlay \"/a/new\" lower=\"src\"",
        "symlink \"/a/new\" \"x\"",
        "volume v \"/a/new\"",
        "mask \"/a/x\"",
    ];
    for who in Who::all() {
        let mut sbx = hostile(who).sh("echo ran");
        let (canary, src) = (Canary::of(&sbx.path("canary")), Canary::of(&sbx.path("src")));
        for (number, target) in ways_out(&sbx).into_iter().enumerate() {
            plant(&sbx, "img/a", &target);
            for (turn, writable) in ["no", "ephemeral"].into_iter().enumerate() {
                let each = kinds.map(|kind| format!("mounts {{ {BIN}; {kind}; }}"));
                let rests = each.into_iter().chain([format!("workdir \"/a/x\"\nmounts {{ {BIN}; }}")]);
                // Each fourth in turn: all of them together take too long.
                for rest in rests.skip((2 * turn + number) % 4).step_by(4) {
                    sbx = sbx.spec(&format!("rootfs \"img\" writable={writable}\n{rest}"));
                    let what = format!("{who:?} {target} {writable} {rest}");
                    is_run_or_refusal(&sbx.run(), &what);
                    canary.check(&what);
                    src.check(&what);
                }
            }
            assert!(!sbx.path("img/new").exists() && !Path::new("/new").exists(), "{target}");
        }
        for name in ["tmp", "run", "etc"] {
            for target in ways_out(&sbx) {
                plant(&sbx, &format!("img/{name}"), &target);
                sbx = sbx.spec(&format!("rootfs \"img\"\nmounts {{ {BIN}; file \"/etc/f\" \"x\"; }}"));
                let what = format!("{who:?} /{name} -> {target}");
                is_run_or_refusal(&sbx.run(), &what);
                canary.check(&what);
            }
            clear(&sbx, &format!("img/{name}"));
            std::fs::create_dir(sbx.path("img").join(name)).unwrap();
        }
    }
}

/// What a mask or a mount point lies on is below the root: one that a link makes the root itself covers nothing.
#[test]
fn a_mount_that_a_link_puts_on_the_root_is_refused() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let mut sbx = hostile(who).sh("echo ran");
        for target in ["/", ".", "work/..", "/proc/../.."] {
            plant(&sbx, "img/a", target);
            for kind in ["mask \"/a\"", "tmpfs \"/a\"", "bind \"src\" \"/a\"", "overlay \"/a\" lower=\"src\""] {
                for writable in ["no", "ephemeral"] {
                    sbx = sbx.spec(&format!("rootfs \"img\" writable={writable}\nmounts {{ {BIN}; {kind}; }}"));
                    let ran = sbx.run();
                    ran.refused("");
                    let said = ["on its root", "EROFS", "cannot mount overlay"];
                    assert!(said.iter().any(|words| ran.stderr.contains(words)), "{ran:?}");
                }
            }
        }
    }
}

#[test]
fn cve_2026_55686_the_working_directory_leads_out() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let mut sbx = hostile(who).sh("pwd; ls -A | sort; touch made 2>/dev/null");
        let canary = Canary::of(&sbx.path("canary"));
        for target in ways_out(&sbx) {
            plant(&sbx, "img/l", &target);
            for path in ["/l", "/l/x", "/l/new", "/l/../canary", "/work/../l/x"] {
                sbx = sbx.spec(&format!("rootfs \"img\"\nworkdir \"{path}\"\nmounts {{ {BIN}; tmpfs \"/t\"; }}"));
                let (ran, what) = (sbx.run(), format!("{who:?} {path} {target}"));
                assert!(!ran.stdout.contains("ptmx") || ran.stdout.starts_with("/dev"), "{what}: {ran:?}");
                assert!(!ran.stdout.contains("canary"), "{what}: {ran:?}");
                canary.check(&what);
            }
        }
        sbx = sbx.spec(&format!("rootfs \"img\"\nworkdir \"/missing/dir\"\nmounts {{ {BIN}; }}"));
        sbx.run().refused("working directory");
        assert!(!sbx.path("img/missing").exists());
        sbx = sbx.spec(&format!("rootfs \"img\"\nworkdir \"/t/d\"\nmounts {{ {BIN}; tmpfs \"/t\"; dir \"/t/d\"; }}"));
        assert_eq!(sbx.run().ok(), "/t/d");
    }
}

/// A source inside of what an earlier run could write to, which that run made a link.
#[test]
fn cve_2024_42472_a_command_makes_a_source_of_the_next_run_a_link() {
    for who in Who::all() {
        let first = "mounts { bind \"rw\" \"/w\" access=rw; }";
        let next = "mounts { bind \"rw\" \"/w\" access=rw; bind \"rw/cache\" \"/cache\" access=rw; }";
        let sbx = Sbx::new(who).dir("canary").file("canary/key", b"hunter2").dir("rw").dir("rw/cache").spec(next);
        let sbx = sbx.sh("cat /cache/key 2>/dev/null; touch /cache/x");
        assert_eq!(sbx.run().ok(), "", "a directory is a source");
        let canary = Canary::of(&sbx.path("canary"));
        let swap = format!("rm -r /w/cache; ln -s {} /w/cache", sbx.path("canary").display());
        let sbx = sbx.spec(first).sh(&swap);
        sbx.run().ok();
        let sbx = sbx.spec(next).sh("cat /cache/key; touch /cache/planted");
        sbx.run().refused("ELOOP");
        canary.check("a source");
    }
}

/// CVE-2024-1753 of buildah and its kin: where a source comes from is the host's business alone, links of the host
/// included (bubblewrap broke on those when it closed CVE-2026-87766).
#[test]
fn cve_2024_1753_the_image_has_no_say_in_where_sources_are() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let sbx = hostile(who).file("canary/f", b"wrong\n").sh("cat /m/f /n");
        plant(&sbx, "via", "src");
        let source = sbx.path("src").display().to_string();
        // The same path inside of the image is a link to something else.
        let above = sbx.path("img").join(source.trim_start_matches('/'));
        std::fs::create_dir_all(above.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(sbx.path("canary"), &above).unwrap();
        let sbx =
            sbx.spec(&format!("rootfs \"img\"\nmounts {{ {BIN}; bind \"{source}\" \"/m\"; bind \"via/f\" \"/n\"; }}"));
        assert_eq!(sbx.run().ok(), "source\nsource", "{who:?}");
    }
}

/// CVE-2024-9676 and CVE-2026-47262: files of the image that sbx itself reads.
#[test]
fn cve_2024_9676_passwd_and_group_of_the_image_are_bounded() {
    if !has_rootfs() {
        return;
    }
    const MEMBERS: usize = 1_000_000;
    for who in Who::all() {
        let sbx = hostile(who)
            .spec(&format!("rootfs \"img\"\nuser ann\nmounts {{ {BIN}; }}"))
            .sh("grep ^[UG]id: /proc/self/status");
        let canary = Canary::of(&sbx.path("canary"));
        let good = "root:x:0:0::/:/bin/sh\nann:x:7:8::/:/bin/sh\n";
        let make = |file: &str, kind: &str| {
            let path = sbx.path("img/etc").join(file);
            match kind {
                "fifo" => nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o644)).unwrap(),
                "sparse" => std::fs::File::create(&path).unwrap().set_len(2 << 30).unwrap(),
                "line" => std::fs::write(&path, format!("ann:x:8:{}ann\n", "a,".repeat(MEMBERS))).unwrap(),
                "directory" => std::fs::create_dir(&path).unwrap(),
                target => std::os::unix::fs::symlink(target, &path).unwrap(),
            }
        };
        let out = sbx.path("canary/null").display().to_string();
        for kind in ["/dev/zero", "/proc/self/fd/0", &out, "passwd", "fifo", "sparse", "line", "directory"] {
            for file in ["passwd", "group"] {
                clear(&sbx, "img/etc/passwd");
                clear(&sbx, "img/etc/group");
                std::fs::write(sbx.path("img/etc/passwd"), good).unwrap();
                clear(&sbx, &format!("img/etc/{file}"));
                make(file, kind);
                let begin = Instant::now();
                let ran = sbx.run();
                // A second, on a machine that does nothing else.
                assert!(begin.elapsed() < Duration::from_secs(5), "{file} {kind}: {:?}", begin.elapsed());
                assert_eq!(ran.code(), if file == "passwd" { 125 } else { 0 }, "{who:?} {file} {kind}: {ran:?}");
                assert!(file == "group" || ran.stderr.contains("passwd"), "{kind}: {ran:?}");
                assert!(file == "passwd" || ran.stdout == "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\n", "{kind}: {ran:?}");
                canary.check(kind);
            }
        }
    }
}

/// CVE-2019-14271 and CVE-2026-41567 of docker: no code of an image runs with the rights of the runner. sbx needs no
/// loader, and executes nothing before the command.
#[test]
fn cve_2019_14271_nothing_of_an_image_runs_outside() {
    const INTERPRETER: u32 = 3;
    let elf = std::fs::read(crate::fixture::binary()).unwrap();
    let word = |at: usize| u16::from_le_bytes([elf[at], elf[at + 1]]);
    let long = |at: usize| u32::from_le_bytes([elf[at], elf[at + 1], elf[at + 2], elf[at + 3]]);
    let (table, size, count) = (usize::try_from(long(32)).unwrap(), usize::from(word(54)), usize::from(word(56)));
    let kinds: Vec<u32> = (0..count).map(|number| long(table + number * size)).collect();
    assert!(kinds.contains(&1), "the headers are not seen: {kinds:?}");
    assert!(!kinds.contains(&INTERPRETER), "sbx wants a loader");
    if !Path::new("/usr/bin/strace").exists() || !has_rootfs() {
        return skip("no strace(1)");
    }
    for who in Who::all() {
        for source in ["img", "%/root.tar.xz", "%/root.tar.zst", "%/root.tar.gz"] {
            let mounts = if source == "img" { format!("mounts {{ {BIN}; }}") } else { String::new() };
            let sbx = hostile(who).spec(&format!("rootfs \"{source}\"\nuser 0 0\n{mounts}")).cmd(&["/bin/true"]);
            let sbx = sbx.dir("img/lib").file("img/lib/libnss_files.so.2", b"evil").file("img/bin/xz", b"evil");
            let trace = sbx.path("canary/trace").display().to_string();
            let sbx = sbx.through(&format!("exec strace -f -qq -o {trace} -e trace=execve,execveat \"$@\""));
            sbx.run().ok();
            let trace = sbx.read("canary/trace");
            let mut calls: Vec<_> = trace.lines().filter(|line| line.contains(" exec")).collect();
            // An archive is unpacked by sbx itself, which starts itself twice for that, and once to have it written back.
            if source != "img" {
                assert!(calls.len() == 5 && calls[1].contains("/proc/self/exe\", \"extract-layers\""), "{trace}");
                assert!(["execve(0x", "\"/sbx\", \"place-layers\""].iter().any(|it| calls[2].contains(it)), "{trace}");
                assert!(["execve(0x", "\"settle-store\""].iter().any(|it| calls[3].contains(it)), "{trace}");
                calls.drain(1..4);
            }
            assert_eq!(calls.len(), 2, "{who:?} {source}: {trace}");
            // What a process that cannot be dumped executes is not shown.
            assert!(
                calls[0].contains("/sbx\"") && ["execve(0x", "\"/bin/true\""].iter().any(|it| calls[1].contains(it)),
                "{source}: {trace}"
            );
        }
    }
}

/// CVE-2024-28185, CVE-2024-28189 and CVE-2024-29021 of judge0, go-judge #176: what the runner writes, gives away
/// and removes at the end, while the command puts links in its place.
#[test]
fn cve_2024_28185_the_results_of_a_run_are_made_links() {
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("canary").file("canary/key", b"hunter2").dir("rw").dir("up").dir("low");
        let (canary, out) = (Canary::of(&sbx.path("canary")), sbx.path("canary").display().to_string());
        let swap = format!(
            "cd /w && mv report.json old && ln -s {out}/key report.json && mkdir d && rmdir d && ln -s {out} d; \
             cd /; ln -s {out} /o/l; ln -s {out}/key /tmp/k; rm -rf /w/.s; cat /proc/net/unix | wc -l; \
             cat /proc/net/tcp /proc/net/udp | wc -l; ls /run"
        );
        let spec = "mounts { bind \"rw\" \"/w\" access=rw; overlay \"/o\" lower=\"low\"; volume v \"/v\"; }";
        let sbx = sbx.spec(spec).sh(&swap).report(Some("rw/report.json"));
        let ran = sbx.run();
        // A listener of sbx's would be a line beyond those of the titles.
        assert_eq!((ran.code(), ran.stdout.as_str()), (0, "1\n2\n"), "{who:?} {ran:?}");
        canary.check("a report");
        assert!(sbx.read("rw/old").contains("sbx.report/1"), "the report is in the file that was opened first");
        assert_eq!(sbx.run().code(), 125, "and the next one does not go through the link");
        canary.check("the next report");
    }
}
