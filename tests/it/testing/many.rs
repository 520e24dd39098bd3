//! A thousand cases leave the host as it was.

use std::path::{Path, PathBuf};

use super::{run, said, tests};
use crate::harness::{Who, skip};

/// A group in each hierarchy under which all runs of a test are, removed at the end.
struct Groups(Vec<PathBuf>);

impl Groups {
    fn make(name: &str) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.lines().filter(|line| line.contains(" - cgroup ") && line.contains("pids"));
        let places: Vec<_> = mounts.map(|line| Path::new(line.split(' ').nth(4).unwrap()).join(name)).collect();
        let made = places.iter().all(|place| std::fs::create_dir(place).is_ok());
        (made && !places.is_empty()).then_some(Self(places))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        self.0.iter().for_each(|place| drop(std::fs::remove_dir(place)));
    }
}

fn thousand(head: &str) -> String {
    let tests: String = (0..1000)
        .map(|number| match number % 100 {
            // Some have what goes in and out of them.
            0 => format!("test \"{number}\" {{ command \"cat\"; stdin \"{number}\"; expect {{ stdout \"{number}\"; file \"/etc/passwd\"; }}; }}\n"),
            _ => format!("test \"{number}\" {{}}\n"),
        })
        .collect();
    format!("{head}\ncommand \"true\"\n{tests}")
}

#[test]
fn a_thousand_cases_leave_nothing_behind() {
    for who in Who::all() {
        let ran = run(&tests(who, &[("a.sbx.kdl", &thousand(""))]).flags(&["t"]));
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 1000), "{ran:?}");
    }
}

#[test]
fn nor_do_they_leave_groups() {
    let Some(who) = Who::root() else { return };
    let name = format!("sbx-it-many-{}", std::process::id());
    let Some(groups) = Groups::make(&name) else { return skip("no v1 hierarchy with `pids` here") };
    let spec = format!("limits {{ pids 32; cgroup \"/{name}\"; }}\ncommand \"true\"\n");
    let tests_of_it: String = (0..200).map(|number| format!("test \"{number}\" {{}}\n")).collect();
    let ran = run(&tests(who, &[("a.sbx.kdl", &(spec + &tests_of_it))]).flags(&["t"]));
    assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 200), "{ran:?}");
    for place in &groups.0 {
        let below = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path());
        let below: Vec<_> = below.filter(|path| path.is_dir()).collect();
        assert!(below.is_empty(), "{below:?}");
    }
}
