//! What the parent's loop saw of a run that it watched. It knows nothing of how.

/// Why sbx ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Wall,
    CpuTime,
    Output,
    OutOfMemory,
    /// The caller asked a second time, or the grace after the first was over.
    Caller {
        signal: i32,
    },
}

/// What the loop saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    pub stop: Option<Stop>,
    /// The last of SIGINT, SIGTERM, SIGHUP and SIGQUIT that the caller sent.
    pub asked: Option<i32>,
}
