//! Processes: make, become, wait, end; and what a process is: ids, limits, namespaces.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;

use super::{Errno, Fd, Sys, check, check_fd};

/// A process id as this process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pid(pub i32);

/// Which side of a clone this is.
#[derive(Debug)]
pub enum Cloned {
    Parent { child: Pid, pidfd: Fd },
    Child,
}

/// Makes a child with the CLONE_NEW* `namespaces`, born in the v2 group `cgroup` if one is given,
/// and a pidfd of it (clone3(2), Linux 5.3; CLONE_INTO_CGROUP, Linux 5.7).
///
/// The child has a copy of this memory; it keeps to the contract of [`crate::sys`]. The caller is
/// single-threaded, or the copy may hold locks that nobody releases.
pub fn clone3(namespaces: u64, cgroup: Option<Fd>) -> Sys<Cloned> {
    // The constant is missing for musl in the libc crate.
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is plain integers, for which zero is a value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = namespaces | u64::from(libc::CLONE_PIDFD.unsigned_abs());
    args.pidfd = (&raw mut pidfd).expose_provenance() as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
    if let Some(group) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(group.0).unwrap_or(u64::MAX);
    }
    let size = size_of::<libc::clone_args>();
    // SAFETY: `args` is a live clone_args of `size` bytes whose pidfd field points to a live int; without
    // CLONE_VM the child gets its own copy of the memory, and no stack is given, so it goes on here.
    let returned = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size) };
    match check(returned)? {
        0 => Ok(Cloned::Child),
        child => {
            let child = i32::try_from(child).map_err(|_| Errno::EOVERFLOW)?;
            Ok(Cloned::Parent { child: Pid(child), pidfd: Fd(pidfd) })
        }
    }
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    Parent { child: Pid },
    Child,
}

/// Makes a child with a copy of this memory that may go on as its parent would, allocate and run sandboxes of its
/// own (fork(3): the C library knows of it). The caller is single-threaded, or the copy may hold locks that nobody
/// releases.
pub fn fork() -> Sys<Forked> {
    // SAFETY: fork(3) touches no memory of ours; the caller has one thread, so the copy is consistent.
    match check(unsafe { libc::fork() }.into())? {
        0 => Ok(Forked::Child),
        child => i32::try_from(child).map_err(|_| Errno::EOVERFLOW).map(|child| Forked::Parent { child: Pid(child) }),
    }
}

/// Whether a spawned process runs in the memory of its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Yes, and the parent sleeps until it execs or ends: nothing is copied.
    Shared,
    /// No: it gets a copy.
    Copied,
}

struct Start<'a, T> {
    entry: fn(&T) -> i32,
    argument: &'a T,
}

extern "C" fn start<T>(pointer: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes a pointer to a `Start<T>` that outlives this process or is a copy of it.
    let start = unsafe { &*pointer.cast::<Start<'_, T>>() };
    (start.entry)(start.argument)
}

/// Makes a child that runs `entry(argument)` on `stack` and ends with its result, which keeps to the
/// contract of [`crate::sys`].
pub fn spawn<T>(memory: Memory, stack: &mut [MaybeUninit<u8>], entry: fn(&T) -> i32, argument: &T) -> Sys<Pid> {
    let flags = match memory {
        Memory::Shared => libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
        Memory::Copied => libc::SIGCHLD,
    };
    let start_data = Start { entry, argument };
    let top = stack.as_mut_ptr_range().end;
    let pointer = (&raw const start_data).cast_mut().cast::<c_void>();
    // SAFETY: `top` is the end of an exclusively borrowed stack, which clone(2) aligns; with CLONE_VM the
    // parent is suspended until the child has left this memory, so `start_data` and `stack` stay alive.
    let returned = unsafe { libc::clone(start::<T>, top.cast(), flags, pointer) };
    check(returned.into()).and_then(|pid| i32::try_from(pid).map_err(|_| Errno::EOVERFLOW)).map(Pid)
}

/// Becomes the program at `path`. `argv` and `env` end with a null pointer and point to
/// NUL-terminated strings. Returns only if the kernel refuses.
pub fn execute(path: &CStr, argv: &Pointers, env: &Pointers) -> Errno {
    // SAFETY: a `Pointers` always ends with null and keeps its strings alive.
    unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Errno::last()
}

/// A null-terminated array of pointers to strings, as execve(2) takes it.
#[derive(Debug)]
pub struct Pointers {
    _strings: Vec<std::ffi::CString>,
    pointers: Vec<*const c_char>,
}

impl Pointers {
    /// Builds the array; `strings` live as long as it does.
    #[must_use]
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Ends this process without running a destructor.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit(2) does not return and touches no memory.
    unsafe { libc::_exit(status) }
}

/// A process that ended, and what it and those that it waited for used.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    pub pid: Pid,
    /// As wait(2) encodes it.
    pub status: i32,
    pub usage: Rusage,
}

/// The members of getrusage(2) that the report knows. Times in microseconds, memory in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rusage {
    pub user: u64,
    pub system: u64,
    pub max_rss: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary: u64,
    pub involuntary: u64,
}

impl Rusage {
    /// Adds `other`: times and counts as sums, memory as the larger.
    pub fn add(&mut self, other: &Self) {
        self.user = self.user.wrapping_add(other.user);
        self.system = self.system.wrapping_add(other.system);
        self.max_rss = self.max_rss.max(other.max_rss);
        self.minor_faults = self.minor_faults.wrapping_add(other.minor_faults);
        self.major_faults = self.major_faults.wrapping_add(other.major_faults);
        self.voluntary = self.voluntary.wrapping_add(other.voluntary);
        self.involuntary = self.involuntary.wrapping_add(other.involuntary);
    }
}

fn from_raw(raw: &libc::rusage) -> Rusage {
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    let micros = |time: &libc::timeval| count(time.tv_sec).wrapping_mul(1_000_000).wrapping_add(count(time.tv_usec));
    Rusage {
        user: micros(&raw.ru_utime),
        system: micros(&raw.ru_stime),
        max_rss: count(raw.ru_maxrss),
        minor_faults: count(raw.ru_minflt),
        major_faults: count(raw.ru_majflt),
        voluntary: count(raw.ru_nvcsw),
        involuntary: count(raw.ru_nivcsw),
    }
}

/// Which children a wait is for, and whether it blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// This one, until it has ended.
    For(Pid),
    /// Any, until one has ended.
    Any,
    /// Any that has ended already.
    Ended,
}

/// Reaps a child (wait4(2)); `None` if none has ended yet, ECHILD if there is none.
pub fn wait(which: Wait) -> Sys<Option<Reaped>> {
    let (pid, flags) = match which {
        Wait::For(pid) => (pid.0, libc::__WALL),
        Wait::Any => (-1, libc::__WALL),
        Wait::Ended => (-1, libc::__WALL | libc::WNOHANG),
    };
    let mut status: c_int = 0;
    // SAFETY: rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: wait4(2) fills one int and one rusage, both live.
    let returned = unsafe { libc::syscall(libc::SYS_wait4, pid, &raw mut status, flags, &raw mut usage) };
    let pid = i32::try_from(check(returned)?).map_err(|_| Errno::EOVERFLOW)?;
    Ok((pid != 0).then(|| Reaped { pid: Pid(pid), status, usage: from_raw(&usage) }))
}

/// Lets a stopped tracee go on with `signal` and without a tracer (PTRACE_DETACH of ptrace(2)).
pub fn stop_tracing(tracee: Pid, signal: i32) -> Sys<()> {
    let (nothing, signal) = (std::ptr::null_mut::<c_void>(), i64::from(signal));
    // SAFETY: PTRACE_DETACH takes a pid and a number and reads no memory.
    check(unsafe { libc::syscall(libc::SYS_ptrace, i64::from(libc::PTRACE_DETACH), tracee.0, nothing, signal) })
        .map(drop)
}

/// Returns what this process itself has used so far (getrusage(2)).
#[must_use]
pub fn own_usage() -> Rusage {
    // SAFETY: rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage(2) fills one rusage, which is live; RUSAGE_SELF cannot fail.
    unsafe { libc::syscall(libc::SYS_getrusage, libc::RUSAGE_SELF, &raw mut usage) };
    from_raw(&usage)
}

/// Sends `signal` to a process, a group (negative), or all that can be reached (-1).
pub fn kill(pid: Pid, signal: i32) -> Sys<()> {
    // SAFETY: kill(2) touches no memory.
    check(unsafe { libc::syscall(libc::SYS_kill, pid.0, signal) }).map(drop)
}

/// Returns the id of this process.
#[must_use]
pub fn own_pid() -> Pid {
    // SAFETY: getpid(2) touches no memory and cannot fail.
    Pid(unsafe { libc::getpid() })
}

/// Returns the id of the parent; another one than before if that has ended.
#[must_use]
pub fn parent_pid() -> Pid {
    // SAFETY: getppid(2) touches no memory and cannot fail.
    Pid(unsafe { libc::getppid() })
}

/// Sends `signal` to the process behind a pidfd (pidfd_send_signal(2), Linux 5.1).
pub fn signal_pidfd(pidfd: Fd, signal: i32) -> Sys<()> {
    // SAFETY: a null siginfo is allowed; nothing else is memory.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.0, signal, 0, 0) }).map(drop)
}

/// Returns the mount namespace of the process behind a pidfd, close-on-exec (PIDFD_GET_MNT_NAMESPACE of
/// pidfd_open(2), Linux 6.11).
pub fn mounts_of(pidfd: Fd) -> Sys<Fd> {
    const GET_MNT_NAMESPACE: u32 = 0xff03;
    // SAFETY: this request takes no argument.
    check_fd(unsafe { libc::syscall(libc::SYS_ioctl, pidfd.0, GET_MNT_NAMESPACE, 0) })
}

/// Returns whether execve(2) gave this process rights that its caller does not have: set-id bits or file
/// capabilities (AT_SECURE of getauxval(3)).
#[must_use]
pub fn is_set_id() -> bool {
    // SAFETY: getauxval(3) reads the vector that the kernel put above the stack.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Blocks every signal; returns the mask that was.
pub fn block_signals() -> Sys<u64> {
    change_mask(u64::MAX)
}

/// Lets every signal through.
pub fn unblock_signals() -> Sys<()> {
    change_mask(0).map(drop)
}

/// Lets every signal through but `held`, which stays blocked.
pub fn unblock_all_but(held: i32) -> Sys<()> {
    change_mask(1 << (held - 1)).map(drop)
}

fn change_mask(mask: u64) -> Sys<u64> {
    let mut old = 0u64;
    let size = size_of::<u64>();
    // SAFETY: the kernel's mask is one 64-bit word, as `size` says; both words are live.
    let returned =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, &raw mut old, size) };
    check(returned).map(|_| old)
}

/// A signal that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub signal: i32,
    /// Who sent it with kill(2) or pidfd_send_signal(2); `Pid(0)` is somebody outside of this pid namespace. No other
    /// process can pretend to be another here (rt_sigqueueinfo(2)). `None` for what came in another way.
    pub sender: Option<Pid>,
}

/// Sleeps until a blocked signal is pending and takes it (sigwaitinfo(2)).
pub fn next_signal() -> Sys<Taken> {
    let all = u64::MAX;
    let size = size_of::<u64>();
    // SAFETY: siginfo_t is plain integers, for which zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the mask is one live 64-bit word and `info` a live siginfo; a null timeout is allowed.
    let returned = unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const all, &raw mut info, 0, size) };
    let signal = check(returned).and_then(|signal| i32::try_from(signal).map_err(|_| Errno::EINVAL))?;
    // SAFETY: with SI_USER the kernel has filled in the sender.
    let sender = (info.si_code == libc::SI_USER).then(|| Pid(unsafe { info.si_pid() }));
    Ok(Taken { signal, sender })
}

/// Gives `signal` its default action.
pub fn default_action(signal: i32) -> Sys<()> {
    // The kernel's struct: handler, flags, restorer, mask. All zero is SIG_DFL.
    let action = [0u64; 4];
    let size = size_of::<u64>();
    // SAFETY: rt_sigaction(2) reads one kernel sigaction of four words, which is live.
    let returned = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0, size) };
    check(returned).map(drop)
}

/// Becomes the leader of a new session without a terminal.
pub fn new_session() -> Sys<()> {
    // SAFETY: setsid(2) touches no memory.
    check(unsafe { libc::syscall(libc::SYS_setsid) }).map(drop)
}

/// Has the kernel send `signal` to this process when its parent ends (PR_SET_PDEATHSIG).
/// Changing ids clears it.
pub fn signal_on_parent_death(signal: i32) -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_PDEATHSIG takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) }).map(drop)
}

/// Has orphans below this process become its children (PR_SET_CHILD_SUBREAPER).
pub fn adopt_orphans() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_CHILD_SUBREAPER takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Sets real, effective and saved ids, the group first, after `groups` instead of the supplementary groups.
/// The raw calls change this thread only, which is all there is.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> Sys<()> {
    // SAFETY: setgroups(2) reads `groups.len()` words, which are live.
    check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    // SAFETY: setresgid(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: setresuid(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// Sets a limit of getrlimit(2), soft and hard alike.
pub fn set_rlimit(resource: u32, value: u64) -> Sys<()> {
    let limit = [value, value];
    // SAFETY: prlimit64(2) reads one struct of two 64-bit words; a null old limit is allowed.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), 0) }).map(drop)
}

/// Sets the hostname of this UTS namespace.
pub fn set_hostname(name: &CStr) -> Sys<()> {
    let bytes = name.to_bytes();
    // SAFETY: sethostname(2) reads `bytes.len()` bytes.
    check(unsafe { libc::syscall(libc::SYS_sethostname, bytes.as_ptr(), bytes.len()) }).map(drop)
}

/// Moves this process into new namespaces (unshare(2)).
pub fn unshare(namespaces: u64) -> Sys<()> {
    // SAFETY: unshare(2) touches no memory.
    check(unsafe { libc::syscall(libc::SYS_unshare, namespaces) }).map(drop)
}
