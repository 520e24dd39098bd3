//! What one end does to the other: who does not read holds back who sends, at either end, for a bounded price; and
//! when the sandbox is gone nothing goes on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::world::{SERVER, World, connections, echo, serve};
use crate::harness::{Running, Sbx, Who};

/// How many of the one kind there are at once.
const MANY: usize = 200;
/// What sbx may take for them, in KiB. Were each to be given what a stream may hold, it would be some hundred MiB.
const PRICE: u64 = 24 << 10;

/// What sbx has taken of the memory at most, in KiB.
fn most_memory(sbx: &Running<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sbx.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_else(|| panic!("{status}"));
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A server at `port`: each connection goes to `work`, on the thread that accepts.
fn listen(port: u16, mut work: impl FnMut(TcpStream) + Send + 'static) {
    let listener = TcpListener::bind(format!("{SERVER}:{port}")).unwrap();
    // The library's own queue is short.
    sbx::sys::net::listen(sbx::sys::entry::number(&listener), 4096).unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(&mut work));
}

/// Waits until a number stays as it is for half a second; returns it.
fn settled(number: &AtomicU64) -> u64 {
    let begin = Instant::now();
    let mut last = number.load(Ordering::SeqCst);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = number.load(Ordering::SeqCst);
        if now == last && now > 0 {
            return now;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "it goes on: {now}");
        last = now;
    }
}

/// Clients in the sandbox: `MANY` which do not read at port 9200, as many that send at port 9201 to who does not
/// read, and one which has its bytes back from port 9202 meanwhile.
fn clients() -> String {
    format!(
        "ulimit -n 4096; exec python3 -u -c \"
import socket, time, hashlib, threading, os
idle = [socket.create_connection(('{SERVER}', 9200), 20) for _ in range({MANY})]
full = []
for _ in range({MANY}):
    s = socket.create_connection(('{SERVER}', 9201), 20); s.setblocking(False); full.append(s)
sent = 0; quiet = time.monotonic()
while time.monotonic() < quiet + 1:
    for s in full:
        try: sent += s.send(b'x' * 65536); quiet = time.monotonic()
        except BlockingIOError: pass
    time.sleep(0.01)
print('sent', sent)
data = os.urandom(4000000); s = socket.create_connection(('{SERVER}', 9202), 20); got = bytearray()
threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR))).start()
while piece := s.recv(1 << 16): got += piece
print('echoed', bytes(got) == data)
print('held'); time.sleep(60)\""
    )
}

#[test]
fn who_does_not_read_holds_back_who_sends_and_memory_stays() {
    let Some(_world) = World::new(&["python3"]) else { return };
    sbx::sys::entry::raise_open_files();
    let written = Arc::new(AtomicU64::new(0));
    let count = written.clone();
    listen(9200, move |mut connection| {
        let count = count.clone();
        let send = move || {
            while let Ok(written @ 1..) = connection.write(&[7; 16 << 10]) {
                count.fetch_add(written as u64, Ordering::SeqCst);
            }
        };
        std::thread::Builder::new().stack_size(128 << 10).spawn(send).unwrap();
    });
    // Kept, and never looked at.
    let deaf = Arc::new(Mutex::new(Vec::new()));
    let kept = deaf.clone();
    listen(9201, move |connection| kept.lock().unwrap().push(connection));
    serve(&format!("{SERVER}:9202"), echo);
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&clients());
        let running = sbx.start();
        running.await_output("held");
        // What the servers are rid of stands in sockets, for the most part.
        let written = settled(&written);
        let memory = most_memory(&running);
        running.signal(Signal::SIGTERM);
        let ran = running.wait();
        assert!(ran.stdout.contains("echoed True"), "{ran:?}");
        assert_eq!(deaf.lock().unwrap().drain(..).count(), MANY);
        assert!(memory < PRICE, "{memory} KiB for {MANY} streams that stand in each direction ({written} bytes)");
        assert_eq!(connections(&ran).len(), 3);
    }
}

#[test]
fn two_thousand_connections_have_a_bounded_price() {
    let Some(_world) = World::new(&["python3"]) else { return };
    sbx::sys::entry::raise_open_files();
    // Each has something on its way to who does not read.
    let kept = Arc::new(Mutex::new(Vec::new()));
    let server = kept.clone();
    listen(9203, move |mut connection| {
        connection.set_nonblocking(true).unwrap();
        connection.write_all(&[7; 16 << 10]).unwrap();
        server.lock().unwrap().push(connection);
    });
    let line = format!(
        "ulimit -n 4096; exec python3 -u -c \"
import socket, time
all = [socket.create_connection(('{SERVER}', 9203), 20) for _ in range(2000)]
for s in all: s.setblocking(False); s.send(b'x' * 16384)
print('held', sum(len(s.recv(1)) for s in all if not s.setblocking(True))); time.sleep(60)\""
    );
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line);
        let running = sbx.start();
        running.await_output("held 2000");
        let memory = most_memory(&running);
        running.signal(Signal::SIGTERM);
        let ran = running.wait();
        assert_eq!(kept.lock().unwrap().drain(..).count(), 2000);
        assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:9203 x2000")]);
        assert!(memory < PRICE, "{memory} KiB for 2000 connections");
    }
}

#[test]
fn a_server_that_ends_first_still_hears_the_client() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let (sender, receiver) = mpsc::channel();
    listen(9204, move |mut connection| {
        connection.write_all(b"that is all").unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        connection.read_to_end(&mut heard).unwrap();
        sender.send(heard.len()).unwrap();
    });
    let line = format!(
        "python3 -c \"
import socket, time
s = socket.create_connection(('{SERVER}', 9204), 5); print(s.recv(99), s.recv(99))
for _ in range(10): s.sendall(b'x' * 100000); time.sleep(0.02)\""
    );
    for who in Who::all() {
        let ran = Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run();
        assert_eq!(ran.ok(), "b'that is all' b''", "{ran:?}");
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(1_000_000));
    }
}

/// A server at `port` that greets, and tells how each connection ends: `None` is a reset.
fn endings(port: u16) -> mpsc::Receiver<Option<usize>> {
    let (sender, receiver) = mpsc::channel();
    listen(port, move |mut connection| {
        connection.write_all(b"!").unwrap();
        let mut heard = 0;
        let end = loop {
            match connection.read(&mut [0; 4096]) {
                Ok(0) => break Some(heard),
                Ok(count) => heard += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break None,
            }
        };
        sender.send(end).ok();
    });
    receiver
}

/// Says that it has a connection to port 9205 and published its own, and stays.
fn holder() -> String {
    format!(
        "exec python3 -u -c \"
import socket, time
l = socket.create_server(('127.0.0.1', 8080)); s = socket.create_connection(('{SERVER}', 9205), 5); s.send(b'x'); s.recv(1)
print('held'); time.sleep(60)\""
    )
}

fn holder_spec() -> String {
    format!("network egress {{ allow \"{SERVER}\"; publish 8090 8080 }}")
}

#[test]
fn a_killed_sbx_takes_the_gateway_with_it() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let ended = endings(9205);
    for who in Who::all() {
        let sbx = Sbx::new(who).spec(&holder_spec()).sh(&holder());
        let running = sbx.start();
        running.await_output("held");
        assert!(TcpStream::connect("127.0.0.1:8090").is_ok(), "not published");
        running.murder();
        // The kernel closes what a killed process had; a reset would do as well.
        let end = ended.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(matches!(end, Some(1) | None), "{end:?}");
        assert!(TcpStream::connect("127.0.0.1:8090").is_err(), "still published");
    }
}

#[test]
fn a_killed_command_ends_the_gateway_too() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let ended = endings(9205);
    for who in Who::all() {
        let begin = Instant::now();
        let line = format!("({}) & sleep 1; kill -9 $$", holder());
        let ran = Sbx::new(who).spec(&holder_spec()).sh(&line).run();
        assert_eq!((ran.code(), ran.kind()), (137, "signaled"), "{ran:?}");
        assert!(ended.recv_timeout(Duration::from_secs(5)).is_ok());
        assert!(TcpStream::connect("127.0.0.1:8090").is_err(), "still published");
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        assert_eq!(connections(&ran), [format!("allowed tcp {SERVER}:9205 x1")]);
    }
}

#[test]
fn who_never_reads_does_not_keep_sbx() {
    let Some(_world) = World::new(&["python3"]) else { return };
    let kept = Arc::new(Mutex::new(Vec::new()));
    let server = kept.clone();
    listen(9206, move |connection| server.lock().unwrap().push(connection));
    let line = format!(
        "exec python3 -c \"
import socket, os
s = socket.create_connection(('{SERVER}', 9206)); s.settimeout(1)
try:
    while True: s.send(b'x' * 65536)
except TimeoutError: os._exit(0)\""
    );
    for who in Who::all() {
        let begin = Instant::now();
        Sbx::new(who).spec(&format!("network egress {{ allow \"{SERVER}\" }}")).sh(&line).run().ok();
        assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
        // What it missed is not passed over in silence: no end, a reset.
        let mut connection = kept.lock().unwrap().pop().unwrap();
        assert!(std::io::copy(&mut connection, &mut std::io::sink()).is_err(), "as if that had been all");
    }
}
