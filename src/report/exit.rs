//! The exit status of `sbx run`, from what happened. The command's own status
//! passes through, so a status alone proves nothing: the report does.

use crate::error::{Error, Kind, exit};
use crate::run::{Ended, Failure, Outcome};

/// SIGKILL of signal(7), on every architecture.
const SIGKILL: i32 = 9;

/// Returns the status for a run.
///
/// The output limit has no number of its own in the field. It is 137, as for the
/// memory limit: SIGKILL ended a command that used too much. 125 would say that sbx
/// failed, and what wraps sbx would try again; 124 belongs to time.
#[must_use]
pub fn exit_status(outcome: &Outcome) -> u8 {
    match outcome.ended {
        _ if !outcome.failed.is_empty() => exit::SBX,
        Ended::Exited { code } => code,
        Ended::Signaled { signal, .. } | Ended::Canceled { signal } => by_signal(signal),
        Ended::WallTimeout | Ended::CpuTimeout => exit::TIME_LIMIT,
        Ended::OutOfMemory => exit::MEMORY_LIMIT,
        Ended::OutputLimit => by_signal(SIGKILL),
        Ended::NotStarted(Failure::Exec { errno }) if not_found(errno) => exit::NOT_FOUND,
        Ended::NotStarted(Failure::Exec { .. }) => exit::NOT_EXECUTABLE,
        Ended::NotStarted(
            Failure::Step { .. } | Failure::Parent { .. } | Failure::Killed { .. } | Failure::Silent { .. },
        ) => exit::SBX,
    }
}

/// Returns the status for what prevented a run.
#[must_use]
pub fn error_status(error: &Error) -> u8 {
    match error.kind {
        Kind::Usage => exit::USAGE,
        Kind::Spec | Kind::Host | Kind::Image | Kind::Setup | Kind::Io | Kind::Bug => exit::SBX,
    }
}

/// Returns whether the errno of an execve(2) means that there is no such command;
/// env(1) and shells draw the line at the same errno.
#[must_use]
pub fn not_found(errno: i32) -> bool {
    errno == libc::ENOENT
}

fn by_signal(signal: i32) -> u8 {
    // Signals end at 64; anything else would be a mistake of ours.
    u8::try_from(signal).ok().and_then(|signal| exit::SIGNAL.checked_add(signal)).unwrap_or(exit::SBX)
}
