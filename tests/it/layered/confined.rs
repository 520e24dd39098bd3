//! The process that unpacks layers, looked at while it is stopped in the middle of its work: what it may and what it
//! can reach, and that it neither outlives sbx nor fails silently.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::maker::{image, kept, shell};
use crate::harness::{Running, Sbx, Who};
use crate::image::arena::{Entry, file, tar};

/// A run whose first layer takes a while to unpack.
fn large(who: Who) -> Sbx {
    let noise: Vec<u8> = (0u32..6 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let large = tar(&[Entry::new(b'0', "large").data(&noise).bytes()]);
    // The second layer of a test image is not packed.
    image(who, &[tar(&[file("a", "1")]), large]).cmd(&["/.probe/busybox", "cat", "/a"])
}

/// Stops the process that unpacks for `running`, and returns its pid.
fn stopped(running: &mut Running<'_>) -> i32 {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if words.starts_with(b"/sbx\0place-layers") && descends(pid, running.pid()) {
                kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
                return pid;
            }
        }
        assert!(running.is_alive(), "it ended before its worker was seen");
    }
    panic!("no worker was seen");
}

fn descends(mut pid: i32, from: u32) -> bool {
    while pid > 1 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name of a program may hold anything, but its last bracket is the last of the line.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        pid = parent.unwrap_or(0);
        if u32::try_from(pid) == Ok(from) {
            return true;
        }
    }
    false
}

fn field(pid: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_worker_is_confined() {
    for who in Who::all() {
        let sbx = large(who);
        let mut running = sbx.start();
        let pid = stopped(&mut running);
        let uids = field(pid, "Uid");
        assert!(!uids.split(' ').any(|uid| uid == "0"), "{who:?}: {uids}");
        if who == Who::Nobody {
            assert_eq!(uids, [who.uid().to_string().as_str(); 4].join(" "));
        }
        // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, in its own user namespace.
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let found = u64::from_str_radix(&field(pid, set), 16).unwrap();
            assert_eq!(found & !0b1011, 0, "{who:?} {set}: {found:x}");
        }
        assert_eq!((field(pid, "Seccomp"), field(pid, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()), "{who:?}");
        for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
            let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
            if nix::unistd::geteuid().is_root() {
                assert_ne!(of(&pid.to_string()), of("self"), "{who:?} {kind}");
            }
        }
        if nix::unistd::geteuid().is_root() {
            look_around(pid, who);
        }
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
        assert_eq!(running.wait().ok(), "1", "{who:?}");
    }
}

/// What the worker can see: itself, the packed layers, the directories that they go to.
fn look_around(pid: i32, who: Who) {
    let net = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    let interfaces: Vec<_> = net.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(interfaces, ["lo"], "{who:?}");
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let names: BTreeSet<_> =
        std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let known = ["dev", "in", "out", "proc", "request.json", "sbx", "sys", "tmp", "run"];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{who:?}: {names:?}");
    for name in ["etc", "usr", "home", "root", "var"] {
        assert!(!root.join(name).exists(), "{who:?}: {name}");
    }
    let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let writable: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let (place, options) = (fields[4], fields[5]);
            let kind = fields.iter().position(|field| *field == "-").map(|at| fields[at + 1]);
            // What has no file of the host: the sandbox's own, and the devices that every program has.
            let own = kind.is_some_and(|kind| ["tmpfs", "proc", "devpts", "devtmpfs"].contains(&kind));
            (options.split(',').any(|option| option == "rw") && !own).then_some(place)
        })
        .collect();
    for place in writable {
        assert!(place.starts_with("/out/"), "{who:?}: `{place}` is writable: {mounts}");
    }
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    for link in open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()) {
        // It reads what it is asked for, and how many processors its own group may use, in a moment.
        let known = ["pipe:", "/dev/null", "/in/", "/out/", "/request.json", "/proc/2/cgroup"];
        let link = link.display().to_string();
        assert!(known.iter().any(|start| link.contains(start)), "{who:?}: {link} is open");
    }
}

#[test]
fn a_worker_that_is_killed_is_told_of() {
    for who in Who::all() {
        let sbx = large(who);
        let mut running = sbx.start();
        let pid = stopped(&mut running);
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        let ran = running.wait();
        ran.refused("the worker that extracts layers ended without an answer");
        for name in ["layers", "roots", "tmp"] {
            assert_eq!(kept(&sbx, name), Vec::<String>::new(), "{who:?}");
        }
        assert_eq!(shell(sbx, "cat /a").0.ok(), "1", "{who:?}");
    }
}

#[test]
fn the_worker_dies_with_sbx() {
    for who in Who::all() {
        let sbx = large(who);
        let mut running = sbx.start();
        let pid = stopped(&mut running);
        running.signal(Signal::SIGKILL);
        let begin = Instant::now();
        while PathBuf::from(format!("/proc/{pid}")).exists() {
            assert!(begin.elapsed() < Duration::from_secs(5), "{who:?}: the worker lives on");
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(running);
        assert_eq!(kept(&sbx, "layers"), Vec::<String>::new(), "{who:?}");
        // The next run takes away what was begun, which the harness looks for.
        assert_eq!(shell(sbx, "cat /a").0.ok(), "1", "{who:?}");
    }
}
