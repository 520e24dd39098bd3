//! Class B: what a runner leaves open, or lets be looked into: its program, descriptors,
//! working directory, first process, store, and what sandboxes could share.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::breakouts::{BIN, Canary, attack, hostile, plant};
use crate::faults::{assert_refused, end};
use crate::fixture::{self, has_rootfs};
use crate::harness::{Sbx, Who, skip};

/// Makes sbx run from a program that the caller owns, in the directory `own` of the run.
fn rootless(sbx: Sbx) -> Sbx {
    let program = std::fs::read(fixture::binary()).unwrap();
    let sbx = sbx.dir("own").file("own/sbx", &program);
    std::fs::set_permissions(sbx.path("own/sbx"), std::fs::Permissions::from_mode(0o755)).unwrap();
    sbx.through("shift; exec ./own/sbx \"$@\"")
}

/// The program of the runner is reached by whoever executes it inside: as the command, as a link of the image, as the
/// interpreter of a script, which can be a spec as well.
#[test]
fn cve_2019_5736_the_program_of_the_runner_is_executed_inside() {
    if !has_rootfs() {
        return;
    }
    let Some(attack) = attack() else { return };
    let nested = "rootfs \"host\"\nnamespaces user mount\nnetwork host\nlandlock none\nseccomp none\nreport none\n\
                  command \"/bin/attack\" \"reopen\" \"/proc/self/exe\"\n";
    for who in Who::all() {
        let sbx = rootless(hostile(who)).file("img/bad/spec.kdl", nested.as_bytes());
        let script = format!("#!/proc/self/exe\n{nested}");
        let sbx = sbx
            .file("img/bad/script", script.as_bytes())
            .file("img/bad/run", format!("#!/proc/self/exe run\n{nested}").as_bytes());
        for name in ["script", "run"] {
            std::fs::set_permissions(sbx.path("img/bad").join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        plant(&sbx, "img/bad/link", "/proc/self/exe");
        let canary = Canary::of(&sbx.path("own"));
        let mut sbx = sbx;
        for rest in [
            "",
            "landlock none\nseccomp none",
            "profile compat",
            "landlock none\nseccomp none\ninit #false",
            "profile compat\nuser root",
        ] {
            let mounts = format!("mounts {{ {BIN}; bind {attack:?} \"/attack\"; }}");
            sbx = sbx.spec(&format!("rootfs \"img\"\n{rest}\n{mounts}"));
            let commands: [&[&str]; 6] = [
                &["/proc/self/exe", "--version"],
                &["/proc/self/exe", "run", "/bad/spec.kdl"],
                &["/bad/link", "run", "/bad/spec.kdl"],
                &["/bad/script"],
                &["/bad/run"],
                &["/proc/1/exe", "--version"],
            ];
            for command in commands {
                sbx = sbx.cmd(command);
                let ran = sbx.run();
                assert!(!ran.stdout.contains("open to write"), "{who:?} {rest} {command:?}: {ran:?}");
                canary.check(&format!("{who:?} {rest} {command:?}"));
            }
            if rest.contains("init") {
                continue;
            }
            sbx = sbx.cmd(&["/attack", "reopen", "/proc/1/exe"]);
            let ran = sbx.run();
            assert_eq!(ran.ok(), "held: Permission denied\nclosed", "{who:?} {rest}");
            canary.check(rest);
        }
    }
}

/// What a caller leaves open at low and high numbers, a directory of the host, and a working directory behind it.
#[test]
fn cve_2024_21626_the_working_directory_is_a_descriptor_of_the_caller() {
    let Some(attack) = attack() else { return };
    let numbers = [3, 4, 5, 6, 7, 8, 9, 10, 77, 255, 1022, 1023, 2048, 65000];
    for who in Who::all() {
        let sbx = Sbx::new(who).dir("canary").file("canary/key", b"hunter2\n").dir("rw").sh("pwd; ls; cat key");
        let canary = Canary::of(&sbx.path("canary"));
        let place = sbx.path("canary").display().to_string();
        let mut sbx = sbx.through(&format!("exec {} hold {place} \"$@\"", attack.display()));
        let below = ["/proc/self/cwd", "/proc/thread-self/cwd", "/proc/1/cwd", "/proc/self/root", "/proc/1/root/tmp"];
        let numbered = numbers.iter().map(|number| format!("/proc/self/fd/{number}"));
        for path in below.map(str::to_owned).into_iter().chain(numbered) {
            for rest in ["", "landlock none\nseccomp none\n", "landlock none\ninit #false\n"] {
                sbx = sbx.spec(&format!("{rest}workdir \"{path}\"\nmounts {{ overlay \"/o\" lower=\"rw\"; }}"));
                sbx.run().refused("working directory");
            }
        }
        canary.check("a working directory");
    }
}

/// nsjail #294, #297, #328: what is open in the caller is closed, also where close_range(2) is refused.
#[test]
fn nsjail_294_descriptors_of_the_caller_are_closed() {
    let Some(attack) = attack() else { return };
    let script =
        "ls /proc/self/fd; for n in 3 77 255 1022 1023 2048 65000; do ls /proc/self/fd/$n/ 2>/dev/null; done; true";
    for who in Who::all() {
        let place = |sbx: &Sbx| sbx.path("canary").display().to_string();
        for rest in ["", "init #false", "landlock none\nseccomp none", "tty no", "namespaces user mount\nnetwork host"]
        {
            let sbx = Sbx::new(who).dir("canary").file("canary/key", b"hunter2\n").spec(rest).sh(script);
            let hold = format!("exec {} hold {} \"$@\"", attack.display(), place(&sbx));
            let sbx = sbx.through(&hold);
            // The fourth is the directory that ls(1) itself lists.
            assert_eq!(sbx.run().ok(), "0\n1\n2\n3", "{who:?} {rest}");
            if !Path::new("/usr/bin/strace").exists() {
                skip("no strace(1)");
                continue;
            }
            for call in 1..=3 {
                let inject = "exec strace -f -qq -o trace -e trace=close_range -e inject=close_range:error=ENOSYS";
                let sbx = Sbx::new(who).dir("canary").spec(rest).sh(script);
                let hold = format!("{inject}:when={call} {} hold {} \"$@\"", attack.display(), place(&sbx));
                let sbx = sbx.through(&hold);
                let ran = sbx.run();
                // Behind it stand O_CLOEXEC of all that sbx opens itself, and a second call of the same.
                match ran.code() {
                    125 => assert_eq!(ran.stdout, "", "{who:?} {rest} {call}: {ran:?}"),
                    _ => assert_eq!(ran.ok(), "0\n1\n2\n3", "{who:?} {rest} {call}: {ran:?}"),
                }
            }
            let sbx = Sbx::new(who).dir("canary").spec(rest).sh(script);
            let every = "exec strace -f -qq -o trace -e trace=close_range -e inject=close_range:error=ENOSYS";
            let hold = format!("{every} {} hold {} \"$@\"", attack.display(), place(&sbx));
            let ran = sbx.through(&hold).run();
            ran.refused("ENOSYS");
        }
    }
}

/// The first process is neither dumpable nor traceable and knows nothing of the caller, and no capability of the
/// sandbox's own user namespace changes that: its memory belongs to the host's.
#[test]
fn cve_2016_9962_the_first_process_is_looked_into() {
    let Some(attack) = attack() else { return };
    let files = "for f in mem environ maps smaps pagemap auxv stack syscall io timers personality ns/mnt; do \
                 if (head -c 1 /proc/1/$f) >/dev/null 2>&1 && [ -n \"$(head -c 1 /proc/1/$f | od -c)\" ]; then echo read $f; fi; done; \
                 for f in exe cwd root fd/0 fd/3 ns/mnt; do readlink /proc/1/$f && echo link $f; done; \
                 ls -A /proc/1/fd /proc/1/map_files /proc/1/task/1/fd 2>/dev/null; tr -d '\\0' < /proc/1/cmdline; \
                 for f in mem clear_refs oom_score_adj comm; do if (: > /proc/1/$f) 2>/dev/null; then echo write $f; fi; done";
    let refused = "seize refused\nattach refused\nreadv refused\nwritev refused\nmemory refused\n";
    for who in Who::all() {
        let rests = [
            "",
            "user root",
            "landlock none\nseccomp none",
            "user root\nlandlock none\nseccomp none\ncapabilities SYS_PTRACE DAC_OVERRIDE",
        ];
        for rest in rests {
            let sbx = Sbx::new(who).spec(&format!("{rest}\nmounts {{ bind {attack:?} \"/attack\"; }}"));
            let sbx = sbx.env("CALLERS_SECRET", "hunter2").sh(files);
            assert_eq!(sbx.run().stdout, "", "{who:?} {rest}");
            let sbx = sbx.cmd(&["/attack", "ptrace", "1"]);
            let ran = sbx.run();
            assert!(ran.ok().starts_with(refused), "{who:?} {rest}: {ran:?}");
            let sbx = sbx
                .sh("cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n' | grep -c -e hunte[r]2 -e spec[.]kdl; true");
            assert_eq!(sbx.run().ok(), "0", "{who:?} {rest}");
        }
    }
}

/// CVE-2016-8659, CVE-2020-5291 and CVE-2026-41163 of bubblewrap, and firejail's many: rights of another are not there
/// to be borrowed.
#[test]
fn cve_2016_8659_a_set_id_runner_refuses() {
    if Who::root().is_none() {
        return;
    }
    let home = crate::faults::home();
    let copy = home.path().join("sbx");
    let spec = crate::faults::spec(&home, "rootfs \"host\"\n");
    let refuses = |what: &str| {
        let mut caller = Command::new("setpriv");
        caller.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
        caller.args(["run", "--report", "none"]).arg(&spec).args(["--", "/bin/echo", what]);
        let output = end(caller.stdin(Stdio::null()));
        assert_refused(&output, 125, "set-id");
        assert!(output.stdout.is_empty(), "{what}");
    };
    for mode in [0o4755, 0o2755, 0o6755] {
        std::fs::remove_file(&copy).ok();
        std::fs::copy(fixture::binary(), &copy).unwrap();
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(mode)).unwrap();
        refuses(&format!("{mode:o}"));
    }
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    match Command::new("setcap").arg("cap_sys_admin,cap_dac_override+ep").arg(&copy).status() {
        Ok(status) if status.success() => refuses("capabilities of the file"),
        _ => skip("no setcap(8), which gives a file capabilities"),
    }
}

/// CVE-2019-12439 of bubblewrap: the directory of the runner was made by somebody else before.
#[test]
fn cve_2019_12439_the_store_was_made_by_another() {
    if !has_rootfs() {
        return;
    }
    for who in Who::all() {
        for spec in ["rootfs \"%/root.tar\"", "mounts { volume v \"/v\"; }"] {
            let fresh =
                || Sbx::new(who).dir("canary").dir("canary/volumes").dir("canary/volumes/v").spec(spec).cmd(&["true"]);
            let sbx = fresh();
            nix::unistd::mkfifo(&sbx.path("store"), nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert_eq!(sbx.run().code(), 125, "{who:?} {spec}: a FIFO");
            let sbx = fresh().file("store", b"");
            assert_eq!(sbx.run().code(), 125, "{who:?} {spec}: a file");
            let sbx = fresh().dir("store");
            std::fs::set_permissions(sbx.path("store"), std::fs::Permissions::from_mode(0o777)).unwrap();
            let ran = sbx.run();
            ran.refused("can be written by others");
            if who == Who::Nobody && nix::unistd::geteuid().is_root() {
                for mode in [0o755, 0o1777] {
                    let sbx = fresh().dir("store");
                    chown(sbx.path("store"), Some(1234), Some(1234)).unwrap();
                    std::fs::set_permissions(sbx.path("store"), std::fs::Permissions::from_mode(mode)).unwrap();
                    assert_eq!(sbx.run().code(), 125, "{spec}: another's with mode {mode:o}");
                    assert_eq!(std::fs::read_dir(sbx.path("store")).unwrap().count(), 0, "{spec} {mode:o}");
                }
            }
            // Root meets what somebody prepared for it.
            if who == Who::Root {
                let sbx = fresh().dir("store").dir("store/volumes");
                for path in ["store", "store/volumes"] {
                    chown(sbx.path(path), Some(1234), Some(1234)).unwrap();
                }
                std::os::unix::fs::symlink(sbx.path("canary"), sbx.path("store/volumes/v")).unwrap();
                sbx.run().refused("can be written by others");
            }
            let sbx = fresh();
            sbx.run().ok();
            let mode = std::fs::metadata(sbx.path("store")).unwrap().permissions().mode();
            assert_eq!(mode & 0o022, 0, "what sbx makes is written by the caller alone: {mode:o}");
        }
    }
}

/// CVE-2022-31214, CVE-2017-5180 and the like of firejail: nothing by which the runner decides is inside, and the text
/// of a script, the one file that is, cannot be changed.
#[test]
fn cve_2022_31214_no_state_of_the_runner_is_inside() {
    for who in Who::all() {
        for user in ["caller", "root"] {
            let look = "ls -A /run /tmp /run/sbx; for f in /run/sbx /run/sbx/script; do if (echo x >> $f) 2>/dev/null; then echo changed $f; fi; \
                        rm -rf $f 2>/dev/null && echo removed $f; mv $f /tmp/ 2>/dev/null && echo moved $f; done; \
                        env | grep -v -e ^PATH= -e ^HOME= -e ^USER= -e ^LANG= -e ^SBX -e ^PWD= -e ^_= -e SHLVL; \
                        ls -d /proc/self/fd/3 2>/dev/null; echo end";
            let ran = Sbx::new(who).spec(&format!("user {user}\nscript #\"\"\"\n    {look}\n    \"\"\"#")).run();
            assert_eq!(ran.ok(), "/run:\nsbx\n\n/run/sbx:\nscript\n\n/tmp:\nend", "{who:?} {user}");
        }
    }
}

/// isolate 2.5 and 2.6: `/dev/shm` was one for all boxes.
#[test]
fn isolate_2_6_two_runs_share_no_memory_and_no_queue() {
    let Some(attack) = attack() else { return };
    for who in Who::all() {
        for rest in ["", "seccomp none\nlandlock none", "user root\nseccomp none", "network host"] {
            let spec = format!("{rest}\nmounts {{ bind {attack:?} \"/attack\"; }}");
            let first = Sbx::new(who).spec(&spec).cmd(&["/attack", "put"]);
            let running = first.start();
            running.await_output("\n");
            let second = Sbx::new(who).spec(&spec).cmd(&["/attack", "look"]);
            assert_eq!(second.run().ok(), "00000", "{who:?} {rest}");
            let host = Command::new(&attack).arg("look").output().unwrap();
            assert_eq!(host.stdout, b"00000\n", "{who:?} {rest}: the host sees it");
            running.signal(nix::sys::signal::Signal::SIGTERM);
            // The last is a queue of POSIX, which the filter may refuse.
            assert!(running.wait().stdout.starts_with("1111"), "{who:?} {rest}: not made");
        }
    }
}
