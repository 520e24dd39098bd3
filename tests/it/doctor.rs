//! The doctor: its pure advice, and its findings on this machine and on the same machine
//! made worse.
#![expect(clippy::print_stdout, reason = "a skip is loud, and an examination in another process answers by print")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sbx::app::machine::examine;
use sbx::host::advice::{self, Switches};
use sbx::host::doctor::{Check, Status, parse_release};
use sbx::host::doctor_text::render;
use sbx::host::probe::caller;
use sbx::host::subordinate::{Range, ranges, user_name};
use sbx::sys::attempt::{Failure, attempt};

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const ENOSPC: i32 = 28;
const EPROTONOSUPPORT: i32 = 93;
const EOPNOTSUPP: i32 = 95;

#[test]
fn releases() {
    let cases = [
        ("6.1.0-18-amd64", Some((6, 1))),
        ("5.13", Some((5, 13))),
        ("6.18.4+", Some((6, 18))),
        ("six", None),
        ("", None),
    ];
    for (text, expected) in cases {
        assert_eq!(parse_release(text), expected, "`{text}`");
    }
}

#[test]
fn subordinate_ranges_are_found_by_name_and_by_number() {
    let text = "ann:100000:65536\n1000:300000:10\nann:x:1\nbob:1:2\nann:5\nann:4294967295:2\nann:7:0\n";
    let expected = [Range { start: 100_000, count: 65536 }, Range { start: 300_000, count: 10 }];
    assert_eq!(ranges(text, Some("ann"), 1000), expected);
    assert_eq!(ranges(text, None, 1000), expected[1..]);
    assert_eq!(user_name("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n", 1000), Some("ann"));
    assert_eq!(user_name("root:x:0:0::/:/bin/sh\n", 7), None);
}

#[test]
fn each_switch_that_forbids_user_namespaces_is_named() {
    let clone = Failure { step: "clone", errno: EPERM };
    let map = Failure { step: "uid_map", errno: EPERM };
    let free =
        Switches { max_user_namespaces: Some(1000), binary: PathBuf::from("/opt/my bin/sbx"), ..Switches::default() };
    let cases = [
        (clone, Switches { max_user_namespaces: Some(0), ..free.clone() }, "user.max_user_namespaces"),
        (Failure { errno: ENOSPC, ..clone }, free.clone(), "user.max_user_namespaces"),
        (clone, Switches { max_user_namespaces: None, ..free.clone() }, "CONFIG_USER_NS"),
        (clone, Switches { unprivileged_userns_clone: Some(0), ..free.clone() }, "kernel.unprivileged_userns_clone=1"),
        (
            map,
            Switches { apparmor_restricts: Some(1), ..free.clone() },
            "profile sbx \"/opt/my bin/sbx\" flags=(unconfined)",
        ),
        (clone, Switches { seccomp: Some(2), ..free.clone() }, "seccomp=unconfined"),
        (clone, free.clone(), "chroot"),
        (map, free, "security module"),
    ];
    for (failure, switches, expected) in cases {
        let fix = advice::user_namespace(failure, &switches);
        assert!(fix.contains(expected), "{failure:?} {switches:?}: `{fix}` does not say `{expected}`");
    }
}

#[test]
fn each_mount_that_fails_names_its_switch() {
    let says = |kind, errno| advice::file_system(kind, Failure { step: "mount", errno });
    assert!(says("proc", EPERM).contains("systempaths=unconfined"));
    assert!(says("overlay", ENODEV).contains("modprobe overlay"));
    assert!(says("overlay", EPERM).contains("5.11"));
    assert!(advice::namespace("mount", ENOSPC).contains("user.max_mnt_namespaces"));
    assert!(advice::apparmor_profile(Path::new("/usr/bin/sbx")).contains("\n  userns,\n"));
}

#[test]
fn each_part_of_a_network_that_is_missing_names_its_module() {
    let says = |step, errno| advice::network(Failure { step, errno });
    assert!(says("nftables", EPROTONOSUPPORT).contains("modprobe -a nf_tables nft_tproxy"));
    assert!(says("nftables", ENOENT).contains("CONFIG_NFT_TPROXY"));
    assert!(says("links", EOPNOTSUPP).contains("modprobe -a bridge veth"));
    assert!(says("uid_map", EPERM).contains("namespace: user"));
    assert!(says("nftables", EPERM).contains("seccomp=unconfined"));
}

#[test]
fn the_text_shows_the_fix_below_its_check() {
    let good = Check { name: "a".to_owned(), status: Status::Ok, found: "works".to_owned(), fix: None };
    let bad = Check {
        name: "long".to_owned(),
        status: Status::Missing,
        found: "no".to_owned(),
        fix: Some("do it".to_owned()),
    };
    let expected = "ok       a     works\nmissing  long  no\n               fix: do it\n";
    assert_eq!(render(&[good, bad]), expected);
}

#[test]
fn a_failed_attempt_says_which_step_failed() {
    let (fine, bad) = (|| Ok(()), || Err(ENODEV));
    assert_eq!(attempt(0, &[("first", &fine), ("second", &fine)]), Ok(()));
    let failure = attempt(0, &[("first", &fine), ("second", &bad), ("third", &fine)]);
    assert_eq!(failure, Err(Failure { step: "second", errno: ENODEV }));
}

#[test]
fn what_is_not_well_has_a_fix_and_nothing_else_has() {
    let checks = examine();
    for check in &checks {
        assert_eq!(check.status == Status::Ok, check.fix.is_none(), "{check:?}");
        assert_eq!(checks.iter().filter(|other| other.name == check.name).count(), 1, "{check:?} is there twice");
    }
}

/// Not a test of its own: what the tests below start on a machine made worse.
#[test]
#[ignore = "started by the other tests of this file"]
fn print_examination() {
    println!("{}", render(&examine()));
}

/// Runs the examination after the shell commands `before`, in new namespaces as unshare(1)
/// makes them, or says why it cannot.
fn examine_after(namespaces: &str, before: &str) -> Option<String> {
    if !caller().is_root() {
        crate::skip("needs root to make the machine worse");
        return None;
    }
    let exe = std::env::current_exe().expect("path of the test program");
    let script = format!("{before}\nexec \"$0\" --ignored --nocapture --exact doctor::print_examination");
    let mut command = Command::new("unshare");
    command.args(namespaces.split(' ')).args(["/bin/sh", "-euc"]).arg(script).arg(exe);
    let output = command.output().expect("start unshare(1)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

/// Returns the line of `name` and the line below it.
fn finding<'a>(text: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut lines = text.lines().skip_while(|line| !line.contains(name));
    (lines.next().unwrap_or_else(|| panic!("no `{name}` in {text}")), lines.next().unwrap_or_default())
}

#[test]
fn a_forbidden_user_namespace_is_found() {
    let Some(text) = examine_after("--user --map-root-user", "echo 0 > /proc/sys/user/max_user_namespaces") else {
        return;
    };
    let (line, fix) = finding(&text, "namespace: user");
    assert!(line.contains("missing") && line.contains("ENOSPC"), "{line}");
    assert!(fix.contains("user.max_user_namespaces=15000"), "{fix}");
}

#[test]
fn a_forbidden_network_namespace_is_found() {
    let Some(text) = examine_after("--user --map-root-user", "echo 0 > /proc/sys/user/max_net_namespaces") else {
        return;
    };
    assert!(finding(&text, "namespace: user").0.contains("ok"), "{text}");
    let (line, fix) = finding(&text, "namespace: net");
    assert!(line.contains("missing") && line.contains("ENOSPC"), "{line}");
    assert!(fix.contains("user.max_net_namespaces"), "{fix}");
}

/// Ubuntu's, Debian's and this machine's kernels have all of it.
#[test]
fn what_can_be_built_of_a_network_is_said() {
    let Some(text) = examine_after("--mount", "true") else { return };
    assert!(finding(&text, "network: egress").0.starts_with("ok"), "{text}");
    assert!(finding(&text, "network: bridge").0.starts_with("ok"), "{text}");
    let Some(text) = examine_after("--user --map-root-user", "echo 0 > /proc/sys/user/max_net_namespaces") else {
        return;
    };
    let (line, fix) = finding(&text, "network: egress");
    assert!(line.contains("limited") && line.contains("clone"), "{line}");
    assert!(fix.contains("namespace: net"), "{fix}");
    assert!(finding(&text, "network: bridge").1.contains("run sbx as root"), "{text}");
}

#[test]
fn a_masked_proc_is_found() {
    let Some(text) = examine_after("--mount", "mount -t tmpfs -o ro tmpfs /proc/sys") else { return };
    let (line, fix) = finding(&text, "mount: proc");
    assert!(line.contains("missing") && line.contains("EPERM"), "{line}");
    assert!(fix.contains("systempaths=unconfined"), "{fix}");
}

#[test]
fn a_read_only_cgroup_file_system_is_found() {
    let before = "for at in $(awk '$3 ~ /^cgroup/ { print $2 }' /proc/mounts); do mount -o remount,bind,ro $at; done";
    let Some(text) = examine_after("--mount", before) else { return };
    let (line, fix) = finding(&text, "cgroup: memory");
    assert!(line.contains("limited") && line.contains("EROFS"), "{line}");
    assert!(fix.contains("writable-cgroups=true"), "{fix}");
}

#[test]
fn a_missing_cgroup_file_system_is_found() {
    let Some(text) = examine_after("--mount", "umount --recursive --lazy /sys/fs/cgroup") else { return };
    let (line, fix) = finding(&text, "cgroup: memory");
    assert!(line.contains("limited"), "{line}");
    assert!(fix.contains("mount -t cgroup"), "{fix}");
}

#[test]
fn a_machine_without_device_nodes_is_found() {
    let Some(text) = examine_after("--mount", "mount -t tmpfs tmpfs /dev") else { return };
    assert!(finding(&text, "devices").0.contains("missing"), "{text}");
}
