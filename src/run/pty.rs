//! The child's part in the sandbox's terminal: makes it on the new devpts, hands the
//! relay's end to the parent and keeps the command's. Child side: the contract of
//! [`crate::sys`] holds here.

use crate::run::verdict;
use crate::sys::process;
use crate::sys::terminal::{self, Settings, Size};
use crate::sys::{Fd, Sys, fd, mount, rights};

/// How the terminal is when the command starts.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub modes: Modes,
    pub size: Size,
}

/// Which settings it begins with.
#[derive(Debug, Clone, Copy)]
pub enum Modes {
    /// Those of the caller's terminal.
    Callers(Settings),
    /// The kernel's own.
    Kernels,
    /// The same without an echo: nobody types.
    Silent,
}

/// What one of the standard streams becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// Stays as sbx has it.
    Caller,
    Opened(Fd),
    /// The sandbox's terminal.
    Terminal,
}

/// Makes the terminal, which is number 0 of its devpts, puts it at `/dev/console` too and sends the parent both
/// ends over `connection`; returns the command's.
///
/// # Errors
/// Those of opening, of the connection and of mounting.
pub fn open(look: &Look, connection: Fd) -> Sys<Fd> {
    let pair = terminal::make(c"/dev/pts/ptmx")?;
    match look.modes {
        Modes::Callers(settings) => settings.apply(pair.command)?,
        Modes::Kernels => {}
        Modes::Silent => Settings::of(pair.command)?.without_echo().apply(pair.command)?,
    }
    terminal::set_size(pair.command, look.size)?;
    let mut message = verdict::SILENT;
    rights::send(connection, &mut message, &[pair.relay, pair.command])?;
    fd::close(pair.relay)?;
    let console = mount::clone_tree(Fd(libc::AT_FDCWD), c"/dev/pts/0")?;
    mount::attach(console, c"/dev/console")?;
    Ok(pair.command)
}

/// Leaves the caller's session, whose terminal could be pushed input to (TIOCSTI), for a new one; it is the
/// foreground of `terminal`, if there is one.
///
/// # Errors
/// Those of setsid(2) and TIOCSCTTY of ioctl_tty(2).
pub fn new_session(terminal: Option<Fd>) -> Sys<()> {
    process::new_session()?;
    terminal.map_or(Ok(()), terminal::take_control)
}
