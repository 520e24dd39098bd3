//! Loads a filter of system calls, seccomp(2), and answers the calls that it asks about, seccomp_unotify(2). What
//! the filter says is decided elsewhere.
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Fd, Sys, check, check_fd};

/// One instruction of the classic BPF that seccomp(2) takes: `struct sock_filter` of `linux/filter.h`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub operand: u32,
}

/// `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// SECCOMP_FILTER_FLAG_LOG: the kernel writes down what the filter refuses (Linux 4.14).
pub const FLAG_LOG: u32 = 2;
/// SECCOMP_FILTER_FLAG_SPEC_ALLOW: before Linux 5.16 a filter turned on a slow mitigation of processors (4.17).
pub const FLAG_SPEC_ALLOW: u32 = 4;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER (Linux 5.0).
const FLAG_NEW_LISTENER: u32 = 8;
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: a call whose answer is under way is called off by a death only (5.19).
const FLAG_WAIT_KILLABLE_RECV: u32 = 32;
/// SECCOMP_RET_USER_NOTIF: the call waits until who is asked has answered for the kernel.
pub const ASK: u32 = 0x7fc0_0000;

/// The numbers of what may come between [`load_asking`] and the command: sendmsg(2) hands over who is asked, write(2)
/// and `exit_group` say why nothing was started.
pub const LAST_CALLS: [libc::c_long; 3] = [libc::SYS_sendmsg, libc::SYS_write, libc::SYS_exit_group];

/// Filters every later system call of this thread and of what it starts; child-safe. Needs no_new_privs.
/// EINVAL: the kernel has no filters (CONFIG_SECCOMP_FILTER), or takes this one for wrong.
pub fn load(instructions: &[Instruction], flags: u32) -> Sys<()> {
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::EINVAL)?;
    let program = Program { length, instructions: instructions.as_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` is a sock_fprog that points to `length` live instructions; the kernel copies both.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) }).map(drop)
}

/// The same for a program that answers [`ASK`]; returns who is asked: a descriptor, close-on-exec, from which
/// [`next_question`] takes the calls. Child-safe. EBUSY: a filter from outside asks already; EINVAL also: the
/// kernel cannot (before Linux 5.0).
pub fn load_asking(instructions: &[Instruction], flags: u32) -> Sys<Fd> {
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::EINVAL)?;
    let program = Program { length, instructions: instructions.as_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    let load = |flags: u32| {
        // SAFETY: `program` is a sock_fprog that points to `length` live instructions; the kernel copies both.
        check_fd(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) })
    };
    match load(flags | FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV) {
        Err(Errno::EINVAL) => load(flags | FLAG_NEW_LISTENER),
        other => other,
    }
}

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    id: u64,
    pub number: i32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

/// Takes the next call; waits for one unless poll(2) has said that there is one. ENOENT: who called is gone.
pub fn next_question(asked: Fd) -> Sys<Question> {
    // SAFETY: seccomp_notif is plain integers, for which zero is a value; the kernel wants it so.
    let mut found: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: SECCOMP_IOCTL_NOTIF_RECV fills one seccomp_notif, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, asked.0, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut found) })?;
    let libc::seccomp_data { nr, arch, args, .. } = found.data;
    Ok(Question { id: found.id, number: nr, architecture: arch, arguments: args })
}

/// Has the call fail with `errno`; never lets it through. ENOENT: a signal has called it off, or who called is gone.
pub fn refuse(asked: Fd, question: &Question, errno: u16) -> Sys<()> {
    let answer = libc::seccomp_notif_resp { id: question.id, val: 0, error: -i32::from(errno), flags: 0 };
    // SAFETY: SECCOMP_IOCTL_NOTIF_SEND reads one seccomp_notif_resp, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, asked.0, libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) })
        .map(drop)
}

/// Tells the kernel that who calls and who answers take turns, so that it need not wake another processor (Linux 6.6).
pub fn take_turns(asked: Fd) -> Sys<()> {
    // SECCOMP_IOCTL_NOTIF_SET_FLAGS and SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, which the libc crate does not have.
    const SET_FLAGS: u32 = 0x4008_2104;
    const SYNC_WAKE_UP: u64 = 1;
    // SAFETY: SECCOMP_IOCTL_NOTIF_SET_FLAGS takes an integer.
    check(unsafe { libc::syscall(libc::SYS_ioctl, asked.0, SET_FLAGS, SYNC_WAKE_UP) }).map(drop)
}

/// Whether the kernel can filter system calls at all: ENOSYS without CONFIG_SECCOMP, EOPNOTSUPP without
/// CONFIG_SECCOMP_FILTER.
pub fn available() -> Sys<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    let question = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: seccomp(2) reads one word, which is live.
    check(unsafe { libc::syscall(libc::SYS_seccomp, question, 0, &raw const action) }).map(drop)
}
