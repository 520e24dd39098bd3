//! The tests of this repository that are specs: `sbx test specs`, as everybody.

use std::path::Path;
use std::process::Command;

use super::{run, tests};
use crate::harness::{Sbx, Who, skip};

/// Returns `sbx test` of a copy of `specs`, where everybody can read it.
fn specs(who: Who, flags: &[&str]) -> Sbx {
    let sbx = tests(who, &[]).flags(flags);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
    assert!(Command::new("cp").arg("-r").arg(source).arg(sbx.path("specs")).status().unwrap().success());
    assert!(Command::new("chmod").args(["-R", "a+rX"]).arg(sbx.path("specs")).status().unwrap().success());
    sbx
}

#[test]
fn the_specs_of_this_repository_hold() {
    for who in Who::all() {
        let ran = run(&specs(who, &["specs/isolation.sbx.kdl", "specs/spec.sbx.kdl", "specs/outcome.sbx.kdl"]));
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert!(ran.stderr.contains(" passed"), "{ran:?}");
    }
}

#[test]
fn those_with_groups_hold_where_there_can_be_some() {
    let Some(who) = Who::root() else { return };
    let ran = run(&specs(who, &["specs/groups"]));
    if ran.stderr.contains("could not be run") {
        return skip(&format!("no groups for root here: {}", ran.stderr));
    }
    assert_eq!(ran.code(), 0, "{ran:?}");
}

/// None is forgotten: what lies in `specs` is one of these.
#[test]
fn every_spec_with_tests_is_run() {
    let Some(who) = Who::all().pop() else { return };
    let ran = run(&specs(who, &["--list", "specs"]));
    let files: std::collections::BTreeSet<_> = ran.stdout.lines().filter_map(|line| line.split("::").next()).collect();
    let known =
        ["specs/groups/limits.sbx.kdl", "specs/isolation.sbx.kdl", "specs/outcome.sbx.kdl", "specs/spec.sbx.kdl"];
    assert_eq!(files.into_iter().collect::<Vec<_>>(), known);
    assert!(ran.stdout.lines().count() >= 35, "{}", ran.stdout);
}
