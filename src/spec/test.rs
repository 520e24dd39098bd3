//! The vocabulary of `test`: a case, what it changes of its file, and what it expects, as
//! types. Nothing here has run anything.

use std::time::Duration;

use crate::spec::Spec;
use crate::units::{AbsPath, Bytes, Origin, Spanned};

/// One `test NAME { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// One line, not empty; no other test of the file has it.
    pub name: String,
    /// What the node says itself; it wins over the file. Without tests of its own.
    pub own: Spec,
    /// The text that the command reads.
    pub stdin: Option<Spanned<String>>,
    pub expect: Expect,
}

/// The children of `expect`. What was not written is not looked at, but for the outcome and the exit code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expect {
    pub outcome: Option<Spanned<ExpectedOutcome>>,
    pub exit: Option<Spanned<u8>>,
    /// All of them have to hold.
    pub stdout: Vec<Spanned<TextRule>>,
    pub stderr: Vec<Spanned<TextRule>>,
    pub files: Vec<Spanned<FileRule>>,
    /// Where `snapshot` was written.
    pub snapshot: Option<Origin>,
    pub memory: Option<Spanned<Bytes>>,
    pub wall: Option<Spanned<Duration>>,
    pub cpu_time: Option<Spanned<Duration>>,
    pub connections: Option<Spanned<ConnectionRule>>,
}

/// What has to hold for a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextRule {
    /// To the last byte.
    Exactly(String),
    Contains(String),
    /// A pattern of the crate `regex-lite` that can be compiled; it matches anywhere, `^` and `$` at lines.
    Matches(String),
    Empty,
    NotEmpty,
}

/// What has to hold for a regular file of the sandbox after the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRule {
    pub path: AbsPath,
    /// Without any it only has to be there.
    pub rules: Vec<TextRule>,
}

/// How many connections of each verdict there have to be; at least one of the two is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionRule {
    pub refused: Option<u64>,
    pub allowed: Option<u64>,
}

/// The words of `outcome.kind` of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectedOutcome {
    #[default]
    Exited,
    Signaled,
    WallTimeout,
    CpuTimeout,
    OutOfMemory,
    OutputLimit,
    Canceled,
    SetupFailed,
    NotFound,
    NotExecutable,
}

impl ExpectedOutcome {
    pub const ALL: [Self; 10] = [
        Self::Exited,
        Self::Signaled,
        Self::WallTimeout,
        Self::CpuTimeout,
        Self::OutOfMemory,
        Self::OutputLimit,
        Self::Canceled,
        Self::SetupFailed,
        Self::NotFound,
        Self::NotExecutable,
    ];

    /// Returns the word of the language and of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::WallTimeout => "wall_timeout",
            Self::CpuTimeout => "cpu_timeout",
            Self::OutOfMemory => "out_of_memory",
            Self::OutputLimit => "output_limit",
            Self::Canceled => "canceled",
            Self::SetupFailed => "setup_failed",
            Self::NotFound => "not_found",
            Self::NotExecutable => "not_executable",
        }
    }
}
