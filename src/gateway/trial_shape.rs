//! The gateway at work where the network is made slow and lossy: needs root.

use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::Policy;
use crate::gateway::trial::{Inside, begin, bytes, only, policy, server};
use crate::spec::{Bandwidth, Loss};

fn lossy(per_million: u32) -> Policy {
    let mut policy = policy(&["127.0.0.2"], &[]);
    policy.shaping.loss = Some(Loss(per_million));
    policy
}

#[test]
fn bandwidth_and_latency_are_kept() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let mut policy = policy(&["127.0.0.2"], &[]);
    policy.shaping.bandwidth = Some(Bandwidth(40_000_000));
    policy.shaping.latency = Some(Duration::from_millis(30));
    let gateway = begin(&inside, &[to.port()], policy);
    let said = bytes(5, 10_000_000);
    let copy = said.clone();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        stream.write_all(&first).unwrap();
        stream.write_all(&copy).unwrap();
    });
    let began = Instant::now();
    let mut client = inside.connect(to);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let first = began.elapsed().as_millis();
    // The handshake and the question.
    assert!((120..180).contains(&first), "{first} ms");
    let began = Instant::now();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    let took = began.elapsed().as_millis();
    assert!((1900..2100).contains(&took), "{took} ms for 2 s");
    assert!(heard == said);
    server.join().unwrap();
    assert_eq!(only(&gateway.finish()).2.received, 10_000_001);
}

#[test]
fn a_lossy_stream_loses_time_and_no_bytes() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], lossy(50_000));
    let server = thread::spawn(move || listener.accept().unwrap().0.write_all(&bytes(6, 2_000_000)).unwrap());
    let began = Instant::now();
    let mut heard = Vec::new();
    inside.connect(to).read_to_end(&mut heard).unwrap();
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
    assert!(heard == bytes(6, 2_000_000));
    server.join().unwrap();
    drop(gateway.finish());
    assert_eq!(to.ip(), IpAddr::from([127, 0, 0, 2]));
}

#[test]
fn over_a_dead_link_nothing_comes_and_nobody_is_told() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    listener.set_nonblocking(true).unwrap();
    let gateway = begin(&inside, &[to.port()], lossy(1_000_000));
    let mut client = inside.connect(to);
    client.write_all(b"x").unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "neither an answer nor an end");
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "its first packet is lost too");
    assert_eq!(only(&gateway.finish()).2.sent, 0);
}

/// Returns how many bytes arrive in the two seconds after the first, before which the handshake may be lost.
fn arrives(inside: &Inside, per_million: u32) -> usize {
    let (listener, to) = server();
    let gateway = begin(inside, &[to.port()], lossy(per_million));
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        while stream.write_all(&[7; 64 << 10]).is_ok() {}
    });
    let mut client = inside.connect(to);
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    client.read_exact(&mut [0]).unwrap();
    let (began, mut count, mut buffer) = (Instant::now(), 0, vec![0; 64 << 10]);
    while let Some(left) = Duration::from_secs(2).checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        client.set_read_timeout(Some(left)).unwrap();
        count += client.read(&mut buffer).unwrap_or(0);
    }
    drop(client);
    drop(gateway.finish());
    server.join().unwrap();
    count
}

#[test]
fn the_more_is_lost_the_less_arrives() {
    let Some(inside) = Inside::new() else { return };
    let [little, much] = [50_000, 500_000].map(|per_million| arrives(&inside, per_million));
    assert!(much > 0 && little > 3 * much, "{little} {much}");
}

#[test]
fn a_word_that_waits_for_its_answer_is_carried() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let mut policy = policy(&["127.0.0.2"], &["evil.example"]);
    policy.shaping.latency = Some(Duration::from_millis(50));
    let gateway = begin(&inside, &[to.port()], policy);
    let server = thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        for expected in [&b"HELLO"[..], b"MORE\n"] {
            let mut word = [0; 5];
            stream.read_exact(&mut word).unwrap();
            assert_eq!(word, expected);
            stream.write_all(b"OK").unwrap();
        }
    });
    let mut client = inside.connect(to);
    let began = Instant::now();
    for word in [&b"HELLO"[..], b"MORE\n"] {
        client.write_all(word).unwrap();
        client.read_exact(&mut [0; 2]).unwrap();
    }
    // A handshake and two questions with their answers.
    assert!((290..3000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    drop(client);
    server.join().unwrap();
    assert_eq!(only(&gateway.finish()).2.sent, 10);
}
