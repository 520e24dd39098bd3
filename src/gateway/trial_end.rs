//! What a sandbox sent before it ended, and how the gateway lets it out: needs root.

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use crate::gateway::trial::{Inside, begin, bytes, only, policy, server};
use crate::gateway::{Connection, Inlets, Policy, start};
use crate::sys::{Fd, net};

#[test]
fn what_was_sent_before_the_end_still_goes_out() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &[]));
    let said = bytes(4, 300_000);
    let mut client = inside.connect(to);
    client.write_all(&said).unwrap();
    drop(client);
    let server = thread::spawn(move || {
        let mut heard = Vec::new();
        thread::sleep(Duration::from_millis(100));
        listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        heard
    });
    let ledger = gateway.finish();
    assert!(server.join().unwrap() == said);
    assert_eq!(only(&ledger).2.sent, 300_000);
}

#[test]
fn connections_that_still_wait_at_the_end_are_taken() {
    const MANY: u32 = 500;
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let inlet = inside.listener(to.port());
    for _ in 0..MANY {
        inside.connect(to).write_all(&[7; 100]).unwrap();
    }
    let inlets = Inlets { tcp: vec![inlet], ..Inlets::default() };
    let ledger = start(policy(&["127.0.0.2"], &[]), inlets, None).unwrap().finish();
    assert_eq!(only(&ledger).2.sent, 100 * u64::from(MANY));
    for number in 0..MANY {
        let mut heard = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, [7; 100], "{number}");
    }
}

/// Sends so many datagrams from a sandbox that ends at once; returns how many arrive, and how many are counted.
fn datagrams(count: u32, latency: Option<Duration>) -> Option<(usize, u64)> {
    let inside = Inside::new()?;
    let server = UdpSocket::bind("127.0.0.2:0").unwrap();
    server.set_nonblocking(true).unwrap();
    let to = server.local_addr().unwrap();
    let inlet = inside.run(move || {
        let inlet = UdpSocket::bind(SocketAddr::new([127, 0, 0, 2].into(), to.port())).unwrap();
        let option = (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR);
        net::set_option(Fd(inlet.as_raw_fd()), option, &1i32.to_ne_bytes()).unwrap();
        let program = UdpSocket::bind("127.0.0.1:0").unwrap();
        (0..count).for_each(|_| assert_eq!(program.send_to(b"x", to).unwrap(), 1));
        inlet
    });
    let mut policy: Policy = policy(&["127.0.0.2"], &[]);
    policy.shaping.latency = latency;
    let ledger = start(policy, Inlets { udp: vec![inlet.into()], ..Inlets::default() }, None).unwrap().finish();
    let [Connection { traffic, .. }] = &ledger.connections[..] else { panic!("{ledger:?}") };
    Some(((0..=count).take_while(|_| server.recv(&mut [0; 9]).is_ok()).count(), traffic.sent))
}

#[test]
fn datagrams_that_still_wait_at_the_end_are_taken() {
    let Some(found) = datagrams(200, None) else { return };
    assert_eq!(found, (200, 200));
}

#[test]
fn datagrams_that_are_under_way_at_the_end_arrive() {
    for latency in [50, 700] {
        let Some(found) = datagrams(20, Some(Duration::from_millis(latency))) else { return };
        assert_eq!(found, (20, 20), "{latency} ms");
    }
}
