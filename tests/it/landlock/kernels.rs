//! Older kernels: what is asked of each version of the interface, and what is said where
//! it is less than wanted, or nothing. The real kernel answers as an older one would
//! to the first question, which is all that sbx believes.

use sbx::host::doctor::{Status, judge_landlock};
use sbx::plan::landlock::{Right, Rights};

use crate::harness::{Ran, Sbx, Who, skip};
use crate::landlock::{in_force, newest};

/// The bits of `linux/landlock.h` that are handled where all rights are wanted, from Linux 5.13 (version 1) to
/// 6.15 (version 7): files, ports, scopes.
const ALL: [(u32, [u64; 3]); 8] = [
    (1, [0x1fff, 0, 0]),
    (2, [0x3fff, 0, 0]),
    (3, [0x7fff, 0, 0]),
    (4, [0x7fff, 3, 0]),
    (5, [0xffff, 3, 0]),
    (6, [0xffff, 3, 3]),
    (7, [0xffff, 3, 3]),
    (9, [0xffff, 3, 3]),
];

#[test]
fn each_version_is_asked_for_what_it_knows() {
    for (abi, expected) in ALL {
        let bits = Rights::of(&Right::ALL).bits(abi);
        assert_eq!([bits.files, bits.ports, bits.scopes], expected, "{abi}");
    }
    for right in Right::ALL {
        let alone = Rights::of(&[right]);
        let others = Rights::of(&Right::ALL).without(alone);
        for (abi, _) in ALL {
            let (one, rest) = (alone.bits(abi), others.bits(abi));
            let (one, rest) = ([one.files, one.ports, one.scopes], [rest.files, rest.ports, rest.scopes]);
            assert!(one.iter().zip(&rest).all(|(one, rest)| one & rest == 0), "{right:?} shares a bit with another");
            assert_eq!(alone.known(abi).is_empty(), one == [0; 3], "{right:?} {abi}");
            // What is complete changes no more with later versions.
            let complete = alone.incomplete(abi).is_empty();
            let last = alone.bits(9);
            assert_eq!(complete, one == [last.files, last.ports, last.scopes], "{right:?} {abi}");
        }
    }
    assert_eq!(Rights::of(&[Right::Read]).bits(1).files, 0b1100);
    assert_eq!(Rights::of(&[Right::Execute]).bits(7).files, 1);
    assert_eq!(Rights::of(&[Right::Connect]).bits(4).ports, 2);
}

#[test]
fn doctor_says_what_a_version_lacks() {
    for (version, words) in [(1, "EXDEV"), (2, "truncating"), (3, "ports"), (4, "devices"), (5, "abstract sockets")] {
        let check = judge_landlock(version);
        assert_eq!(check.status, Status::Limited, "{version}");
        assert!(check.found.contains(words) && check.fix.is_some(), "{check:?}");
    }
    for version in [6, 7, 9] {
        assert_eq!((judge_landlock(version).status, judge_landlock(version).fix), (Status::Ok, None), "{version}");
    }
}

/// Runs a line of the shell on a kernel whose first answer is `answer`, as in `retval=2` or `error=ENOSYS`.
fn on_kernel(who: Who, answer: &str, spec: &str, script: &str) -> Option<Ran> {
    if !std::path::Path::new("/usr/bin/strace").exists() {
        skip("/usr/bin/strace, which answers in place of the kernel, is not installed");
        return None;
    }
    let traced = format!(
        "exec strace -qq -o /dev/null -e trace=landlock_create_ruleset \
                          -e inject=landlock_create_ruleset:{answer}:when=1 \"$@\""
    );
    Some(Sbx::new(who).spec(spec).through(&traced).sh(script).run())
}

#[test]
fn every_version_holds_what_it_can_and_says_which() {
    if !newest() {
        return;
    }
    for who in Who::all() {
        for abi in 1..=9 {
            let script = "cd /tmp; mkdir a b; echo x > a/f; ln a/f b/f 2>/dev/null && echo moved; mknod n c 0 0 2>/dev/null || echo no-device; kill -0 1 2>/dev/null || echo no-signal";
            let Some(ran) = on_kernel(who, &format!("retval={abi}"), "", script) else { return };
            let said: Vec<&str> = ran.ok().lines().collect();
            // Version 1 forbids every move from one directory to another; scopes came with version 6.
            let moved = (abi > 1).then_some("moved");
            let signal = (abi > 5).then_some("no-signal");
            let expected: Vec<&str> = [moved, Some("no-device"), signal].into_iter().flatten().collect();
            assert_eq!(said, expected, "{who:?} {abi}");
            let status = if abi < 6 { "partial" } else { "full" };
            assert_eq!(in_force(&ran), (Some(abi.min(7)), status.to_owned()), "{who:?}");
        }
    }
}

#[test]
fn a_rule_that_the_kernel_cannot_hold_is_refused_or_listed() {
    for who in Who::all() {
        for (rule, abi, since) in [("connect 80", 3, "6.7"), ("bind 80", 3, "6.7"), ("write \"/tmp\"", 2, "6.2")] {
            let spec = format!("landlock {{ {rule}; }}\n");
            let answer = format!("retval={abi}");
            let Some(ran) = on_kernel(who, &answer, &spec, "echo ran") else { return };
            ran.refused(&format!("this kernel has {abi}"));
            assert!(ran.stderr.contains(since), "{ran:?}");
            assert_eq!(ran.report["outcome"]["error"]["line"], 1);
            let ran = on_kernel(who, &answer, &format!("{spec}best-effort \"landlock\""), "echo ran").unwrap();
            assert_eq!(ran.ok(), "ran");
            assert_eq!(in_force(&ran), (Some(abi), "partial".to_owned()));
            let weakened = &ran.report["isolation"]["weakened"];
            assert_eq!(weakened.as_array().unwrap().len(), 1);
            assert!(weakened[0]["why"].as_str().unwrap().contains(rule.split(' ').next().unwrap()), "{weakened}");
            if newest() {
                let ran = on_kernel(who, &format!("retval={}", abi + 1), &spec, "echo ran").unwrap();
                assert_eq!(ran.ok(), "ran");
            }
        }
    }
}

#[test]
fn a_kernel_without_landlock_is_refused_or_listed() {
    for who in Who::all() {
        for (errno, hint) in [("ENOSYS", "CONFIG_SECURITY_LANDLOCK"), ("EOPNOTSUPP", "lsm="), ("EPERM", "seccomp")] {
            let answer = format!("error={errno}");
            let Some(ran) = on_kernel(who, &answer, "", "echo ran") else { return };
            ran.refused("the kernel has no Landlock");
            assert!(ran.stderr.contains(hint) && ran.stderr.contains("best-effort"), "{ran:?}");
            assert_eq!(ran.report["outcome"]["error"]["errno"], errno);
            let ran =
                on_kernel(who, &answer, "best-effort \"landlock\"\nlandlock { connect 80; }", "echo ran").unwrap();
            assert_eq!(ran.ok(), "ran");
            assert_eq!(in_force(&ran), (None, "none".to_owned()));
            let weakened = &ran.report["isolation"]["weakened"][0];
            assert_eq!(weakened["feature"], "landlock");
            assert!(weakened["why"].as_str().unwrap().contains(errno), "{weakened}");
            let ran = on_kernel(who, &answer, "landlock none", "echo ran").unwrap();
            assert_eq!(ran.ok(), "ran");
        }
    }
}
