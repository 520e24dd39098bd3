//! The test runner's vocabulary: what a case is and what became of it. The files beside this one find cases, run them
//! in worker processes, judge them and say so; none of them knows the terminal or the command line.

pub mod annotate;
pub mod choose;
pub mod difference;
pub mod discover;
pub mod figures;
pub mod judge;
pub mod junit;
pub mod lines;
pub mod pattern;
pub mod pool;
pub mod snapshot;
pub mod tell;
pub mod worker;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::report::cases::{Answer, State};

/// One test of one spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The spec as it was found.
    pub spec: String,
    pub name: String,
    /// Where the test stands: the spec, or one that it extends.
    pub file: String,
    /// Line and column in it, counted from 1.
    pub place: (usize, usize),
    /// Its limit, in bytes.
    pub memory: Option<u64>,
    /// Where its snapshot is, if it has one.
    pub snapshot: Option<PathBuf>,
}

impl Case {
    /// Returns the name that no other case has.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}::{}", self.spec, self.name)
    }
}

/// How the cases are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many sandboxes at once, at least one.
    pub jobs: usize,
    /// How many more workers there may be: one that has answered still takes a sandbox down.
    pub spare: usize,
    /// How many times a case that failed is run again.
    pub retries: u32,
    pub after_failure: AfterFailure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    GoOn,
    /// Nothing is started any more.
    Stop,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which of the cases.
    pub case: usize,
    /// None if it was not run.
    pub attempts: Vec<Attempt>,
}

/// A case, run once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub answer: Answer,
    pub started_at: SystemTime,
    /// Sandbox included.
    pub duration: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Passed,
    /// It passed when it was run again.
    Flaky,
    Failed,
    /// The sandbox could not be built.
    Error,
    Canceled,
    NotRun,
}

impl Status {
    /// Returns the word of the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky => "flaky",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Canceled => "canceled",
            Self::NotRun => "not_run",
        }
    }
}

impl Record {
    #[must_use]
    pub fn status(&self) -> Status {
        match self.attempts.last().map(|attempt| attempt.answer.state) {
            None => Status::NotRun,
            Some(State::Passed) if self.attempts.len() > 1 => Status::Flaky,
            Some(State::Passed) => Status::Passed,
            Some(State::Failed) => Status::Failed,
            Some(State::Error) => Status::Error,
            Some(State::Canceled) => Status::Canceled,
        }
    }
}

/// All that came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Results {
    /// In the order in which they ended; those that were not run come last.
    pub records: Vec<Record>,
    pub started_at: SystemTime,
    pub duration: Duration,
    /// The signal that asked to end, if one came.
    pub signal: Option<i32>,
    /// The seed of the order, where it was shuffled.
    pub seed: Option<u64>,
    /// Why the rest could not be run.
    pub trouble: Option<Error>,
}

impl Results {
    /// Returns whether all that was to be run was, and passed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let passed = |record: &Record| matches!(record.status(), Status::Passed | Status::Flaky);
        self.signal.is_none() && self.trouble.is_none() && self.records.iter().all(passed)
    }
}

/// How many cases are what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// The flaky ones included.
    pub passed: usize,
    pub flaky: usize,
    pub failed: usize,
    pub error: usize,
    pub canceled: usize,
    pub not_run: usize,
}

impl Tally {
    /// Counts `records`.
    #[must_use]
    pub fn of(records: &[Record]) -> Self {
        records.iter().fold(Self::default(), |tally, record| tally.with(record.status()))
    }

    /// Returns the tally with one more.
    #[must_use]
    pub fn with(mut self, status: Status) -> Self {
        match status {
            Status::Passed => self.passed += 1,
            Status::Flaky => (self.passed, self.flaky) = (self.passed + 1, self.flaky + 1),
            Status::Failed => self.failed += 1,
            Status::Error => self.error += 1,
            Status::Canceled => self.canceled += 1,
            Status::NotRun => self.not_run += 1,
        }
        self
    }

    /// Returns how many were run to an end.
    #[must_use]
    pub fn run(&self) -> usize {
        self.passed + self.failed + self.error
    }
}

/// What happens while cases run, for whoever shows it.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    Started {
        case: usize,
    },
    /// It has been running for so long, told once.
    Slow {
        case: usize,
        after: Duration,
    },
    /// It failed and will be run again.
    Retry {
        case: usize,
        attempt: &'a Attempt,
    },
    Ended {
        record: &'a Record,
    },
    /// There are no more workers than so many, because one could not be made.
    Fewer {
        jobs: usize,
        error: &'a Error,
    },
    /// A signal asked to end: nothing is started any more.
    Canceling {
        signal: i32,
    },
    /// Time has passed.
    Tick,
}
