//! The sockets of the sandbox at which everything arrives that it sends out. Child side: opened while there are
//! capabilities, handed to sbx, and closed here with all else before the command starts.

use crate::plan::network::{MARK, PORT};
use crate::plan::way::{Doors, Published};
use crate::run::verdict;
use crate::sys::net::Family;
use crate::sys::{Errno, Fd, Sys, net, rights};

/// How many connections may wait to be taken: what the kernel's own bound is by default (`somaxconn`).
const BACKLOG: i32 = 4096;

const ON: [u8; 4] = 1i32.to_ne_bytes();

/// Opens what is wanted and hands it over: for each family two sockets a door, those of [`besides`], then the two of
/// [`factory`].
///
/// # Errors
/// The errno of the first call that failed.
pub fn open(families: &[Family], (doors, published): (&Doors, Published), status: Fd) -> Sys<()> {
    let mut hand = Hand { sockets: [Fd(-1); rights::MOST], count: 0, status };
    for family in families {
        let words = Words::of(*family);
        match doors {
            Doors::One => led(&words)?.into_iter().try_for_each(|socket| hand.add(socket))?,
            Doors::Each(ports) => {
                for port in ports {
                    door(&words, *port)?.into_iter().try_for_each(|socket| hand.add(socket))?;
                }
            }
        }
        besides(&words)?.into_iter().try_for_each(|socket| hand.add(socket))?;
    }
    if published == Published::Tcp {
        factory()?.into_iter().try_for_each(|socket| hand.add(socket))?;
    }
    hand.over()
}

/// Returns how many sockets [`open`] hands over.
#[must_use]
pub fn count(families: usize, doors: &Doors, published: Published) -> usize {
    let inside = match published {
        Published::Nothing => 0,
        Published::Tcp => 2,
    };
    families * (2 * doors.count() + 2) + inside
}

/// Sockets that are handed over as many at once as a message takes.
struct Hand {
    sockets: [Fd; rights::MOST],
    count: usize,
    status: Fd,
}

impl Hand {
    fn add(&mut self, socket: Fd) -> Sys<()> {
        if self.count == self.sockets.len() {
            self.over()?;
        }
        *self.sockets.get_mut(self.count).ok_or(Errno::E2BIG)? = socket;
        self.count += 1;
        Ok(())
    }

    fn over(&mut self) -> Sys<()> {
        let all = self.sockets.get(..self.count).unwrap_or_default();
        self.count = 0;
        rights::send(self.status, &mut { verdict::INLETS }, all)
    }
}

/// One for connections and one for datagrams, to which everything is led.
fn led(words: &Words) -> Sys<[Fd; 2]> {
    let connections = transparent(words, libc::SOCK_STREAM)?;
    net::listen(connections, BACKLOG)?;
    let datagrams = transparent(words, libc::SOCK_DGRAM)?;
    net::set_option(datagrams, words.destination, &ON)?;
    Ok([connections, datagrams])
}

/// The same two for one port of every address.
fn door(words: &Words, port: u16) -> Sys<[Fd; 2]> {
    let open = |kind| {
        let socket = only_own(words, kind)?;
        net::bind_any(socket, words.family, port)?;
        Ok(socket)
    };
    let connections = open(libc::SOCK_STREAM)?;
    net::listen(connections, BACKLOG)?;
    let datagrams = open(libc::SOCK_DGRAM)?;
    net::set_option(datagrams, words.destination, &ON)?;
    Ok([connections, datagrams])
}

/// One to answer datagrams with, and one for pings.
fn besides(words: &Words) -> Sys<[Fd; 2]> {
    let answers = own(net::socket(words.family.number(), libc::SOCK_RAW, libc::IPPROTO_RAW)?)?;
    let pings = of_this_one(net::socket(words.family.number(), libc::SOCK_RAW, words.echo)?)?;
    net::set_option(pings, words.filter.0, words.filter.1)?;
    if let Family::V6 = words.family {
        net::set_option(pings, (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), &ON)?;
    }
    Ok([answers, pings])
}

/// Takes what is addressed to others (IP_TRANSPARENT of ip(7)).
fn transparent(words: &Words, kind: i32) -> Sys<Fd> {
    let socket = only_own(words, kind)?;
    net::set_option(socket, words.transparent, &ON)?;
    net::bind_any(socket, words.family, PORT)?;
    Ok(socket)
}

/// A socket of one family that leaves the other alone.
fn only_own(words: &Words, kind: i32) -> Sys<Fd> {
    let socket = of_this_one(net::socket(words.family.number(), kind, 0)?)?;
    if let Family::V6 = words.family {
        net::set_option(socket, (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), &ON)?;
    }
    Ok(socket)
}

/// Takes only what the sandbox itself sends, which comes by `lo`: who is beside it on a bridge has a gateway of its own.
fn of_this_one(socket: Fd) -> Sys<Fd> {
    net::set_option(socket, (libc::SOL_SOCKET, libc::SO_BINDTODEVICE), b"lo\0").map(|()| socket)
}

/// Has what the socket sends stay in the sandbox, also where a rule leads the like of it to the host.
fn own(socket: Fd) -> Sys<Fd> {
    net::set_option(socket, (libc::SOL_SOCKET, libc::SO_MARK), &MARK.to_ne_bytes()).map(|()| socket)
}

/// A socket that listens where only the sandbox can reach it, and one that connects to it: what is accepted there
/// is a socket of the sandbox that sbx can use for something else, and so on for ever.
fn factory() -> Sys<[Fd; 2]> {
    let listener = own(net::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?)?;
    net::bind_loopback(listener)?;
    net::listen(listener, 16)?;
    Ok([listener, own(net::socket(libc::AF_INET, libc::SOCK_STREAM, 0)?)?])
}

/// What differs between the families.
struct Words {
    family: Family,
    transparent: (i32, i32),
    /// The option that tells where a datagram was sent to.
    destination: (i32, i32),
    echo: i32,
    /// The option by which only requests come in, and its value.
    filter: ((i32, i32), &'static [u8]),
}

impl Words {
    const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self {
                family,
                transparent: (libc::IPPROTO_IP, libc::IP_TRANSPARENT),
                destination: (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR),
                echo: libc::IPPROTO_ICMP,
                filter: ((libc::SOL_RAW, ICMP_FILTER), &ECHO),
            },
            Family::V6 => Self {
                family,
                transparent: (libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT),
                destination: (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR),
                echo: libc::IPPROTO_ICMPV6,
                filter: ((libc::IPPROTO_ICMPV6, ICMP6_FILTER), &ECHO_6),
            },
        }
    }
}

const ICMP_FILTER: i32 = 1;
const ICMP6_FILTER: i32 = 1;
/// A bit for each type that does not come in (raw(7)); an echo request is type 8.
const ECHO: [u8; 4] = (!(1u32 << 8)).to_ne_bytes();
/// The same of 256 types; an echo request is type 128, the first bit of the fifth word.
const ECHO_6: [u8; 32] = {
    let mut bits = [0xff; 32];
    let word = (!1u32).to_ne_bytes();
    bits[16] = word[0];
    bits[17] = word[1];
    bits[18] = word[2];
    bits[19] = word[3];
    bits
};
