//! Where a person sees how the tests go: lines, and on a terminal below them what is running now. Everything goes to
//! standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::testing::tell::Teller;
use crate::testing::{Status, Tally};

/// What ends sooner is not shown as running.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many running cases are shown.
const SHOWN: usize = 8;

/// Lines, or lines and what is running now.
#[derive(Debug)]
pub struct Display<'a> {
    teller: Teller<'a>,
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    bars: MultiProgress,
    total: ProgressBar,
    running: Vec<Running>,
    tally: Tally,
}

#[derive(Debug)]
struct Running {
    case: usize,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl<'a> Display<'a> {
    /// Returns the display of `count` cases. It is a live one on a terminal that can move its cursor, and not where
    /// the log of a CI would keep every state of it.
    #[must_use]
    pub fn new(teller: Teller<'a>, count: usize) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = std::io::stderr().is_terminal() && !dumb && std::env::var_os("CI").is_none();
        Self { teller, live: live.then(|| Live::new(count)) }
    }

    /// Writes lines.
    pub fn say(&self, text: &str) {
        // Nobody is left to tell if this cannot be printed.
        let write = || std::io::stderr().write_all(text.as_bytes()).ok();
        match &self.live {
            Some(live) if !text.is_empty() => drop(live.bars.suspend(write)),
            _ => drop(write()),
        }
    }

    /// Shows that a case runs.
    pub fn started(&mut self, case: usize) {
        if let Some(live) = &mut self.live {
            live.running.push(Running { case, start: Instant::now(), bar: None });
        }
    }

    /// Shows that it does not any more; its status, if that was its end.
    pub fn stopped(&mut self, case: usize, status: Option<Status>) {
        let Some(live) = &mut self.live else { return };
        if let Some(at) = live.running.iter().position(|running| running.case == case)
            && let Some(bar) = live.running.swap_remove(at).bar
        {
            bar.finish_and_clear();
            live.bars.remove(&bar);
        }
        if let Some(status) = status {
            live.tally = live.tally.with(status);
            live.total.inc(1);
            let failed = live.tally.failed + live.tally.error;
            live.total.set_message(format!("{} passed, {failed} failed", live.tally.passed));
        }
    }

    /// Shows that time goes by.
    pub fn tick(&mut self) {
        let teller = self.teller;
        let Some(live) = &mut self.live else { return };
        live.total.tick();
        let shown = live.running.iter().filter(|running| running.bar.is_some()).count();
        let late = live.running.iter_mut().filter(|running| running.bar.is_none());
        for running in late.filter(|running| running.start.elapsed() > PATIENCE).take(SHOWN.saturating_sub(shown)) {
            let bar = live.bars.add(ProgressBar::no_length().with_elapsed(running.start.elapsed()));
            bar.set_style(style("             [{elapsed_precise}] {wide_msg}"));
            bar.set_message(teller.name(running.case));
            running.bar = Some(bar);
        }
        live.running.iter().filter_map(|running| running.bar.as_ref()).for_each(ProgressBar::tick);
    }

    /// Takes away what is running.
    pub fn close(&mut self) {
        if let Some(live) = self.live.take() {
            live.bars.clear().ok();
        }
    }
}

impl Live {
    fn new(count: usize) -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(u64::try_from(count).unwrap_or(u64::MAX)));
        total.set_style(style("     Running [{elapsed_precise}] {bar:24} {pos}/{len}: {msg}"));
        total.set_message("0 passed, 0 failed");
        Self { bars, total, running: Vec::new(), tally: Tally::default() }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
