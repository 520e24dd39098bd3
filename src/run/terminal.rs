//! The caller's terminal while the command has one of its own: raw, and given back as
//! it was on every way out but SIGKILL; what is typed goes in, the size follows.

use std::io::{Seek, Write};
use std::os::fd::OwnedFd;

use crate::plan::Plan;
use crate::plan::facts::Stream;
use crate::plan::terminal::Lead;
use crate::run::pty::{Look, Modes};
use crate::sys::terminal::{self, Pair, Settings, Size};
use crate::sys::watch::{Entry, copy, number, own};
use crate::sys::{Errno, Fd, Sys, fd, time};

/// What is read of the caller's input at once: no more than a terminal holds of a line.
const CHUNK: usize = 4096;

/// What a terminal has where nobody looks at one.
const SIZE: Size = Size { rows: 24, columns: 80 };

/// How often sbx looks whether it has come to the foreground: a shell says nothing when it puts a job there
/// that was never stopped.
const LOOK_AGAIN: u64 = 500_000_000;

/// Far more than the kernel holds of what was written to a terminal and not read.
const TAIL_MAX: usize = 1 << 20;

/// Both terminals.
#[derive(Debug)]
pub struct Terminal {
    ends: Ends,
    input: Input,
    pending: Vec<u8>,
    /// The last byte that went in, if any did.
    last: Option<u8>,
    caller: Option<Caller>,
    /// Where the size is that the sandbox's terminal follows.
    window: Option<Fd>,
    output: Destination,
}

#[derive(Debug)]
enum Ends {
    /// The child has not made the terminal yet.
    Awaited,
    /// The command's end is held so that the relay's does not see an end while the command has it closed.
    Here {
        relay: OwnedFd,
        _command: OwnedFd,
    },
    Gone,
}

/// What comes in. A terminal is opened anew, so that nothing has to be waited for.
#[derive(Debug)]
enum Input {
    Open { source: Fd, _reopened: Option<OwnedFd> },
    Ended,
}

/// Where the output goes.
#[derive(Debug)]
struct Destination {
    fd: Fd,
    _reopened: Option<OwnedFd>,
}

/// The terminal of the caller that is standard input.
#[derive(Debug)]
struct Caller {
    fd: Fd,
    mode: Mode,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    /// As it was found: not begun, or stopped, or another job of the caller's has the terminal.
    Theirs {
        look_again: Option<u64>,
    },
    Raw {
        before: Settings,
    },
}

/// What an event means for the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// The caller's terminal is gone.
    HungUp,
}

impl Terminal {
    /// Returns what `plan` needs of the caller's streams; nothing of them is changed yet.
    #[must_use]
    pub fn open(plan: &Plan) -> Option<Self> {
        let [input_leads, ..] = plan.terminal?.leads;
        let is = |index: usize| matches!(plan.streams.get(index), Some(Stream::Terminal(_)));
        // Who may not open it, after su(1) say, uses it as it is.
        let reopened = |fd: Fd, is: bool| if is { terminal::reopen(fd).ok().map(own) } else { None };
        let used = |fd: Fd, reopened: &Option<OwnedFd>| reopened.as_ref().map_or(fd, number);
        let (input, caller) = match input_leads {
            Lead::Terminal => {
                let reopened = reopened(Fd(0), is(0));
                let caller = is(0).then_some(Caller { fd: Fd(0), mode: Mode::Theirs { look_again: None } });
                (Input::Open { source: used(Fd(0), &reopened), _reopened: reopened }, caller)
            }
            Lead::Elsewhere => (Input::Ended, None),
        };
        let reopened = reopened(Fd(1), is(1));
        Some(Self {
            ends: Ends::Awaited,
            input,
            pending: Vec::new(),
            last: None,
            caller,
            window: [1, 0, 2].into_iter().find(|index| is(*index)).and_then(|index| i32::try_from(index).ok()).map(Fd),
            output: Destination { fd: used(Fd(1), &reopened), _reopened: reopened },
        })
    }

    /// Returns how the sandbox's terminal is to begin.
    #[must_use]
    pub fn look(&self) -> Look {
        let modes = match &self.caller {
            None => Modes::Silent,
            // Another job may have made it anything.
            Some(caller) if terminal::in_foreground(caller.fd) == Ok(false) => Modes::Kernels,
            Some(caller) => Settings::of(caller.fd).map_or(Modes::Kernels, Modes::Callers),
        };
        Look { modes, size: self.size().unwrap_or(SIZE) }
    }

    fn size(&self) -> Option<Size> {
        self.window.and_then(|window| terminal::size(window).ok())
    }

    /// Returns whether the child still has to hand over the relay's end.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        matches!(self.ends, Ends::Awaited)
    }

    /// Takes the terminal that the child has made, and the caller's; returns a copy of the relay's end to read
    /// from, and where that goes.
    ///
    /// # Errors
    /// No more descriptors.
    pub fn attach(&mut self, pair: Pair) -> Sys<(OwnedFd, Fd)> {
        let (relay, command) = (own(pair.relay), own(pair.command));
        let reading = copy(number(&relay))?;
        self.ends = Ends::Here { relay, _command: command };
        self.resume();
        Ok((reading, self.output.fd))
    }

    /// Gives the sandbox's terminal up, as if its window had been closed: the kernel sends SIGHUP.
    pub fn hang_up(&mut self) {
        self.ends = Ends::Gone;
        self.input = Input::Ended;
        self.pending.clear();
    }

    /// Returns what to wait for.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        match (&self.ends, &self.input) {
            (Ends::Here { relay, .. }, _) if !self.pending.is_empty() => Some(Entry::writable(number(relay))),
            (Ends::Here { .. }, Input::Open { source, .. }) if self.may_read() => Some(Entry::readable(*source)),
            (Ends::Awaited | Ends::Here { .. } | Ends::Gone, _) => None,
        }
    }

    fn may_read(&self) -> bool {
        self.caller.as_ref().is_none_or(|caller| matches!(caller.mode, Mode::Raw { .. }))
    }

    /// Does what [`Terminal::entry`] waited for, once.
    pub fn pump(&mut self) -> News {
        match self.ends {
            Ends::Here { .. } if !self.pending.is_empty() => {
                self.write();
                News::Nothing
            }
            Ends::Here { .. } => self.read(),
            Ends::Awaited | Ends::Gone => News::Nothing,
        }
    }

    fn write(&mut self) {
        let Ends::Here { relay, .. } = &self.ends else { return };
        match fd::write(number(relay), &self.pending) {
            Ok(count) => {
                self.last = self.pending.get(count.saturating_sub(1)).copied().or(self.last);
                self.pending.drain(..count);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => {
                self.pending.clear();
                self.input = Input::Ended;
            }
        }
    }

    fn read(&mut self) -> News {
        let Input::Open { source, .. } = self.input else { return News::Nothing };
        let mut chunk = vec![0; CHUNK];
        match fd::read(source, &mut chunk) {
            Ok(0) => self.end_of_input(),
            Ok(count) => {
                chunk.truncate(count);
                self.pending = chunk;
                News::Nothing
            }
            Err(Errno::EINTR | Errno::EAGAIN) => News::Nothing,
            // Another job has the terminal now (setpgid(2)), or it is gone.
            Err(_) if self.is_put_back() => News::Nothing,
            Err(_) => self.end_of_input(),
        }
    }

    fn is_put_back(&mut self) -> bool {
        let Some(caller) = &mut self.caller else { return false };
        let back = terminal::in_foreground(caller.fd) == Ok(false);
        if back {
            caller.mode = Mode::Theirs { look_again: Some(time::monotonic().saturating_add(LOOK_AGAIN)) };
        }
        back
    }

    /// A file or a pipe ends as one types it; a line that was not ended takes two of them. A terminal in raw
    /// mode ends only when it is gone.
    fn end_of_input(&mut self) -> News {
        self.input = Input::Ended;
        if self.caller.is_some() {
            return News::HungUp;
        }
        if let Ends::Here { relay, .. } = &self.ends
            && let Ok(settings) = Settings::of(number(relay))
        {
            let count = if self.last.is_none_or(|last| last == b'\n') { 1 } else { 2 };
            self.pending = vec![settings.end_of_file(); count];
        }
        News::Nothing
    }

    /// Gives the sandbox's terminal the size of the caller's.
    pub fn resize(&mut self) {
        if let (Ends::Here { relay, .. }, Some(size)) = (&self.ends, self.size()) {
            terminal::set_size(number(relay), size).ok();
        }
    }

    /// Gives the caller's terminal back.
    pub fn suspend(&mut self) {
        let Some(caller) = &mut self.caller else { return };
        if let Mode::Raw { before } = caller.mode {
            // Another job's terminal is not touched: all signals are blocked, so the kernel would let it happen.
            if terminal::in_foreground(caller.fd) != Ok(false) {
                before.apply(caller.fd).ok();
            }
            caller.mode = Mode::Theirs { look_again: None };
        }
    }

    /// Takes the caller's terminal, if sbx is in its foreground; looks again later if not.
    pub fn resume(&mut self) {
        if !matches!(self.ends, Ends::Here { .. }) {
            return;
        }
        if let Some(caller) = &mut self.caller {
            if terminal::in_foreground(caller.fd) == Ok(false) {
                let look_again = Some(time::monotonic().saturating_add(LOOK_AGAIN));
                caller.mode = Mode::Theirs { look_again };
                return;
            }
            let before = match caller.mode {
                // Stopped without a word to it (SIGSTOP), sbx would find its own settings.
                Mode::Raw { before } => Ok(before),
                Mode::Theirs { .. } => Settings::of(caller.fd),
            };
            if let Ok(before) = before {
                before.raw().apply(caller.fd).ok();
                caller.mode = Mode::Raw { before };
            }
        }
        self.resize();
    }

    /// Returns when [`Terminal::resume`] is to be called without any signal, on CLOCK_MONOTONIC.
    #[must_use]
    pub fn look_again(&self) -> Option<u64> {
        match self.caller.as_ref()?.mode {
            Mode::Theirs { look_again } => look_again,
            Mode::Raw { .. } => None,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.suspend();
    }
}

/// Takes what was written to a terminal whose writers are all dead: a file, and how much is in it. The end of
/// a terminal itself need not come, because an end of it may have been passed out of the sandbox.
///
/// # Errors
/// No memory, no more descriptors.
pub fn tail(relay: &OwnedFd) -> std::io::Result<(OwnedFd, u64)> {
    let mut kept = std::fs::File::from(own(fd::memory_file(c"tail")?));
    let (mut total, mut piece) = (0, [0u8; CHUNK]);
    while total < TAIL_MAX {
        match fd::read(number(relay), &mut piece) {
            Err(Errno::EINTR) => {}
            Ok(0) | Err(_) => break,
            Ok(count) => {
                kept.write_all(piece.get(..count).unwrap_or_default())?;
                total += count;
            }
        }
    }
    kept.rewind()?;
    Ok((kept.into(), u64::try_from(total).unwrap_or(0)))
}
