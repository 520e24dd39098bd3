//! Who the command is, inside and on the disk of the host.

use std::os::unix::fs::MetadataExt as _;

use crate::fixture::has_rootfs;
use crate::harness::{Sbx, Who, skip};

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
    if subuid.lines().any(has) && std::path::Path::new("/usr/bin/newuidmap").exists() {
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
