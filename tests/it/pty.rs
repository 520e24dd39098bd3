//! A terminal with somebody at it: starts sbx, or a shell that starts it, as leader of a
//! session on a pseudo-terminal, types, reads, and looks at the settings.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};

use crate::harness::{Ran, Running, Sbx};

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What sbx is started by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// Nothing: it leads the session itself.
    Itself,
    /// A shell with job control, which is told to by typing.
    Shell,
}

/// A terminal and what runs on it.
pub(crate) struct Pty<'a> {
    /// Where one types; closing it is closing the window.
    keyboard: Option<File>,
    line: File,
    seen: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
    reader: Option<std::thread::JoinHandle<()>>,
    /// Up to where [`Pty::expect`] has found what it looked for.
    read: usize,
    running: Option<Running<'a>>,
    before: String,
}

impl<'a> Pty<'a> {
    /// Opens a terminal of 30 lines and 100 columns and starts `sbx` on all three streams.
    pub(crate) fn start(sbx: &'a Sbx, leader: Leader) -> Self {
        Self::start_with(sbx, leader, |line| [(); 3].map(|()| line.try_clone().unwrap().into()))
    }

    /// The same with other streams, some of which are the terminal.
    pub(crate) fn start_with(sbx: &'a Sbx, leader: Leader, streams: impl FnOnce(&File) -> [Stdio; 3]) -> Self {
        // Inherited by nobody, or closing it here would not close it.
        let multiplexer = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&multiplexer).unwrap();
        unlockpt(&multiplexer).unwrap();
        let name = ptsname_r(&multiplexer).unwrap();
        let keyboard = File::from(OwnedFd::from(multiplexer));
        let mut line = File::options();
        let line = line.read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name).unwrap();
        resize(&line, "30", "100");
        let who = sbx.who();
        if nix::unistd::geteuid().is_root() {
            nix::unistd::fchown(&line, Some(who.uid().into()), Some(who.gid().into())).unwrap();
        }
        let before = described(&tcgetattr(&line).unwrap());
        let words: &[&str] = match leader {
            Leader::Itself => &["setsid", "--ctty"],
            // The words of sbx become its arguments, which it does not look at.
            Leader::Shell => &["setsid", "--ctty", "sh", "-c", "PS1='outside> ' exec bash --norc --noprofile -i", "sh"],
        };
        let running = Some(sbx.start_at(words, streams(&line)));
        let (seen, closed) = Default::default();
        let mut pty = Self { keyboard: Some(keyboard), line, seen, closed, reader: None, read: 0, running, before };
        pty.start_reading();
        pty
    }

    /// Types.
    pub(crate) fn send(&mut self, text: &str) {
        self.keyboard.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Returns all that was shown so far.
    pub(crate) fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Waits until `text` is shown, after all that was waited for before; returns what came until then.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let mut found = None;
        self.until(&format!("no `{text}`"), |this| {
            let seen = this.seen.lock().unwrap();
            let rest = &seen[this.read..];
            found = rest.windows(text.len()).position(|window| window == text.as_bytes());
            found.is_some()
        });
        let seen = self.seen.lock().unwrap();
        let end = self.read + found.unwrap() + text.len();
        let came = String::from_utf8_lossy(&seen[self.read..end]).into_owned();
        self.read = end;
        came
    }

    /// Waits until `holds`.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.seen());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Returns whether lines are read and echoed here, as at the beginning.
    pub(crate) fn is_as_before(&self) -> bool {
        described(&self.settings()) == self.before
    }

    /// Returns the settings as they are.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(self.line.as_fd()).unwrap()
    }

    /// Returns how many bytes could be read by who reads this terminal.
    pub(crate) fn waiting(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.line).unwrap()
    }

    /// Waits until sbx has made the terminal raw.
    #[track_caller]
    pub(crate) fn until_raw(&mut self) {
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        self.until("not raw", |this| !this.settings().local_flags.intersects(cooked));
    }

    /// Gives the window another size; who is in the foreground hears of it from the kernel.
    pub(crate) fn resize(&self, rows: &str, columns: &str) {
        resize(&self.line, rows, columns);
    }

    /// Makes the line root's again, whoever has it open.
    pub(crate) fn give_to_root(&self) {
        nix::unistd::fchown(&self.line, Some(0.into()), Some(0.into())).unwrap();
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
        nix::sys::stat::fchmod(&self.line, mode).unwrap();
    }

    /// Returns what is started: sbx, or the shell.
    pub(crate) fn running(&mut self) -> &mut Running<'a> {
        self.running.as_mut().unwrap()
    }

    /// Closes the window and waits for the end.
    #[track_caller]
    pub(crate) fn close(mut self) -> Ran {
        self.stop_reading();
        self.keyboard = None;
        self.until("no end", |this| !this.running().is_alive());
        self.running.take().unwrap().wait()
    }

    /// Looks again.
    pub(crate) fn start_reading(&mut self) {
        self.closed.store(false, Ordering::Relaxed);
        let mut screen = self.keyboard.as_ref().unwrap().try_clone().unwrap();
        let (shown, is_closed, mut piece) = (Arc::clone(&self.seen), Arc::clone(&self.closed), [0u8; 4096]);
        self.reader = Some(std::thread::spawn(move || {
            while !is_closed.load(Ordering::Relaxed) {
                let mut entry = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
                if poll(&mut entry, 20u8) == Ok(1) {
                    let Ok(count) = screen.read(&mut piece) else { break };
                    shown.lock().unwrap().extend_from_slice(&piece[..count]);
                }
            }
        }));
    }

    /// Looks away: what is written from here on stays where it is.
    pub(crate) fn stop_reading(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    /// Waits for the end, and that the terminal is given back.
    #[track_caller]
    pub(crate) fn end(mut self) -> (Ran, String) {
        self.until("no end", |this| !this.running().is_alive());
        // A shell has settings of its own while it reads a line, and gives them back.
        assert!(self.is_as_before(), "{:?} instead of {:?}", self.settings(), self.before);
        let ran = self.running.take().unwrap().wait();
        // What was written is there at once, but the reader is another thread.
        let is_read = |this: &mut Self| {
            let mut entry = [PollFd::new(this.keyboard.as_ref().unwrap().as_fd(), PollFlags::POLLIN)];
            this.reader.is_none() || poll(&mut entry, 0u8) == Ok(0)
        };
        self.until("unread", is_read);
        self.stop_reading();
        (ran, self.seen())
    }
}

/// The settings as the kernel has them: its struct is shorter than the library's.
fn described(settings: &Termios) -> String {
    let Termios { input_flags, output_flags, control_flags, local_flags, control_chars, .. } = settings;
    format!("{input_flags:?} {output_flags:?} {control_flags:?} {local_flags:?} {:?}", &control_chars[..17])
}

fn resize(line: &File, rows: &str, columns: &str) {
    let mut stty = std::process::Command::new("stty");
    stty.args(["rows", rows, "cols", columns]).stdin(line.try_clone().unwrap());
    assert!(stty.status().unwrap().success());
}
