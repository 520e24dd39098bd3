//! Limits that need something of the host beside the controller, and figures in cases that
//! are not a single busy process: each against what the kernel or the clock says.

use std::path::Path;
use std::time::Duration;

use crate::garbage::Parent;
use crate::harness::{Ran, Sbx, Who, skip};

const PYTHON: &str = "/usr/bin/python3";

/// Runs `script` with `limits` as root, or says why this host cannot.
fn limited(limits: &str, script: &str) -> Option<Ran> {
    let ran = Sbx::new(Who::root()?).spec(&format!("limits {{ {limits} }}")).sh(script).run();
    if ran.code() == 125 {
        skip(&format!("`{limits}` cannot be held here: {}", ran.stderr));
        return None;
    }
    Some(ran)
}

/// The same with a program for Python.
fn python(limits: &str, program: &str) -> Option<Ran> {
    if !Path::new(PYTHON).exists() {
        skip("no /usr/bin/python3");
        return None;
    }
    limited(limits, &format!("exec {PYTHON} -c '{program}'"))
}

fn figure(ran: &Ran, group: &str, name: &str) -> u64 {
    ran.report[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name} is not known: {ran:?}"))
}

fn cpu_ns(ran: &Ran) -> u64 {
    figure(ran, "time", "user_ns") + figure(ran, "time", "system_ns")
}

#[track_caller]
fn between(least: u64, value: u64, most: u64, ran: &Ran) {
    assert!((least..=most).contains(&value), "{value} is not in {least}..={most}: {ran:?} {}", ran.report);
}

/// What is read and written past the page cache is counted, and takes as long as the rate says.
#[test]
fn the_rate_of_a_disk_is_held() {
    let Some(root) = Who::root() else { return };
    for (rate, command) in [
        ("read=\"2M\"", "dd if=/data/two of=/dev/null bs=64k iflag=direct"),
        ("write=\"2M\"", "dd if=/dev/zero of=/data/new bs=64k count=32 oflag=direct"),
        ("read-iops=32", "dd if=/data/two of=/dev/null bs=64k iflag=direct"),
    ] {
        let sbx = Sbx::new(root).dir("data").file("data/two", &vec![7; 2 << 20]);
        std::fs::File::open(sbx.path("data/two")).unwrap().sync_all().unwrap();
        let limits = |rate: &str| format!("limits {{ io \"@/data\" {rate}; }}");
        let data = "mounts { bind \"@/data\" \"/data\" access=\"rw\"; }";
        let sbx = sbx.spec(&format!("{data}\n{}", limits(rate))).sh(&format!("{command} 2>&1"));
        let ran = sbx.run();
        if ran.code() != 0 {
            return skip(&format!("the temporary directory is on no disk whose rate can be held: {ran:?}"));
        }
        let direction = if rate.starts_with("read") { "read" } else { "write" };
        // What the file system reads and writes for itself is in it too, when it comes to it.
        between(2 << 20, figure(&ran, "io", &format!("{direction}_bytes")), 3 << 20, &ran);
        between(32, figure(&ran, "io", &format!("{direction}_ops")), 99, &ran);
        // One second at that rate; the kernel lets a first slice of a tenth through at once.
        between(800_000_000, figure(&ran, "time", "wall_ns"), 4_000_000_000, &ran);
        let free = sbx.spec(&format!("{data}\n{}", limits(&rate.replace('2', "200")))).run();
        between(0, figure(&free, "time", "wall_ns"), 700_000_000, &free);
    }
}

#[test]
fn huge_pages_are_held() {
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    if !free.is_ok_and(|free| free.trim().parse().is_ok_and(|free: u32| free >= 4)) {
        return skip("fewer than 4 free huge pages of 2 MiB: `sysctl vm.nr_hugepages=8`");
    }
    let touch = |pages: u32| {
        format!(
            "import mmap\nm = mmap.mmap(-1, {pages} << 21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)\nfor at in range(0, {pages} << 21, 1 << 21): m[at] = 1\nprint(\"touched\")"
        )
    };
    let Some(ran) = python("hugetlb \"2M\" \"4M\";", &touch(2)) else { return };
    assert_eq!(ran.ok(), "touched");
    let Some(ran) = python("hugetlb \"2M\" \"4M\";", &touch(3)) else { return };
    // The kernel has no page for the third touch, which is SIGBUS.
    assert_eq!((ran.kind(), &ran.report["outcome"]["signal"]), ("signaled", &"SIGBUS".into()), "{ran:?}");
}

#[test]
fn a_given_parent_is_the_parent() {
    let Some(parent) = Parent::new() else { return };
    let own: u64 = 64 << 20;
    let ran = Sbx::new(Who::Root).spec(&parent.spec("")).sh("cat /proc/self/cgroup; exit 4").run();
    assert_eq!((ran.code(), ran.kind()), (4, "exited"), "{ran:?}");
    let path = ran.report["isolation"]["cgroup"]["path"].as_str().unwrap();
    assert!(parent.dirs.iter().any(|dir| Path::new(path).parent() == Some(dir)), "{path} {:?}", parent.dirs);
    assert_eq!(ran.report["isolation"]["weakened"], serde_json::json!([]));
    let burst = "head -c 200M /dev/zero | tail -c 200M > /dev/null";
    let ran = Sbx::new(Who::Root).spec(&parent.spec("")).sh(burst).run();
    assert_eq!((ran.code(), ran.kind()), (137, "out_of_memory"), "{ran:?}");
    between(own * 9 / 10, figure(&ran, "memory", "peak_bytes"), own, &ran);
    // The directory of one hierarchy: only what that one has can be limited there.
    let memory = parent.dirs.iter().find(|dir| dir.starts_with("/sys/fs/cgroup/memory"));
    if let Some(dir) = memory {
        let spec = format!("limits {{ cgroup {:?}; memory \"64M\"; }}", dir.to_str().unwrap());
        let ran = Sbx::new(Who::Root).spec(&spec).sh(burst).run();
        assert_eq!((ran.code(), ran.kind()), (137, "out_of_memory"), "{ran:?}");
        let spec = format!("limits {{ cgroup {:?}; pids 9; }}", dir.to_str().unwrap());
        Sbx::new(Who::Root).spec(&spec).sh("echo ran").run().refused("`pids` cannot be enforced");
    }
    assert_eq!(parent.groups(), Vec::<std::path::PathBuf>::new());
    Sbx::new(Who::Root)
        .spec("limits { cgroup \"/not/there\"; memory \"9M\"; }")
        .sh("echo ran")
        .run()
        .refused("`memory`");
}

/// Two that want all of one processor get it as their weights say, whatever else runs there.
#[test]
fn weights_divide_a_processor() {
    let Some(root) = Who::root() else { return };
    let sbx = |weight: u32| {
        let limits = format!("limits {{ cpu weight={weight}; cpuset \"0\"; wall \"2s\"; }}");
        Sbx::new(root).spec(&limits).sh("echo ready; while :; do :; done")
    };
    let (heavy, light) = (sbx(900), sbx(100));
    let (one, other) = (heavy.start(), light.start());
    let (one, other) = (one.wait(), other.wait());
    if one.code() == 125 {
        return skip(&format!("no weights or no cpusets here: {}", one.stderr));
    }
    assert_eq!((one.kind(), other.kind()), ("wall_timeout", "wall_timeout"), "{one:?} {other:?}");
    let share = cpu_ns(&one) * 10 / cpu_ns(&other).max(1);
    // Nine to one, less what the start of one without the other gives.
    assert!((35..150).contains(&share), "{} to {}", cpu_ns(&one), cpu_ns(&other));
}

#[test]
fn a_cpuset_cannot_be_left() {
    if std::thread::available_parallelism().is_ok_and(|count| count.get() < 2) {
        return skip("one processor only");
    }
    let script = "taskset -c 0,1 true && taskset -pc 0,1 $$ > /dev/null; taskset -c 1 true && echo left; \
                  grep Cpus_allowed_list /proc/self/status; while :; do :; done & while :; do :; done";
    let Some(ran) = limited("cpuset \"0\"; wall \"1s\"; cpu-time \"20s\";", script) else { return };
    assert_eq!(ran.kind(), "wall_timeout", "{ran:?}");
    assert_eq!(ran.stdout, "Cpus_allowed_list:\t0\n", "{ran:?}");
    between(100_000_000, cpu_ns(&ran), figure(&ran, "time", "wall_ns") * 105 / 100, &ran);
}

/// However it forks: the count is never above the limit, what was refused is counted, and the host still forks.
#[test]
fn a_fork_bomb_is_held_and_counted() {
    let bombs = ["b() { b | b & b; }; b 2>/dev/null", "while :; do (sleep 9 &) 2>/dev/null; done"];
    for bomb in bombs {
        let Some(ran) = limited("pids 40; wall \"700ms\"; memory \"256M\";", bomb) else { return };
        assert!(["wall_timeout", "exited"].contains(&ran.kind()), "{ran:?}");
        assert_eq!(figure(&ran, "pids", "peak"), 40, "{ran:?}");
        between(1, figure(&ran, "pids", "denied_forks"), u64::MAX, &ran);
        assert_eq!(figure(&ran, "pids", "limit"), 40);
    }
    // Threads count too.
    let threads = "import threading, time\nn = 0\ntry:\n  while n < 50:\n    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()\n    n += 1\nexcept RuntimeError: pass\nprint(n)";
    let Some(ran) = python("pids 20;", threads) else { return };
    assert_eq!((ran.ok(), figure(&ran, "pids", "peak")), ("19", 20), "{ran:?}");
    between(1, figure(&ran, "pids", "denied_forks"), u64::MAX, &ran);
}

/// Memory of several processes at once, and of files that are nowhere but in memory.
#[test]
fn the_memory_of_all_is_true() {
    let several = "import mmap, os, time\nfor i in range(4):\n  if os.fork() == 0:\n    m = mmap.mmap(-1, 40 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n    for at in range(0, 40 << 20, 4096): m[at] = 1\n    time.sleep(1)\n    os._exit(0)\nfor i in range(4): os.wait()";
    // Five interpreters, of which most is shared, are in it too.
    if let Some(ran) = python("memory \"400M\";", several) {
        ran.ok();
        between(160 << 20, figure(&ran, "memory", "peak_bytes"), (160 << 20) + (35 << 20), &ran);
        between(40 << 20, figure(&ran, "memory", "max_rss_bytes"), 60 << 20, &ran);
    }
    if let Some(ran) =
        limited("memory \"400M\";", "head -c 150M /dev/zero > /tmp/one; rm /tmp/one; head -c 50M /dev/zero > /tmp/two")
    {
        ran.ok();
        between(150 << 20, figure(&ran, "memory", "peak_bytes"), (150 << 20) * 105 / 100, &ran);
    }
    if let Some(ran) = limited("memory \"400M\";", "dd if=/dev/zero of=/dev/null bs=100M count=3 2>/dev/null") {
        ran.ok();
        between(100 << 20, figure(&ran, "memory", "peak_bytes"), (100 << 20) * 105 / 100, &ran);
    }
}

/// Processes side by side, those whose parent does not wait for them, and time spent in the kernel.
#[test]
fn the_processor_time_of_all_is_true() {
    // Each child writes what the kernel says of itself, last thing.
    let children = |before: &str| {
        format!(
            "import os, signal, time\n{before}\nr, w = os.pipe()\nfor i in range(3):\n  if os.fork() == 0:\n    while time.process_time() < 0.4: pass\n    os.write(w, b\"%d\\n\" % time.process_time_ns())\n    os._exit(0)\nos.close(w)\nown = sum(int(line) for line in os.fdopen(r))\nprint(own + time.process_time_ns())"
        )
    };
    let kernel = "import os, time\nf = os.open(\"/dev/zero\", os.O_RDONLY)\nwhile time.process_time() < 0.8: os.read(f, 1 << 16)\nprint(time.process_time_ns())";
    for program in [children(""), children("signal.signal(signal.SIGCHLD, signal.SIG_IGN)"), kernel.to_owned()] {
        let Some(ran) = python("memory \"200M\";", &program) else { return };
        let own: u64 = ran.ok().parse().unwrap();
        // The end of each process, which it cannot see, is in the bound too.
        between(own * 98 / 100, cpu_ns(&ran), own * 102 / 100 + 12_000_000, &ran);
    }
}

#[test]
fn swap_is_forbidden_unless_it_is_given() {
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return skip("no swap on this host; the machines of `vm` have some");
    }
    let touch = "dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null";
    let Some(ran) = limited("memory \"32M\";", touch) else { return };
    assert_eq!((ran.code(), ran.kind()), (137, "out_of_memory"), "{ran:?}");
    let Some(ran) = limited("memory \"32M\" swap=\"64M\";", touch) else { return };
    ran.ok();
    if !ran.report["memory"]["swap_peak_bytes"].is_null() {
        between(20 << 20, figure(&ran, "memory", "swap_peak_bytes"), 64 << 20, &ran);
    }
}

/// The mark of cgroup v2 slows down and never kills; v1 has none and says so.
#[test]
fn a_mark_is_kept_or_refused() {
    let Some(root) = Who::root() else { return };
    let ran = Sbx::new(root)
        .spec("limits { memory \"200M\" high=\"40M\"; wall \"2s\"; }")
        .sh("head -c 60M /dev/zero | tail -n 1 > /dev/null")
        .run();
    if ran.code() == 125 {
        return ran.refused("the limit `memory` in this form cannot be enforced by cgroups v1");
    }
    assert!(["exited", "wall_timeout"].contains(&ran.kind()), "{ran:?}");
    between(30 << 20, figure(&ran, "memory", "peak_bytes"), 60 << 20, &ran);
    assert_eq!(figure(&ran, "memory", "oom_kills"), 0);
    assert!(Duration::from_nanos(figure(&ran, "time", "wall_ns")) < Duration::from_secs(9));
}
