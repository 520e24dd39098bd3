//! What a gateway does when there are more who want something of it than it has room for.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::gateway::flows::{FlowKind, Flows, Pair};
use crate::gateway::state::State;
use crate::gateway::trial::{Inside, policy, server};
use crate::gateway::turn::serve;
use crate::gateway::{Bound, ConnectionKind, Factory, Inlets, Verdict, What};
use crate::spec::{Protocol, Publish};
use crate::sys::fd;
use crate::sys::socket::{self, Carries};
use crate::sys::watch::{self, own};

fn state(inlets: Inlets) -> State {
    State::new(policy(&["127.0.0.2"], &[]), inlets, (own(watch::counter().unwrap()), None)).unwrap()
}

fn happens(state: &State) -> usize {
    let mut happened = Vec::new();
    state.poller.wait(&mut happened, Some(Duration::ZERO)).unwrap();
    happened.len()
}

#[test]
fn a_listener_that_was_destroyed_is_left_for_good() {
    // As `ss -K` leaves it: it does not listen any more.
    let dead = socket::open(Carries::Stream, Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut state = state(Inlets { tcp: vec![dead], ..Inlets::default() });
    assert_eq!(happens(&state), 1);
    state.admit(0);
    assert_eq!(happens(&state), 0, "it would be told of that again and again");
}

#[test]
fn strangers_leave_room_for_the_sandbox() {
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    thread::spawn(move || listener.incoming().flatten().try_for_each(|mut stream| stream.write_all(b"x")));
    let program = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let (outside, port) = (door.local_addr().unwrap(), program.local_addr().unwrap().port());
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    spare.set_nonblocking(true).unwrap();
    let spare =
        Factory { listener: spare.into(), spare: socket::open(Carries::Stream, Ipv4Addr::LOCALHOST.into()).unwrap() };
    let publish = Publish { outside, inside: port, protocol: Protocol::Tcp };
    let inlets = Inlets {
        tcp: vec![inside.listener(to.port())],
        published: vec![Bound { publish, socket: door.into() }],
        factory: Some(spare),
        ..Inlets::default()
    };
    let stop = own(watch::counter().unwrap());
    let theirs = watch::copy(watch::number(&stop)).unwrap();
    let mut state = State::new(policy(&["127.0.0.2"], &[]), inlets, (theirs, None)).unwrap();
    state.most_streams = 32;
    let serving = thread::spawn(move || serve(state));
    let strangers: Vec<_> = (0..100).map(|_| TcpStream::connect(outside).unwrap()).collect();
    let served: Vec<_> = (0..8).map(|_| program.accept().unwrap()).collect();
    thread::sleep(Duration::from_millis(200));
    let reached = (0..20).filter(|_| inside.connect(to).read(&mut [0]).is_ok()).count();
    assert_eq!(reached, 20);
    // Who leaves makes room for who waits.
    drop((strangers, served));
    program.set_nonblocking(true).unwrap();
    while program.accept().is_ok() {}
    program.set_nonblocking(false).unwrap();
    let mut last = TcpStream::connect(outside).unwrap();
    last.write_all(b"last").unwrap();
    let heard = program.incoming().flatten().any(|mut stream| {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).is_ok() && &bytes == b"last"
    });
    assert!(heard);
    fd::write(watch::number(&stop), &1u64.to_ne_bytes()).unwrap();
    serving.join().unwrap();
}

#[test]
fn flows_from_outside_and_from_inside_end_only_their_like() {
    let mut state = state(Inlets::default());
    state.flows = Flows::new(16);
    let pair = |number: u16, kind| {
        let client = SocketAddr::from(([127, 0, 0, 1], number + 1));
        Pair { client, to: SocketAddr::from(([127, 0, 0, 2], 9)), kind }
    };
    let outside = FlowKind::Published { number: 0, at: None };
    let what =
        What { to: String::new(), address: None, port: None, protocol: ConnectionKind::Udp, verdict: Verdict::Allowed };
    for (many, few) in [(outside, FlowKind::Udp), (FlowKind::Udp, outside)] {
        state.flows = Flows::new(16);
        state.keep_flow((pair(0, few), what.clone()), None).unwrap();
        for number in 0..100 {
            state.now_is(state.now() + 1);
            state.keep_flow((pair(number, many), what.clone()), None).unwrap();
        }
        assert!(state.flows.by_pair.contains_key(&pair(0, few)), "{few:?}");
        let kept: Vec<_> = (0..100).filter(|it| state.flows.by_pair.contains_key(&pair(*it, many))).collect();
        assert_eq!(kept, (84..100).collect::<Vec<_>>(), "the latest of {many:?}");
    }
}
