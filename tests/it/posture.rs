//! What the posture of a run closes, seen from inside: `/proc`, user namespaces, cores,
//! keys, and what each `profile` makes of them.

use std::process::Command;

use sbx::plan::posture;
use sbx::spec::Profile;

use crate::harness::{Sbx, Who, skip};

/// Profiles and what their `/proc` shows of the host.
#[test]
fn proc_tells_of_the_sandbox_only() {
    for who in Who::all() {
        let sizes = "for f in keys kallsyms interrupts; do head -c 100 /proc/$f 2>/dev/null | wc -c; done; \
                     ls /proc/acpi /proc/asound /proc/scsi 2>/dev/null | grep -c '^[^/]' ; ls /proc/cpuinfo 2>/dev/null";
        let see = |profile: &str| Sbx::new(who).spec(&format!("profile {profile:?}")).sh(sizes).run().stdout;
        assert_eq!(see("default"), "0\n0\n0\n0\n/proc/cpuinfo\n", "{who:?}");
        assert_eq!(see("strict"), "0\n0\n0\n0\n", "{who:?}");
        let whole = see("compat");
        assert!(whole.contains("\n100\n100\n") && !whole.starts_with("0\n"), "{who:?} {whole}");
        // The same where `/dev` is the spec's own, without a null of sbx's.
        let ran = Sbx::new(who).spec("mounts { tmpfs \"/dev\"; }").sh("cat /proc/keys || echo closed").run();
        assert_eq!(ran.ok(), "closed", "{who:?}");
    }
}

#[test]
fn settings_of_the_kernel_cannot_be_written() {
    for who in Who::all() {
        for user in ["caller", "root"] {
            for profile in ["default", "strict", "compat"] {
                let spec = format!("profile {profile:?}\nuser {user:?}");
                let script = "for f in kernel/core_pattern vm/overcommit_memory kernel/hostname fs/protected_symlinks; do \
                              if (: > /proc/sys/$f) 2>/dev/null; then echo $f; fi; done; echo seen";
                assert_eq!(Sbx::new(who).spec(&spec).sh(script).run().ok(), "seen", "{who:?} {spec}");
            }
            // Those of the sandbox's own network neither, which its root might.
            let script = "if (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>/dev/null; then echo written; fi; echo seen";
            let ran = Sbx::new(who).spec(&format!("user {user:?}")).sh(script).run();
            assert_eq!(ran.ok(), "seen", "{who:?} {user}");
        }
    }
}

/// Twice: by the filter, and by the kernel's count where there is no filter.
#[test]
fn user_namespaces_are_forbidden_twice() {
    for who in Who::all() {
        let errno = |spec: &str| {
            let script = "perl -e 'print syscall(272, 0x10000000) == 0 ? 0 : $!+0'";
            Sbx::new(who).spec(spec).sh(script).run().ok().to_owned()
        };
        assert_eq!(errno(""), libc::EPERM.to_string(), "{who:?}");
        assert_eq!(errno("seccomp \"none\""), libc::ENOSPC.to_string(), "{who:?}");
        assert_eq!(errno("seccomp \"none\"\ncapabilities \"SYS_RESOURCE\""), libc::ENOSPC.to_string(), "{who:?}");
        assert_eq!(errno("profile \"compat\"\nuser 7 7"), "0", "{who:?}");
    }
    let host = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    assert_ne!(host.trim(), "0", "the host's own limit was changed");
}

#[test]
fn cores_are_off_unless_asked_for() {
    for who in Who::all() {
        let soft = |spec: &str| Sbx::new(who).spec(spec).sh("ulimit -c").run().ok().to_owned();
        assert_eq!(soft(""), "0", "{who:?}");
        assert_eq!(soft("limits { core \"1M\"; }"), "2048", "{who:?}");
    }
}

#[test]
fn the_sandbox_is_first_in_line_when_memory_is_full() {
    for who in Who::all() {
        let score = |sbx: Sbx| sbx.sh("cat /proc/self/oom_score_adj").run().ok().to_owned();
        assert_eq!(score(Sbx::new(who)), posture::OOM_SCORE.to_string(), "{who:?}");
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        assert_eq!(score(Sbx::new(who).spec("profile \"compat\"")), own.trim(), "{who:?}");
    }
}

/// A key in the caller's session keyring, read from inside where the filter would let it be.
#[test]
fn keys_of_the_caller_stay_outside() {
    if !Command::new("perl").args(["-e", "1"]).status().is_ok_and(|status| status.success()) {
        return skip("no perl to make a key with");
    }
    let home = tempfile::tempdir().unwrap();
    let spec = home.path().join("spec.kdl");
    std::fs::write(&spec, "profile \"compat\"\nreport \"none\"\n").unwrap();
    let read = "my $text = 'x' x 9; print syscall(250, 11, $ARGV[0] + 0, $text, 9) == 6 ? 'read' : 'closed'";
    let script = "my ($type, $name, $text) = ('user', 'sbxcanary', 'secret'); syscall(250, 1, 0) >= 0 or exit 77; \
                  my $key = syscall(248, $type, $name, $text, 6, -3); $key >= 0 or exit 77; \
                  system('perl', '-e', $ARGV[0], $key) == 0 or exit 77; \
                  exec @ARGV[1 .. $#ARGV], 'perl', '-e', $ARGV[0], $key";
    let output = Command::new("perl")
        .args(["-e", script, read, env!("CARGO_BIN_EXE_sbx"), "run"])
        .arg(&spec)
        .arg("--")
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        return skip("this kernel or this user has no keyrings");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "readclosed", "{output:?}");
}

/// The table of README is the one of the code.
#[test]
fn readme_says_what_each_profile_is() {
    let [default, strict, compat] = Profile::ALL.map(|profile| posture::of(profile).rows());
    let mut table = String::from("| | `default` | `strict` | `compat` |\n|---|---|---|---|\n");
    for ((what, first), ((_, second), (_, third))) in default.into_iter().zip(strict.into_iter().zip(compat)) {
        table.extend(["| ", what, " | ", first, " | ", second, " | ", third, " |\n"]);
    }
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&table), "README has another table than this one:\n{table}");
}
