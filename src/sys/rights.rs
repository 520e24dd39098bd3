//! Descriptors handed from one process to another over a connection (SCM_RIGHTS of unix(7)).
#![expect(unsafe_code, reason = "system calls")]

use super::{Errno, Fd, Sys, check};

/// How many descriptors go with one message at most.
pub const MOST: usize = 16;

/// A message of ancillary data with descriptors (cmsg(3), unix(7)).
#[repr(C)]
struct Ancillary {
    header: libc::cmsghdr,
    descriptors: [libc::c_int; MOST],
}

/// Sends `bytes` and copies of the first [`MOST`] of `descriptors` over a connection; child-safe.
pub fn send(connection: Fd, bytes: &mut [u8], descriptors: &[Fd]) -> Sys<()> {
    let mut ancillary = Ancillary::with_room_for(descriptors.len().min(MOST));
    for (place, fd) in ancillary.descriptors.iter_mut().zip(descriptors) {
        *place = fd.0;
    }
    loop {
        match exchange(connection, bytes, &mut ancillary, libc::SYS_sendmsg) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Receives what is there: how many bytes, and the descriptors that came with them, in their order; close-on-exec.
/// What follows descriptors is never part of the same message, what precedes them can be. 0 bytes are the end.
/// EAGAIN if there is nothing yet.
pub fn receive(connection: Fd, bytes: &mut [u8]) -> Sys<(usize, [Option<Fd>; MOST])> {
    let mut ancillary = Ancillary::with_room_for(MOST);
    let count = exchange(connection, bytes, &mut ancillary, libc::SYS_recvmsg)?;
    Ok((count, ancillary.descriptors.map(|fd| (fd >= 0).then_some(Fd(fd)))))
}

impl Ancillary {
    fn with_room_for(count: usize) -> Self {
        // SAFETY: cmsghdr is plain integers, for which zero is a value.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_level = libc::SOL_SOCKET;
        header.cmsg_type = libc::SCM_RIGHTS;
        let length = size_of::<libc::cmsghdr>() + count * size_of::<libc::c_int>();
        // A small number; the libcs differ in the type of the member.
        header.cmsg_len = length.try_into().unwrap_or(0);
        Self { header, descriptors: [-1; MOST] }
    }
}

fn exchange(connection: Fd, bytes: &mut [u8], ancillary: &mut Ancillary, call: libc::c_long) -> Sys<usize> {
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut *ancillary).cast();
    // What is sent ends where its descriptors do: the kernel would read another header behind them.
    let room = match call {
        libc::SYS_sendmsg => usize::try_from(ancillary.header.cmsg_len).unwrap_or(0).next_multiple_of(8),
        _ => size_of::<Ancillary>(),
    };
    message.msg_controllen = room.try_into().unwrap_or(0);
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: sendmsg(2) and recvmsg(2) take a live msghdr whose one iovec covers `bytes`, exclusively borrowed,
    // and whose control part is one `Ancillary`, which has the layout of cmsg(3) on 64-bit machines: a header
    // of sixteen bytes, then the descriptors.
    let returned = unsafe { libc::syscall(call, connection.0, &raw mut message, flags) };
    check(returned).map(|count| usize::try_from(count).unwrap_or(0))
}

const _: () = assert!(size_of::<libc::cmsghdr>() == 16, "the descriptors follow the header at sixteen bytes");

#[cfg(test)]
mod tests {
    use super::{MOST, receive, send};
    use crate::sys::{Errno, fd};

    #[test]
    fn descriptors_survive_the_way() {
        let (ours, theirs) = fd::connection().unwrap();
        assert_eq!(receive(ours, &mut [0; 8]).map(|_| ()), Err(Errno::EAGAIN));
        let (reader, writer) = fd::pipe().unwrap();
        send(theirs, &mut [7; 8], &[reader, writer]).unwrap();
        fd::write(theirs, b"after").unwrap();
        let mut bytes = [0u8; 64];
        // What follows the descriptors is never part of the same message.
        let (count, received) = receive(ours, &mut bytes).unwrap();
        assert_eq!((count, &bytes[..8]), (8, &[7; 8][..]));
        let [Some(read), Some(write), None, ..] = received else { panic!("no descriptors") };
        assert!(read != reader && write != writer);
        fd::write(write, b"x").unwrap();
        assert_eq!(fd::read(read, &mut bytes), Ok(1));
        assert_eq!(receive(ours, &mut bytes).unwrap(), (5, [None; MOST]));
        fd::close(theirs).unwrap();
        assert_eq!(receive(ours, &mut bytes).unwrap(), (0, [None; MOST]));
    }

    #[test]
    fn one_descriptor_is_one() {
        let (ours, theirs) = fd::connection().unwrap();
        fd::write(theirs, b"before").unwrap();
        send(theirs, &mut [7; 8], &[theirs]).unwrap();
        let mut bytes = [0u8; 64];
        let (mut count, mut received) = receive(ours, &mut bytes).unwrap();
        if received == [None; MOST] {
            assert_eq!(count, 6);
            (count, received) = receive(ours, &mut bytes).unwrap();
            count += 6;
        }
        assert_eq!(count, 14);
        assert!(matches!(received, [Some(_), None, ..]), "{received:?}");
    }
}
