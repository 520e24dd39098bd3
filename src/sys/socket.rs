//! Sockets of the internet protocols, all of them close-on-exec and never waited for. They own themselves: nothing
//! here is for a child between clone and exec.
#![expect(unsafe_code, reason = "messages with ancillary data")]

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};

use super::{Errno, Sys};

/// What a socket carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// TCP.
    Stream,
    /// UDP.
    Datagrams,
    /// Echo requests and their replies, for callers that `net.ipv4.ping_group_range` names.
    Echo,
    /// ICMP as it comes (raw(7)), for callers with `CAP_NET_RAW`.
    Icmp,
}

/// A datagram that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes in the buffer.
    pub length: usize,
    pub from: SocketAddr,
    /// Where it was sent, by IP_RECVORIGDSTADDR or (without a port) by IP_PKTINFO or IPV6_RECVPKTINFO, where the socket
    /// has one set.
    pub to: Option<SocketAddr>,
}

const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

/// Opens a socket of the family of `address`.
pub fn open(carries: Carries, address: IpAddr) -> Sys<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol) = match (carries, address) {
        (Carries::Icmp, IpAddr::V4(_)) => (SocketType::RAW, Some(ipproto::ICMP)),
        (Carries::Icmp, IpAddr::V6(_)) => (SocketType::RAW, Some(ipproto::ICMPV6)),
        (Carries::Stream, _) => (SocketType::STREAM, None),
        (Carries::Datagrams, _) => (SocketType::DGRAM, None),
        (Carries::Echo, IpAddr::V4(_)) => (SocketType::DGRAM, Some(ipproto::ICMP)),
        (Carries::Echo, IpAddr::V6(_)) => (SocketType::DGRAM, Some(ipproto::ICMPV6)),
    };
    net::socket_with(family, kind, FLAGS, protocol).map_err(errno)
}

/// Opens a socket and connects it, which for a stream is not over then; it sends what is written without waiting.
pub fn dial(carries: Carries, to: SocketAddr) -> Sys<OwnedFd> {
    let socket = open(carries, to.ip())?;
    if carries == Carries::Stream {
        no_delay(&socket)?;
    }
    begin_connect(&socket, to).map(|()| socket)
}

/// Connects, which for a stream is not over then.
pub fn begin_connect(socket: impl AsFd, to: SocketAddr) -> Sys<()> {
    match connect(socket, to) {
        Err(Errno::EINPROGRESS) => Ok(()),
        connected => connected,
    }
}

/// Connects; EINPROGRESS if that takes time.
pub fn connect(socket: impl AsFd, to: SocketAddr) -> Sys<()> {
    net::connect(socket, &to).map_err(errno)
}

/// Takes the peer, and with it the own address, from a socket (AF_UNSPEC of connect(2)). What [`trouble`] says then is
/// the reset that the peer got.
pub fn disconnect(socket: impl AsFd) -> Sys<()> {
    net::connect_unspec(socket).map_err(errno)
}

/// Gives a socket its own address.
pub fn bind(socket: impl AsFd, own: SocketAddr) -> Sys<()> {
    net::bind(socket, &own).map_err(errno)
}

/// Has a socket take connections, as many as the machine lets wait.
pub fn listen(socket: impl AsFd) -> Sys<()> {
    net::listen(socket, 4096).map_err(errno)
}

/// Takes the next connection; EAGAIN if there is none.
pub fn accept(listener: impl AsFd) -> Sys<OwnedFd> {
    net::accept_with(listener, FLAGS).map_err(errno)
}

/// Returns the address of the own end (getsockname(2)).
pub fn own_address(socket: impl AsFd) -> Sys<SocketAddr> {
    net::getsockname(socket).map_err(errno).and_then(internet)
}

/// Returns the address of the other end (getpeername(2)).
pub fn peer_address(socket: impl AsFd) -> Sys<SocketAddr> {
    net::getpeername(socket).map_err(errno)?.ok_or(Errno::ENOTCONN).and_then(internet)
}

fn internet(address: net::SocketAddrAny) -> Sys<SocketAddr> {
    SocketAddr::try_from(address).map_err(errno)
}

/// Lets an address be taken whose last connections are still dying (SO_REUSEADDR).
pub fn reuse_address(socket: impl AsFd) -> Sys<()> {
    sockopt::set_socket_reuseaddr(socket, true).map_err(errno)
}

/// Keeps an IPv6 socket from IPv4 (IPV6_V6ONLY).
pub fn only_v6(socket: impl AsFd) -> Sys<()> {
    sockopt::set_ipv6_v6only(socket, true).map_err(errno)
}

/// Has each datagram say to which of the own addresses it was sent (IP_PKTINFO, IPV6_RECVPKTINFO).
pub fn tell_own_address(socket: impl AsFd, family: IpAddr) -> Sys<()> {
    let (level, option) = match family {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let (number, on) = (socket.as_fd().as_raw_fd(), 1i32);
    let size = u32::try_from(size_of_val(&on)).unwrap_or(0);
    // SAFETY: setsockopt(2) reads one live 32-bit number, as the size says.
    let returned = unsafe { libc::setsockopt(number, level, option, (&raw const on).cast(), size) };
    super::check(returned.into()).map(drop)
}

/// Sends what is written without waiting for more (TCP_NODELAY); what a listener accepts inherits it.
pub fn no_delay(socket: impl AsFd) -> Sys<()> {
    sockopt::set_tcp_nodelay(socket, true).map_err(errno)
}

/// Has a socket take new bytes only while fewer than `bytes` of the last ones have not been sent (TCP_NOTSENT_LOWAT of
/// tcp(7)), however large its buffer has grown.
pub fn keep_little_unsent(socket: impl AsFd, bytes: u32) -> Sys<()> {
    let number = socket.as_fd().as_raw_fd();
    let size = u32::try_from(size_of_val(&bytes)).unwrap_or(0);
    let option = libc::TCP_NOTSENT_LOWAT;
    // SAFETY: setsockopt(2) reads one live 32-bit number, as the size says.
    let returned = unsafe { libc::setsockopt(number, libc::IPPROTO_TCP, option, (&raw const bytes).cast(), size) };
    super::check(returned.into()).map(drop)
}

/// Has the end of the socket be a reset (SO_LINGER of no time).
pub fn reset_on_close(socket: impl AsFd) -> Sys<()> {
    sockopt::set_socket_linger(socket, Some(std::time::Duration::ZERO)).map_err(errno)
}

/// Has calls that would wait answer EAGAIN instead.
pub fn do_not_wait(socket: impl AsFd) -> Sys<()> {
    rustix::io::ioctl_fionbio(socket, true).map_err(errno)
}

/// Returns what went wrong with a socket since the last time (SO_ERROR).
pub fn trouble(socket: impl AsFd) -> Sys<()> {
    sockopt::socket_error(socket).map_err(errno)?.map_err(errno)
}

/// Tells the other end that nothing more comes.
pub fn end_writing(socket: impl AsFd) -> Sys<()> {
    net::shutdown(socket, Shutdown::Write).map_err(errno)
}

/// Returns whether the other end has said that nothing more comes (POLLRDHUP of poll(2)), read or not.
#[must_use]
pub fn peer_ended(socket: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut entry = [PollFd::new(&socket, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled = poll(&mut entry, Some(&at_once));
    polled.is_ok() && entry[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

/// Reads what has come; 0 is the end of a stream.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Sys<usize> {
    net::recv(socket, buffer, RecvFlags::DONTWAIT).map(|(_, count)| count).map_err(errno)
}

/// Reads what has come and leaves it there; 0 is the end of a stream.
pub fn peek(socket: impl AsFd, buffer: &mut [u8]) -> Sys<usize> {
    net::recv(socket, buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK).map(|(_, count)| count).map_err(errno)
}

/// Writes `bytes`, or the first part of them; returns how many. EPIPE comes without SIGPIPE.
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Sys<usize> {
    net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(errno)
}

/// Sends a byte as the urgent data of TCP, which a gateway has to carry past.
#[cfg(test)]
pub fn send_urgent(socket: impl AsFd, byte: u8) -> Sys<usize> {
    net::send(socket, &[byte], SendFlags::OOB).map_err(errno)
}

/// Sends one datagram.
pub fn send_to(socket: impl AsFd, bytes: &[u8], to: SocketAddr) -> Sys<usize> {
    net::sendto(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &to).map_err(errno)
}

/// Sends one datagram from one of the own addresses, or from whichever the way begins with.
pub fn send_from(socket: impl AsFd, bytes: &[u8], (own, to): (Option<IpAddr>, SocketAddr)) -> Sys<usize> {
    let Some(own) = own else { return send_to(socket, bytes, to) };
    let mut ancillary = Own::default();
    ancillary.header.cmsg_len = match own {
        IpAddr::V4(own) => {
            (ancillary.header.cmsg_level, ancillary.header.cmsg_type) = (libc::SOL_IP, libc::IP_PKTINFO);
            ancillary.data[4..8].copy_from_slice(&own.octets());
            (size_of::<libc::cmsghdr>() + 12).try_into().unwrap_or(0)
        }
        IpAddr::V6(own) => {
            (ancillary.header.cmsg_level, ancillary.header.cmsg_type) = (libc::SOL_IPV6, libc::IPV6_PKTINFO);
            ancillary.data[..16].copy_from_slice(&own.octets());
            (size_of::<libc::cmsghdr>() + 20).try_into().unwrap_or(0)
        }
    };
    let name = net::SocketAddrAny::from(to);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain data, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.addr_len();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut ancillary).cast();
    header.msg_controllen = size_of_val(&ancillary).try_into().unwrap_or(0);
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: every pointer of the header is to a live buffer of the length beside it, which sendmsg(2) only reads.
    let returned = unsafe { libc::sendmsg(number, &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(returned).map_err(|_| Errno::last())
}

/// The ancillary data of [`send_from`]: struct in_pktinfo or struct in6_pktinfo behind its header, as cmsg(3) aligns it.
#[repr(C)]
struct Own {
    header: libc::cmsghdr,
    data: [u8; 24],
}

impl Default for Own {
    fn default() -> Self {
        // SAFETY: both members are plain data, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }
}

/// Takes one datagram with where it came from and where it was sent; EAGAIN if there is none.
pub fn receive_from(socket: impl AsFd, buffer: &mut [u8]) -> Sys<Arrived> {
    // As ancillary data is aligned.
    let mut ancillary = [0u64; 32];
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = u32::try_from(size_of::<libc::sockaddr_storage>()).unwrap_or(0);
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = ancillary.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&ancillary).try_into().unwrap_or(0);
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: every pointer of the header is to a live buffer of the length beside it.
    let returned = unsafe { libc::recvmsg(number, &raw mut header, libc::MSG_DONTWAIT) };
    let length = usize::try_from(returned).map_err(|_| Errno::last())?;
    // SAFETY: it began as zeros, which are a value of plain data, and the kernel wrote a part of it.
    let name = unsafe { name.assume_init() };
    let from = internet_address(bytes_of(&name)).ok_or(Errno::EAFNOSUPPORT)?;
    Ok(Arrived { length, from, to: destination(&header) })
}

/// Returns the destination that a message carries.
fn destination(header: &libc::msghdr) -> Option<SocketAddr> {
    // SAFETY: the header is as recvmsg(2) left it, its ancillary data live.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a whole header within the ancillary data.
        let head = unsafe { *at };
        // SAFETY: `at` is such a header.
        let data = unsafe { libc::CMSG_DATA(at) };
        let length = usize::try_from(head.cmsg_len).unwrap_or(0).saturating_sub(data.addr() - at.addr());
        // SAFETY: the kernel wrote `cmsg_len` bytes from the header on, so this many from the data on.
        let data = unsafe { std::slice::from_raw_parts(data, length) };
        match (head.cmsg_level, head.cmsg_type) {
            (libc::SOL_IP, libc::IP_ORIGDSTADDR) | (libc::SOL_IPV6, libc::IPV6_ORIGDSTADDR) => {
                return internet_address(data);
            }
            // struct in_pktinfo: the interface, the own address, the destination.
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                let octets: [u8; 4] = data.get(4..8)?.try_into().ok()?;
                return Some(SocketAddr::new(IpAddr::from(octets), 0));
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                let octets: [u8; 16] = data.get(..16)?.try_into().ok()?;
                return Some(SocketAddr::new(Ipv6Addr::from(octets).into(), 0));
            }
            _ => {}
        }
        // SAFETY: both pointers are into the same ancillary data.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    None
}

fn bytes_of(storage: &libc::sockaddr_storage) -> &[u8] {
    let first = std::ptr::from_ref(storage).cast::<u8>();
    // SAFETY: a struct of plain data that was zeroed as a whole, seen as its bytes.
    unsafe { std::slice::from_raw_parts(first, size_of::<libc::sockaddr_storage>()) }
}

/// Reads a sockaddr_in or a sockaddr_in6 (ip(7), ipv6(7)).
fn internet_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddrV4::new(octets.into(), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddrV6::new(octets.into(), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

    use super::{Carries, Errno};

    #[test]
    fn a_datagram_says_where_it_was_sent() {
        let receiver = UdpSocket::bind("127.0.0.2:0").unwrap();
        rustix::net::sockopt::set_ip_recvtos(&receiver, true).unwrap();
        let one: libc::c_int = 1;
        let size = u32::try_from(size_of_val(&one)).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&receiver);
        // SAFETY: setsockopt(2) reads one live int.
        let set =
            unsafe { libc::setsockopt(number, libc::SOL_IP, libc::IP_RECVORIGDSTADDR, (&raw const one).cast(), size) };
        assert_eq!(set, 0);
        let mut buffer = [0; 16];
        assert_eq!(super::receive_from(&receiver, &mut buffer), Err(Errno::EAGAIN));
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = receiver.local_addr().unwrap();
        sender.send_to(b"abc", to).unwrap();
        let came = super::receive_from(&receiver, &mut buffer).unwrap();
        assert_eq!((came.length, came.from, came.to), (3, sender.local_addr().unwrap(), Some(to)));
    }

    #[test]
    fn a_disconnected_socket_can_be_used_again() {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let listener = super::open(Carries::Stream, localhost).unwrap();
        super::bind(&listener, SocketAddr::new(localhost, 0)).unwrap();
        super::listen(&listener).unwrap();
        let to = super::own_address(&listener).unwrap();
        let socket = super::open(Carries::Stream, localhost).unwrap();
        for _ in 0..2 {
            assert!(matches!(super::connect(&socket, to), Ok(()) | Err(Errno::EINPROGRESS)));
            let accepted = super::accept(&listener).unwrap();
            assert_eq!(super::peer_address(&accepted), super::own_address(&socket));
            super::disconnect(&socket).unwrap();
            assert_eq!(super::trouble(&socket), Err(Errno::ECONNRESET));
            assert_eq!(super::trouble(&socket), Ok(()));
        }
    }
}
