//! Takes the ports of the host that lead into a sandbox.

use std::net::{TcpListener, UdpSocket};

use crate::error::{Error, Kind, Result};
use crate::gateway::{Bound, Publish, Transport};

/// Takes one port of the host.
///
/// # Errors
/// A port that cannot be had.
pub fn bind(publish: Publish) -> Result<Bound> {
    let socket = match publish.transport {
        Transport::Tcp => TcpListener::bind(publish.outside).map(Into::into),
        Transport::Udp => UdpSocket::bind(publish.outside).map(Into::into),
    };
    let socket = socket.map_err(|source| {
        Error::io(format_args!("cannot publish at `{}`", publish.outside), &source).with_kind(Kind::Host)
    })?;
    Ok(Bound { publish, socket })
}
