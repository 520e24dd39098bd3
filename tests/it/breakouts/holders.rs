//! Class I: sandboxes that hold a policy, and lost it between what was written and what was meant: an empty
//! list, a name that is an option, a profile that somebody else left, a layer that was not there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::fixture::has_rootfs;
use crate::harness::{Ran, Sbx, Who, skip};

/// What one word of a list gives, seen from inside; `none` is the sight without it.
struct List {
    /// The node, with `…` for its entries.
    node: &'static str,
    one: &'static str,
    probe: &'static str,
    /// What is seen without the node, with one entry, and with an empty list: `None` where that is a mistake.
    seen: [Option<&'static str>; 3],
}

const CAPABILITIES: &str = "grep -q '^CapEff:.*[1-9a-f]' /proc/self/status && echo some || echo none";

/// An empty list gives nothing, as no list does or more strictly; or it is a mistake. Never is it the same as all.
const LISTS: [List; 11] = [
    List { node: "capabilities …", one: "CHOWN", probe: CAPABILITIES, seen: [Some("none"), Some("some"), None] },
    List {
        node: "pass-env …", one: "CANARY", probe: "echo ${CANARY-none}", seen: [Some("none"), Some("seen"), None]
    },
    List { node: "env …", one: "CANARY=\"x\"", probe: "echo ${CANARY-none}", seen: [Some("none"), Some("x"), None] },
    List {
        node: "mounts { …; }",
        one: "dir \"/canary\"",
        probe: "test -d /canary && echo there || echo none",
        seen: [Some("none"), Some("there"), Some("none")],
    },
    List {
        node: "namespaces …",
        one: "user mount pid",
        probe: "grep -c : /proc/net/dev",
        seen: [Some("1"), None, None],
    },
    List { node: "best-effort …", one: "io", probe: "echo ran", seen: [Some("ran"), Some("ran"), None] },
    List {
        node: "limits { …; }",
        one: "open-files 33",
        probe: "ulimit -n | grep -x 33 || echo none",
        seen: [Some("none"), Some("33"), Some("none")],
    },
    List {
        node: "seccomp \"default\" { allow …; }",
        one: "\"keyctl\"",
        probe: KEYCTL,
        seen: [Some("1"), Some("95"), None],
    },
    List {
        node: "seccomp \"default\" { deny …; }",
        one: "\"getppid\"",
        probe: "perl -e 'print syscall(110) < 0 ? \"denied\" : \"works\"'",
        seen: [Some("works"), Some("denied"), None],
    },
    List {
        node: "landlock { write …; }",
        one: "\"/tmp\"",
        probe: "(: > /run/x) 2>/dev/null && echo open || echo closed",
        seen: [Some("open"), Some("closed"), None],
    },
    List {
        node: "landlock { connect …; }",
        one: "80",
        probe: CONNECT,
        seen: [Some("Connection refused"), Some("Permission denied"), None],
    },
];

const KEYCTL: &str = "perl -e 'print 0 > syscall(250, 99) ? 0 + $! : 0'";
const CONNECT: &str =
    "bash -c ': < /dev/tcp/127.0.0.1/81' 2>&1 | grep -o 'Connection refused\\|Permission denied' | head -n 1";

/// sandbox-runtime read a list without a domain as no list, and let all through.
#[test]
fn cve_2025_66479_an_empty_list_is_not_an_absent_one() {
    for who in Who::all() {
        for List { node, one, probe, seen } in LISTS {
            let with = |entries: Option<&str>| -> Ran {
                let spec = entries
                    .map(|entries| match entries {
                        "" => node.replace("…;", "").replace('…', ""),
                        entries => node.replace('…', entries),
                    })
                    .unwrap_or_default();
                Sbx::new(who).spec(&spec).env("CANARY", "seen").sh(probe).run()
            };
            for (entries, expected) in [None, Some(one), Some("")].into_iter().zip(seen) {
                let ran = with(entries);
                match expected {
                    Some(text) => assert_eq!(ran.ok(), text, "{who:?} {node} {entries:?}"),
                    None => ran.refused(""),
                }
            }
            let separator = if node.starts_with("mounts") || node.starts_with("limits") { "; " } else { " " };
            // Twice is not once: one of them was meant to be something else.
            with(Some(&[one, one].join(separator))).refused("");
        }
        // Two nodes are not two lists of which one wins.
        for node in [
            "capabilities \"CHOWN\"",
            "seccomp \"none\"",
            "network \"none\"",
            "landlock none",
            "profile \"strict\"",
            "user \"root\"",
        ] {
            Sbx::new(who).spec(&format!("{node}\n{node}")).sh("true").run().refused("");
        }
        // A word that is not known is not passed over.
        for node in [
            "netwrok \"none\"",
            "network \"nnoe\"",
            "network \"none\" { allow \"*\"; }",
            "mounts { bind \"/\" \"/x\" acces=\"ro\"; }",
            "capabilities \"chown\"",
            "seccomp \"defualt\"",
            "profile \"\"",
            "network",
            "network \"\"",
            "seccomp",
        ] {
            Sbx::new(who).spec(node).sh("true").run().refused("");
        }
    }
}

/// The model chose the working directory, and that became what may be written.
#[test]
fn cve_2025_59532_the_callers_directory_is_no_part_of_the_policy() {
    for who in Who::all() {
        let start = "cd elsewhere && exec \"$@\"";
        let bind = "mounts { bind \"src\" \"/src\"; }";
        let sbx = Sbx::new(who).dir("elsewhere").dir("elsewhere/src").file("elsewhere/src/f", b"of the caller");
        let sbx = sbx.dir("src").file("src/f", b"of the spec").spec(bind).through(start).sh("cat /src/f; echo; pwd");
        assert_eq!(sbx.run().ok(), "of the spec\n/", "{who:?}");
        // Nothing of it is inside unasked, and nothing there is written.
        let place = sbx.path("elsewhere").display().to_string();
        let script = format!("ls {place} 2>/dev/null; (: > {place}/x) 2>/dev/null && echo written; pwd");
        assert_eq!(sbx.spec("").sh(&script).run().ok(), "/", "{who:?}");
        for variable in ["PWD", "OLDPWD", "SBX_ROOT", "SBX_SPEC", "SBX_PROFILE"] {
            let sbx = Sbx::new(who).env(variable, "/etc").sh("pwd; cat /proc/self/mountinfo | grep -c ' /etc '");
            let plain = Sbx::new(who).sh("pwd; cat /proc/self/mountinfo | grep -c ' /etc '");
            assert_eq!(sbx.run().ok(), plain.run().ok(), "{who:?} {variable}");
        }
        // Where each source lies is shown.
        let plan = Sbx::new(who).dir("src").spec(bind).verb(&["plan"]).cmd(&["true"]);
        let source = plan.path("src").display().to_string();
        assert!(plan.run().stdout.contains(&source), "{who:?}");
    }
}

/// Names that are an option for whoever passes them on: flatpak executed what a program called itself.
const NAMES: [&str; 12] =
    ["--help", "-c", "run", "--", "-", "--report=none", "-x y", "a\nb", "--bind=x:y", "$(touch x)", ";id", "\u{1b}[2J"];

#[test]
fn cve_2024_32462_cve_2026_34078_a_name_is_never_an_option() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for name in NAMES {
            let mut sbx = Sbx::new(who).dir("bin");
            let text = "#!/usr/bin/sh\nprintf 'ran %s' \"$1\"\n";
            sbx = sbx.file(&format!("bin/{name}"), text.as_bytes());
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(sbx.path("bin").join(name), mode).unwrap();
            let mounts = "env PATH=\"/odd:/usr/bin\"\nmounts { bind \"bin\" \"/odd\"; }";
            let sbx = sbx.spec(mounts).cmd(&[name, "--version"]);
            for init in ["", "\ninit #false"] {
                let sbx = sbx_with(&sbx, &format!("{mounts}{init}"));
                assert_eq!(sbx.run().ok(), "ran --version", "{who:?} {name:?}");
            }
            let quoted = name.replace('\n', "\\n").replace('\u{1b}', "\\u{1b}");
            let whole = format!("{mounts}\ncommand \"{quoted}\" \"--version\"");
            let of_spec = sbx.spec(&whole).cmd(&[]);
            assert_eq!(of_spec.run().ok(), "ran --version", "{who:?} {name:?} of the spec");
            let absolute = of_spec.spec(mounts).cmd(&[&format!("/odd/{name}"), "-c"]);
            assert_eq!(absolute.run().ok(), "ran -c", "{who:?} {name:?}");
        }
        // A NUL cannot be meant.
        Sbx::new(who).spec("command \"true\\u{0}x\"").run().refused("");
        // As paths and values of a spec they are no options either.
        let sbx = Sbx::new(who).dir("--bind").spec("mounts { bind \"--bind\" \"/--help\"; }\nhostname \"h\"");
        assert_eq!(sbx.sh("ls -d -- /--help").run().ok(), "/--help");
    }
}

/// The same run with another spec.
fn sbx_with<'a>(sbx: &'a Sbx, spec: &str) -> &'a Sbx {
    std::fs::write(sbx.path("spec.kdl"), spec).unwrap();
    sbx
}

/// Runs a line of the shell where and as whom `sbx` would run; returns its status and all that it said.
fn shell(sbx: &Sbx, line: &str) -> (i32, String) {
    // sbx is not called by its words, only by the line.
    let running =
        sbx.start_at(&["sh", "-c", line, "sh"], [Stdio::null(), output(sbx, ".stdout"), output(sbx, ".stderr")]);
    let ran = running.wait();
    (ran.code(), ran.stdout + &ran.stderr)
}

fn output(sbx: &Sbx, name: &str) -> Stdio {
    std::fs::File::create(sbx.path(name)).unwrap().into()
}

/// firejail looked profiles up by a bare name, and whoever had left one there won.
#[test]
fn firejail_6896_no_spec_is_found_by_its_name() {
    for who in Who::all() {
        let weak = b"command \"echo\" \"somebody else's\"\nlandlock none\nseccomp \"none\"\n";
        let mut sbx = Sbx::new(who).dir("etc").dir("etc/sbx").dir(".config").dir(".config/sbx").dir("bin").dir("away");
        for place in ["etc/sbx", ".config/sbx", "bin", "."] {
            for name in ["strict", "strict.kdl", "default.kdl", "default", "sbx.kdl", ".sbx.kdl"] {
                sbx = sbx.file(&format!("{place}/{name}"), weak);
            }
        }
        let home = sbx.path("").display().to_string();
        sbx = sbx.env("XDG_CONFIG_HOME", &format!("{home}/.config")).env("XDG_CONFIG_DIRS", &format!("{home}/etc"));
        for variable in ["SBX_SPEC", "SBX_CONFIG", "SBX_PROFILE", "SBX_PATH"] {
            sbx = sbx.env(variable, &format!("{home}/bin/strict.kdl"));
        }
        let sbx = sbx.env("PATH", &format!("{home}/bin:/usr/bin:/bin"));
        let words = sbx.words();
        let program = &words[0];
        // A name without `/` is a file of the working directory, as for any program; elsewhere it is nothing.
        for call in [
            "run strict",
            "run default",
            "run strict.kdl",
            "run",
            "check strict",
            "plan strict",
            "strict",
            "default.kdl",
        ] {
            let call = format!("cd away && exec {program} {call}");
            let ran = shell(sbx_with(&sbx, ""), &call);
            assert!([2, 125].contains(&ran.0), "{who:?} {call}: {ran:?}");
            assert!(!ran.1.contains("somebody"), "{who:?} {call}: {ran:?}");
        }
        // What is left in the working directory changes no run of another spec.
        let plain = shell(
            sbx_with(&sbx, "seccomp \"strict\"\nreport \"none\""),
            &format!("{program} run spec.kdl -- grep Seccomp: /proc/self/status"),
        );
        assert!(plain.1.contains("Seccomp:\t2"), "{plain:?}");
    }
}

/// Codex went on without Landlock where there was none, and then refused without a word of why.
#[test]
fn codex_9959_what_is_not_enforced_is_refused_and_said() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("no strace, which answers in place of the kernel: apt-get install strace");
    }
    let without = [
        ("landlock_create_ruleset", "error=ENOSYS:when=1", "landlock"),
        ("landlock_create_ruleset", "error=EOPNOTSUPP:when=1", "landlock"),
        ("seccomp", "error=EINVAL", "seccomp"),
        ("unshare", "error=EPERM", ""),
        ("clone3", "error=EPERM", ""),
        ("mount_setattr", "error=EINVAL", ""),
    ];
    for who in Who::all() {
        for (call, answer, feature) in without {
            let traced = format!("exec strace -f -qq -o /dev/null -e trace={call} -e inject={call}:{answer} \"$@\"");
            let sbx = Sbx::new(who).spec("").through(&traced).sh("echo ran");
            let ran = sbx.run();
            // What is not needed may be missing; what is needed is never missed in silence.
            if ran.code() == 0 {
                assert!(feature.is_empty(), "{who:?} {call}: {ran:?}");
                assert_eq!(ran.report["isolation"]["weakened"].as_array().map(Vec::len), Some(0), "{call}");
                assert_eq!(ran.report["isolation"]["landlock"]["status"], "full", "{call}");
                assert_eq!(ran.report["isolation"]["seccomp"]["profile"], "default", "{call}");
                continue;
            }
            assert_eq!(
                (ran.code(), ran.stdout.as_str(), ran.kind()),
                (125, "", "setup_failed"),
                "{who:?} {call}: {ran:?}"
            );
            assert!(ran.stderr.contains(feature), "{who:?} {call}: {ran:?}");
        }
        let traced = "exec strace -f -qq -o /dev/null -e trace=landlock_create_ruleset \
                      -e inject=landlock_create_ruleset:error=ENOSYS:when=1 \"$@\"";
        let ran = Sbx::new(who).spec("best-effort \"landlock\"").through(traced).sh("echo ran").run();
        assert_eq!(ran.ok(), "ran");
        assert_eq!(ran.report["isolation"]["weakened"][0]["feature"], "landlock");
        assert_eq!(ran.report["isolation"]["landlock"]["status"], "none");
    }
    // A limit that this caller cannot have is one, too.
    let ran = Sbx::new(Who::Nobody).spec("limits { memory \"64M\"; }").sh("echo ran").run();
    if ran.code() == 0 {
        assert_eq!(ran.report["isolation"]["limits"][0]["name"], "memory", "{ran:?}");
    } else {
        ran.refused("memory");
    }
}
