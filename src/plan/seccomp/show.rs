//! A filter in one line for people, in the words of `sbx plan`.

use std::fmt;

use nix::errno::Errno;

use crate::plan::seccomp::{Action, Filter};
use crate::units::Word;

impl fmt::Display for Filter {
    /// Writes `default allow=310 conditional=15 deny=49 else=ENOSYS instructions=263`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Word(&self.profile))?;
        if self.rules > 0 {
            write!(f, " rules={}", self.rules)?;
        }
        let (counts, length) = (self.counts, self.program.len());
        write!(f, " allow={} conditional={} deny={}", counts.allow, counts.conditional, counts.deny)?;
        write!(f, " else={} instructions={length}", self.otherwise)
    }
}

impl fmt::Display for Action {
    /// Writes `allow`, `log`, the name of an errno, or what is done to the caller.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allow"),
            Self::Log => f.write_str("log"),
            Self::Errno(errno) => write!(f, "{:?}", Errno::from_raw(i32::from(*errno))),
            Self::Trap => f.write_str("trap"),
            Self::KillThread => f.write_str("kill-thread"),
            Self::KillProcess => f.write_str("kill-process"),
        }
    }
}
