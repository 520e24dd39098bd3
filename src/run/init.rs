//! Pid 1 of the sandbox: starts the command, reaps, forwards signals, and says how the
//! command ended. It holds no descriptor but the connection and,
//! without a pid namespace, the list of its children. Child side: the contract
//! of [`crate::sys`] holds here until the end.

use crate::run::filter::Filter;
use crate::run::orphans;
use crate::run::pty::{self, Stdio};
use crate::run::tape::{PidNamespace, Start, Tape};
use crate::run::verdict::{self, Ending, Verdict};
use crate::spec::Init;
use crate::sys::process::{self, Pid, Reaped, Rusage, Taken, Wait};
use crate::sys::{Errno, Fd, Sys, fd, path, security, time};

/// Tells the init to kill and reap all and to say what it has seen. The parent sends it when the run has
/// to end, and the kernel when sbx is gone and there is no pid namespace that would die with the init.
pub const END: i32 = libc::SIGPWR;

/// Starts the command, as the tape says, and never comes back.
pub fn become_command(tape: &mut Tape) -> ! {
    let status = tape.ties.status;
    if let Err(errno) = settle(tape) {
        verdict::send(status, &Verdict::ForkFailed { errno: errno as i32 });
        process::exit_now(1);
    }
    match tape.start.init {
        Init::Reaper => run_init(tape),
        Init::Command => {
            let starting = Verdict::Starting { at: time::monotonic(), own: process::own_usage() };
            verdict::send(status, &execute(tape, &starting));
            process::exit_now(1);
        }
    }
}

/// Puts the standard streams in place and closes everything else: the host's directories, the
/// trees, the groups.
fn settle(tape: &Tape) -> Sys<()> {
    path::set_umask(0o022);
    for signal in &tape.start.ignored {
        process::default_action(*signal)?;
    }
    for (target, source) in (0..).zip(tape.start.stdio) {
        match (source, tape.ties.terminal) {
            (Stdio::Opened(source), _) | (Stdio::Terminal, Some(source)) => fd::duplicate(source, Fd(target))?,
            // Never the caller's own in its place.
            (Stdio::Terminal, None) => return Err(Errno::ENOTTY),
            (Stdio::Caller, _) => {}
        }
    }
    let status = u32::try_from(tape.ties.status.0).map_err(|_| Errno::EBADF)?;
    if status > 3 {
        fd::close_range(3, status - 1)?;
    }
    fd::close_range(status.saturating_add(1), u32::MAX)
}

fn run_init(tape: &mut Tape) -> ! {
    let mut stack = std::mem::take(&mut tape.start.stack);
    let connection = tape.ties.status;
    let pids = tape.start.pid_namespace;
    let prepared = security::not_dumpable().and_then(|()| match pids {
        PidNamespace::New => Ok(()),
        PidNamespace::Host { .. } => process::adopt_orphans(),
    });
    let reach = Reach::of(pids);
    let started = time::monotonic();
    let starting = Verdict::Starting { at: started, own: process::own_usage() };
    let memory = tape.start.memory;
    let spawned = prepared.and_then(|()| process::spawn(memory, &mut stack, become_child, &(&*tape, starting)));
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
    let status = reap_until(command, &reach, &mut usage);
    let ended = time::monotonic();
    let left = end_the_rest(&reach, &mut usage);
    let full = tape.start.bounded.as_ref().is_some_and(|path| path::is_full(path).unwrap_or(false));
    let full = u64::from(full);
    verdict::send(connection, &Verdict::Ended(Ending { status, started, ended, usage, left, full }));
    process::exit_now(0)
}

/// Standard output always leads to the terminal, if there is one.
fn controlling(start: &Start) -> Option<Fd> {
    (start.stdio[1] == Stdio::Terminal).then_some(Fd(1))
}

fn become_child((tape, starting): &(&Tape, Verdict)) -> i32 {
    // A pid namespace dies with its init; elsewhere the command would not notice that it is gone.
    if let PidNamespace::Host { .. } = tape.start.pid_namespace
        && let Err(errno) = process::signal_on_parent_death(libc::SIGKILL)
    {
        verdict::send(tape.ties.status, &Verdict::ForkFailed { errno: errno as i32 });
        return 1;
    }
    verdict::send(tape.ties.status, &execute(tape, starting));
    1
}

/// Whom the init obeys, and how it finds what the command leaves behind.
struct Reach {
    /// The number of sbx, as a signal tells it: what is inside cannot send with it. All else that comes is the
    /// sandbox's own doing, a limit of the command on its init included (prlimit(2) asks for the same ids only).
    sbx: Pid,
    all: All,
}

/// How everything that is left is reached.
#[derive(Clone, Copy)]
enum All {
    /// By one signal: all that there is in this pid namespace.
    Namespace,
    /// By the list of this process's children, and theirs as they die; open from the beginning, because the command
    /// can take the right to open files away.
    Children(Fd),
    /// Not from here, because procfs is hidden: sbx does it when this process is gone.
    Nobody,
}

impl Reach {
    fn of(pids: PidNamespace) -> Self {
        match pids {
            PidNamespace::New => Self { sbx: Pid(0), all: All::Namespace },
            PidNamespace::Host { sbx } => {
                let children = fd::open(orphans::LIST, libc::O_RDONLY, 0);
                Self { sbx, all: children.map_or(All::Nobody, All::Children) }
            }
        }
    }
}

/// Reaps whatever ends and forwards whatever sbx sends, until the command has ended; returns its status.
fn reap_until(command: Pid, reach: &Reach, usage: &mut Rusage) -> i32 {
    loop {
        match process::next_signal() {
            Ok(Taken { signal: END, sender }) if sender == Some(reach.sbx) => {
                process::kill(Pid(-command.0), libc::SIGKILL).ok();
                process::kill(command, libc::SIGKILL).ok();
            }
            Ok(Taken { signal, sender }) if sender == Some(reach.sbx) => forward(signal, command),
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
            // Whoever asks to be traced (PTRACE_TRACEME) makes this process the tracer, which wants none.
            Ok(Some(Reaped { pid, status, .. })) if libc::WIFSTOPPED(status) => {
                process::stop_tracing(pid, libc::WSTOPSIG(status)).ok();
            }
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
fn end_the_rest(reach: &Reach, usage: &mut Rusage) -> u64 {
    let mut left = 0;
    loop {
        match process::wait(Wait::Ended) {
            Ok(Some(reaped)) => usage.add(&reaped.usage),
            Ok(None) => break,
            Err(_) => return left,
        }
    }
    loop {
        match reach.all {
            // Elsewhere this would be all of the caller's processes.
            All::Namespace => drop(process::kill(Pid(-1), libc::SIGKILL)),
            All::Children(list) => orphans::kill_listed(list),
            All::Nobody => return left,
        }
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

/// Becomes the command, or says why not. The filter comes last, so that it need not allow what sbx does; of
/// all that is left, sending the answer and ending, `plan` sees to it that it does. That it is `starting` is said
/// here: the kernel may kill the init together with the command (`memory.oom.group`), and then this is all that the
/// parent ever hears.
fn execute(tape: &Tape, starting: &Verdict) -> Verdict {
    let (start, status) = (&tape.start, tape.ties.status);
    let failed = |errno: Errno| Verdict::ExecFailed { errno: errno as i32 };
    if let Err(errno) = pty::new_session(controlling(start)).and_then(|()| process::unblock_signals()) {
        return failed(errno);
    }
    for ruleset in &start.rulesets {
        if let Err((step, errno)) = ruleset.enforce() {
            return Verdict::step_failed(step, errno);
        }
    }
    if let Err((step, errno)) = filter(start.filter.as_ref(), status, starting) {
        return Verdict::step_failed(step, errno);
    }
    failed(try_candidates(start))
}

/// Loads the filter. Who is asked about refusals goes with the message and is closed here by execve(2); without
/// it the message comes first, because the filter need not allow it then.
fn filter(filter: Option<&Filter>, status: Fd, starting: &Verdict) -> Result<(), (usize, Errno)> {
    if let Some((filter, asked)) = filter.and_then(|filter| Some((filter, filter.load_asking()?))) {
        return verdict::send_with(status, starting, asked).map_err(|errno| (filter.step, errno));
    }
    verdict::send(status, starting);
    filter.map_or(Ok(()), |filter| filter.load().map_err(|errno| (filter.step, errno)))
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
