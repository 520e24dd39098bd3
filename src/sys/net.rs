//! The loopback interface.
#![expect(unsafe_code, reason = "system calls")]

use super::{Fd, Sys, check, check_fd};

/// Brings `lo` of this network namespace up (SIOCSIFFLAGS of netdevice(7)). The socket stays open; a child
/// closes everything before it execs.
pub fn loopback_up() -> Sys<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) touches no memory.
    let socket: Fd = check_fd(unsafe { libc::syscall(libc::SYS_socket, libc::AF_INET, kind, 0) })?;
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = libc::c_char::from_ne_bytes(*b"l");
    request.ifr_name[1] = libc::c_char::from_ne_bytes(*b"o");
    request.ifr_ifru.ifru_flags = 0x41; // IFF_UP | IFF_RUNNING
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is live.
    let returned = unsafe { libc::syscall(libc::SYS_ioctl, socket.0, libc::SIOCSIFFLAGS, &raw const request) };
    check(returned).map(drop)
}
