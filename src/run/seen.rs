//! What the parent's loop saw of a run that it watched. It knows nothing of how.

use crate::error::Error;
use crate::sys::Errno;

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

/// Why a run cannot be watched to its end.
#[derive(Debug)]
pub enum Trouble {
    Wait(Errno),
    Uplink(Error),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Wait(errno)
    }
}
