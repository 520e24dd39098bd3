//! Times of contenders. Each runs below a copy of this program that waits for it: then processor time and
//! memory are those of the one run.

use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use crate::contenders::Contender;
use crate::yard::Yard;
use crate::{Fault, machine};

/// What one run took, in seconds, and the largest resident set of its processes, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) rss: f64,
}

/// Samples of several contenders.
pub(crate) struct Runs {
    /// In the order of the contenders.
    pub(crate) samples: Vec<Vec<Sample>>,
    /// Share of all processors that other work took, in percent.
    pub(crate) others: f64,
}

/// Runs each contender `rounds` times, in turns, in reverse order every second round. Each gets a
/// new file system.
///
/// # Errors
/// The first that fails.
pub(crate) fn interleaved(yard: &Yard, contenders: &[Contender], rounds: usize) -> Result<Runs, Fault> {
    let mut samples = vec![Vec::new(); contenders.len()];
    let (mut busy, mut offered, mut own) = (0.0, 0.0, 0.0);
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let contender = &contenders[index];
            yard.clear()?;
            for step in &contender.before {
                once(yard, step)?;
            }
            yard.settle()?;
            let (begin, before) = (Instant::now(), machine::busy());
            let sample = once(yard, &contender.argv)?;
            busy += machine::busy() - before;
            offered += begin.elapsed().as_secs_f64() * machine::processors();
            own += sample.cpu;
            samples[index].push(sample);
        }
    }
    yard.close()?;
    Ok(Runs { samples, others: 100.0 * (busy - own).max(0.0) / offered })
}

fn once(yard: &Yard, argv: &[String]) -> Result<Sample, Fault> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--shim")
        .args(argv)
        .env("SBX_STORE", yard.store())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", argv.join(" "), String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let fields: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match fields[..] {
        [wall, cpu, rss] => Ok(Sample { wall, cpu, rss }),
        _ => Err(format!("not a sample: `{text}`").into()),
    }
}

/// Runs `argv` and prints its sample.
///
/// # Errors
/// A program that cannot be started, or fails.
pub(crate) fn shim(argv: &[&str]) -> Result<(), Fault> {
    let [program, arguments @ ..] = argv else { return Err("nothing to run".into()) };
    let begin = Instant::now();
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status()?;
    let wall = begin.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("it ended with {status}").into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    crate::say(&format!(
        "{wall} {} {}",
        std::time::Duration::from_micros(cpu.try_into()?).as_secs_f64(),
        usage.max_rss()
    ));
    Ok(())
}

/// The middle of `values`.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
