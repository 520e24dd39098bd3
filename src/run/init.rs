//! Pid 1 of the sandbox: starts the command, reaps, forwards signals, and says how the
//! command ended. It holds no descriptor but the status pipe. Child side: the contract
//! of [`crate::sys`] holds here until the end.

use crate::run::pty::{self, Stdio};
use crate::run::tape::{PidNamespace, Start, Tape};
use crate::run::verdict::{self, Ending, Verdict};
use crate::spec::Init;
use crate::sys::process::{self, Pid, Rusage, Wait};
use crate::sys::{Errno, Fd, Sys, fd, path, security, time};

/// Tells the init to kill and reap all and to say what it has seen. The parent sends it when the run has
/// to end, and the kernel when sbx is gone and there is no pid namespace that would die with the init.
pub const END: i32 = libc::SIGPWR;

/// Starts the command, as the tape says, and never comes back.
pub fn become_command(tape: &mut Tape) -> ! {
    let status = tape.pipes.status;
    if let Err(errno) = settle(tape) {
        verdict::send(status, &Verdict::ForkFailed { errno: errno as i32 });
        process::exit_now(1);
    }
    match tape.start.init {
        Init::Reaper => run_init(tape),
        Init::Command => {
            let own = process::own_usage();
            verdict::send(status, &Verdict::Starting { at: time::monotonic(), own });
            verdict::send(status, &execute(&tape.start));
            process::exit_now(1);
        }
    }
}

/// Puts the standard streams in place and closes everything else: the host's directories, the
/// trees, the pipes.
fn settle(tape: &Tape) -> Sys<()> {
    path::set_umask(0o022);
    for signal in &tape.start.ignored {
        process::default_action(*signal)?;
    }
    for (target, source) in (0..).zip(tape.start.stdio) {
        match (source, tape.pipes.terminal) {
            (Stdio::Opened(source), _) | (Stdio::Terminal, Some(source)) => fd::duplicate(source, Fd(target))?,
            // Never the caller's own in its place.
            (Stdio::Terminal, None) => return Err(Errno::ENOTTY),
            (Stdio::Caller, _) => {}
        }
    }
    let status = u32::try_from(tape.pipes.status.0).map_err(|_| Errno::EBADF)?;
    if status > 3 {
        fd::close_range(3, status - 1)?;
    }
    fd::close_range(status.saturating_add(1), u32::MAX)
}

fn run_init(tape: &mut Tape) -> ! {
    let mut stack = std::mem::take(&mut tape.start.stack);
    let connection = tape.pipes.status;
    let pids = tape.start.pid_namespace;
    let prepared = security::not_dumpable().and_then(|()| match pids {
        PidNamespace::New => Ok(()),
        PidNamespace::Host => process::adopt_orphans(),
    });
    let started = time::monotonic();
    // The kernel may kill this process together with the command (`memory.oom.group`): then this is all the
    // parent ever hears.
    verdict::send(connection, &Verdict::Starting { at: started, own: process::own_usage() });
    let spawned = prepared.and_then(|()| process::spawn(tape.start.memory, &mut stack, become_child, &*tape));
    // Freeing it would break the contract; this process never needs the memory again.
    std::mem::forget(stack);
    let command = match spawned {
        Ok(command) => command,
        Err(errno) => {
            verdict::send(connection, &Verdict::ForkFailed { errno: errno as i32 });
            process::exit_now(1);
        }
    };
    // A reader at the other end of the command's output waits for the command only.
    fd::close_range(0, 2).ok();
    let mut usage = Rusage::default();
    let status = reap_until(command, &mut usage);
    let ended = time::monotonic();
    let left = end_the_rest(pids, &mut usage);
    let full = tape.start.bounded.as_ref().is_some_and(|path| path::is_full(path).unwrap_or(false));
    let full = u64::from(full);
    verdict::send(connection, &Verdict::Ended(Ending { status, started, ended, usage, left, full }));
    process::exit_now(0)
}

/// Standard output always leads to the terminal, if there is one.
fn controlling(start: &Start) -> Option<Fd> {
    (start.stdio[1] == Stdio::Terminal).then_some(Fd(1))
}

fn become_child(tape: &Tape) -> i32 {
    verdict::send(tape.pipes.status, &execute(&tape.start));
    1
}

/// Reaps whatever ends and forwards whatever comes, until the command has ended; returns its status.
fn reap_until(command: Pid, usage: &mut Rusage) -> i32 {
    loop {
        match process::next_signal() {
            Ok(END) => {
                process::kill(Pid(-command.0), libc::SIGKILL).ok();
                process::kill(command, libc::SIGKILL).ok();
            }
            Ok(signal) if signal != libc::SIGCHLD => forward(signal, command),
            Ok(_) | Err(_) => {}
        }
        // After every signal: lower numbers come first, so a stream of SIGHUP would hide SIGCHLD for ever.
        if let Some(status) = reap_ended(command, usage) {
            return status;
        }
    }
}

fn reap_ended(command: Pid, usage: &mut Rusage) -> Option<i32> {
    loop {
        match process::wait(Wait::Ended) {
            Ok(Some(reaped)) => {
                usage.add(&reaped.usage);
                if reaped.pid == command {
                    return Some(reaped.status);
                }
            }
            Err(Errno::EINTR) => {}
            // Without a child there is nothing that could ever end.
            Err(_) => process::exit_now(1),
            Ok(None) => return None,
        }
    }
}

/// The command leads a session and a group of its own, so a signal to the group reaches what a terminal
/// would reach. SIGTSTP would be ignored there, because the group has no parent in its session
/// (an orphaned process group, setpgid(2)): it becomes SIGSTOP.
fn forward(signal: i32, command: Pid) {
    let signal = if signal == libc::SIGTSTP { libc::SIGSTOP } else { signal };
    if process::kill(Pid(-command.0), signal).is_err() {
        process::kill(command, signal).ok();
    }
}

/// Kills and reaps what the command left behind; returns how many there were.
fn end_the_rest(pids: PidNamespace, usage: &mut Rusage) -> u64 {
    let mut left = 0;
    loop {
        match process::wait(Wait::Ended) {
            Ok(Some(reaped)) => usage.add(&reaped.usage),
            Ok(None) => break,
            Err(_) => return left,
        }
    }
    loop {
        kill_children(pids);
        // Those that died together are reaped together: killing again costs a walk over all that are left.
        let mut which = Wait::Any;
        loop {
            match process::wait(which) {
                Ok(Some(reaped)) => {
                    usage.add(&reaped.usage);
                    left += 1;
                }
                Ok(None) | Err(Errno::EINTR) => break,
                Err(_) => return left,
            }
            which = Wait::Ended;
        }
    }
}

/// In a pid namespace of its own `-1` is all of the sandbox; elsewhere it would be all of the caller's
/// processes, so the children are looked up, and theirs become ours as they die.
fn kill_children(pids: PidNamespace) {
    match pids {
        PidNamespace::New => {
            process::kill(Pid(-1), libc::SIGKILL).ok();
        }
        PidNamespace::Host => kill_listed(),
    }
}

#[inline(never)]
fn kill_listed() {
    let mut text = [0u8; 1024];
    let Ok(list) = fd::open(c"/proc/thread-self/children", libc::O_RDONLY, 0) else { return };
    let count = fd::read(list, &mut text).unwrap_or(0);
    fd::close(list).ok();
    let words = text.get(..count).unwrap_or_default().split(|byte| *byte == b' ');
    for word in words.filter(|word| !word.is_empty()) {
        let number = word.iter().try_fold(0i32, |number, byte| match byte {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(i32::from(byte - b'0')),
            _ => None,
        });
        if let Some(number) = number.filter(|number| *number > 1) {
            process::kill(Pid(number), libc::SIGKILL).ok();
        }
    }
}

/// Becomes the command, or says why not. The filter comes last, so that it need not allow what sbx does; of
/// all that is left, sending the answer and ending, `plan` sees to it that it does.
fn execute(start: &Start) -> Verdict {
    let failed = |errno: Errno| Verdict::ExecFailed { errno: errno as i32 };
    if let Err(errno) = pty::new_session(controlling(start)).and_then(|()| process::unblock_signals()) {
        return failed(errno);
    }
    for ruleset in &start.rulesets {
        if let Err((step, errno)) = ruleset.enforce() {
            return Verdict::step_failed(step, errno);
        }
    }
    if let Some(filter) = &start.filter
        && let Err(errno) = filter.load()
    {
        return Verdict::step_failed(filter.step, errno);
    }
    failed(try_candidates(start))
}

/// Tries the candidates in turn, as execvp(3): a file that may not be executed is remembered, one
/// that does not exist is passed over.
fn try_candidates(start: &Start) -> Errno {
    let mut worst = Errno::ENOENT;
    for candidate in &start.candidates {
        match process::execute(candidate, &start.argv, &start.env) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = Errno::EACCES,
            other => return other,
        }
    }
    worst
}
