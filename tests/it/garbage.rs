//! What a killed sbx leaves goes with the next run or with `sbx gc`, wherever it was and
//! whenever the kill came; what belongs to a run that lives is never touched.

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::{Sbx, Who, skip};
use crate::{aftermath, fixture};

/// A name as sbx gives it, with a process id that is in use.
const NAME: &str = "sbx-1-0123456789abcdef";

/// A group of the tests' own in every hierarchy of the host, for `limits { cgroup … }`.
pub(crate) struct Parent {
    pub(crate) name: String,
    pub(crate) dirs: Vec<PathBuf>,
}

/// `sbx gc` looks everywhere, so what one test leaves on purpose is not safe from another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parent {
    /// Returns a new one, or says why there is none.
    pub(crate) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        Who::root()?;
        let name = format!("/it-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut dirs = Vec::new();
        for line in aftermath::mounts().iter().filter(|line| line.contains(" - cgroup")) {
            let words = |options: &str| options.split(',').any(|it| ["memory", "pids", "cpu", "cpuacct"].contains(&it));
            if line.contains(" - cgroup2 ") || words(line.rsplit(' ').next().unwrap()) {
                let dir = PathBuf::from(line.split(' ').nth(4).unwrap()).join(&name[1..]);
                if std::fs::create_dir(&dir).is_ok() {
                    dirs.push(dir);
                }
            }
        }
        let parent = Self { name, dirs };
        let ran = Sbx::new(Who::Root).spec(&parent.spec("")).cmd(&["true"]).run();
        if ran.code() != 0 {
            skip(&format!("no groups can be made below a given one: {}", ran.stderr));
            return None;
        }
        Some(parent)
    }

    /// Returns a spec with limits below this parent.
    pub(crate) fn spec(&self, limits: &str) -> String {
        format!("limits {{ cgroup {:?}; memory \"64M\"; pids 32; cpu 1; {limits} }}", self.name)
    }

    /// Returns the groups below it.
    pub(crate) fn groups(&self) -> Vec<PathBuf> {
        let entries = self.dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap()).map(Result::unwrap);
        entries.filter(|entry| entry.file_type().unwrap().is_dir()).map(|entry| entry.path()).collect()
    }

    /// Makes groups of this name as a killed run leaves them.
    fn leave(&self, name: &str) {
        for dir in &self.dirs {
            std::fs::create_dir(dir.join(name)).unwrap();
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        for dir in self.groups().iter().chain(&self.dirs) {
            std::fs::remove_dir(dir).ok();
        }
    }
}

/// Runs `sbx gc`, which says what it removed.
fn gc(through: &[&str]) -> String {
    let sbx = fixture::binary();
    let mut words = through.iter().map(Path::new).chain([sbx.as_path(), Path::new("gc")]);
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const ELSEWHERE: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

fn has_unshare() -> bool {
    let there = Command::new(ELSEWHERE[0]).args(&ELSEWHERE[1..]).arg("true").status().is_ok_and(|it| it.success());
    if !there {
        skip("no `unshare` (util-linux), or it may not make a pid namespace");
    }
    there
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_for_long() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    let sbx = Sbx::new(Who::Root).spec(&parent.spec("")).sh("sleep 0.005");
    let begin = Instant::now();
    for _ in 0..5 {
        sbx.run().ok();
    }
    // The harness itself takes a part of that; a run is over by then in any case.
    let whole = begin.elapsed() / 5;
    let mut left = 0;
    for moment in 0..100 {
        let running = sbx.start();
        std::thread::sleep(whole * moment / 100);
        running.murder();
        left += u32::from(!parent.groups().is_empty());
        if moment % 2 == 0 {
            gc(&[]);
        } else {
            sbx.run().ok();
        }
        assert_eq!(parent.groups(), Vec::<PathBuf>::new(), "after a kill at {moment} % of {whole:?}");
    }
    assert!(left >= 10, "only {left} of 100 kills left a group: this tests nothing");
}

#[test]
fn what_is_removed_is_told_by_name_and_lock_and_not_by_process() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    let others =
        ["sbx-self", "sbx-1-0123", "sbx-1-0123456789ABCDEF", "sbx--0123456789abcdef", "xsbx-1-0123456789abcdef"];
    for name in others {
        parent.leave(name);
    }
    let count = parent.groups().len();
    parent.leave(NAME);
    for dir in &parent.dirs {
        std::fs::create_dir(dir.join(NAME).join("below")).unwrap();
    }
    let said = gc(&[]);
    for dir in &parent.dirs {
        assert!(said.contains(&format!("removed {}\n", dir.join(NAME).display())), "{said}");
    }
    assert_eq!(parent.groups().len(), count, "{:?}", parent.groups());
    // No process can have this number.
    parent.leave("sbx-4194305-0123456789abcdef");
    Sbx::new(Who::Root).spec(&parent.spec("")).cmd(&["true"]).run().ok();
    assert_eq!(parent.groups().len(), count, "{:?}", parent.groups());
}

#[test]
fn a_lock_keeps_a_group_and_all_in_it() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    if !has_unshare() {
        return;
    }
    parent.leave(NAME);
    let locks: Vec<_> = parent
        .dirs
        .iter()
        .map(|dir| {
            let tasks = dir.join(NAME).join("tasks");
            let path = if tasks.exists() { tasks } else { dir.join(NAME) };
            let file = std::fs::File::open(path).unwrap();
            file.lock().unwrap();
            file
        })
        .collect();
    let sleeper = Sbx::new(Who::Root).spec(&parent.spec("")).sh("echo ready; sleep 100");
    let running = sleeper.start();
    running.await_output("ready");
    let live = parent.groups();
    for _ in 0..5 {
        gc(&[]);
        gc(&ELSEWHERE);
        Sbx::new(Who::Root).spec(&parent.spec("")).cmd(&["true"]).run().ok();
        assert_eq!(parent.groups(), live);
    }
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait().kind(), "canceled", "it did not live to be told");
    assert!(locks.iter().all(|lock| lock.as_raw_fd() > 2));
    drop(locks);
    gc(&ELSEWHERE);
    assert_eq!(parent.groups(), Vec::<PathBuf>::new());
}

#[test]
fn another_user_leaves_leftovers_of_root_alone() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    parent.leave(NAME);
    let ran = Sbx::new(Who::Nobody).verb(&["gc"]).dir("tmp").env("TMPDIR", "tmp").run();
    assert_eq!((ran.code(), ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""), "{ran:?}");
    assert_eq!(parent.groups().len(), parent.dirs.len());
    gc(&[]);
    assert_eq!(parent.groups(), Vec::<PathBuf>::new());
}

/// A group looks like a leftover until it is locked: those who collect take some then, and those who make
/// them begin anew.
#[test]
fn many_at_once_do_not_collect_each_other() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    if !has_unshare() {
        return;
    }
    let over = AtomicBool::new(false);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let collectors: Vec<_> = [&[] as &[&str], &ELSEWHERE]
            .into_iter()
            .map(|through| {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        gc(through);
                    }
                })
            })
            .collect();
        let runners: Vec<_> = (0..4)
            .map(|_| {
                let spec = parent.spec("");
                scope.spawn(move || {
                    let sbx = Sbx::new(Who::Root).spec(&spec).sh("exit 7");
                    for _ in 0..40 {
                        let ran = sbx.run();
                        assert_eq!((ran.code(), ran.kind()), (7, "exited"), "{ran:?}");
                        assert_eq!(ran.report["leftovers"], serde_json::json!([]));
                        assert!(ran.report["pids"]["peak"].as_u64().is_some_and(|peak| peak >= 1), "{}", ran.report);
                    }
                })
            })
            .collect();
        let results: Vec<_> = runners.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        collectors.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(results.iter().all(Result::is_ok), "a run failed");
    });
    assert!(begin.elapsed() < Duration::from_secs(100));
    assert_eq!(parent.groups(), Vec::<PathBuf>::new());
}
