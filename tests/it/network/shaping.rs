//! `bandwidth`, `latency` and `loss`, by the clock.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::world::{SERVER, World, serve};
use crate::harness::{Sbx, Who};

fn millis(ran: &crate::harness::Ran) -> Vec<f64> {
    ran.ok().split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[test]
fn bandwidth_is_kept_within_a_twentieth_in_both_directions() {
    let Some(_world) = World::new(&["python3"]) else { return };
    serve(&format!("{SERVER}:9100"), |mut connection| {
        let mut word = [0; 1];
        connection.read_exact(&mut word).unwrap();
        if word == *b"r" {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(20) && connection.write_all(&[0; 16384]).is_ok() {}
        } else {
            std::io::copy(&mut connection, &mut std::io::sink()).ok();
        }
    });
    // The first half second fills buffers.
    let line = format!(
        "python3 -c \"
import socket, time
s = socket.create_connection(('{SERVER}', 9100)); s.send(b'r')
end = time.monotonic() + 0.5
while time.monotonic() < end: s.recv(65536)
total = 0; begin = time.monotonic()
while time.monotonic() < begin + 5: total += len(s.recv(65536))
print(total * 8 / (time.monotonic() - begin) / 1e6); s.close()
s = socket.create_connection(('{SERVER}', 9100)); s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384); s.send(b's')
end = time.monotonic() + 2
while time.monotonic() < end: s.send(b'x' * 8192)
total = 0; begin = time.monotonic()
while time.monotonic() < begin + 5: total += s.send(b'x' * 8192)
print(total * 8 / (time.monotonic() - begin) / 1e6)\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}\"; bandwidth \"20mbit\" }}");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    for rate in millis(&ran) {
        assert!((19.0..=21.0).contains(&rate), "{ran:?}");
    }
}

#[test]
fn latency_is_added_to_each_direction() {
    let Some(_world) = World::new(&["python3"]) else { return };
    serve(&format!("{SERVER}:9101"), super::world::echo);
    let line = format!(
        "python3 -c \"
import socket, time
s = socket.create_connection(('{SERVER}', 9101)); s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for _ in range(10):
    begin = time.monotonic(); s.send(b'x'); s.recv(1); print((time.monotonic() - begin) * 1000)\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}\"; latency \"50ms\" }}");
    let ran = Sbx::new(Who::Root).spec(&spec).sh(&line).run();
    let mut times = millis(&ran);
    times.sort_by(f64::total_cmp);
    assert!(times[0] >= 99.0 && times[5] <= 115.0, "{ran:?}");
}

#[test]
fn loss_takes_datagrams() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let socket = std::net::UdpSocket::bind(format!("{SERVER}:9102")).unwrap();
    std::thread::spawn(move || {
        let mut bytes = [0; 99];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            socket.send_to(&bytes[..count], from).unwrap();
        }
    });
    let line = format!(
        "python3 -c \"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('{SERVER}', 9102)); s.settimeout(0.3)
got = 0
for n in range(20):
    for m in range(50): s.send(b'%d' % m)
    try:
        while True: s.recv(99); got += 1
    except OSError: pass
print(got)\""
    );
    let spec = format!("network egress {{ allow \"{SERVER}\"; loss \"20%\" }}");
    // A percent sign means something else to `spec`.
    let ran = Sbx::new(Who::Root).file("spec.kdl", spec.as_bytes()).sh(&line).run();
    // 0.8 × 0.8 of a thousand, within five standard deviations.
    assert!((565.0..=715.0).contains(&millis(&ran)[0]), "{ran:?}");
}
