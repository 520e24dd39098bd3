//! The stages of a run and their times, for `-v`.

use std::fmt::Write;
use std::time::SystemTime;

use crate::sys::time;

/// Whether anybody will read the laps: each costs a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Laps {
    Taken,
    Ignored,
}

/// A stop watch with laps.
#[derive(Debug)]
pub struct Stages {
    laps_wanted: Laps,
    start: (SystemTime, u64),
    last: u64,
    laps: Vec<(&'static str, u64)>,
}

impl Stages {
    /// Starts the watch.
    #[must_use]
    pub fn start(laps: Laps) -> Self {
        let now = time::monotonic();
        Self { laps_wanted: laps, start: (time::wall(), now), last: now, laps: Vec::with_capacity(8) }
    }

    /// Returns when the watch was started: the time of day, and CLOCK_MONOTONIC in nanoseconds.
    #[must_use]
    pub fn started(&self) -> (SystemTime, u64) {
        self.start
    }

    /// Ends the stage `name`.
    pub fn lap(&mut self, name: &'static str) {
        if self.laps_wanted == Laps::Ignored {
            return;
        }
        let now = time::monotonic();
        self.laps.push((name, now.saturating_sub(self.last)));
        self.last = now;
    }

    /// Adds a stage that somebody else timed.
    pub fn add(&mut self, name: &'static str, duration: std::time::Duration) {
        self.laps.push((name, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)));
        self.last = time::monotonic();
    }

    /// Returns one line a stage, in milliseconds.
    #[must_use]
    pub fn show(&self) -> String {
        let mut text = String::new();
        for (name, nanoseconds) in &self.laps {
            let micros = nanoseconds / 1000;
            // Writing to a String cannot fail.
            writeln!(text, "sbx: {name:<10} {:>6}.{:03} ms", micros / 1000, micros % 1000).ok();
        }
        text
    }
}
