//! Figures without noise: system calls, processes, page faults, and the memory of
//! what waits while the command runs. None of them takes part in the timing.

use crate::contenders::{Contender, Inside, Scenario};
use crate::yard::Yard;
use crate::{Fault, machine, say};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What is counted of one contender; `None` where the tool for it is missing or failed.
#[derive(Debug)]
struct Counts {
    calls: Option<usize>,
    processes: Option<usize>,
    faults: Option<u64>,
    waiting: Waiting,
}

/// Private memory in KiB while the command sleeps, and the limits the command is under.
#[derive(Debug, Default)]
struct Waiting {
    runner: u64,
    others: u64,
    /// Proportional set size of all of them: what they share with each other counts once.
    share: u64,
    limits: String,
}

/// One row a contender.
///
/// # Errors
/// A contender that cannot be started.
pub(crate) fn table(yard: &Yard, scenario: &Scenario) -> Result<String, Fault> {
    for (tool, package) in [("strace", "strace"), ("perf", "linux-perf")] {
        if Command::new(tool).arg("--version").output().is_err() {
            say(&format!("SKIP {tool}: its column is empty (apt-get install {package})"));
        }
    }
    let mut text = String::from(
        "| without noise | system calls | processes | page faults | private memory of the runner, KiB | of its helpers | share of all, KiB | limits in force |\n|---|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for contender in &scenario.contenders {
        let counts = count(yard, scenario, contender)?;
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            contender.label,
            cell(counts.calls),
            cell(counts.processes),
            cell(counts.faults),
            counts.waiting.runner,
            counts.waiting.others,
            counts.waiting.share,
            counts.waiting.limits,
        )?;
    }
    text.push('\n');
    Ok(text)
}

fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

fn count(yard: &Yard, scenario: &Scenario, contender: &Contender) -> Result<Counts, Fault> {
    let argv = contender.argv(yard, Inside::True)?;
    let trace = yard.text("strace.txt");
    let traced = under(scenario, &["strace", "-f", "-qq", "-o", &trace], &argv, &trace)?;
    let counter = yard.text("perf.txt");
    let perf = ["perf", "stat", "-x,", "-e", "page-faults", "-o", &counter];
    let counted = under(scenario, &perf, &argv, &counter)?;
    let faults = counted.as_deref().and_then(|text| {
        let line = text.lines().find(|line| line.contains("page-faults"))?;
        line.split(',').next()?.parse().ok()
    });
    Ok(Counts {
        calls: traced.as_deref().map(calls),
        processes: traced.as_deref().map(processes),
        faults,
        waiting: waiting(scenario, &contender.argv(yard, Inside::Pause)?)?,
    })
}

/// Runs a contender under a tool that writes to `out`; what it wrote, or `None` if it failed.
fn under(scenario: &Scenario, tool: &[&str], argv: &[String], out: &str) -> Result<Option<String>, Fault> {
    let mut words: Vec<String> = tool.iter().map(|word| (*word).to_owned()).collect();
    words.extend_from_slice(argv);
    let output = machine::command(scenario.uid, &words).output()?;
    if !output.status.success() {
        return Ok(None);
    }
    Ok(Some(fs::read_to_string(out)?))
}

/// Started calls: `PID name(…`, whether or not the line also has the result.
fn calls(trace: &str) -> usize {
    let is_call = |line: &&str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
    };
    trace.lines().filter(is_call).count()
}

fn processes(trace: &str) -> usize {
    let pids: BTreeSet<&str> = trace.lines().filter_map(|line| line.split(' ').next()).collect();
    pids.len()
}

/// Reads the memory of a contender whose command sleeps for a second.
fn waiting(scenario: &Scenario, argv: &[String]) -> Result<Waiting, Fault> {
    let mut child = machine::command(scenario.uid, argv).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    sleep(Duration::from_millis(400));
    let mut waiting = Waiting::default();
    for pid in family(child.id()) {
        let own = memory_kib(pid, "Private_");
        if machine::read(&format!("/proc/{pid}/comm")) == "pause" {
            waiting.limits = limits(pid);
            continue;
        }
        waiting.share += memory_kib(pid, "Pss:");
        if pid == child.id() {
            waiting.runner = own;
        } else {
            waiting.others += own;
        }
    }
    child.wait()?;
    Ok(waiting)
}

/// A process and all its descendants.
fn family(first: u32) -> Vec<u32> {
    let mut all = vec![first];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        next += 1;
        let children = machine::read(&format!("/proc/{pid}/task/{pid}/children"));
        all.extend(children.split(' ').filter_map(|word| word.parse::<u32>().ok()));
    }
    all
}

fn memory_kib(pid: u32, key: &str) -> u64 {
    let rollup = machine::read(&format!("/proc/{pid}/smaps_rollup"));
    rollup
        .lines()
        .filter(|line| line.starts_with(key))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

/// The limits that the kernel has for the process's own groups.
fn limits(pid: u32) -> String {
    const FILES: [(&str, &str); 6] = [
        ("memory", "memory.limit_in_bytes"),
        ("pids", "pids.max"),
        ("cpu", "cpu.cfs_quota_us"),
        ("", "memory.max"),
        ("", "pids.max"),
        ("", "cpu.max"),
    ];
    let groups = machine::read(&format!("/proc/{pid}/cgroup"));
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        for (controller, file) in FILES {
            if !names.split(',').any(|name| name == controller) {
                continue;
            }
            let value = machine::read(&format!("/sys/fs/cgroup/{controller}{path}/{file}"));
            let unlimited = ["", "max", "-1", "9223372036854771712"].contains(&value.as_str());
            if !unlimited && !value.starts_with("max ") {
                found.push(format!("{file} {value}"));
            }
        }
    }
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}
