//! SIGKILL of `sbx test`: no sandbox lives on, and what it leaves on the host goes with the next one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{run, tests};
use crate::garbage::{Parent, alone};
use crate::harness::{Sbx, Who};

/// Cases that have what goes in and out of them, and take a moment.
fn sbx(who: Who, head: &str) -> Sbx {
    let cases: String = (0..60)
        .map(|number| {
            format!("test \"{number}\" {{ stdin \"x\"; expect {{ stdout \"x\"; file \"/etc/passwd\"; }}; }}\n")
        })
        .collect();
    let spec = format!("{head}\ncommand \"sh\" \"-c\" \"sleep 0.03; cat\"\n{cases}");
    tests(who, &[("a.sbx.kdl", &spec)]).flags(&["t", "-j3"])
}

fn scratch(sbx: &Sbx) -> Vec<PathBuf> {
    std::fs::read_dir(sbx.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Kills `sbx` with SIGKILL some cases after its beginning.
fn kill(sbx: &Sbx, cases: usize) {
    let running = sbx.start();
    let begin = Instant::now();
    while sbx.read(".stderr").matches("PASS").count() < cases || scratch(sbx).is_empty() {
        assert!(begin.elapsed().as_secs() < 20, "nothing passes: {}", sbx.read(".stderr"));
        std::thread::sleep(Duration::from_millis(1));
    }
    // It waits that no process is left, and sees that no mount is.
    running.murder();
    assert_eq!(scratch(sbx).len(), 1, "the kill came too late: this tests nothing");
}

#[test]
fn the_next_one_removes_what_a_killed_one_left() {
    for who in Who::all() {
        for cases in [0, 5, 20] {
            let sbx = sbx(who, "");
            kill(&sbx, cases);
            // Not the last word: what another holds or another user has is not touched.
            let held = sbx.path("tmp/sbx-4194305-0123456789abcdef");
            std::fs::create_dir(&held).unwrap();
            let lock = std::fs::File::open(&held).unwrap();
            lock.lock().unwrap();
            let ran = sbx.run();
            assert_eq!((ran.code(), scratch(&sbx)), (0, vec![held.clone()]), "{who:?} {ran:?}");
            drop(lock);
            if who == Who::Root {
                std::os::unix::fs::chown(&held, Some(65534), None).unwrap();
                let ran = sbx.run();
                assert_eq!((ran.code(), scratch(&sbx)), (0, vec![held.clone()]), "{ran:?}");
            }
            std::fs::remove_dir(&held).unwrap();
        }
    }
}

#[test]
fn gc_removes_it_too() {
    let _alone = alone();
    for who in Who::all() {
        let sbx = sbx(who, "");
        kill(&sbx, 3);
        let left = scratch(&sbx);
        // Its process may live on as another by now.
        let other = sbx.path("tmp/sbx-1-0123456789abcdef");
        std::fs::rename(&left[0], &other).unwrap();
        let sbx = sbx.through("exec \"$1\" gc");
        let ran = sbx.run();
        assert!(ran.code() == 0 && ran.stdout.contains(&format!("removed {}\n", other.display())), "{who:?} {ran:?}");
        assert_eq!(scratch(&sbx), Vec::<PathBuf>::new());
    }
}

#[test]
fn groups_go_with_the_next_one() {
    let _alone = alone();
    let Some(parent) = Parent::new() else { return };
    let mut left = 0;
    for cases in [1, 4, 9, 16] {
        let sbx = sbx(Who::Root, &parent.spec(""));
        kill(&sbx, cases);
        left += parent.groups().len();
        let ran = run(&sbx);
        assert_eq!((ran.code(), parent.groups()), (0, Vec::new()), "{ran:?}");
    }
    assert!(left > 0, "no kill left a group: this tests nothing");
}
