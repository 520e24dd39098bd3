//! The machine the benchmark runs on: its facts, its cgroups, and how a program
//! is started so that every contender finds the same surroundings.

use crate::Fault;
use crate::surroundings::{self, PATH, surroundings};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

const UNIFIED: &str = "/sys/fs/cgroup/unified";

/// A file of /proc or /sys without its last newline; empty when it is not there.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// `argv` as `uid`, in the surroundings of the measured runs.
pub(crate) fn command(uid: u32, argv: &[String]) -> Command {
    let mut words = surroundings();
    if uid != surroundings::uid() {
        let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
        words.push("setpriv".to_owned());
        words.extend(ids);
        words.push("--clear-groups".to_owned());
    }
    words.extend_from_slice(argv);
    let mut command = Command::new(&words[0]);
    // Cargo's LD_LIBRARY_PATH would make every dynamic peer search its directories first.
    command.args(&words[1..]).env_clear().env("PATH", PATH);
    command
}

/// The floor's options for limits below the caller's own groups; none where there are no cgroups.
pub(crate) fn groups() -> Option<Vec<String>> {
    let own = read("/proc/self/cgroup");
    let path_of = |controller: &str| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let named = fields.next()?.split(',').any(|name| name == controller);
            named.then(|| fields.next()).flatten()
        })
    };
    let mut options = vec!["--v1".to_owned()];
    for controller in ["memory", "pids", "cpu", "cpuacct"] {
        let Some(path) = path_of(controller) else {
            // In v2 a group with processes cannot give controllers to its children; the root can.
            let root = "/sys/fs/cgroup";
            let given = read(&format!("{root}/cgroup.subtree_control"));
            let enough = given.split(' ').any(|name| name == controller);
            return enough.then(|| vec!["--v2".to_owned(), root.to_owned()]);
        };
        options.push(format!("/sys/fs/cgroup/{controller}{path}"));
    }
    Some(options)
}

/// Processor time that was not idle since the machine started, of all processors, in milliseconds.
pub(crate) fn busy_ms() -> f64 {
    // Jiffies of 10 ms (USER_HZ): user nice system idle iowait irq softirq steal.
    let all = read("/proc/stat");
    let fields = all.lines().next().unwrap_or("").split_whitespace().skip(1).take(8);
    let times: Vec<f64> = fields.filter_map(|word| word.parse().ok()).collect();
    let idle: f64 = times.iter().skip(3).take(2).sum();
    10.0 * (times.iter().sum::<f64>() - idle)
}

fn cgroup_mode() -> &'static str {
    let v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
    let hybrid = fs::metadata(UNIFIED).is_ok();
    match (v2, hybrid) {
        (true, _) => "v2",
        (false, true) => "hybrid (v1 controllers)",
        (false, false) => "v1",
    }
}

/// How many processors the benchmark may use.
///
/// # Errors
/// A kernel that does not tell.
pub(crate) fn processors() -> Result<f64, Fault> {
    let count = std::thread::available_parallelism()?.get();
    Ok(f64::from(u32::try_from(count)?))
}

/// The heading of the document: what was measured where.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn facts(samples: u32) -> Result<String, Fault> {
    let cores = processors()?;
    let mounts = read("/proc/self/mountinfo").lines().count();
    let rcu = read("/sys/kernel/rcu_expedited");
    let wake = read("/sys/module/rcutree/parameters/rcu_normal_wake_from_gp");
    let model = read("/proc/cpuinfo");
    let model = model
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let virtual_ = if read("/proc/cpuinfo").contains(" hypervisor ") { ", virtual machine" } else { "" };
    let mut text = String::new();
    writeln!(text, "Kernel {}, {cores} processors ({model}{virtual_}),", read("/proc/sys/kernel/osrelease"))?;
    writeln!(
        text,
        "cgroups {}, {mounts} mounts on the host, rcu_expedited {rcu}, rcu_normal_wake_from_gp {wake}.",
        cgroup_mode()
    )?;
    writeln!(text, "{}, {}. {samples} samples of each, interleaved.", version("bwrap"), version("crun"))?;
    Ok(text)
}

fn version(program: &str) -> String {
    match Command::new(program).arg("--version").output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.lines().next().unwrap_or(program).to_owned()
        }
        Err(_) => format!("{program} is not installed"),
    }
}
