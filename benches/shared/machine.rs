//! What machine a benchmark ran on, and how busy it was.

use std::fmt::Write as _;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

/// Processor time that was not idle since the machine started, of all processors, in seconds.
pub(crate) fn busy() -> f64 {
    // Jiffies of 10 ms (USER_HZ): user nice system idle iowait irq softirq steal.
    let all = read("/proc/stat");
    let fields = all.lines().next().unwrap_or("").split_whitespace().skip(1).take(8);
    let times: Vec<f64> = fields.filter_map(|word| word.parse().ok()).collect();
    let idle: f64 = times.iter().skip(3).take(2).sum();
    (times.iter().sum::<f64>() - idle) / 100.0
}

/// How many processors the benchmark may use.
pub(crate) fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| f64::from(u32::try_from(count.get()).unwrap_or(1)))
}

/// The heading of a document: what was measured where.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn facts() -> Result<String, Box<dyn std::error::Error>> {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |rest| rest.trim_start_matches(['\t', ' ', ':']));
    let virtual_ = if cpu.contains(" hypervisor ") { ", virtual machine" } else { "" };
    let mut text = String::new();
    writeln!(text, "Kernel {}, {} processors ({model}{virtual_}).", read("/proc/sys/kernel/osrelease"), processors())?;
    Ok(text)
}
