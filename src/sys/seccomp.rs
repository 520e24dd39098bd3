//! Loads a filter of system calls, seccomp(2). What the filter says is decided elsewhere.
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Sys, check};

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

/// Filters every later system call of this thread and of what it starts; child-safe. Needs no_new_privs.
/// EINVAL: the kernel has no filters (CONFIG_SECCOMP_FILTER), or takes this one for wrong.
pub fn load(instructions: &[Instruction], flags: u32) -> Sys<()> {
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::EINVAL)?;
    let program = Program { length, instructions: instructions.as_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` is a sock_fprog that points to `length` live instructions; the kernel copies both.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) }).map(drop)
}

/// Whether the kernel can filter system calls at all: ENOSYS without CONFIG_SECCOMP, EOPNOTSUPP without
/// CONFIG_SECCOMP_FILTER.
pub fn available() -> Sys<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    let question = libc::SECCOMP_GET_ACTION_AVAIL;
    // SAFETY: seccomp(2) reads one word, which is live.
    check(unsafe { libc::syscall(libc::SYS_seccomp, question, 0, &raw const action) }).map(drop)
}
