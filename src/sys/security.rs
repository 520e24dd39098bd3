//! What the child gives up: capabilities, and the ways to regain one.
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Sys, check};

/// The SECBIT_* of capabilities(7) that make uid 0 an ordinary uid: NOROOT, NO_SETUID_FIXUP and
/// NO_CAP_AMBIENT_RAISE are set, KEEP_CAPS is not, and all four are locked.
const SECUREBITS: u64 = 0b1110_1111;

/// Locks the secure bits, so that no execve(2) gives a capability to uid 0.
pub fn lock_securebits() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_SECUREBITS takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) }).map(drop)
}

/// Drops one capability from the bounding set; EINVAL for a number that this kernel does not know.
pub fn drop_bounding(capability: u8) -> Sys<()> {
    let number = u64::from(capability);
    // SAFETY: prctl(2) with PR_CAPBSET_DROP takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, number, 0, 0, 0) }).map(drop)
}

/// Raises one capability in the ambient set; it is permitted and inheritable already.
pub fn raise_ambient(capability: u8) -> Sys<()> {
    let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE, u64::from(capability));
    // SAFETY: prctl(2) with PR_CAP_AMBIENT takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAP_AMBIENT, raise, number, 0, 0) }).map(drop)
}

/// The words of both halves that capset(2) knows as version 3.
const VERSION_3: u32 = 0x2008_0522;

/// Sets the effective and permitted sets to `mask` and the inheritable one to `inheritable`, which may not
/// have what has left the bounding set (capset(2)).
pub fn set_capabilities(mask: u64, inheritable: u64) -> Sys<()> {
    let header = [VERSION_3, 0];
    let low = |set: u64| u32::try_from(set & 0xffff_ffff).map_err(|_| Errno::EINVAL);
    let high = |set: u64| u32::try_from(set >> 32).map_err(|_| Errno::EINVAL);
    let data = [low(mask)?, low(mask)?, low(inheritable)?, high(mask)?, high(mask)?, high(inheritable)?];
    // SAFETY: capset(2) reads a header of two words and, in version 3, two structs of three words.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Returns the effective capabilities as a mask; none where the kernel does not say.
#[must_use]
pub fn effective() -> u64 {
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: capget(2) reads a header of two words and writes, in version 3, two structs of three words.
    let returned = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) };
    if check(returned).is_ok() { u64::from(data[3]) << 32 | u64::from(data[0]) } else { 0 }
}

/// Has the next change from root to another id keep the permitted set (PR_SET_KEEPCAPS).
pub fn keep_permitted() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_KEEPCAPS takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }).map(drop)
}

/// Lets the capabilities stay when the user id changes (SECBIT_NO_SETUID_FIXUP of capabilities(7)).
pub fn no_setuid_fixup() -> Sys<()> {
    const NO_SETUID_FIXUP: u64 = 1 << 2;
    // SAFETY: prctl(2) with PR_SET_SECUREBITS takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0) }).map(drop)
}

/// Makes all that is permitted effective.
pub fn raise_permitted() -> Sys<()> {
    let header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: capget(2) reads a header of two words and writes, in version 3, two structs of three words.
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) })?;
    (data[0], data[3]) = (data[1], data[4]);
    // SAFETY: capset(2) reads the same.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// Leaves the session keyring that was inherited for a new one (KEYCTL_JOIN_SESSION_KEYRING of keyctl(2)); EDQUOT if
/// the user has too many.
pub fn new_session_keyring() -> Sys<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) }).map(drop)
}

/// No execve(2) from here on gives more rights (PR_SET_NO_NEW_PRIVS).
pub fn no_new_privileges() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_NO_NEW_PRIVS takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Gives this process's files in procfs to its own user (PR_SET_DUMPABLE), after a change of ids.
pub fn dumpable() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_DUMPABLE takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }).map(drop)
}

/// Keeps other processes from reading or tracing this one (PR_SET_DUMPABLE).
pub fn not_dumpable() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_DUMPABLE takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}
