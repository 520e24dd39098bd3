//! Class D: who the command is, and what of its caller comes along: capabilities, groups, numbers that
//! are taken for names, variables.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::python;
use crate::fixture::{self, has_rootfs};
use crate::harness::{NOBODY, Sbx, Who, skip};

/// Docker, Podman, crun, buildah and runc left the inheritable set filled, which programs with capabilities of their
/// file turn into permitted ones; youki again in 2025.
#[test]
fn cve_2022_24769_cve_2022_29162_cve_2025_27612_no_capability_in_any_thread() {
    const PROGRAM: &str = r"
import os, threading, time
held = [threading.Thread(target=time.sleep, args=(1,), daemon=True) for _ in range(3)]
for thread in held: thread.start()
pid = os.fork()
if pid == 0: time.sleep(1); os._exit(0)
for process in [p for p in os.listdir('/proc') if p.isdigit()]:
    for task in os.listdir(f'/proc/{process}/task'):
        for line in open(f'/proc/{process}/task/{task}/status'):
            if line.startswith('Cap') and process != '1': print(line.split()[1])
";
    for who in Who::all() {
        for spec in
            ["", "user \"root\"", "user 1000 1000", "user \"root\"\ninit #false", "profile \"compat\"\nuser \"root\""]
        {
            let Some(sbx) = python(Sbx::new(who).spec(spec), PROGRAM) else { return };
            // A caller whose own sets are filled, as systemd or a container may have it.
            let filled = "exec setpriv --inh-caps +chown,+net_raw --ambient-caps +chown,+net_raw \"$@\"";
            let sbx = if who == Who::Root { sbx.through(filled) } else { sbx };
            let ran = sbx.run();
            let lines: Vec<&str> = ran.ok().lines().collect();
            assert!(lines.len() >= 25 || spec.contains("#false"), "{who:?} {spec}: {ran:?}");
            assert!(lines.iter().all(|set| *set == "0000000000000000"), "{who:?} {spec}: {ran:?}");
        }
    }
}

/// A program whose file has capabilities gives none: there is no new privilege, and every mount is `nosuid`.
#[test]
fn cve_2022_24769_capabilities_of_a_file_give_none() {
    let Some(root) = Who::root() else { return };
    if !has_rootfs() {
        return;
    }
    let sbx = Sbx::new(root).dir("bin").spec("user \"root\"\nmounts { bind \"bin\" \"/own\"; }");
    let program = sbx.path("bin/busybox");
    assert!(Command::new("cp").arg("/bin/busybox").arg(&program).status().unwrap().success());
    // VFS_CAP_REVISION_2 with the effective flag: all of the first 32, permitted and inheritable.
    let text = "import os, sys, struct; os.setxattr(sys.argv[1], 'security.capability', \
                struct.pack('<5I', 0x02000001, 0xffffffff, 0xffffffff, 0, 0))";
    let set = Command::new("python3").args(["-c", text]).arg(&program).status();
    if !set.is_ok_and(|status| status.success()) {
        return skip("this file system or this root cannot give capabilities to a file");
    }
    let ran = sbx.cmd(&["/own/busybox", "grep", "Cap", "/proc/self/status"]).run();
    assert!(ran.ok().lines().all(|line| line.ends_with("\t0000000000000000")), "{ran:?}");
}

/// Podman, buildah, CRI-O, Docker and containerd kept groups of the caller or left out those of the user.
#[test]
fn cve_2022_2989_cve_2022_36109_cve_2023_25173_no_group_of_the_caller_comes_along() {
    let groups = "id -G; sed -n 's/^Groups:\t//p' /proc/self/status";
    if let Some(root) = Who::root() {
        for (spec, primary) in [("", "0"), ("user \"root\"", "0"), ("user 1000 1001", "1001"), ("init #false", "0")] {
            let sbx = Sbx::new(root).spec(spec).through("exec setpriv --groups 4,27,42 \"$@\"").sh(groups);
            assert_eq!(sbx.run().ok().trim_end(), primary, "{spec}");
        }
    }
    // An unprivileged process cannot give groups up (user_namespaces(7)): they stay what the caller could read anyway,
    // have no name inside, and none can be taken on.
    let Some(root) = Who::root() else { return };
    let leave = format!("exec setpriv --reuid {NOBODY} --regid {NOBODY} --groups 4,27,42 \"$@\"");
    let sbx = Sbx::new(root).report(Some("none")).through(&leave);
    let sbx = sbx.sh("id -G; cat /proc/self/setgroups; setpriv --groups 0 true 2>&1 | grep -c 'not permitted'");
    let ran = sbx.run();
    assert_eq!(ran.stdout, format!("{NOBODY}\ndeny\n1\n"), "{ran:?}");
}

/// runc took the number for a name of the image, containerd and crun let it overflow to 0 or parsed it badly.
#[test]
fn cve_2016_3697_cve_2024_40635_cve_2026_46680_cve_2026_30892_a_number_is_that_number_or_a_mistake() {
    if !has_rootfs() {
        return;
    }
    let passwd = "root:x:0:0::/:/bin/sh\n1000:x:0:0::/:/bin/sh\n2147483648:x:0:0::/:/bin/sh\nwrap:x:4294967296:0::/:/bin/sh\n\
                  minus:x:-1:0::/:/bin/sh\nlast:x:4294967295:0::/:/bin/sh\nempty:x:::::\nhex:x:0x0:0::/:/bin/sh\n";
    let fine = [
        ("1 1", "1:1"),
        ("1000 1000", "1000:1000"),
        ("2147483648 2147483648", "2147483648:2147483648"),
        ("4294967294 4294967294", "4294967294:4294967294"),
        ("0 0", "0:0"),
    ];
    let refused = [
        "4294967295 0",
        "0 4294967295",
        "4294967296 4294967296",
        "-1 -1",
        "18446744073709551616 0",
        "1.0 1",
        "\"1x\"",
        "\"0x0\"",
        "\"\"",
        "\" 1\"",
        "\"1000\"",
        "\"0\"",
        "\"2147483648\"",
        "\"1000:0\"",
        "\"root \"",
        "\"-1\"",
        "1000",
        "\"wrap\"",
        "\"minus\"",
        "\"last\"",
        "\"empty\"",
        "\"hex\"",
        "\"nobody-there\"",
    ];
    for who in Who::all() {
        let with = |user: &str| {
            let spec = format!("rootfs \"root\"\nuser {user}\nmounts {{ bind \"%/root/bin\" \"/bin\"; }}");
            let sbx = Sbx::new(who).dir("root").dir("root/etc").file("root/etc/passwd", passwd.as_bytes()).spec(&spec);
            sbx.sh("echo $(id -u):$(id -g)").run()
        };
        for (user, expected) in fine {
            let ran = with(user);
            assert_eq!(ran.ok(), expected, "{who:?} {user}");
            assert_ne!(ran.report["isolation"]["user"]["outside"][0], 0, "{user}");
        }
        for user in refused {
            with(user).refused("");
        }
    }
}

/// buildah ran with its own variables; bubblewrap's first process still shows them in `/proc`.
#[test]
fn cve_2021_3602_the_callers_environment_stays_outside() {
    let script = "env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/comm 2>/dev/null | tr '\\0' '\\n'; \
                  grep -a -l canary-of-the-caller /proc/1/mem /proc/1/maps 2>/dev/null; echo end";
    for who in Who::all() {
        for spec in
            ["", "user \"root\"", "init #false", "landlock none\nseccomp \"none\"", "profile \"compat\"\nuser \"root\""]
        {
            let mut sbx = Sbx::new(who).spec(spec).sh(script);
            for number in 0..200 {
                sbx = sbx.env(&format!("SECRET_{number}"), "canary-of-the-caller");
            }
            let ran = sbx.env("PATHOLOGY", "canary-of-the-caller").run();
            assert!(ran.ok().ends_with("end"), "{ran:?}");
            let own = ran.stdout.replace("grep -a -l canary-of-the-caller", "");
            assert!(!own.contains("canary-of-the-caller") && !own.contains("SECRET_"), "{who:?} {spec}: {own}");
            // Nor what sbx was called with: the place of the spec is the caller's.
            assert!(!own.contains("spec.kdl"), "{who:?} {spec}: {own}");
        }
    }
}

/// The bootstrap message of runc had lengths of 16 bits. What is longer arrives whole here.
#[test]
fn cve_2021_43784_lengths_around_64_kib_arrive_whole() {
    for who in Who::all() {
        for length in [65_533, 65_534, 65_535, 65_536, 65_537, 131_000] {
            let word = "w".repeat(length);
            let spec = format!("env LONG=\"{word}\"\nmounts {{ file \"/f\" \"{word}\"; }}");
            let script = "echo ${#1} ${#LONG} $(wc -c < /f) $(printf %s \"$1$LONG\" | tr -d w | wc -c) $2";
            let ran = Sbx::new(who).spec(&spec).cmd(&["sh", "-c", script, "sh", &word, "last"]).run();
            assert_eq!(ran.ok(), format!("{length} {length} {length} 0 last"), "{who:?}");
        }
        // More than the kernel takes is an error, not another command.
        let ran = Sbx::new(who).spec(&format!("env LONG=\"{}\"", "w".repeat(140_000))).cmd(&["true"]).run();
        assert_eq!((ran.code(), ran.kind()), (126, "not_executable"), "{ran:?}");
    }
}

/// Variables that make programs run other programs, or load code.
const POISON: [(&str, &str); 12] = [
    ("LD_PRELOAD", "@/evil/evil.so"),
    ("LD_LIBRARY_PATH", "@/evil"),
    ("LD_AUDIT", "@/evil/evil.so"),
    ("BASH_ENV", "@/evil/sh"),
    ("ENV", "@/evil/sh"),
    ("IFS", "/"),
    ("GCONV_PATH", "@/evil"),
    ("PERL5OPT", "-Mevil"),
    ("PYTHONSTARTUP", "@/evil/sh"),
    ("RUST_BACKTRACE", "full"),
    ("TMPDIR", "@/evil"),
    ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
];

/// firejail, and editors that run what is allowed by name: nothing of these reaches the command, nor the two programs
/// that sbx itself may start.
#[test]
fn cve_2016_10122_cve_2026_22708_variables_of_the_caller_steer_no_program() {
    let names: Vec<&str> = POISON.iter().map(|(name, _)| *name).collect();
    for who in Who::all() {
        let mut sbx = Sbx::new(who).dir("evil").dir("out");
        for name in ["sh", "newuidmap", "newgidmap", "true", "id"] {
            let text = format!("#!/bin/sh\necho {name} >> {}\nexit 9\n", sbx.path("out/evil").display());
            sbx = sbx.file(&format!("evil/{name}"), text.as_bytes());
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(sbx.path("evil").join(name), mode).unwrap();
        }
        let (evil, out) = (sbx.path("evil").display().to_string(), sbx.path("out"));
        sbx = sbx.env("PATH", &format!("{evil}:/usr/bin:/bin"));
        for (name, value) in POISON {
            let value = value.replace('@', &sbx.path("").display().to_string());
            sbx = sbx.env(name, &value);
        }
        let sbx = sbx.sh(&format!(
            "env | cut -d= -f1 | grep -xE '{}'; echo $PATH; id -u >/dev/null && echo end",
            names.join("|")
        ));
        let ran = sbx.run();
        assert!(ran.ok().ends_with("\nend") && !ran.stdout.contains("evil"), "{who:?} {ran:?}");
        assert_eq!(ran.stdout.lines().count(), 2, "{who:?} {ran:?}");
        // `ids="range"` is what newuidmap is for; without subordinate ids it is refused, and nothing was started either.
        let sbx = sbx.spec("user \"root\" ids=\"range\"").sh("true");
        let ran = sbx.run();
        assert!([0, 125].contains(&ran.code()), "{ran:?}");
        assert!(std::fs::read_dir(out).unwrap().next().is_none());
    }
}

/// The same where the helpers do run: with subordinate ids that this test lends, in a mount namespace of its own.
#[test]
fn cve_2016_10122_newuidmap_is_the_systems_and_has_no_variables() {
    let Some(root) = Who::root() else { return };
    let helper = std::path::Path::new("/usr/bin/newuidmap");
    if !helper.exists() || !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("no newuidmap or no strace: apt-get install uidmap strace");
    }
    let sbx = Sbx::new(root).file("sub", format!("{NOBODY}:100000:65536\n").as_bytes()).dir("evil");
    let (sub, log) = (sbx.path("sub").display().to_string(), sbx.path("log").display().to_string());
    let spec = sbx.path("spec.kdl").display().to_string();
    std::fs::write(&spec, "user \"root\" ids=\"range\"\nreport \"none\"\n").unwrap();
    let lend = format!(
        "mount --bind {sub} /etc/subuid && mount --bind {sub} /etc/subgid && \
         exec strace -f -v -s 500 -e trace=execve -o {log} -u nobody env LD_PRELOAD=/evil PATH=/evil:/usr/bin:/bin SECRET=canary \"$@\""
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &lend, "sh"]).arg(fixture::binary()).args(["run", &spec, "--", "id", "-u"]);
    let output = command.process_group(0).output().unwrap();
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    let helped: Vec<&str> = log.lines().filter(|line| line.contains("execve(") && line.contains("newuidmap")).collect();
    if helped.is_empty() {
        return skip(&format!("newuidmap was not reached: {}", String::from_utf8_lossy(&output.stderr)));
    }
    for line in helped {
        assert!(line.contains("execve(\"/usr/bin/newuidmap\""), "{line}");
        assert!(!line.contains("canary") && !line.contains("/evil"), "{line}");
    }
}
