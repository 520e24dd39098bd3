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

/// What a worker keeps is copied by every clone that follows.
#[test]
fn a_worker_keeps_nothing_of_its_cases() {
    let spec: String = (0..250).map(|number| format!("test \"{number}\" {{}}\n")).collect();
    for who in Who::all() {
        let sbx = tests(who, &[("a.sbx.kdl", &format!("command \"true\"\n{spec}"))]).flags(&["t", "-j1"]);
        let mut running = sbx.start();
        let mut kept: Vec<u64> = Vec::new();
        while running.is_alive() {
            let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid()));
            let status = children.ok().and_then(|worker| {
                std::fs::read_to_string(format!("/proc/{}/status", worker.split_whitespace().next()?)).ok()
            });
            let line = status.as_ref().and_then(|status| status.lines().find_map(|line| line.strip_prefix("RssAnon:")));
            kept.extend(line.map(|line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()));
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let ran = running.wait();
        assert_eq!((ran.code(), said(&ran, "PASS").len()), (0, 250), "{who:?} {ran:?}");
        let most = |kept: &[u64]| kept.iter().copied().max().unwrap_or(0);
        let (early, late) = (most(&kept[..kept.len() / 4]), most(&kept[kept.len() * 3 / 4..]));
        assert!(kept.len() > 40 && early > 0, "{who:?}: looked only {} times", kept.len());
        assert!(late < early + 1024, "{who:?}: {early} KiB became {late} KiB");
    }
}

/// Who has lost the right to its working directory cannot come back to it from bare mounts, and says so.
#[test]
fn a_working_directory_that_is_closed_meanwhile_is_named() {
    let Some(who) = Who::root() else { return };
    let rest: String = (1..60).map(|number| format!("test \"{number}\" {{ command \"true\"; }}\n")).collect();
    let first = "test \"0\" { script \"touch /sign/up; until test -e /sign/go; do sleep 0.01; done\"; }\n";
    let spec = format!("mounts {{ bind \"../sign\" \"/sign\" access=\"rw\"; }}\n{first}{rest}");
    let sbx = tests(who, &[("a.sbx.kdl", &spec)]).dir("sign").dir("cwd");
    let (place, scratch) = (sbx.path("t").display().to_string(), sbx.path("tmp").display().to_string());
    let close = "cd cwd; { until test -e ../sign/up; do sleep 0.01; done; chown 5 .; chmod 700 .; touch ../sign/go; } & \
                 exec setpriv --bounding-set=-dac_override,-dac_read_search \"$@\"";
    let sbx = sbx.env("TMPDIR", &scratch).flags(&[place.as_str(), "-j1"]).through(close);
    let ran = run(&sbx);
    assert_eq!((ran.code(), said(&ran, "PASS"), said(&ran, "ERROR").len()), (125, vec!["0"], 59), "{ran:?}");
    let line = "the worker is gone: it may no longer enter the directory that sbx was started in";
    assert!(ran.stderr.contains(line), "{ran:?}");
}
