//! `--watch-network`: a line for each verdict of the gateway, when it falls. A reader that does not read loses lines,
//! never the sandbox its network: whoever shares standard error can fill it at any time, so a thread waits for it.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::gateway::{Verdict, Watcher, What};
use crate::sys::{Fd, Sys, fd, thread};
use crate::units::visible;

/// Lines that wait to be read; more are lost.
const MOST: usize = 1024;
/// How long the last lines may take at the end.
const LAST: Duration = Duration::from_millis(500);

/// Returns who writes to standard error.
pub fn watcher() -> Watcher {
    // The thread begins with the first line: there must be none before the sandbox is cloned.
    let mut teller = Teller { target: Fd(2), lines: None };
    Box::new(move |what| teller.tell(line(what)))
}

/// Hands lines to the thread that writes them.
#[derive(Debug)]
struct Teller {
    target: Fd,
    lines: Option<Arc<Lines>>,
}

/// What lies between the two threads.
#[derive(Debug, Default)]
struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<String>,
    /// One is being written.
    busy: bool,
    /// No more come.
    ended: bool,
}

impl Teller {
    fn tell(&mut self, line: String) {
        let lines = match &self.lines {
            Some(lines) => lines,
            None => match start(self.target) {
                Ok(lines) => self.lines.insert(lines),
                // The machine has no thread left: this line is lost, and the next one tries again.
                Err(_) => return,
            },
        };
        let mut waiting = lines.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.len() < MOST {
            waiting.lines.push_back(line);
            lines.changed.notify_all();
        }
    }
}

impl Drop for Teller {
    /// Waits until all is written, but not for a reader that does not read.
    fn drop(&mut self) {
        let Some(lines) = &self.lines else { return };
        let mut waiting = lines.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.ended = true;
        lines.changed.notify_all();
        let more = |waiting: &mut Waiting| waiting.busy || !waiting.lines.is_empty();
        drop(lines.changed.wait_timeout_while(waiting, LAST, more));
    }
}

fn start(target: Fd) -> Sys<Arc<Lines>> {
    let lines = Arc::new(Lines::default());
    let theirs = lines.clone();
    // Nobody waits for its end: it may be in a write that never returns.
    drop(thread::spawn(Box::new(move || theirs.write(target)))?);
    Ok(lines)
}

impl Lines {
    fn write(&self, target: Fd) {
        while let Some(line) = self.next() {
            let mut rest = line.as_bytes();
            while let Ok(count @ 1..) = fd::write(target, rest) {
                rest = &rest[count..];
            }
        }
    }

    /// Waits for a line; none comes after the end.
    fn next(&self) -> Option<String> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.busy = false;
        self.changed.notify_all();
        let none = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.ended;
        let mut waiting = self.changed.wait_while(waiting, none).unwrap_or_else(PoisonError::into_inner);
        let line = waiting.lines.pop_front();
        waiting.busy = line.is_some();
        line
    }
}

/// Returns `sbx: network: refused tcp crates.example:443 (10.0.0.1): no rule allows it` and a newline.
fn line(what: &What) -> String {
    let mut line = format!("sbx: network: {} {} {}", what.verdict.as_str(), what.protocol.as_str(), visible(&what.to));
    // Writing to a String cannot fail.
    if let Some(port) = what.port {
        write!(line, ":{port}").ok();
    }
    if let Some(address) = what.address.map(|it| it.to_string()).filter(|it| *it != what.to) {
        write!(line, " ({address})").ok();
    }
    match what.verdict {
        Verdict::Refused(why) => write!(line, ": {}", why.as_str()).ok(),
        Verdict::Unreachable(errno) => write!(line, ": {}", nix::errno::Errno::from_raw(errno).desc()).ok(),
        Verdict::Allowed | Verdict::Published => None,
    };
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};
    use std::os::fd::AsRawFd as _;
    use std::time::{Duration, Instant};

    use super::{Teller, line};
    use crate::gateway::{ConnectionKind, Refusal, Verdict, What};
    use crate::sys::Fd;

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_loses_no_part_of_a_line() {
        let (mut reader, writer) = pipe().unwrap();
        let mut teller = Teller { target: Fd(writer.as_raw_fd()), lines: None };
        let began = Instant::now();
        for number in 0..20_000 {
            teller.tell(format!("line {number:05}\n"));
            // So that the pipe is full before more is lost.
            if number % 500 == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        drop(teller);
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
        // What fits is there at once, the rest when there is room.
        let mut said = vec![0; 70_000];
        let mut count = 0;
        while count < 66_000 {
            count += reader.read(&mut said[count..]).unwrap();
        }
        let said = String::from_utf8_lossy(&said[..count - count % 11]).into_owned();
        assert!(said.lines().all(|line| line.len() == 10 && line.starts_with("line ")), "{said}");
        drop(writer);
    }

    #[test]
    fn who_reads_has_every_line_before_the_end() {
        let (mut reader, writer) = pipe().unwrap();
        let mut teller = Teller { target: Fd(writer.as_raw_fd()), lines: None };
        (0..100).for_each(|number| teller.tell(format!("{number}\n")));
        drop(teller);
        let mut said = [0; 1000];
        let count = reader.read(&mut said).unwrap();
        assert!(String::from_utf8_lossy(&said[..count]).lines().eq((0..100).map(|number| number.to_string())));
        drop(writer);
    }

    #[test]
    fn a_line_says_what_and_why() {
        let what = What {
            to: "crates.example".to_owned(),
            address: Some("10.0.0.1".parse().unwrap()),
            port: Some(443),
            protocol: ConnectionKind::Tcp,
            verdict: Verdict::Refused(Refusal::NotAllowed),
        };
        assert_eq!(line(&what), "sbx: network: refused tcp crates.example:443 (10.0.0.1): no rule allows it\n");
        let to = "10.0.0.1".to_owned();
        let address = What { to, verdict: Verdict::Unreachable(libc::ECONNREFUSED), ..what };
        assert_eq!(line(&address), "sbx: network: unreachable tcp 10.0.0.1:443: Connection refused\n");
    }
}
