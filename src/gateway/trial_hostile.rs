//! The gateway at work for programs that mean no good: needs root.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::gateway::Verdict;
use crate::gateway::trial::{ALONE, Inside, begin, policy, resident, server};

#[test]
fn what_comes_with_the_end_is_judged_too() {
    const TRIES: u32 = 3000;
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &["evil.example"]));
    let server = thread::spawn(move || {
        let heard =
            |stream: std::io::Result<TcpStream>| stream.is_ok_and(|mut it| it.read(&mut [0]).is_ok_and(|n| n > 0));
        listener.incoming().take(TRIES as usize).map(heard).filter(|heard| *heard).count()
    });
    inside.run(move || {
        for number in 0..TRIES {
            let mut client = TcpStream::connect(to).unwrap();
            // It is looked at when this has come, and what follows comes while that is done or after.
            client.write_all(b"GET ").unwrap();
            (0..number % 60 * 40).for_each(|_| std::hint::spin_loop());
            client.write_all(b"/ HTTP/1.1\r\nHost: evil.example\r\n\r\n").ok();
            client.shutdown(Shutdown::Write).ok();
            client.read_exact(&mut [0]).ok();
        }
    });
    assert_eq!(server.join().unwrap(), 0, "of {TRIES}");
    assert!(gateway.finish().connections.iter().all(|it| it.what.verdict != Verdict::Allowed));
}

#[test]
fn a_later_request_is_judged_whenever_it_comes() {
    const TRIES: usize = 600;
    let Some(inside) = Inside::new() else { return };
    let (listener, to) = server();
    let gateway = begin(&inside, &[to.port()], policy(&["127.0.0.2"], &["evil.example"]));
    let server = thread::spawn(move || {
        let mut all = Vec::new();
        for stream in listener.incoming().take(TRIES) {
            // What came before a reset is heard too.
            stream.unwrap().read_to_end(&mut all).ok();
        }
        all
    });
    inside.run(move || {
        let evil = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";
        let text = [
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 40000\r\n\r\n",
            &"x".repeat(40_000),
            "PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n4e20\r\n",
            &"x".repeat(20_000),
            "\r\n0\r\n\r\n",
            evil,
        ];
        let text = text.concat();
        for number in 0..TRIES {
            let mut client = TcpStream::connect(to).unwrap();
            // What follows comes while this is looked at, or before, or after; cut within a head or a body, or before.
            let (first, second) =
                text.split_at(text.len() - [1, 20, evil.len(), evil.len() + 3, 10_000, 25_000][number % 6]);
            client.write_all(first.as_bytes()).ok();
            (0..number % 60 * 40).for_each(|_| std::hint::spin_loop());
            client.write_all(second.as_bytes()).ok();
            client.shutdown(Shutdown::Write).ok();
            client.read_exact(&mut [0]).ok();
        }
    });
    let heard = server.join().unwrap();
    assert!(heard.len() > TRIES * 20_000, "what is right went: {}", heard.len());
    assert!(!heard.windows(4).any(|part| part == b"evil"));
    let ledger = gateway.finish();
    assert!(ledger.connections.iter().all(|it| it.what.verdict != Verdict::Allowed), "{ledger:?}");
}

/// A query for the address of `localhost`, as it is asked by TCP.
const QUERY: &[u8] = b"\0\x1b\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";

#[test]
fn who_asks_without_reading_holds_up_nobody_and_is_held_up() {
    let _alone = ALONE.lock();
    // What others that run beside this one take is gone the next time, what is hoarded is not.
    let more: Vec<u64> = (0..3).map_while(|_| held_for_the_greedy()).take_while(|more| *more >= 16 << 20).collect();
    assert!(more.len() < 3, "{more:?} bytes more");
}

/// Returns by how much this process has grown for one who asks for two seconds and does not read.
fn held_for_the_greedy() -> Option<u64> {
    let inside = Inside::new()?;
    let gateway = begin(&inside, &[53], policy(&[], &[]));
    let to: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let before = resident();
    let mut greedy = inside.connect(to);
    greedy.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let asking = thread::spawn(move || {
        let (many, began) = (QUERY.repeat(4096), Instant::now());
        while began.elapsed() < Duration::from_secs(2) {
            greedy.write_all(&many).ok();
        }
    });
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(100));
        let (mut quick, began) = (inside.connect(to), Instant::now());
        quick.write_all(QUERY).unwrap();
        quick.read_exact(&mut [0; 20]).unwrap();
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    }
    asking.join().unwrap();
    let more = resident().saturating_sub(before);
    drop(gateway.finish());
    Some(more)
}
