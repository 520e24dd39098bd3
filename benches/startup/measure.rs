//! Times of contenders: runs the harness and reduces its samples.
//! The samples themselves are kept, so that another reduction can be made later.

use crate::contenders::{Inside, Scenario};
use crate::yard::Yard;
use crate::{Fault, machine, surroundings};
use std::fmt::Write as _;
use std::fs;
use std::time::Instant;

/// The pause before each run. Back to back hides waits for grace periods.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap {
    None,
    Idle,
}

impl Gap {
    fn micros(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Idle => 15_000,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "back to back",
            Self::Idle => "after 15 ms of idleness",
        }
    }

    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::None => "back-to-back",
            Self::Idle => "gap",
        }
    }
}

/// Samples of one scenario and gap.
#[derive(Debug)]
pub(crate) struct Runs {
    /// The harness's lines, behind the command lines they are of.
    pub(crate) raw: String,
    /// In the order of the scenario's contenders.
    pub(crate) stats: Vec<Stats>,
    /// Share of all processors that work other than the contenders' took, in percent.
    pub(crate) others: f64,
}

/// Wall times in milliseconds; `cpu` is the mean of user and system time of all that was waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) cpu: f64,
}

/// Measures all contenders of a scenario, interleaved.
///
/// # Errors
/// A contender that fails in the middle, or a harness that cannot run.
pub(crate) fn run(yard: &Yard, scenario: &Scenario, gap: Gap, samples: u32) -> Result<Runs, Fault> {
    let out = yard.text("samples.txt");
    let mut argv = vec![
        yard.text("harness"),
        samples.to_string(),
        gap.micros().to_string(),
        scenario.uid.to_string(),
        out.clone(),
    ];
    let mut raw = String::new();
    for (index, contender) in scenario.contenders.iter().enumerate() {
        let words = contender.argv(yard, Inside::True)?;
        writeln!(raw, "# {index}: {}", words.join(" "))?;
        if index > 0 {
            argv.push(":::".to_owned());
        }
        argv.extend(words);
    }
    if scenario.contenders.is_empty() {
        return Ok(Runs { raw, stats: Vec::new(), others: 0.0 });
    }
    // The harness changes the user itself, so that it can open its output first.
    let (begin, busy) = (Instant::now(), machine::busy_ms());
    let output = machine::command(surroundings::uid(), &argv).output()?;
    let spent = machine::busy_ms() - busy;
    let offered = begin.elapsed().as_secs_f64() * 1e3 * machine::processors()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let lines = fs::read_to_string(&out)?;
    let stats = (0..scenario.contenders.len()).map(|index| reduce(&lines, index)).collect::<Result<Vec<Stats>, _>>()?;
    raw.push_str(&lines);
    let own: f64 = stats.iter().map(|stats| stats.cpu).sum::<f64>() * f64::from(samples);
    Ok(Runs { raw, others: 100.0 * (spent - own).max(0.0) / offered, stats })
}

fn reduce(lines: &str, index: usize) -> Result<Stats, Fault> {
    let mine = format!("{index} ");
    let (mut walls, mut cpu) = (Vec::new(), 0.0);
    for line in lines.lines().filter_map(|line| line.strip_prefix(&mine)) {
        let fields: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [wall, user, system, ..] = fields[..] else {
            return Err(format!("a sample of too few fields: `{line}`").into());
        };
        walls.push(wall / 1e6);
        cpu += (user + system) / 1e3;
    }
    walls.sort_by(f64::total_cmp);
    let count = u32::try_from(walls.len())?;
    Ok(Stats {
        min: at(&walls, 0),
        median: at(&walls, 50),
        p90: at(&walls, 90),
        p99: at(&walls, 99),
        cpu: cpu / f64::from(count),
    })
}

/// The smallest sample that is not below `percent` of the sorted samples.
fn at(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}
