//! The parent while the command runs: one loop over the child, signals, output and
//! clocks. It decides when the run has to end; it never looks at why it ended.

use crate::plan::{Capture, Watch};
use crate::run::cgroup::Groups;
use crate::run::harvest::Hands;
use crate::run::init::END;
use crate::run::meter::Meter;
use crate::run::refusals::Refusals;
use crate::run::relay::{Relay, Stream};
use crate::run::seen::{Seen, Stop, Trouble};
use crate::run::terminal::{News, Terminal};
use crate::run::uplink::{self, Uplink};
use crate::run::verdict::{self, Handed, Verdict};
use crate::spec::Init;
use crate::sys::process::Rusage;
use crate::sys::watch::{Entry, poll, take_signal};
use crate::sys::{Errno, Fd, fd, process, time};

/// How long the init may take to end everything before it is killed itself: its own figures are lost then.
const LAST_CALL: u64 = 2_000_000_000;

/// What the loop watches.
#[derive(Debug)]
pub struct Watched<'a> {
    pub pidfd: Fd,
    pub signals: Fd,
    pub init: Init,
    pub groups: Option<&'a Groups>,
    pub relays: Vec<Relay>,
    pub terminal: Option<Terminal>,
    /// Where they are counted.
    pub refusals: Option<Refusals<'a>>,
    /// Who waits for the inlets of the sandbox's network.
    pub uplink: Option<Uplink<'a>>,
    /// Where the child says that the command starts.
    pub status: Fd,
    /// What was read from there already.
    pub early: Vec<Verdict>,
    /// What is needed after the run.
    pub hands: Hands,
    /// Some time before the command can have started, on CLOCK_MONOTONIC.
    pub since: u64,
}

/// What the loop waits for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Child,
    OutOfMemory,
    Signals,
    Message,
    Refusal,
    Relay,
    Terminal,
}

/// The state of the loop.
struct Loop<'a, 'b> {
    watch: &'a Watch,
    watched: &'a mut Watched<'b>,
    meter: Option<Meter>,
    seen: Seen,
    /// When SIGTERM has to become the end, and when the end has to become SIGKILL; CLOCK_MONOTONIC.
    end_at: Option<u64>,
    kill_at: Option<u64>,
    wall_at: Option<u64>,
    meter_at: Option<u64>,
}

/// Watches until the child has ended and its output is at its end.
///
/// # Errors
/// Waiting itself failed, or the network could not be opened.
pub fn until_end(watch: &Watch, watched: &mut Watched<'_>) -> Result<Seen, Trouble> {
    let since = watched.since;
    let meter = watch.cpu_time.and_then(|limit| Meter::new(watched.groups?, nanoseconds(limit)));
    let mut state = Loop {
        meter_at: meter.as_ref().map(|meter| meter.first(since)),
        wall_at: watch.wall.map(|wall| since.saturating_add(nanoseconds(wall))),
        watch,
        watched,
        meter,
        seen: Seen::default(),
        end_at: None,
        kill_at: None,
    };
    while !state.step()? {}
    // What is for later, the terminal, and who was asked.
    state.hear()?;
    state.hear()?;
    state.hear()?;
    state.drain()?;
    Ok(state.seen)
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Loop<'_, '_> {
    /// Waits once and acts on what came; returns whether the child has ended.
    fn step(&mut self) -> Result<bool, Trouble> {
        let (sources, mut entries): (Vec<Source>, Vec<Entry>) = self.sources().into_iter().unzip();
        match poll(&mut entries, self.timeout()) {
            Ok(()) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ended = false;
        for (source, entry) in sources.into_iter().zip(entries).filter(|(_, entry)| entry.seen != 0) {
            match source {
                Source::Child => ended = true,
                Source::OutOfMemory if self.seen.stop.is_none() => self.stop(Stop::OutOfMemory),
                Source::OutOfMemory => {}
                Source::Signals => self.take_signals(),
                Source::Message => self.hear()?,
                Source::Refusal => self.watched.refusals.iter_mut().for_each(|refusals| refusals.pump(entry.seen)),
                Source::Relay => self.relay(entry.fd),
                Source::Terminal => self.terminal(),
            }
        }
        self.clocks();
        Ok(ended)
    }

    /// What the loop waits for, eight at most.
    fn sources(&self) -> Vec<(Source, Entry)> {
        let watched = &*self.watched;
        let mut sources = Vec::with_capacity(8);
        sources.push((Source::Child, Entry::readable(watched.pidfd)));
        let oom = watched.groups.and_then(Groups::oom);
        sources.extend(oom.map(|counter| (Source::OutOfMemory, Entry::readable(counter))));
        sources.push((Source::Signals, Entry::readable(watched.signals)));
        if self.awaits() {
            sources.push((Source::Message, Entry::readable(watched.status)));
        }
        sources.extend(watched.refusals.as_ref().and_then(Refusals::entry).map(|entry| (Source::Refusal, entry)));
        sources.extend(watched.relays.iter().filter_map(Relay::entry).map(|entry| (Source::Relay, entry)));
        sources.extend(watched.terminal.as_ref().and_then(Terminal::entry).map(|entry| (Source::Terminal, entry)));
        sources
    }

    /// Whether the child still has something to hand over: a message with descriptors loses them if it is read as
    /// any other.
    fn awaits(&self) -> bool {
        self.watched.terminal.as_ref().is_some_and(Terminal::is_awaited)
            || self.watched.refusals.as_ref().is_some_and(Refusals::is_awaited)
            || matches!(self.watched.hands, Hands::Awaited)
            || self.watched.uplink.as_ref().is_some_and(Uplink::is_awaited)
    }

    fn timeout(&self) -> Option<u64> {
        let look_again = self.watched.terminal.as_ref().and_then(Terminal::look_again);
        let clocks = [self.wall_at, self.meter_at, self.end_at, self.kill_at, look_again];
        clocks.into_iter().flatten().min().map(|at| at.saturating_sub(time::monotonic()))
    }

    fn clocks(&mut self) {
        if let Some(terminal) = &mut self.watched.terminal
            && terminal.look_again().is_some_and(|at| at <= time::monotonic())
        {
            terminal.resume();
        }
        if [self.wall_at, self.meter_at, self.end_at, self.kill_at].iter().all(Option::is_none) {
            return;
        }
        let now = time::monotonic();
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if due(self.wall_at) {
            self.wall_at = None;
            self.at_wall(now);
        }
        if due(self.meter_at) {
            let own = self.starting().map_or(0, |(_, own)| (own.user + own.system).saturating_mul(1000));
            self.meter_at = self.meter.as_ref().and_then(|meter| meter.next(now, own));
            if self.meter_at.is_none() {
                self.stop(Stop::CpuTime);
            }
        }
        if due(self.end_at) {
            self.end_at = None;
            self.end();
        }
        if due(self.kill_at) {
            self.kill_at = None;
            self.kill();
        }
    }

    /// When the command started and what the sandbox had used before; `None` while it is being built. Nobody
    /// waits for that: it is asked when a clock runs out, so a run within its limits costs nothing.
    fn starting(&mut self) -> Option<(u64, Rusage)> {
        if !self.awaits()
            && self.watched.early.is_empty()
            && fd::waiting(self.watched.status).is_ok_and(|count| usize::try_from(count).is_ok_and(|count| count > 0))
        {
            self.watched.early = verdict::receive(self.watched.status).unwrap_or_default();
        }
        verdict::starting(&self.watched.early)
    }

    /// The limit is the command's: the time that the set-up took is not.
    fn at_wall(&mut self, now: u64) {
        if self.seen.stop.is_some() {
            return;
        }
        let started = self.starting().map_or(now, |(at, _)| at);
        let end = started.saturating_add(self.watch.wall.map_or(0, nanoseconds));
        if end > now {
            self.wall_at = Some(end);
            return;
        }
        let grace = nanoseconds(self.watch.grace);
        if grace == 0 {
            self.stop(Stop::Wall);
        } else {
            self.seen.stop = Some(Stop::Wall);
            self.tell(libc::SIGTERM).ok();
            self.end_at = Some(now.saturating_add(grace));
        }
    }

    /// Ends the run for `reason`; the first reason counts.
    fn stop(&mut self, reason: Stop) {
        self.seen.stop.get_or_insert(reason);
        self.meter_at = None;
        self.end();
    }

    /// Has the init kill and reap all, so that its figures are whole; a command that is pid 1 is killed.
    fn end(&mut self) {
        if self.watched.init == Init::Command || self.tell(END).is_err() {
            self.kill();
        } else if self.kill_at.is_none() {
            self.kill_at = Some(time::monotonic().saturating_add(LAST_CALL));
        }
    }

    fn kill(&self) {
        if let Some(groups) = self.watched.groups {
            groups.kill();
        }
        process::signal_pidfd(self.watched.pidfd, libc::SIGKILL).ok();
    }

    fn tell(&self, signal: i32) -> Result<(), Errno> {
        process::signal_pidfd(self.watched.pidfd, signal)
    }

    fn take_signals(&mut self) {
        while let Ok(signal) = take_signal(self.watched.signals) {
            match signal {
                libc::SIGCHLD | libc::SIGURG => {}
                libc::SIGINT | libc::SIGTERM => self.asked_to_end(signal),
                libc::SIGHUP | libc::SIGQUIT => {
                    self.seen.asked = Some(signal);
                    self.tell(signal).ok();
                }
                libc::SIGTSTP => {
                    self.tell(signal).ok();
                    self.watched.terminal.iter_mut().for_each(Terminal::suspend);
                    process::kill(process::own_pid(), libc::SIGSTOP).ok();
                }
                libc::SIGCONT => {
                    self.watched.terminal.iter_mut().for_each(Terminal::resume);
                    self.tell(signal).ok();
                }
                // The kernel tells those who are in the foreground.
                libc::SIGWINCH if self.watched.terminal.is_some() => {
                    self.watched.terminal.iter_mut().for_each(Terminal::resize);
                }
                other => {
                    self.tell(other).ok();
                }
            }
        }
    }

    /// The first time the command is told; the second time, or after the grace, it is over.
    fn asked_to_end(&mut self, signal: i32) {
        if self.seen.asked.is_some_and(|asked| matches!(asked, libc::SIGINT | libc::SIGTERM)) {
            self.stop(Stop::Caller { signal });
            return;
        }
        self.seen.asked = Some(signal);
        self.tell(signal).ok();
        if signal == libc::SIGTERM && !self.watch.grace.is_zero() && self.end_at.is_none() {
            let grace = nanoseconds(self.watch.grace);
            self.end_at = Some(time::monotonic().saturating_add(grace));
        }
    }

    fn terminal(&mut self) {
        if self.watched.terminal.as_mut().map(Terminal::pump) == Some(News::HungUp) {
            self.tell(libc::SIGHUP).ok();
        }
    }

    /// Takes what the child hands over, if something is awaited and has come: the terminal that it has made, and who
    /// is asked about refused calls. Whatever was not there by the first message without either will not come.
    fn hear(&mut self) -> Result<(), Trouble> {
        if !self.awaits() {
            return Ok(());
        }
        let (said, handed) = match verdict::receive_handed(self.watched.status) {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
            // Ended without a word.
            Err(Errno::ECONNRESET) => (Vec::new(), Handed::Nothing),
            other => other?,
        };
        let Watched { terminal, refusals, relays, early, hands, uplink, .. } = &mut *self.watched;
        if let Handed::Inlets(handed) = handed {
            return uplink::take(uplink.as_mut(), handed).map_err(Trouble::Uplink);
        }
        if let Handed::Sandbox(handed) = handed {
            *hands = Hands::of(handed);
            early.extend(said);
            return Ok(());
        }
        let terminal = terminal.as_mut().filter(|terminal| terminal.is_awaited());
        match (handed, terminal, refusals) {
            (Handed::Terminal(pair), Some(terminal), _) => {
                let ends = terminal.attach(pair)?;
                relays.push(Relay::new(Stream::Terminal, ends, self.watch.capture));
            }
            (Handed::Asked(asked), _, Some(refusals)) => refusals.attach(Some(asked)),
            (_, terminal, refusals) => {
                terminal.into_iter().for_each(Terminal::hang_up);
                refusals.iter_mut().for_each(|refusals| refusals.attach(None));
                uplink.iter_mut().for_each(Uplink::abandon);
                // It comes first of all, or not at all.
                if matches!(hands, Hands::Awaited) {
                    *hands = Hands::Never;
                }
            }
        }
        early.extend(said);
        Ok(())
    }

    fn relay(&mut self, fd: Fd) {
        let total: u64 = self.watched.relays.iter().map(Relay::bytes).sum();
        let room = self.watch.output.map_or(u64::MAX, |limit| limit.0.saturating_sub(total));
        for relay in self.watched.relays.iter_mut().filter(|relay| relay.is_for(fd)) {
            relay.pump(room);
            if relay.is_hung_up() {
                self.watched.terminal.iter_mut().for_each(Terminal::hang_up);
            }
        }
        let total: u64 = self.watched.relays.iter().map(Relay::bytes).sum();
        if self.watch.output.is_some_and(|limit| total > limit.0) && self.seen.stop.is_none() {
            self.stop(Stop::Output);
        }
    }

    /// All of the sandbox is dead: what is left in the pipes is passed on, as far as the reader of sbx's own
    /// output takes it. A run that was ended does not wait for a reader that does not read, nor does one
    /// whose time is up; a signal that asks to end stops the waiting too.
    fn drain(&mut self) -> Result<(), Errno> {
        self.watched.relays.iter_mut().for_each(Relay::finish);
        let until = match self.seen.stop {
            Some(_) => Some(time::monotonic().saturating_add(LAST_CALL)),
            None => self.wall_at.map(|at| at.saturating_add(LAST_CALL)),
        };
        loop {
            let mut entries: Vec<Entry> = self.watched.relays.iter().filter_map(Relay::entry).collect();
            if entries.is_empty() {
                return Ok(());
            }
            let now = time::monotonic();
            if until.is_some_and(|until| until <= now) {
                break;
            }
            entries.push(Entry::readable(self.watched.signals));
            match poll(&mut entries, until.map(|until| until.saturating_sub(now))) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let signals = entries.pop().is_some_and(|entry| entry.seen != 0);
            if signals
                && take_signal(self.watched.signals).is_ok_and(|signal| matches!(signal, libc::SIGINT | libc::SIGTERM))
            {
                break;
            }
            for entry in entries {
                if entry.seen != 0 {
                    self.relay(entry.fd);
                }
            }
        }
        self.watched.relays.iter_mut().for_each(Relay::abandon);
        Ok(())
    }
}

/// Returns whether sbx has to see what the command writes.
#[must_use]
pub fn relays_output(watch: &Watch) -> bool {
    watch.output.is_some() || watch.capture == Capture::Yes
}
