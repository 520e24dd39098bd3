//! Ports of the host that lead into a sandbox: taken before anything runs, so that one that is in use is an error of
//! the spec. It carries nothing; that is done as for every other connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use crate::error::{Error, Kind, Result};
use crate::gateway::{Bound, Factory};
use crate::spec::{Protocol, Publish};
use crate::sys::socket::{self, Carries};
use crate::sys::{Errno, Sys};

/// Takes a port of the host.
///
/// # Errors
/// What the kernel says: the port is in use, the address is not the host's, the caller may not have the port.
pub fn bind(publish: Publish) -> Result<Bound> {
    let outside = publish.outside;
    let refused = |errno: Errno| {
        let error = Error::new(Kind::Host, format!("cannot publish on `{outside}`")).with_errno(errno as i32);
        match errno {
            Errno::EADDRINUSE => error.with_hint("another program has this port: choose another, or end that program"),
            Errno::EADDRNOTAVAIL => {
                error.with_hint("the host has no such address: write `127.0.0.1` or one of its own")
            }
            Errno::EACCES => error.with_hint("ports below 1024 are root's: choose another"),
            _ => error,
        }
    };
    let socket = open(publish.protocol, outside).map_err(refused)?;
    Ok(Bound { publish, socket })
}

fn open(protocol: Protocol, outside: SocketAddr) -> Sys<OwnedFd> {
    let carries = match protocol {
        Protocol::Tcp => Carries::Stream,
        Protocol::Udp => Carries::Datagrams,
    };
    let socket = socket::open(carries, outside.ip())?;
    if outside.is_ipv6() {
        socket::only_v6(&socket)?;
    }
    match protocol {
        Protocol::Udp => {
            socket::tell_own_address(&socket, outside.ip())?;
            socket::bind(&socket, outside)?;
        }
        Protocol::Tcp => {
            socket::reuse_address(&socket)?;
            socket::no_delay(&socket)?;
            socket::bind(&socket, outside)?;
            socket::listen(&socket)?;
        }
    }
    Ok(socket)
}

impl Factory {
    /// Returns a new TCP socket (IPv4) of the namespace that the pair is of: what the listener accepts is of its
    /// namespace, and a socket that was disconnected is as good as new. Programs inside may have connected too; they
    /// are turned away.
    ///
    /// # Errors
    /// What the kernel says; EAGAIN if the connection is not there yet.
    pub fn make(&self) -> Sys<OwnedFd> {
        let to = socket::own_address(&self.listener)?;
        socket::disconnect(&self.spare).ok();
        socket::begin_connect(&self.spare, to)?;
        let own = socket::own_address(&self.spare)?;
        let made = loop {
            let accepted = socket::accept(&self.listener)?;
            if socket::peer_address(&accepted) == Ok(own) {
                break accepted;
            }
        };
        socket::disconnect(&made)?;
        socket::disconnect(&self.spare)?;
        // What they are told of the reset that each gave the other.
        socket::trouble(&made).ok();
        socket::trouble(&self.spare).ok();
        socket::no_delay(&made)?;
        Ok(made)
    }
}

/// Returns where a published connection goes inside.
#[must_use]
pub fn inside(publish: &Publish) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), publish.inside)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use super::bind;
    use crate::gateway::Factory;
    use crate::spec::{Protocol, Publish};
    use crate::sys::Errno;
    use crate::sys::socket::{self, Carries};

    #[test]
    fn a_port_in_use_is_an_error_with_a_hint() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let publish = Publish { outside: taken.local_addr().unwrap(), inside: 80, protocol: Protocol::Tcp };
        let error = bind(publish).unwrap_err();
        assert_eq!(error.errno, Some(Errno::EADDRINUSE as i32));
        assert!(error.hint.unwrap().contains("choose another"));
        let foreign = Publish { outside: "192.0.2.1:0".parse().unwrap(), ..publish };
        assert!(bind(foreign).unwrap_err().hint.unwrap().contains("127.0.0.1"));
    }

    #[test]
    fn a_pair_makes_as_many_sockets_as_are_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let stranger = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let localhost: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let factory =
            Factory { listener: listener.into(), spare: socket::open(Carries::Stream, localhost.ip()).unwrap() };
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let made: Vec<_> = (0..100).map(|_| factory.make().unwrap()).collect();
        for socket in made {
            socket::connect(&socket, server.local_addr().unwrap()).ok();
            let (mut accepted, _) = server.accept().unwrap();
            accepted.write_all(b"x").unwrap();
            let mut stream = TcpStream::from(socket);
            stream.set_nonblocking(false).unwrap();
            stream.read_exact(&mut [0]).unwrap();
        }
        drop(stranger);
    }
}
