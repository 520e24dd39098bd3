//! Carries pings: echo requests of the sandbox, sent again by a socket of the host. They have no port, so only a rule
//! about all ports allows them. No other ICMP is carried.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::gateway::address::meant;
use crate::gateway::flows::{FlowKind, Pair};
use crate::gateway::packet::Why;
use crate::gateway::rules::{Judgement, Read};
use crate::gateway::state::State;
use crate::gateway::{ConnectionKind, Verdict, What};
use crate::sys::Errno;
use crate::sys::socket::{self, Arrived, Carries};

/// Pings that are taken before others have their turn.
const AT_ONCE: usize = 16;

impl State {
    /// Takes the pings that came.
    pub fn take_echoes(&mut self, number: usize) {
        let mut buffer = std::mem::take(&mut self.datagram);
        for _ in 0..AT_ONCE {
            let Some(Some(socket)) = self.inlets.icmp.get(number) else { break };
            match socket::receive_from(socket, &mut buffer) {
                Ok(came) => {
                    if let Some((pair, message)) = request(&came, &buffer) {
                        self.ping(pair, &message);
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(_) => {}
            }
        }
        self.datagram = buffer;
    }

    fn ping(&mut self, pair: Pair, message: &[u8]) {
        // The kernel of the sandbox answers for its own loopback.
        if pair.to.ip().is_loopback() || self.continue_flow(pair, message) {
            return;
        }
        let known = self.pins.names(pair.to.ip(), self.now());
        let judgement = self.rules.judge_echo(pair.to.ip(), &known);
        let names = if let Judgement::ByName(names) = &judgement { names } else { &known };
        let what = What::of(pair.to, names, (ConnectionKind::Icmp, Verdict::Allowed));
        match judgement {
            Judgement::Refused(refusal) => {
                self.record.count(What { verdict: Verdict::Refused(refusal), ..what });
                self.tell_lost(pair, message, Why::Prohibited);
            }
            _ => self.begin_flow((pair, what, Read::Nothing), Carries::Echo, message),
        }
    }
}

/// Returns who pings whom, and the message.
fn request(came: &Arrived, buffer: &[u8]) -> Option<(Pair, Vec<u8>)> {
    let bytes = buffer.get(..came.length)?;
    let (to, message, kind) = match came.from.ip() {
        IpAddr::V4(_) => {
            // The header is there, and says where it was sent.
            let header = usize::from(bytes.first()? & 0x0f) * 4;
            let to: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            (IpAddr::from(Ipv4Addr::from(to)), bytes.get(header..)?, 8)
        }
        IpAddr::V6(_) => (came.to?.ip(), bytes, 128),
    };
    let [first, 0, _, _, high, low, _, _, ..] = message else { return None };
    if *first != kind {
        return None;
    }
    let identifier = u16::from_be_bytes([*high, *low]);
    let client = SocketAddr::new(came.from.ip(), identifier);
    let pair = Pair { client, to: SocketAddr::new(meant(to), 0), kind: FlowKind::Echo };
    Some((pair, message.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::request;
    use crate::sys::socket::Arrived;

    #[test]
    fn only_whole_echo_requests_are_pings() {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 8, 8, 8, 8];
        packet.extend_from_slice(&[8, 0, 0, 0, 0x12, 0x34, 0, 1]);
        let came = |length| Arrived { length, from: "127.0.0.1:0".parse().unwrap(), to: None };
        let (pair, message) = request(&came(28), &packet).unwrap();
        assert_eq!((pair.client.port(), pair.to.to_string()), (0x1234, "8.8.8.8:0".to_owned()));
        assert_eq!(message.len(), 8);
        for length in 0..28 {
            assert!(request(&came(length), &packet).is_none(), "{length}");
        }
        packet[20] = 0;
        assert!(request(&came(28), &packet).is_none(), "a reply");
        packet[0] = 0x4f;
        assert!(request(&came(28), &packet).is_none(), "a header that is longer than the packet");
    }
}
