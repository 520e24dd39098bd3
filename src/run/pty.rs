//! The child's part in the sandbox's terminal: makes it on the new devpts, hands the
//! relay's end to the parent and keeps the command's. Child side: the contract of
//! [`crate::sys`] holds here.

use crate::run::tape::Pipes;
use crate::run::verdict;
use crate::sys::process;
use crate::sys::terminal::{self, Settings, Size};
use crate::sys::{Fd, Sys, fd, mount};

/// How the terminal is when the command starts.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Those of the caller's; the kernel's own without echo where nobody types.
    pub settings: Option<Settings>,
    pub size: Size,
}

/// Makes the terminal, which is number 0 of its devpts, and puts it at `/dev/console` too.
///
/// # Errors
/// Those of opening, of the connection and of mounting.
pub fn open(look: &Look, pipes: &mut Pipes) -> Sys<()> {
    let pair = terminal::make(c"/dev/pts/ptmx")?;
    match look.settings {
        Some(settings) => settings.apply(pair.command)?,
        None => Settings::of(pair.command)?.without_echo().apply(pair.command)?,
    }
    terminal::set_size(pair.command, look.size)?;
    let mut message = verdict::SILENT;
    terminal::send(pipes.status, &mut message, pair)?;
    fd::close(pair.relay)?;
    let console = mount::clone_tree(Fd(libc::AT_FDCWD), c"/dev/pts/0")?;
    mount::attach(console, c"/dev/console")?;
    pipes.terminal = Some(pair.command);
    Ok(())
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
