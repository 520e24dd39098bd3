//! Who the command is, inside and on the disk of the host.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use crate::fixture::has_rootfs;
use crate::harness::{NOBODY, Sbx, Who, skip};

#[test]
fn the_command_is_whom_the_spec_names() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        let own = format!("{}:{}", who.uid(), who.gid());
        let cases = [
            ("", own.as_str()),
            ("user caller", own.as_str()),
            ("user root", "0:0"),
            ("user 1000 2000", "1000:2000"),
            ("rootfs \"%/root\"", "0:0"),
            ("rootfs \"%/root\"\nuser \"ann\"", "1000:1001"),
            ("rootfs \"%/root\"\nuser \"caller\"", own.as_str()),
        ];
        for (spec, expected) in cases {
            let ran = Sbx::new(who).spec(spec).sh("echo $(id -u):$(id -g)").run();
            assert_eq!(ran.ok(), expected, "{who:?} {spec}");
            let inside = &ran.report["isolation"]["user"]["inside"];
            assert_eq!(format!("{}:{}", inside[0], inside[1]), expected, "{spec}");
            assert_ne!(ran.report["isolation"]["user"]["outside"][0], 0, "{spec}");
        }
        Sbx::new(who).spec("rootfs \"%/root\"\nuser \"bob\"").sh("true").run().refused("bob");
    }
}

/// Whoever the command is inside, what it writes into a bind belongs to the caller outside.
#[test]
fn files_of_a_bind_belong_to_the_caller() {
    for who in Who::all() {
        for user in ["caller", "root", "1000 1001"] {
            let spec = format!("user {user}\nmounts {{ bind \"out\" \"/out\" access=\"rw\"; }}");
            let sbx = Sbx::new(who).dir("out").spec(&spec).file("out/old", b"old");
            let sbx = sbx.sh(
                "echo new > /out/new; echo more >> /out/old; mkdir /out/d; stat -c %u:%g /out/new /out/old /out; id -u",
            );
            let ran = sbx.run();
            let lines: Vec<&str> = ran.ok().lines().collect();
            let inside = &ran.report["isolation"]["user"]["inside"];
            let inside = format!("{}:{}", inside[0], inside[1]);
            assert_eq!(lines[..3], [inside.as_str(); 3], "{who:?} {user}");
            for name in ["out/new", "out/old", "out/d"] {
                let found = std::fs::metadata(sbx.path(name)).unwrap();
                assert_eq!((found.uid(), found.gid()), (who.uid(), who.gid()), "{who:?} {user} {name}");
            }
            assert_eq!(sbx.read("out/old"), "oldmore\n");
        }
    }
}

#[test]
fn a_range_of_ids_lets_the_command_give_files_away() {
    if !has_rootfs() {
        return;
    }
    let spec =
        "rootfs \"%/root\"\nuser root ids=\"range\"\ncapabilities \"CHOWN\" \"SETUID\" \"SETGID\" \"DAC_OVERRIDE\"";
    let script = "touch /work/x && chown 1000:1001 /work/x && stat -c %u:%g /work/x";
    if let Some(root) = Who::root() {
        assert_eq!(Sbx::new(root).spec(spec).sh(script).run().ok(), "1000:1001");
        let single = spec.replace(" ids=\"range\"", "");
        assert_ne!(Sbx::new(root).spec(&single).sh(script).run().code(), 0);
    }
    let subuid = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let has = |line: &str| {
        line.split(':').next() == Some("nobody") || line.split(':').next() == Some(&Who::Nobody.uid().to_string())
    };
    if subuid.lines().any(has) && Path::new("/usr/bin/newuidmap").exists() {
        assert_eq!(Sbx::new(Who::Nobody).spec(spec).sh(script).run().ok(), "1000:1001");
    } else {
        skip("no subordinate ids for the unprivileged user");
        let ran = Sbx::new(Who::Nobody).spec(spec).sh(script).run();
        ran.refused("subordinate ids");
        assert!(ran.stderr.contains("--add-subuids"), "{ran:?}");
    }
}

#[test]
fn no_rights_are_left_but_those_kept() {
    let show = "grep -E '^(Cap|NoNew)' /proc/self/status | tr -s '\\t' ' '";
    let set = |name: &str, text: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        u64::from_str_radix(line.split(' ').nth(1).unwrap(), 16).unwrap()
    };
    for who in Who::all() {
        for user in ["root", "caller", "1000 1000"] {
            let ran = Sbx::new(who).spec(&format!("user {user}")).sh(show).run();
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(set(name, ran.ok()), 0, "{user} {name}");
            }
            assert!(ran.ok().contains("NoNewPrivs: 1"), "{ran:?}");
            assert_eq!(ran.report["isolation"]["no_new_privileges"], true);
            let spec = format!("user {user}\ncapabilities \"NET_BIND_SERVICE\" \"SYS_PTRACE\"");
            let ran = Sbx::new(who).spec(&spec).sh(show).run();
            let wanted = 1 << 10 | 1 << 19;
            for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(set(name, ran.ok()), wanted, "{user} {name}");
            }
        }
    }
}

#[test]
fn without_a_user_namespace_nobody_is_root() {
    let Some(root) = Who::root() else { return };
    let spec = "namespaces mount pid net ipc uts cgroup";
    let ran = Sbx::new(root).spec(spec).sh("id -u; grep CapEff /proc/self/status").run();
    assert!(!ran.ok().starts_with("0\n") && ran.ok().ends_with("0000000000000000"), "{ran:?}");
    Sbx::new(root).spec(&format!("{spec}\nuser root")).sh("true").run().refused("host's root");
    Sbx::new(root)
        .spec(&format!("{spec}\ncapabilities \"CHOWN\""))
        .sh("true")
        .run()
        .refused("would be one over the host");
    let ran = Sbx::new(root).spec("namespaces mount ipc\nnetwork host").sh("id -u").run();
    assert_ne!(ran.ok(), "0");
    let ran = Sbx::new(root).spec(&format!("{spec}\nuser 1234 1235")).sh("echo $(id -u):$(id -g):$(id -G)").run();
    assert_eq!(ran.ok(), "1234:1235:1235");
}

/// What root's runs are outside, of which each has its own (`plan::identity::OWN`).
const OWN: u64 = 2_100_000_000;

#[test]
fn each_run_of_root_is_somebody_else_outside() {
    let Some(root) = Who::root() else { return };
    let specs = ["", "user 1000 1001", "namespaces user mount"];
    for spec in specs {
        let sleeper = || Sbx::new(root).spec(&format!("{spec}\nnetwork host")).sh("echo up; sleep 1");
        let (one, other) = (sleeper(), sleeper());
        let (one, other) = (one.start(), other.start());
        one.await_output("up");
        other.await_output("up");
        let ids = |pid: u32| {
            let seen = children(pid).into_iter().map(|child| status(child, "Uid:")).collect::<Vec<_>>();
            assert!(!seen.is_empty(), "sbx {pid} has no child");
            seen
        };
        for pid in [one.pid(), other.pid()] {
            let own = (OWN + u64::from(pid)).to_string();
            assert_eq!(ids(pid), vec![[own.as_str(); 4].join(" ")], "{spec}");
        }
        for (ran, pid) in
            [one, other].map(|running| (running.pid(), running)).map(|(pid, running)| (running.wait(), pid))
        {
            assert_eq!(ran.code(), 0, "{ran:?}");
            let outside = &ran.report["isolation"]["user"]["outside"];
            assert_eq!(
                (outside[0].as_u64(), outside[1].as_u64()),
                (Some(OWN + u64::from(pid)), Some(OWN + u64::from(pid)))
            );
        }
    }
    let shown = Sbx::new(root).verb(&["plan"]).cmd(&["true"]).run().stdout;
    assert!(shown.contains("uid-map 0 2100000000+pid 1\n"), "a plan has no process: {shown}");
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn status(pid: u32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With nothing but the ids between them: no pid namespace, no Landlock, no filter.
#[test]
fn a_run_cannot_reach_the_processes_of_another() {
    let Some(root) = Who::root() else { return };
    let spec = "namespaces user mount\nnetwork host\nprofile \"compat\"\nlandlock none\nseccomp \"none\"";
    for user in ["root", "1000 1000"] {
        let spec = format!("{spec}\nuser {user}");
        let other = Sbx::new(root).spec(&spec).sh("echo up; sleep 2; echo alive");
        let running = other.start();
        running.await_output("up");
        let all = children(running.pid()).into_iter().flat_map(|init| [vec![init], children(init)].concat());
        let all: Vec<String> = all.map(|pid| pid.to_string()).collect();
        assert!(all.len() > 1, "{all:?}");
        let script = format!(
            "for pid in {}; do kill -9 $pid && echo killed; prlimit --pid $pid --nofile=9 && echo limited; \
             readlink /proc/$pid/cwd && echo traced; kill -0 $$ || echo deaf; done 2>/dev/null; echo end",
            all.join(" ")
        );
        assert_eq!(Sbx::new(root).spec(&spec).sh(&script).run().ok(), "end", "{user}");
        assert_eq!(running.wait().ok(), "up\nalive", "{user}");
    }
}

/// The number of a run is in nothing that lasts: what one run kept is the next one's own.
#[test]
fn what_is_kept_belongs_to_the_next_run_too() {
    if !has_rootfs() {
        return;
    }
    let script = "d='/vol/d /out/d'; test -w /etc && d=\"/etc/d $d\"
        for at in $d; do
            if test -d $at; then echo more >> $at/f && mv $at/f $at/g && chmod 700 $at && cat $at/g && stat -c %u:%g $at $at/g;
            else mkdir $at && echo new > $at/f && chmod 600 $at/f; fi
        done";
    for who in Who::all() {
        for (user, owner) in [("root", "0:0"), ("1000 1001", "1000:1001"), ("root ids=\"range\"", "0:0")] {
            if user.contains("range") && who != Who::Root {
                continue;
            }
            let sbx = Sbx::new(who).dir("kept").dir("out").sh(script).spec(&format!(
                "rootfs \"%/root\" writable=\"persist\" upper=\"kept\"\nuser {user}
                mounts {{ volume \"v\" \"/vol\"; bind \"out\" \"/out\" access=\"rw\"; }}"
            ));
            let first = sbx.run();
            assert_eq!(first.ok(), "", "{who:?} {user}");
            let second = sbx.run();
            // The directories of an image are root's on disk, which is nobody where the command is another.
            let layer = who != Who::Root || !user.starts_with("1000");
            let lines = ["new", "more", owner, owner];
            assert_eq!(second.ok(), vec![lines; if layer { 3 } else { 2 }].concat().join("\n"), "{who:?} {user}");
            let outside = |ran: &crate::harness::Ran| ran.report["isolation"]["user"]["outside"][0].as_u64();
            assert_eq!(outside(&first) == outside(&second), who != Who::Root || user.contains("range"));
            let places = ["out/d/g", "store/volumes/v/d/g", "kept/upper/etc/d/g"];
            for place in places.iter().take(if layer { 3 } else { 2 }) {
                let found = std::fs::metadata(sbx.path(place)).unwrap();
                assert_eq!((found.uid(), found.gid()), (who.uid(), who.gid()), "{who:?} {user} {place}");
            }
        }
    }
}

/// A rootfs in which `ann` is a member of two groups, and `bob` of one that no range has.
fn with_groups(who: Who, user: &str) -> Sbx {
    let spec = format!("rootfs \"root\"\nuser {user}\nmounts {{ bind \"%/root/bin\" \"/bin\"; }}");
    Sbx::new(who)
        .dir("root")
        .dir("root/etc")
        .file("root/etc/passwd", b"root:x:0:0::/:/bin/sh\nann:x:1000:1001::/:/bin/sh\nbob:x:1002:1002::/:/bin/sh\n")
        .file("root/etc/group", b"ann:x:1001:\nvideo:x:44:ann\nshared:x:60:bob,ann\nhigh:x:65536:bob\n")
        .spec(&spec)
}

/// As `docker run` does, who is named without a group has those of the image's `/etc/group`; a number has the written one
/// alone, and of the caller's there is none.
#[test]
fn a_range_has_the_groups_that_the_image_gives_its_user() {
    let Some(root) = Who::root().filter(|_| has_rootfs()) else { return };
    let leave = "exec setpriv --groups 4,27,42 \"$@\"";
    let cases = [
        ("\"ann\" ids=\"range\"", "1001 44 60"),
        ("\"ann\"", "1001"),
        ("1000 1001 ids=\"range\"", "1001"),
        ("\"root\" ids=\"range\"", "0"),
        ("\"bob\"", "1002"),
    ];
    for (user, groups) in cases {
        let ran = with_groups(root, user).through(leave).sh("id -G").run();
        assert_eq!(ran.ok(), groups, "{user}");
    }
    let sbx = with_groups(root, "\"ann\" ids=\"range\"").file("root/mine", b"of video").file("root/closed", b"of root");
    for (name, gid) in [("root/mine", 44), ("root/closed", 4)] {
        chown(sbx.path(name), Some(0), Some(gid)).unwrap();
        std::fs::set_permissions(sbx.path(name), std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let ran = sbx.through(leave).sh("cat /mine; cat /closed 2>/dev/null || echo -; cat /proc/self/setgroups").run();
    assert_eq!(ran.ok(), "of video-\nallow");
    let shown = with_groups(root, "\"ann\" ids=\"range\"").verb(&["plan"]).cmd(&["id"]).run();
    assert!(shown.stdout.contains("\ngroups 44 60\n"), "{shown:?}");
    let ran = with_groups(root, "\"bob\" ids=\"range\"").sh("true").run();
    ran.refused("group 65536, which is not among the ids of the range");
    assert!(ran.stderr.contains("`user 1002 1002 ids=\"range\"`"), "{ran:?}");
}

/// The same for who is not root, with subordinate ids that this test lends.
#[test]
fn newgidmap_allows_the_groups_of_the_image() {
    let Some(root) = Who::root().filter(|_| has_rootfs()) else { return };
    if !Path::new("/usr/bin/newgidmap").exists() {
        return skip("no newgidmap: apt-get install uidmap");
    }
    for (user, groups) in [("\"ann\" ids=\"range\"", "1001 44 60"), ("1000 1001 ids=\"range\"", "1001")] {
        let sbx = with_groups(root, user).dir("own").file("sub", format!("{NOBODY}:100000:65536\n").as_bytes());
        chown(sbx.path("own"), Some(NOBODY), Some(NOBODY)).unwrap();
        let (own, sub) = (sbx.path("own").display().to_string(), sbx.path("sub").display().to_string());
        let lend = format!(
            "exec unshare -m sh -c 'mount --bind {sub} /etc/subuid && mount --bind {sub} /etc/subgid && \
             exec setpriv --reuid {NOBODY} --regid {NOBODY} --groups 4,27,42 \"$@\"' sh \"$@\""
        );
        let ran = sbx.env("SBX_STORE", &own).report(Some("none")).through(&lend).sh("id -G").run();
        assert_eq!((ran.code(), ran.stdout.trim_end()), (0, groups), "{user} {ran:?}");
    }
}

/// Everything is below `/`: who may not enter it is told that, not what was looked for first.
#[test]
fn a_closed_root_directory_is_named_with_its_owner() {
    if !has_rootfs() {
        return;
    }
    let closed = |who| {
        let sbx = Sbx::new(who).dir("root").dir("root/bin").sh("id -u");
        assert!(Command::new("cp").arg("/bin/busybox").arg(sbx.path("root/bin/sh")).status().unwrap().success());
        std::fs::copy("/bin/busybox", sbx.path("root/bin/id")).unwrap();
        sbx
    };
    let shut = |sbx: &Sbx, mode| {
        chown(sbx.path("root"), Some(1000), Some(1001)).unwrap();
        std::fs::set_permissions(sbx.path("root"), std::fs::Permissions::from_mode(mode)).unwrap();
        let tar = ["-C", "root", "-cf", "root.tar", "."];
        assert!(Command::new("tar").args(tar).current_dir(sbx.path("")).status().unwrap().success());
    };
    let Some(root) = Who::root() else { return };
    for rootfs in ["root", "tar:root.tar"] {
        for writable in ["no", "ephemeral"] {
            let with = |user: &str, mode| {
                let sbx = closed(root);
                shut(&sbx, mode);
                sbx.spec(&format!("rootfs \"{rootfs}\" writable=\"{writable}\"\n{user}\nenv PATH=\"/bin\"")).run()
            };
            for (user, mode) in [("", 0o700), ("user 33 33", 0o750), ("user 33 1001", 0o705)] {
                let ran = with(user, mode);
                ran.refused("the root directory of the rootfs is closed to the sandbox");
                assert!(ran.stderr.contains(&format!("mode {mode:04o} and belongs to 1000:1001")), "{ran:?}");
                assert!(ran.stderr.contains("write `user 1000 1001`, or `ids=\"range\"`"), "{ran:?}");
            }
            // What is missing there is made only where it can be.
            if writable == "no" {
                continue;
            }
            for (user, mode, uid) in [
                ("user 1000 1001", 0o700, "1000"),
                ("user \"root\" ids=\"range\"", 0o700, "0"),
                ("user 33 1001", 0o710, "33"),
                ("", 0o701, "0"),
            ] {
                assert_eq!(with(user, mode).ok(), uid, "{rootfs} {user}");
            }
        }
    }
    let sbx = closed(Who::Nobody);
    shut(&sbx, 0o700);
    let ran = sbx.spec("rootfs \"root\"\nenv PATH=\"/bin\"").run();
    ran.refused("the root directory of the rootfs is closed to the sandbox");
    assert!(
        ran.stderr.contains("belongs to 1000:1001") && ran.stderr.contains("take a rootfs that belongs to you"),
        "{ran:?}"
    );
}
