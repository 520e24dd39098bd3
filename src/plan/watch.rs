//! What the parent has to see to while the command runs: the limits that sbx itself
//! holds, and what is wanted of the output and the figures.

use std::time::Duration;

use crate::units::{AbsPath, Bytes, MilliCores};

/// What the parent watches while the command runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Watch {
    pub wall: Option<Duration>,
    /// Between SIGTERM and SIGKILL, at the wall limit and when sbx itself is told to end.
    pub grace: Duration,
    pub cpu_time: Option<Duration>,
    pub output: Option<Bytes>,
    pub capture: Capture,
    pub counting: Counting,
    /// Whether the calls are counted that the filter refuses.
    pub refusals: Counting,
    /// A processor limit, for the report.
    pub cores: Option<MilliCores>,
    /// The file system of the sandbox whose size is limited.
    pub disk: Option<AbsPath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capture {
    /// The command writes where sbx does.
    #[default]
    No,
    /// What it writes goes into the report, bounded.
    Yes,
}

/// Whether anybody reads figures that cost system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Counting {
    #[default]
    No,
    Yes,
}
