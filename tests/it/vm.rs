//! The program in machines that the host is not: cgroup v2 alone, v1 alone, delegated,
//! under systemd, none at all, and on a kernel that is some years old. The scripts in
//! `tests/vm/sbx` do the trying; this file starts them and never looks at a sandbox itself.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// What `tests/vm/sbx/run` ends with where the host cannot run a machine.
const SKIPPED: i32 = 77;

fn try_in(mode: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/sbx/run");
    let output = Command::new(&script).arg(env!("CARGO_BIN_EXE_sbx")).arg(mode).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start `{}`: {error}", script.display()));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0) => {}
        Some(SKIPPED) => {
            let reason = said.lines().find_map(|line| Some(line.split_once("SKIP: ")?.1)).unwrap_or("no reason given");
            crate::skip(&format!("{reason} (mode {mode})"));
        }
        _ => {
            // At once, where the test is named, too: who reads the end of a long record is to see why.
            let told = format!("in mode {mode}, {}:\n{said}", output.status);
            std::io::stderr().write_all(format!("vm: {told}\n").as_bytes()).ok();
            panic!("{told}");
        }
    }
}

#[test]
fn cgroup_v2_as_root() {
    try_in("v2");
}

#[test]
fn a_delegated_cgroup() {
    try_in("v2-user");
}

#[test]
fn cgroup_v1() {
    try_in("v1");
}

#[test]
fn both_cgroup_versions() {
    try_in("hybrid");
}

#[test]
fn no_cgroups() {
    try_in("none");
}

#[test]
fn a_user_of_systemd() {
    try_in("systemd");
}

#[test]
fn root_under_systemd() {
    try_in("systemd-root");
}
