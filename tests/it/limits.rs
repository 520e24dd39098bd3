//! Limits hold, end what they have to end, and say so; where a host cannot, sbx refuses.

use std::time::Instant;

use crate::harness::{Ran, Sbx, Who, skip};

/// Returns root where groups with these controllers can be made.
fn root() -> Option<Who> {
    let who = Who::root()?;
    let ran = Sbx::new(who).spec("limits { memory \"64M\"; pids 9; cpu 1; cpu-time \"9s\"; }").cmd(&["true"]).run();
    if ran.code() != 0 {
        skip(&format!("no cgroups for root here: {}", ran.stderr));
        return None;
    }
    Some(who)
}

fn limited(who: Who, limits: &str, script: &str) -> Ran {
    Sbx::new(who).spec(&format!("limits {{ {limits} }}")).sh(script).run()
}

#[test]
fn memory_ends_the_whole_sandbox() {
    let Some(who) = root() else { return };
    let scripts = [
        "head -c 200M /dev/zero | tail -c 200M > /dev/null",
        "setsid sleep 100 & head -c 200M /dev/zero | tail -c 200M; sleep 100",
        "for i in 1 2 3 4; do (head -c 50M /dev/zero | tail -c 50M | sleep 5) & done; wait; sleep 100",
        "head -c 200M /dev/zero > /tmp/fill; sleep 100",
        "(head -c 200M /dev/zero | tail -c 200M > /dev/null) || true; sleep 100",
    ];
    for script in scripts {
        let begin = Instant::now();
        let ran = limited(who, "memory \"100M\"; wall \"20s\";", script);
        assert_eq!((ran.code(), ran.kind()), (137, "out_of_memory"), "{script}: {ran:?}");
        assert!(begin.elapsed().as_secs() < 15, "{script} went on");
        assert_eq!(ran.report["outcome"]["killed_by"], "kernel");
        assert!(ran.report["memory"]["peak_bytes"].as_u64().unwrap() <= 100 << 20);
        assert_eq!(ran.report["memory"]["limit_bytes"], 100 << 20);
        assert_ne!(ran.report["memory"]["oom_kills"], 0, "{}", ran.report["memory"]);
    }
}

#[test]
fn the_number_of_processes_is_exact() {
    let Some(who) = root() else { return };
    let script = "for i in 1 2 3 4 5; do sleep 1 & done 2>/dev/null; wait";
    for (init, peak) in [("", 6), ("init #false", 6)] {
        let sbx = Sbx::new(who).spec(&format!("{init}\nlimits {{ pids 6; }}")).sh(script);
        let ran = sbx.run();
        assert_eq!(ran.code(), 0, "{ran:?}");
        assert_eq!(
            (&ran.report["pids"]["peak"], &ran.report["pids"]["denied_forks"]),
            (&peak.into(), &0.into()),
            "{init}"
        );
        let ran = sbx.spec(&format!("{init}\nlimits {{ pids 5; }}")).run();
        assert_eq!(ran.report["pids"]["peak"], 5, "{init} {ran:?}");
        assert!(ran.report["pids"]["denied_forks"].as_u64().unwrap() >= 1, "{init} {ran:?}");
    }
}

#[test]
fn a_fork_bomb_ends() {
    let Some(who) = root() else { return };
    let ran =
        limited(who, "pids 60; wall \"1s\"; memory \"200M\";", "b() { b & b & wait; }; b 2>/dev/null & exec sleep 100");
    assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"), "{ran:?}");
    assert_eq!(ran.report["pids"]["peak"], 60, "{ran:?}");
}

#[test]
fn the_processor_is_shared_out() {
    let Some(who) = root() else { return };
    let ran = limited(who, "cpu 0.2; wall \"1s\";", "while :; do :; done");
    let used = cpu_ns(&ran);
    assert!((100_000_000..400_000_000).contains(&used), "{used} {ran:?}");
    assert!(ran.report["cpu"]["throttled_periods"].as_u64().unwrap() > 0, "{ran:?}");
    let ran = limited(who, "cpuset \"0\";", "grep Cpus_allowed_list /proc/self/status");
    assert!(ran.ok().ends_with("\t0"), "{ran:?}");
}

fn cpu_ns(ran: &Ran) -> u64 {
    let time = &ran.report["time"];
    time["user_ns"].as_u64().unwrap() + time["system_ns"].as_u64().unwrap()
}

#[test]
fn the_processor_time_of_all_is_counted() {
    let Some(who) = root() else { return };
    for script in
        ["while :; do :; done", "for i in 1 2 3; do (while :; do :; done) & done; wait", "while :; do /bin/true; done"]
    {
        let ran = limited(who, "cpu-time \"300ms\"; wall \"20s\";", script);
        assert_eq!((ran.code(), ran.kind()), (124, "cpu_timeout"), "{script}: {ran:?}");
        // What sbx itself spent in the group counts for the limit and not for the command.
        assert!((297_000_000..450_000_000).contains(&cpu_ns(&ran)), "{script}: {} {ran:?}", cpu_ns(&ran));
    }
}

#[test]
fn time_is_up() {
    for who in Who::all() {
        for init in ["", "init #false"] {
            let spec = format!("{init}\nlimits {{ wall \"200ms\"; }}");
            let ran = Sbx::new(who).spec(&spec).sh("(setsid sleep 100 &) ; sleep 100").run();
            assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"), "{init} {ran:?}");
            let wall = ran.report["time"]["wall_ns"].as_u64().unwrap();
            assert!((200_000_000..5_000_000_000).contains(&wall), "{init} {wall}");
            assert_eq!(ran.report["outcome"]["killed_by"], "sbx");
        }
        let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
        let ran = limited(who, "wall \"200ms\" grace=\"5s\";", script);
        assert_eq!((ran.code(), ran.kind(), ran.stdout.as_str()), (124, "wall_timeout", "ready\nbye\n"), "{ran:?}");
        let ran = limited(who, "wall \"100ms\" grace=\"200ms\";", "trap '' TERM; sleep 100; sleep 100");
        assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"), "{ran:?}");
    }
}

/// A sandbox that takes longer to build than the command may run: the clock is the command's.
#[test]
fn the_time_of_the_set_up_is_not_the_command_s() {
    let mounts: String = (0..800).map(|number| format!("tmpfs \"/t/{number}\"\n")).collect();
    for who in Who::all() {
        for init in ["#true", "#false"] {
            let spec = format!("init {init}\nlimits {{ wall \"30ms\"; }}\nmounts {{\n{mounts}}}");
            let ran = Sbx::new(who).spec(&spec).cmd(&["sleep", "9"]).run();
            assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"), "{init} {ran:?}");
            let time = &ran.report["time"];
            assert!(
                time["setup_ns"].as_u64().unwrap() > 30_000_000,
                "the set-up was too quick to show anything: {time}"
            );
            assert!(time["wall_ns"].as_u64().unwrap() >= 30_000_000, "{who:?} {init} {time}");
        }
    }
}

#[test]
fn output_is_bounded() {
    for who in Who::all() {
        let ran = Sbx::new(who).flags(&["--output", "1000"]).cmd(&["yes"]).run();
        assert_eq!((ran.code(), ran.kind()), (137, "output_limit"), "{ran:?}");
        assert_eq!(ran.stdout.len(), 1000);
        let ran = Sbx::new(who).flags(&["--output", "1000"]).sh("yes | head -c 600; yes | head -c 400 >&2").run();
        assert_eq!((ran.code(), ran.kind()), (0, "exited"), "{ran:?}");
        assert_eq!(
            (&ran.report["output"]["stdout_bytes"], &ran.report["output"]["stderr_bytes"]),
            (&600.into(), &400.into())
        );
        let ran =
            Sbx::new(who).flags(&["--output", "1000"]).sh("yes | head -c 600; yes | head -c 401 >&2; sleep 100").run();
        assert_eq!((ran.code(), ran.kind()), (137, "output_limit"), "{ran:?}");
    }
}

#[test]
fn each_process_has_its_limits() {
    let limits = "open-files 33; file-size \"64K\"; core 0; stack \"2M\"; locked-memory \"64K\";";
    for who in Who::all() {
        let ran = limited(
            who,
            limits,
            "ulimit -n; ulimit -c; ulimit -s; ulimit -l; head -c 100K /dev/zero > /tmp/x; stat -c %s /tmp/x",
        );
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert_eq!(lines, ["33", "0", "2048", "64", "65536"], "{ran:?}");
    }
}

#[test]
fn a_full_disk_is_told() {
    for who in Who::all() {
        let ran = limited(who, "disk \"1M\";", "head -c 2M /dev/zero > /tmp/x; exit 0");
        assert_eq!((ran.code(), ran.kind()), (0, "exited"), "{ran:?}");
        assert!(ran.report["warnings"][0].as_str().is_some_and(|text| text.contains("disk")), "{ran:?}");
    }
}

/// This host gives no cgroups to other users: nothing runs without what the spec asks for.
#[test]
fn what_cannot_be_held_is_refused_or_listed() {
    if std::fs::read_to_string("/proc/self/cgroup").unwrap().contains("user@") {
        skip("this user may have a delegated group");
        return;
    }
    for (limit, feature) in [
        ("memory \"64M\"", "memory"),
        ("pids 9", "pids"),
        ("cpu 1", "cpu"),
        ("cpuset \"0\"", "cpuset"),
        ("cpu-time \"9s\"", "cpu-time"),
    ] {
        let spec = format!("limits {{ {limit}; }}");
        let ran = Sbx::new(Who::Nobody).spec(&spec).sh("echo ran").run();
        ran.refused(&format!("`{feature}` cannot be enforced"));
        assert!(["elegat", "chown"].iter().any(|word| ran.stderr.contains(word)), "{ran:?}");
        assert!(ran.stderr.contains(&format!("best-effort \"{feature}\"")), "{ran:?}");
        assert_eq!(ran.report["outcome"]["error"]["line"], 1, "{ran:?}");
        let ran = Sbx::new(Who::Nobody).spec(&format!("{spec}\nbest-effort \"{feature}\"")).sh("echo ran").run();
        assert_eq!(ran.ok(), "ran");
        assert_eq!(ran.report["isolation"]["weakened"][0]["feature"], feature, "{ran:?}");
    }
}
