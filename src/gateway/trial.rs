//! The gateway at work, with a network namespace for the sandbox and real sockets on both sides: needs root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::gateway::{
    Connection, ConnectionKind, Gateway, Inlets, Ledger, Policy, Refusal, Shaping, Traffic, Verdict, start,
};
use crate::spec::Destination;
use crate::sys::socket::{self, Carries};
use crate::sys::{Errno, net, process};

type Work = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own.
pub(crate) struct Inside {
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    /// Returns `None`, loudly, where the caller may not make one; `SBX_MUST_RUN=1` makes that a failure.
    pub(crate) fn new() -> Option<Self> {
        let (work, todo) = channel::<Work>();
        let (ready, made) = channel();
        let thread = thread::spawn(move || {
            let result = process::unshare(u64::try_from(libc::CLONE_NEWNET).unwrap()).and_then(|()| net::loopback_up());
            ready.send(result).unwrap();
            todo.into_iter().for_each(|work| work());
        });
        match made.recv().unwrap() {
            Ok(()) => Some(Self { work: Some(work), thread: Some(thread) }),
            Err(errno) => {
                let reason = format!("SKIP: no network namespace for this caller: {errno}");
                assert!(std::env::var_os("SBX_MUST_RUN").is_none_or(|value| value != "1"), "{reason}");
                writeln!(std::io::stderr(), "{reason}").unwrap();
                None
            }
        }
    }

    /// Does something there, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let work = Box::new(move || drop(done.send(work())));
        self.work.as_ref().unwrap().send(work).unwrap();
        result.recv().unwrap()
    }

    pub(crate) fn connect(&self, to: SocketAddr) -> TcpStream {
        let stream = self.run(move || TcpStream::connect(to)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    pub(crate) fn listener(&self, port: u16) -> OwnedFd {
        self.run(move || {
            let listener = socket::open(Carries::Stream, Ipv4Addr::UNSPECIFIED.into()).unwrap();
            socket::bind(&listener, (Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
            socket::listen(&listener).unwrap();
            listener
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.work.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) fn policy(allow: &[&str], deny: &[&str]) -> Policy {
    let read = |list: &[&str]| list.iter().map(|text| Destination::parse(text).unwrap()).collect();
    Policy {
        allow: read(allow),
        deny: read(deny),
        resolvers: Vec::new(),
        shaping: Shaping::default(),
        neighbours: None,
    }
}

/// A server of the host on an address of the loopback that is nobody else's.
pub(crate) fn server() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    // More may wait than the 128 of the standard library.
    socket::listen(&listener).unwrap();
    let to = listener.local_addr().unwrap();
    (listener, to)
}

pub(crate) fn begin(inside: &Inside, ports: &[u16], policy: Policy) -> Gateway {
    let tcp = ports.iter().map(|port| inside.listener(*port)).collect();
    start(policy, Inlets { tcp, ..Inlets::default() }, None).unwrap()
}

pub(crate) fn only(ledger: &Ledger) -> (&str, Verdict, Traffic) {
    let [Connection { what, traffic }] = &ledger.connections[..] else { panic!("{ledger:?}") };
    assert_eq!(what.protocol, ConnectionKind::Tcp);
    (&what.to, what.verdict, *traffic)
}

pub(crate) fn bytes(seed: u32, count: usize) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn a_stream_goes_both_ways_and_ends_by_halves() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &[]));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 hello\n").unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let mut client = inside.connect(to);
    let mut greeting = [0; 10];
    client.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"220 hello\n", "the server may speak first");
    let said = bytes(1, 3_000_000);
    let mut writer = client.try_clone().unwrap();
    let copy = said.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    assert!(heard == said, "{} of {}", heard.len(), said.len());
    writing.join().unwrap();
    server.join().unwrap();
    let ledger = gateway.finish();
    let traffic = Traffic { count: 1, sent: 3_000_000, received: 3_000_010 };
    assert_eq!(only(&ledger), ("127.0.0.2", Verdict::Allowed, traffic));
}

#[test]
fn what_is_not_allowed_is_reset_at_once() {
    let Some(inside) = Inside::new() else { return };
    let (_listener, to) = server();
    for (allow, refusal) in
        [(&[][..], Refusal::Special), (&["*"], Refusal::Special), (&["127.0.0.3"], Refusal::Special)]
    {
        let gateway = begin(&inside, &[to.port()], policy(allow, &[]));
        let began = Instant::now();
        let error = inside.connect(to).read(&mut [0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ECONNRESET as i32));
        assert!(began.elapsed() < Duration::from_secs(1));
        let ledger = gateway.finish();
        assert_eq!(only(&ledger), ("127.0.0.2", Verdict::Refused(refusal), Traffic { count: 1, sent: 0, received: 0 }));
    }
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &["127.0.0.2:1-65535"]));
    inside.connect(to).read(&mut [0]).unwrap_err();
    assert_eq!(only(&gateway.finish()).1, Verdict::Refused(Refusal::Denied));
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    drop(listener);
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &[]));
    let error = inside.connect(to).read(&mut [0]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::ECONNRESET as i32));
    assert_eq!(only(&gateway.finish()).1, Verdict::Unreachable(Errno::ECONNREFUSED as i32));
}

#[test]
fn a_reset_goes_through() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    // Where names are denied the gateway reads first what the client says.
    for deny in [&[][..], &["evil.example"]] {
        let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], deny));
        for from_server in [true, false] {
            let mut client = inside.connect(to);
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            let (dies, mut hears) = if from_server { (server, client) } else { (client, server) };
            socket::reset_on_close(&dies).unwrap();
            drop(dies);
            let error = hears.read(&mut [0]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::ECONNRESET as i32));
        }
        assert_eq!(only(&gateway.finish()).2.count, 2);
    }
}

#[test]
fn urgent_data_holds_nothing_up() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &[]));
    let mut client = inside.connect(to);
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for round in 0..20 {
        // What is large once is not copied the next time.
        let large = bytes(round, if round % 5 == 4 { 300_000 } else { 0 });
        client.write_all(&large).unwrap();
        client.write_all(b"ab").unwrap();
        socket::send_urgent(&client, b'c').unwrap();
        client.write_all(b"de").unwrap();
        let mut heard = vec![0; large.len() + 4];
        server.read_exact(&mut heard).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(heard[..large.len()] == large && &heard[large.len()..] == b"abde", "round {round}");
    }
    drop((client, server));
    assert_eq!(only(&gateway.finish()).1, Verdict::Allowed);
}

#[test]
fn many_at_once_and_slow_ones_bound_memory_and_stop_nobody() {
    many_at_once(Shaping::default());
}

#[test]
fn in_a_shaped_network_too() {
    many_at_once(Shaping { latency: Some(Duration::from_millis(20)), ..Shaping::default() });
}

/// Held by those who measure the memory of this process, which is that of all tests.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

fn many_at_once(shaping: Shaping) {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let _alone = ALONE.lock();
    // What is held on the way, all together, and as much for how it lies in memory; 400 MiB are sent.
    let held = if shaping == Shaping::default() { 0 } else { 2 * (64 << 20) };
    let gateway = begin(&inside, &[to.port()], Policy { shaping, ..policy(&["127.0.0.2"], &[]) });
    let server = thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().take(400) {
            let mut stream = stream.unwrap();
            stream.set_nonblocking(true).unwrap();
            // More than one hold between takes, to who does not read; what sockets take is the machine's.
            let filler = vec![7u8; 1 << 20];
            assert!(stream.write(&filler).unwrap() > 0);
            kept.push(stream);
        }
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        kept
    });
    let before = resident();
    let slow: Vec<_> = (0..400).map(|_| inside.connect(to)).collect();
    let mut quick = inside.connect(to);
    let said = bytes(3, 1_000_000);
    let copy = said.clone();
    let mut writer = quick.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    quick.read_to_end(&mut heard).unwrap();
    assert!(heard == said);
    writing.join().unwrap();
    drop(server.join().unwrap());
    // Other tests run in this process as well.
    assert!(resident() < before + held + (100 << 20), "{} kB more", (resident() - before) >> 10);
    drop(slow);
    let ledger = gateway.finish();
    assert_eq!(only(&ledger).2.count, 401);
}

pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
