//! What happens to cases, as lines for a person. It returns text and prints none.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::error::Error;
use crate::report::cases::{Answer, Snapshot};
use crate::report::text::Colour;
use crate::testing::difference::shown;
use crate::testing::{Attempt, Case, Record, Results, Status, Tally};
use crate::units::visible;

/// How many of the slowest cases a summary names.
const SLOWEST: usize = 3;
/// From when on one is worth it.
const WORTH_IT: Duration = Duration::from_secs(1);

/// Writes lines in one style.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    pub cases: &'a [Case],
    pub colour: Colour,
}

impl Teller<'_> {
    fn paint(self, style: Style, text: &str) -> String {
        match self.colour {
            Colour::Plain => text.to_owned(),
            Colour::Ansi => format!("{style}{text}{style:#}"),
        }
    }

    fn bold(self, colour: AnsiColor, text: &str) -> String {
        self.paint(colour.on_default().bold(), text)
    }

    /// Returns the name of a case: the spec, then the test.
    #[must_use]
    pub fn name(self, case: usize) -> String {
        let Some(case) = self.cases.get(case) else { return String::new() };
        let spec = self.paint(AnsiColor::Cyan.on_default(), &visible(&case.spec));
        format!("{spec}::{}", visible(&case.name))
    }

    /// Returns a line that begins with `word`.
    fn line(self, (word, colour): (&str, AnsiColor), time: Option<Duration>, name: &str) -> String {
        let word = format!("{word:>12}");
        let time = time.map_or_else(|| " ".repeat(11), |time| format!("[{:>8}s]", seconds(time)));
        format!("{} {time} {name}\n", self.bold(colour, &word))
    }

    /// Returns what is said before anything is run.
    #[must_use]
    pub fn beginning(self, (chosen, all, specs): (usize, usize, usize), jobs: usize) -> String {
        let left_out = match all - chosen {
            0 => String::new(),
            left_out => format!(", {left_out} left out"),
        };
        let (cases, specs) = (plural(chosen, "test"), plural(specs, "spec"));
        format!("{} {cases} of {specs}, {jobs} at once{left_out}\n", self.bold(AnsiColor::Green, "     Running"))
    }

    /// Returns what came of a case, with all that a person needs where it failed.
    #[must_use]
    pub fn ended(self, record: &Record) -> String {
        let status = record.status();
        let word = word(status);
        let name = self.name(record.case);
        let Some(last) = record.attempts.last() else {
            return match status {
                Status::NotRun => String::new(),
                _ => self.line(word, None, &name),
            };
        };
        let tries = match record.attempts.len() {
            1 => String::new(),
            tries => format!(" ({tries} attempts)"),
        };
        let mut text = self.line(word, Some(last.duration), &(name + &tries));
        if !matches!(status, Status::Passed | Status::Flaky) {
            text.push_str(&self.why(&last.answer));
        }
        text
    }

    /// Returns that a case failed and will be run again.
    #[must_use]
    pub fn retry(self, case: usize, attempt: &Attempt) -> String {
        let line = self.line(("RETRY", AnsiColor::Yellow), Some(attempt.duration), &self.name(case));
        line + &self.why(&attempt.answer)
    }

    /// Returns that a case takes long.
    #[must_use]
    pub fn slow(self, case: usize, after: Duration) -> String {
        self.line(("SLOW", AnsiColor::Yellow), Some(after), &self.name(case))
    }

    /// Returns that fewer cases run at once than were to.
    #[must_use]
    pub fn fewer(self, jobs: usize, error: &Error) -> String {
        format!("{} {jobs} at once: {}\n", self.bold(AnsiColor::Yellow, "       Fewer"), visible(&error.to_string()))
    }

    /// Returns that everything comes to its end.
    #[must_use]
    pub fn canceling(self, signal: &str) -> String {
        format!("{} by {signal}; again to end what runs at once\n", self.bold(AnsiColor::Yellow, "   Canceling"))
    }

    fn why(self, answer: &Answer) -> String {
        let mut text = String::new();
        for failure in &answer.failures {
            let place = format!("{}:{}:{}", visible(&failure.file), failure.line, failure.column);
            let message = visible(&failure.message);
            text.extend(["    ", &self.paint(Style::new().bold(), &place), ": ", &message, "\n"]);
            if let Some(difference) = &failure.difference {
                text.push_str(&self.difference(difference));
            }
        }
        for (name, stream) in [("stdout", &answer.stdout), ("stderr", &answer.stderr)] {
            if !stream.is_empty() {
                let name = self.paint(Style::new().dimmed(), &format!("    {name}:"));
                text.extend([name.as_str(), "\n", &shown(stream, "      "), "\n"]);
            }
        }
        text
    }

    fn difference(self, difference: &str) -> String {
        let legend = format!("{} {}", self.bold(AnsiColor::Red, "- expected"), self.bold(AnsiColor::Green, "+ found"));
        let mut text = format!("      {legend}\n");
        for line in difference.lines() {
            let line = match line.as_bytes().first() {
                Some(b'-') => self.paint(AnsiColor::Red.on_default(), line),
                Some(b'+') => self.paint(AnsiColor::Green.on_default(), line),
                _ => line.to_owned(),
            };
            text.extend(["      ", &line, "\n"]);
        }
        text
    }

    /// Returns what is to become of a snapshot.
    #[must_use]
    pub fn update(self, snapshot: &Snapshot) -> String {
        let word = self.bold(AnsiColor::Yellow, "      UPDATE");
        format!("{word}             {}\n{}", visible(&snapshot.path), self.difference(&snapshot.difference))
    }

    /// Returns the last lines: how many are what, which failed, which were slow.
    #[must_use]
    pub fn summary(self, results: &Results) -> String {
        let tally = Tally::of(&results.records);
        let colour = if results.is_good() { AnsiColor::Green } else { AnsiColor::Red };
        let flaky = if tally.flaky > 0 { format!(" ({} flaky)", tally.flaky) } else { String::new() };
        let mut parts = vec![format!("{} passed{flaky}", tally.passed)];
        let others = [
            (tally.failed, "failed"),
            (tally.error, "could not be run"),
            (tally.canceled, "canceled"),
            (tally.not_run, "not run"),
        ];
        parts.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        let mut text = "-".repeat(12);
        text.push('\n');
        text.push_str(&self.line(
            ("Summary", colour),
            Some(results.duration),
            &format!("{} run: {}", plural(tally.run(), "test"), parts.join(", ")),
        ));
        if let Some(seed) = results.seed {
            text.extend(["       order             --shuffle ", &seed.to_string(), "\n"]);
        }
        let mut slow: Vec<(Duration, usize)> =
            results.records.iter().filter_map(|record| Some((record.attempts.last()?.duration, record.case))).collect();
        slow.sort_by(|left, right| right.cmp(left));
        for (time, case) in slow.into_iter().take(SLOWEST).filter(|(time, _)| *time >= WORTH_IT) {
            text.push_str(&self.line(("slowest", AnsiColor::Blue), Some(time), &self.name(case)));
        }
        // A long list of those that passed lies between these and what was said of them.
        if results.records.len() > 10 {
            for record in &results.records {
                let status = record.status();
                if matches!(status, Status::Failed | Status::Error | Status::Flaky) {
                    let time = record.attempts.last().map(|attempt| attempt.duration);
                    text.push_str(&self.line(word(status), time, &self.name(record.case)));
                }
            }
        }
        text
    }
}

fn word(status: Status) -> (&'static str, AnsiColor) {
    match status {
        Status::Passed => ("PASS", AnsiColor::Green),
        Status::Flaky => ("FLAKY", AnsiColor::Yellow),
        Status::Failed => ("FAIL", AnsiColor::Red),
        Status::Error => ("ERROR", AnsiColor::Red),
        Status::Canceled => ("CANCELED", AnsiColor::Yellow),
        Status::NotRun => ("NOT RUN", AnsiColor::Yellow),
    }
}

/// Returns a time as it stands in all lines, in thousandths of a second.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{}.{:03}", time.as_secs(), time.subsec_millis())
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
