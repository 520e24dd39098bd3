//! The near side: one process with one thread that hands cases to workers, takes their answers, tells whoever shows
//! them, and ends it all when a signal asks for it. It judges nothing and prints nothing.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Kind, Result};
use crate::report::cases::{Answer, Shortfall, State};
use crate::sys::process::{self, Forked, Pid, Wait};
use crate::sys::watch::{self, Entry, number, own, take_signal};
use crate::sys::{Errno, fd};
use crate::testing::worker::{self, CASES_MAX, Work, write_whole};
use crate::testing::{AfterFailure, Attempt, Case, Event, Options, Record, Results, Status};

/// A case that runs longer is told of.
const SLOW: Duration = Duration::from_secs(60);
/// How often whoever shows it hears of the time.
const TICK: Duration = Duration::from_millis(100);
/// How long a command may take to end by itself when it was asked to.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to end what it runs at once: more than sbx gives the first process of a sandbox.
const LAST_RESORT: Duration = Duration::from_secs(5);

/// Runs `cases` in the order of `order`, each by `work` in a worker, and tells `show` what happens. All signals are
/// blocked already; this process has one thread.
///
/// # Errors
/// Signals that cannot be watched. Any other trouble is part of the results.
pub fn run(
    (cases, order): (&[Case], &[usize]),
    options: Options,
    work: Work<'_>,
    show: &mut dyn FnMut(Event<'_>),
) -> Result<Results> {
    let signals = watch::signals().map(own).map_err(|errno| failed("watch signals", errno))?;
    let mut pool = Pool {
        cases,
        options,
        work,
        signals,
        slots: Vec::new(),
        queue: order.iter().map(|case| Job { case: *case, before: Vec::new() }).collect(),
        records: Vec::new(),
        signal: None,
        last_call: None,
        kill_at: None,
        stopped: false,
    };
    let (started_at, start) = (SystemTime::now(), Instant::now());
    let ended = pool.work_through(show);
    // Whoever is left has nothing to do, or must not go on.
    pool.close();
    let left: Vec<Record> = pool.queue.drain(..).map(|job| Record { case: job.case, attempts: job.before }).collect();
    for record in left {
        show(Event::Ended { record: &record });
        pool.records.push(record);
    }
    Ok(Results {
        records: pool.records,
        started_at,
        duration: start.elapsed(),
        signal: pool.signal,
        seed: None,
        trouble: ended.err(),
    })
}

fn failed(what: &str, errno: Errno) -> Error {
    Error::new(Kind::Host, format!("cannot {what}")).with_errno(errno as i32)
}

/// A case that is to be run, and what came of it before.
struct Job {
    case: usize,
    before: Vec<Attempt>,
}

struct Pool<'a> {
    cases: &'a [Case],
    options: Options,
    work: Work<'a>,
    signals: OwnedFd,
    slots: Vec<Slot>,
    queue: VecDeque<Job>,
    records: Vec<Record>,
    signal: Option<i32>,
    /// When those that were asked to end are made to.
    last_call: Option<Instant>,
    /// When workers that still do not answer are killed, and their sandboxes with them.
    kill_at: Option<Instant>,
    /// Nothing is started any more.
    stopped: bool,
}

/// A worker and what it does.
struct Slot {
    pid: Pid,
    connection: OwnedFd,
    /// How many cases it may still be given.
    left: u32,
    busy: Option<Busy>,
    /// Since when it has nothing to do but to take the last sandbox down.
    since: Instant,
    /// What has come of its answer.
    buffer: Vec<u8>,
}

struct Busy {
    job: Job,
    started_at: SystemTime,
    start: Instant,
    told: bool,
}

impl Pool<'_> {
    fn work_through(&mut self, show: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        // One that came while cases were looked up.
        self.take_signals(show);
        loop {
            self.hand_out(show)?;
            if self.slots.iter().all(|slot| slot.busy.is_none()) {
                return Ok(());
            }
            let busy: Vec<usize> = (0..self.slots.len()).filter(|index| self.slots[*index].busy.is_some()).collect();
            let connections = busy.iter().map(|index| Entry::readable(number(&self.slots[*index].connection)));
            let mut entries: Vec<Entry> =
                std::iter::once(Entry::readable(number(&self.signals))).chain(connections).collect();
            match watch::poll_any(&mut entries, u64::try_from(TICK.as_nanos()).ok()) {
                Ok(()) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("wait for the workers", errno)),
            }
            if entries[0].seen != 0 {
                self.take_signals(show);
            }
            // From the end: one that is gone leaves its place to the last, which was heard then.
            for (index, _) in busy.iter().zip(&entries[1..]).rev().filter(|(_, entry)| entry.seen != 0) {
                self.hear(*index, show);
            }
            self.clocks(show);
        }
    }

    /// Gives every worker that has nothing to do a case, and makes workers where there may be more.
    fn hand_out(&mut self, show: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        while !self.stopped && !self.queue.is_empty() {
            let spent = self.slots.iter().position(|slot| slot.busy.is_none() && slot.left == 0);
            if let Some(index) = spent {
                end(self.slots.swap_remove(index));
                continue;
            }
            let Some(index) = self.free(show)? else { return Ok(()) };
            let Some(job) = self.queue.pop_front() else { return Ok(()) };
            let slot = &mut self.slots[index];
            let asked = u64::try_from(job.case).unwrap_or(u64::MAX).to_ne_bytes();
            // A new one that is gone is seen by the end of its connection.
            if !write_whole(number(&slot.connection), &asked) && slot.left < CASES_MAX {
                self.queue.push_front(job);
                end(self.slots.swap_remove(index));
                continue;
            }
            show(Event::Started { case: job.case });
            slot.left = slot.left.saturating_sub(1);
            slot.busy = Some(Busy { job, started_at: SystemTime::now(), start: Instant::now(), told: false });
        }
        Ok(())
    }

    /// Returns the worker that is given the next case; `None` where as many run as may.
    fn free(&mut self, show: &mut dyn FnMut(Event<'_>)) -> Result<Option<usize>> {
        if self.slots.iter().filter(|slot| slot.busy.is_some()).count() >= self.options.jobs {
            return Ok(None);
        }
        if self.slots.len() < self.options.jobs + self.options.spare {
            match self.start() {
                Ok(slot) => {
                    self.slots.push(slot);
                    return Ok(Some(self.slots.len() - 1));
                }
                Err(error) if self.slots.is_empty() => return Err(error),
                Err(error) => {
                    self.options.spare = 0;
                    if self.slots.len() < self.options.jobs {
                        self.options.jobs = self.slots.len();
                        show(Event::Fewer { jobs: self.options.jobs, error: &error });
                    }
                }
            }
        }
        let idle = (0..self.slots.len()).filter(|index| self.slots[*index].busy.is_none());
        Ok(idle.min_by_key(|index| self.slots[*index].since))
    }

    fn start(&mut self) -> Result<Slot> {
        let (ours, theirs) = fd::connection().map_err(|errno| failed("make a connection", errno))?;
        let (ours, theirs) = (own(ours), own(theirs));
        let parent = process::own_pid();
        let hint = "raise the limit on processes with `ulimit -u`, or run fewer at once with `-j`";
        match process::fork().map_err(|errno| failed("fork a worker", errno).with_hint(hint))? {
            Forked::Parent { child } => {
                let since = Instant::now();
                Ok(Slot { pid: child, connection: ours, left: CASES_MAX, busy: None, since, buffer: Vec::new() })
            }
            Forked::Child => {
                // The others' ends, or they would never see that this side is closed.
                self.slots.clear();
                drop(ours);
                fd::close(number(&self.signals)).ok();
                let served = worker::serve(&theirs, parent, self.work);
                process::exit_now(i32::from(served.is_err()));
            }
        }
    }

    /// Reads what has come of an answer.
    fn hear(&mut self, index: usize, show: &mut dyn FnMut(Event<'_>)) {
        let slot = &mut self.slots[index];
        let mut piece = [0; 64 << 10];
        match fd::read(number(&slot.connection), &mut piece) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(0) | Err(_) => {
                let mut slot = self.slots.swap_remove(index);
                let busy = slot.busy.take();
                let status = end(slot);
                if let Some(busy) = busy {
                    let answer = (self.lost(busy.job.case, status), busy.start.elapsed());
                    self.ended(busy, answer, show);
                }
            }
            Ok(count) => {
                slot.buffer.extend_from_slice(&piece[..count]);
                let Some((length, rest)) = slot.buffer.split_first_chunk::<8>() else { return };
                let Some((taken, rest)) = rest.split_first_chunk::<8>() else { return };
                let taken = Duration::from_nanos(u64::from_ne_bytes(*taken));
                if u64::try_from(rest.len()).is_ok_and(|have| have < u64::from_ne_bytes(*length)) {
                    return;
                }
                let answer = Answer::from_bytes(rest);
                slot.buffer.clear();
                slot.since = Instant::now();
                let Some(busy) = slot.busy.take() else { return };
                let answer = answer.unwrap_or_else(|error| {
                    self.broken(busy.job.case, format!("the worker's answer cannot be read: {error}"))
                });
                self.ended(busy, (answer, taken), show);
            }
        }
    }

    /// `answer` comes with how long the case took: its worker may have had to take down the one before.
    fn ended(&mut self, busy: Busy, (answer, duration): (Answer, Duration), show: &mut dyn FnMut(Event<'_>)) {
        let mut job = busy.job;
        let answer = if self.signal.is_some() && answer.asked { self.canceled(job.case, answer) } else { answer };
        let attempt = Attempt { answer, started_at: busy.started_at, duration };
        let failed = matches!(attempt.answer.state, State::Failed | State::Error);
        let again = failed && !self.stopped && job.before.len() < usize::try_from(self.options.retries).unwrap_or(0);
        if again {
            show(Event::Retry { case: job.case, attempt: &attempt });
            job.before.push(attempt);
            self.queue.push_front(job);
            return;
        }
        job.before.push(attempt);
        let record = Record { case: job.case, attempts: job.before };
        if self.options.after_failure == AfterFailure::Stop && matches!(record.status(), Status::Failed | Status::Error)
        {
            self.stopped = true;
        }
        show(Event::Ended { record: &record });
        self.records.push(record);
    }

    /// What a command does that was asked to end says nothing about its test, and is not to be compared.
    fn canceled(&self, case: usize, answer: Answer) -> Answer {
        if answer.state == State::Canceled {
            return answer;
        }
        let message = format!("{} after it was asked to end", answer.ended);
        let Answer { failures, .. } = self.broken(case, message);
        Answer { state: State::Canceled, failures, snapshot: None, ..answer }
    }

    /// The answer of a worker that ended without one: a defect of sbx, or of its surroundings, or somebody killed it.
    fn lost(&self, case: usize, status: Option<i32>) -> Answer {
        self.broken(case, format!("the worker is gone{}", worker::how(status)))
    }

    fn broken(&self, case: usize, message: String) -> Answer {
        let (line, column) = self.cases.get(case).map_or((1, 1), |case| case.place);
        let file = self.cases.get(case).map(|case| case.file.clone()).unwrap_or_default();
        let state = if self.signal.is_some() { State::Canceled } else { State::Error };
        Answer {
            state,
            asked: false,
            ended: "setup_failed".to_owned(),
            failures: vec![Shortfall { file, line, column, message, difference: None }],
            wall_ns: None,
            stdout: String::new(),
            stderr: String::new(),
            report: None,
            snapshot: None,
        }
    }

    fn take_signals(&mut self, show: &mut dyn FnMut(Event<'_>)) {
        while let Ok(signal) = take_signal(number(&self.signals)) {
            match signal {
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT => self.cancel(signal, show),
                libc::SIGTSTP => {
                    process::kill(process::own_pid(), libc::SIGSTOP).ok();
                }
                _ => {}
            }
        }
    }

    /// The first time the commands are asked to end, the second time they are ended.
    fn cancel(&mut self, signal: i32, show: &mut dyn FnMut(Event<'_>)) {
        self.stopped = true;
        if self.signal.is_some() {
            self.end_all();
            return;
        }
        self.signal = Some(signal);
        self.last_call = Some(Instant::now() + GRACE);
        self.tell(libc::SIGTERM);
        show(Event::Canceling { signal });
    }

    /// sbx ends what it runs at once when it is asked for the second time.
    fn end_all(&mut self) {
        self.last_call = None;
        self.kill_at = self.kill_at.or_else(|| Some(Instant::now() + LAST_RESORT));
        self.tell(libc::SIGINT);
        self.tell(libc::SIGTERM);
    }

    fn tell(&self, signal: i32) {
        for slot in self.slots.iter().filter(|slot| slot.busy.is_some()) {
            process::kill(slot.pid, signal).ok();
        }
    }

    fn clocks(&mut self, show: &mut dyn FnMut(Event<'_>)) {
        let now = Instant::now();
        if self.last_call.is_some_and(|at| at <= now) {
            self.end_all();
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            // What such a one leaves is removed by the next run, as after any sbx that was killed.
            self.tell(libc::SIGKILL);
        }
        for busy in self.slots.iter_mut().filter_map(|slot| slot.busy.as_mut()) {
            if !busy.told && busy.start.elapsed() >= SLOW {
                busy.told = true;
                show(Event::Slow { case: busy.job.case, after: SLOW });
            }
        }
        show(Event::Tick);
    }

    fn close(&mut self) {
        for mut slot in self.slots.drain(..) {
            if let Some(busy) = slot.busy.take() {
                process::kill(slot.pid, libc::SIGKILL).ok();
                self.queue.push_front(busy.job);
            }
            end(slot);
        }
    }
}

/// Lets a worker end and reaps it; returns its status as wait(2) encodes it.
fn end(slot: Slot) -> Option<i32> {
    let Slot { pid, connection, .. } = slot;
    drop(connection);
    loop {
        match process::wait(Wait::For(pid)) {
            Ok(reaped) => return reaped.map(|reaped| reaped.status),
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
}

/// Blocks the signals that the pool takes; nothing of a terminal reaches what is not asked for.
///
/// # Errors
/// Those of sigprocmask(2).
pub fn prepare() -> Result<()> {
    process::block_signals().map(drop).map_err(|errno| failed("block signals", errno))
}
