//! The plan of every spec on three machines that are only data: what would happen
//! there, or why not. No privileges, no kernel, milliseconds.

use std::path::Path;

use sbx::app::request::Text;
use sbx::host::Host;
use sbx::plan::show;
use sbx::run::bare::BareMounts;
use sbx::run::lasting::writes_to_host;
use sbx::spec::parse::parse;
use sbx::units::SpecText;

use crate::machines::{no_cgroups, plan, root_hybrid, rootless_v2};

#[test]
fn every_spec_has_a_plan_or_a_reason_on_every_machine() {
    let machines = [("rootless v2", rootless_v2()), ("root v1 hybrid", root_hybrid()), ("no cgroups", no_cgroups())];
    for path in crate::spec::specs("specs") {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = Text::read(&Path::new("specs").join(name)).unwrap();
        let spec = text.parse(&crate::spec::settings(&text)).unwrap();
        let mut shown = String::new();
        for (machine, host) in &machines {
            shown.extend(["== ", machine, "\n"]);
            match plan(&spec, host) {
                Ok(plan) => shown.push_str(&show::show(&plan, SpecText { name, ..text.as_spec() })),
                Err(error) => {
                    shown.push_str(&sbx::report::text::text(
                        &error,
                        Some(SpecText { name, ..text.as_spec() }),
                        sbx::report::text::Colour::Plain,
                    ));
                }
            }
        }
        assert!(!shown.contains("hunter2"), "{name}: the plan shows a secret");
        crate::spec::with_snapshots(|| {
            insta::assert_snapshot!(format!("plan_{}", name.trim_end_matches(".kdl")), shown)
        });
    }
}

#[test]
fn two_resolutions_of_one_spec_are_the_same() {
    let text = std::fs::read("specs/build.kdl").unwrap();
    let spec = parse(&text).unwrap();
    assert_eq!(plan(&spec, &root_hybrid()).unwrap(), plan(&spec, &root_hybrid()).unwrap());
}

/// Which sandboxes write to files of the host, whose mounts must be gone when their end is told; and which can be
/// cloned where nothing of the host is.
#[test]
fn what_the_runner_of_tests_may_put_off_and_leave_out_is_seen_in_the_plan() {
    let seen = |head: &str, host: &Host| {
        let plan = plan(&parse(format!("{head}\ncommand \"x\"").as_bytes()).unwrap(), host).unwrap();
        (writes_to_host(&plan), BareMounts::suit(&plan))
    };
    let bound = |access: &str| format!("mounts {{ bind \"/home/u/project\" \"/data\" {access}; }}");
    let root = root_hybrid();
    assert_eq!(seen("", &root), (false, true));
    assert_eq!(seen(&bound(""), &root), (false, true));
    assert_eq!(seen(&bound("access=\"rw\""), &root), (true, true));
    assert_eq!(seen(&bound("access=\"rw\""), &rootless_v2()), (true, false));
    assert_eq!(seen("", &rootless_v2()), (false, false));
}

/// The limits of the report, `name requested applied by`.
fn limits(spec: &str, host: &Host) -> Vec<String> {
    let spec = parse(spec.as_bytes()).unwrap();
    let plan = plan(&spec, host).unwrap();
    plan.limits.iter().map(|it| format!("{} {} {} {}", it.name, it.requested, it.applied, it.by)).collect()
}

#[test]
fn each_limit_that_is_asked_for_is_listed_with_what_holds_it() {
    let spec = "limits {
        memory \"512M\" swap=\"64M\"; cpu 1.5 weight=50; cpuset \"0-1\"; pids 9; hugetlb \"2M\" \"64M\"
        io \"/dev/sda\" read=\"10MB/s\" write=\"5M/s\" read-iops=100 write-iops=50; wall \"90s\" grace=\"500ms\"; cpu-time \"1500ms\"
        output \"1M\"; disk \"2G\" inodes=1000; open-files 64; core 0; locked-memory \"max\"; stack \"8M\"
    }
    command \"x\"";
    let own = [
        "wall 1m30s 90000000000 sbx",
        "wall.grace 500ms 500000000 sbx",
        "cpu-time 1s500ms 1500000000 sbx",
        "output 1M 1048576 sbx",
        "disk 2G 2147483648 tmpfs size of /tmp",
        "disk.inodes 1000 1000 tmpfs nr_inodes of /tmp",
        "open-files 64 64 rlimit",
        "core 0 0 rlimit",
        "stack 8M 8388608 rlimit",
        "locked-memory max 18446744073709551615 rlimit",
    ];
    let v1 = [
        "memory 512M 536870912 memory.limit_in_bytes",
        "memory.swap 64M 67108864 memory.memsw.limit_in_bytes",
        "cpu 1.5 1500 cpu.cfs_quota_us",
        "cpu.weight 50 50 cpu.shares",
        "cpuset 0-1 2 cpuset.cpus",
        "pids 9 9 pids.max",
        "hugetlb 2M 64M 67108864 hugetlb.2MB.max",
        "io.read /dev/sda 10M/s 10485760 blkio.throttle.read_bps_device",
        "io.write /dev/sda 5M/s 5242880 blkio.throttle.write_bps_device",
        "io.read-iops /dev/sda 100 100 blkio.throttle.read_iops_device",
        "io.write-iops /dev/sda 50 50 blkio.throttle.write_iops_device",
    ];
    assert_eq!(limits(spec, &root_hybrid()), [&v1[..], &own].concat());
    let spec = "limits { memory \"1G\" high=\"900M\"; cpu \"150%\"; pids 1; }\nrootfs scratch";
    let v2 = [
        "memory 1G 1073741824 memory.max",
        "memory.high 900M 943718400 memory.high",
        "cpu 1.5 1500 cpu.max",
        "pids 1 1 pids.max",
    ];
    assert_eq!(limits(&format!("{spec}\ncommand \"x\""), &rootless_v2()), v2);
}
