//! Sockets of a network namespace while it is made: the loopback interface, netlink, and the sockets that are
//! handed out of it.
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Fd, Sys, check, check_fd};

/// The address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// Returns AF_INET or AF_INET6.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
        }
    }
}

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

/// Returns a new socket of this network namespace (socket(2)); close-on-exec, non-blocking.
pub fn socket(family: i32, kind: i32, protocol: i32) -> Sys<Fd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) touches no memory.
    check_fd(unsafe { libc::syscall(libc::SYS_socket, family, kind, protocol) })
}

/// Sets an option of a socket whose value is plain bytes (setsockopt(2)).
pub fn set_option(socket: Fd, (level, name): (i32, i32), value: &[u8]) -> Sys<()> {
    let (pointer, length) = (value.as_ptr(), value.len());
    // SAFETY: setsockopt(2) reads `length` bytes at `pointer`, which is borrowed for the call.
    check(unsafe { libc::syscall(libc::SYS_setsockopt, socket.0, level, name, pointer, length) }).map(drop)
}

/// Gives a socket this port of every address of its family (bind(2)).
pub fn bind_any(socket: Fd, family: Family, port: u16) -> Sys<()> {
    let [high, low] = port.to_be_bytes();
    let number = u16::try_from(family.number()).unwrap_or(0).to_ne_bytes();
    // `sockaddr_in` and `sockaddr_in6`: family, port in network order, and zeros for the rest.
    let mut address = [0u8; size_of::<libc::sockaddr_in6>()];
    [address[0], address[1], address[2], address[3]] = [number[0], number[1], high, low];
    let length = match family {
        Family::V4 => size_of::<libc::sockaddr_in>(),
        Family::V6 => size_of::<libc::sockaddr_in6>(),
    };
    bind(socket, address.get(..length).unwrap_or_default())
}

/// Gives a TCP socket any free port of 127.0.0.1 (bind(2)).
pub fn bind_loopback(socket: Fd) -> Sys<()> {
    let family = u16::try_from(libc::AF_INET).unwrap_or(0).to_ne_bytes();
    bind(socket, &[family[0], family[1], 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn bind(socket: Fd, address: &[u8]) -> Sys<()> {
    let (pointer, length) = (address.as_ptr(), address.len());
    // SAFETY: bind(2) reads `length` bytes at `pointer`, which is borrowed for the call.
    check(unsafe { libc::syscall(libc::SYS_bind, socket.0, pointer, length) }).map(drop)
}

/// Has a socket take connections, so many waiting at most (listen(2)).
pub fn listen(socket: Fd, backlog: i32) -> Sys<()> {
    // SAFETY: listen(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_listen, socket.0, backlog) }).map(drop)
}

/// Sends `messages` to the kernel as one datagram over a new netlink socket (netlink(7)) and reads its first answer,
/// which is there when the send is done: that of the first message that failed, or of one that asks for it. The
/// socket stays open. EPROTONOSUPPORT where the kernel does not have `protocol`.
pub fn ask_kernel(protocol: i32, messages: &[u8]) -> Sys<()> {
    ask(socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?, messages)
}

/// The same over a netlink socket that is there.
pub fn ask(socket: Fd, messages: &[u8]) -> Sys<()> {
    let (pointer, length) = (messages.as_ptr(), messages.len());
    // SAFETY: sendto(2) reads `length` bytes at `pointer`, which is borrowed; a null address is the kernel's.
    let sent = unsafe { libc::syscall(libc::SYS_sendto, socket.0, pointer, length, libc::MSG_NOSIGNAL, 0, 0) };
    check(sent)?;
    let mut answer = [0u8; 256];
    let count = super::fd::read(socket, &mut answer)?;
    match answer.get(..count).and_then(said) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw(errno)),
        None => Err(Errno::EBADMSG),
    }
}

/// Returns the number of the interface with this name in the network namespace of `socket` (SIOCGIFINDEX of
/// netdevice(7)); ENODEV if there is none.
pub fn interface(socket: Fd, name: &str) -> Sys<u32> {
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let last = request.ifr_name.len() - 1;
    for (place, byte) in request.ifr_name[..last].iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([byte]);
    }
    // SAFETY: SIOCGIFINDEX reads and writes one ifreq, which is live.
    check(unsafe { libc::syscall(libc::SYS_ioctl, socket.0, libc::SIOCGIFINDEX, &raw mut request) })?;
    // SAFETY: SIOCGIFINDEX has written this member of the union.
    u32::try_from(unsafe { request.ifr_ifru.ifru_ifindex }).map_err(|_| Errno::ENODEV)
}

/// Returns the errno in an answer, 0 being an acknowledgement: struct nlmsghdr, then struct nlmsgerr, whose first
/// member is the errno, negative.
fn said(answer: &[u8]) -> Option<i32> {
    i32::from_ne_bytes(*answer.get(16..)?.first_chunk()?).checked_neg()
}

#[cfg(test)]
mod tests {
    use super::{ask_kernel, said};
    use crate::sys::Errno;

    #[test]
    fn an_answer_is_an_errno() {
        let mut answer = [0u8; 36];
        assert_eq!(said(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-libc::EPERM).to_ne_bytes());
        assert_eq!(said(&answer), Some(libc::EPERM));
        assert_eq!(said(&answer[..19]), None, "a cut answer");
    }

    #[test]
    fn the_kernel_says_what_it_does_not_know() {
        // A message of a type that routing does not have, with a request for an acknowledgement.
        let message = [20u32, 0x0005_03ff, 7, 0, 0];
        let bytes: Vec<u8> = message.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(ask_kernel(libc::NETLINK_ROUTE, &bytes), Err(Errno::EOPNOTSUPP));
    }
}
