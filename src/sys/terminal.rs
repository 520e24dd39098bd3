//! Terminals: settings, size, pseudo-terminals, who controls what (termios(3), pty(7),
//! ioctl_tty(2)).
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use super::file::{self, FileType, Stat};
use super::{Errno, Fd, Sys, check, check_fd, fd};

/// Whether a stream is a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Terminal,
    Other,
}

/// Returns what the inherited stream `fd` is. Only of a character device that is not one of memory (major 1:
/// `/dev/null`) the kernel is asked a second time.
pub fn look(fd: Fd) -> Sys<(Stat, Nature)> {
    // SAFETY: the caller's streams stay open as long as sbx runs; one that is not open answers EBADF.
    let found = file::stat(unsafe { BorrowedFd::borrow_raw(fd.0) })?;
    let device = matches!(found.kind, FileType::Character { major } if major != 1);
    Ok((found, if device && Settings::of(fd).is_ok() { Nature::Terminal } else { Nature::Other }))
}

/// The settings of a terminal: termios(3).
#[derive(Clone, Copy)]
pub struct Settings(libc::termios);

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Settings({:#x} {:#x} {:#x})", self.0.c_iflag, self.0.c_oflag, self.0.c_lflag)
    }
}

impl Settings {
    /// Returns the settings of `fd`; ENOTTY if it is no terminal.
    pub fn of(fd: Fd) -> Sys<Self> {
        // SAFETY: termios is plain integers, for which zero is a value.
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: TCGETS fills the kernel's termios, which the libc's begins with and is longer than.
        check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TCGETS, &raw mut settings) })?;
        Ok(Self(settings))
    }

    /// Gives `fd` these settings, at once.
    pub fn apply(&self, fd: Fd) -> Sys<()> {
        // SAFETY: TCSETS reads the kernel's termios, which the libc's begins with and is longer than.
        check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TCSETS, &raw const self.0) }).map(drop)
    }

    /// Returns the same without any meaning of bytes: cfmakeraw(3).
    #[must_use]
    pub fn raw(&self) -> Self {
        let mut raw = self.0;
        raw.c_iflag &= !(libc::IGNBRK
            | libc::BRKINT
            | libc::PARMRK
            | libc::ISTRIP
            | libc::INLCR
            | libc::IGNCR
            | libc::ICRNL
            | libc::IXON);
        raw.c_oflag &= !libc::OPOST;
        raw.c_lflag &= !(libc::ECHO | libc::ECHONL | libc::ICANON | libc::ISIG | libc::IEXTEN);
        raw.c_cflag &= !(libc::CSIZE | libc::PARENB);
        raw.c_cflag |= libc::CS8;
        raw.c_cc[libc::VMIN] = 1;
        raw.c_cc[libc::VTIME] = 0;
        Self(raw)
    }

    /// Returns the same without an echo of what comes in.
    #[must_use]
    pub fn without_echo(&self) -> Self {
        let mut silent = self.0;
        silent.c_lflag &= !libc::ECHO;
        Self(silent)
    }

    /// Returns the byte that ends the input (`VEOF`).
    #[must_use]
    pub fn end_of_file(&self) -> u8 {
        self.0.c_cc[libc::VEOF]
    }
}

/// The size of a window, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Returns the size of the terminal `fd`.
pub fn size(fd: Fd) -> Sys<Size> {
    let mut found = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills one winsize, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TIOCGWINSZ, &raw mut found) })?;
    Ok(Size { rows: found.ws_row, columns: found.ws_col })
}

/// Sets the size of the terminal `fd`; its foreground gets SIGWINCH if it is another one.
pub fn set_size(fd: Fd, size: Size) -> Sys<()> {
    let wanted = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TIOCSWINSZ, &raw const wanted) }).map(drop)
}

/// Returns whether this process's group is the foreground of the terminal `fd`; `Ok(true)` where `fd` does
/// not control this process, because then nothing is held back (credentials(7)).
pub fn in_foreground(fd: Fd) -> Sys<bool> {
    let mut group: libc::pid_t = 0;
    // SAFETY: TIOCGPGRP fills one pid_t, which is live.
    match check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TIOCGPGRP, &raw mut group) }) {
        Err(Errno::ENOTTY) => Ok(true),
        Err(errno) => Err(errno),
        // SAFETY: getpgrp(2) touches no memory and cannot fail.
        Ok(_) => Ok(group == unsafe { libc::getpgrp() }),
    }
}

/// Opens the same terminal as `fd` anew, so that not to wait for it is this descriptor's matter alone.
pub fn reopen(fd: Fd) -> Sys<Fd> {
    let path = match fd.0 {
        0 => c"/proc/self/fd/0",
        1 => c"/proc/self/fd/1",
        2 => c"/proc/self/fd/2",
        _ => return Err(Errno::EBADF),
    };
    fd::open(path, libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK, 0)
}

/// The two ends of a pseudo-terminal: who relays has the first, the command the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub relay: Fd,
    pub command: Fd,
}

/// Makes a pseudo-terminal of the instance of devpts that `multiplexer` belongs to; child-safe. The end for
/// the relay does not block. The other one is opened by the first, not by its name (TIOCGPTPEER, Linux 4.13).
pub fn make(multiplexer: &CStr) -> Sys<Pair> {
    let relay = fd::open(multiplexer, libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK, 0)?;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, relay.0, libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes the flags of open(2) as an integer.
    let command = check_fd(unsafe { libc::syscall(libc::SYS_ioctl, relay.0, libc::TIOCGPTPEER, flags) })?;
    Ok(Pair { relay, command })
}

/// Makes `fd` the controlling terminal of this process, which leads a session without one; child-safe.
pub fn take_control(fd: Fd) -> Sys<()> {
    // SAFETY: TIOCSCTTY takes an integer: 0 steals from nobody.
    check(unsafe { libc::syscall(libc::SYS_ioctl, fd.0, libc::TIOCSCTTY, 0) }).map(drop)
}
