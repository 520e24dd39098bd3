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

/// Sets the effective and permitted sets to `held` and the inheritable set, which the bounding set limits,
/// to `inheritable` (capset(2)).
pub fn set_capabilities(held: u64, inheritable: u64) -> Sys<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let half = |mask: u64| u32::try_from(mask & 0xffff_ffff).map_err(|_| Errno::EINVAL);
    let (low, high) = (half(held)?, half(held >> 32)?);
    let data = [low, low, half(inheritable)?, high, high, half(inheritable >> 32)?];
    // SAFETY: capset(2) reads a header of two words and, in version 3, two structs of three words.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
}

/// No execve(2) from here on gives more rights (PR_SET_NO_NEW_PRIVS).
pub fn no_new_privileges() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_NO_NEW_PRIVS takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Keeps other processes from reading or tracing this one (PR_SET_DUMPABLE).
pub fn not_dumpable() -> Sys<()> {
    // SAFETY: prctl(2) with PR_SET_DUMPABLE takes integers only.
    check(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}
