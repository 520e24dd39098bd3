//! Landlock as the second layer behind the mounts: which rules a run has, as data. It
//! asks nothing of the kernel and installs nothing.

pub mod derive;
pub mod resolve;
pub mod rights;
mod show;

pub use rights::{Right, Rights};

use crate::units::AbsPath;

/// The latest version of the interface that sbx knows (Linux 6.15).
pub const LATEST: u32 = 7;

/// One act of the process that becomes the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Begins a set of rules: of these rights only those are left that the acts up to the next such one allow.
    /// When these are done the command obeys.
    Handle(Rights),
    /// Allows the rights for what is at a path of the sandbox, and for all below it.
    Path(AbsPath, Rights),
    /// Allows to open the standard streams again: standard input to read, the others to write.
    Streams(Rights),
    /// Allows the rights on a TCP port.
    Port(u16, Rights),
}

/// What is really in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InForce {
    /// The version of the interface that is used; `None` where there is no rule.
    pub abi: Option<u32>,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    #[default]
    None,
    /// The kernel is older than a rule, or something else that the spec asks for forbids one.
    Partial,
    Full,
}

impl Status {
    /// Returns the word of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}
