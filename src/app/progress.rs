//! The progress bar of unpacking an archive: on a terminal, and only when it takes long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::image::{Progress, Step};

/// What is done sooner shows no bar.
const PATIENCE: Duration = Duration::from_millis(300);

/// Returns a number of bytes as a person reads it.
#[must_use]
pub fn human(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A bar that may never be seen.
#[derive(Debug)]
pub struct Bar {
    name: String,
    start: Option<Instant>,
    bar: Option<ProgressBar>,
}

impl Bar {
    /// Returns a bar for the image `name`, not shown yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), start: None, bar: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: Progress) {
        let start = *self.start.get_or_insert_with(Instant::now);
        if self.bar.is_none() && start.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            self.bar = Some(self.make(progress));
        }
        if let Some(bar) = &self.bar {
            // A pull knows how much there is only when it has begun.
            bar.set_length(progress.total);
            bar.set_position(progress.read);
        }
    }

    fn make(&self, progress: Progress) -> ProgressBar {
        let verb = match progress.step {
            Step::Verify => "verifying",
            Step::Extract => "unpacking",
            Step::Pull => "pulling",
        };
        let style = ProgressStyle::with_template("sbx: {msg} {bar:30} {bytes}/{total_bytes} {eta}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(progress.total).with_style(style);
        bar.set_message(format!("{verb} {}", crate::units::visible(&self.name)));
        bar
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
