//! The client: one measurement, one number on standard output. Runs inside of what is measured.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

const PIECE: usize = 128 << 10;
const SECONDS: f64 = 3.0;

/// Measures `what` against the server at `address`.
pub(crate) fn run(what: &str, address: &str) {
    let number = match what {
        "out" => out(address),
        "in" => back(address),
        "trip" => trip(address),
        _ => connect(address),
    };
    println!("{number}");
}

fn open(address: &str, word: u8) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&[word]).unwrap();
    stream
}

/// Bits a second, as the server has seen them.
fn out(address: &str) -> f64 {
    let mut stream = open(address, b's');
    let piece = vec![0u8; PIECE];
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        stream.write_all(&piece).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut count = [0u8; 8];
    stream.read_exact(&mut count).unwrap();
    bits(u64::from_le_bytes(count), begin.elapsed())
}

/// Bits a second, as they come.
fn back(address: &str) -> f64 {
    let mut stream = open(address, b'r');
    let mut piece = vec![0u8; PIECE];
    let mut count = 0;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        count += u64::try_from(stream.read(&mut piece).unwrap()).unwrap();
    }
    bits(count, begin.elapsed())
}

fn bits(bytes: u64, time: Duration) -> f64 {
    // Exact: no measurement moves 2⁵³ bytes.
    let bytes: f64 = bytes.to_string().parse().unwrap();
    bytes * 8.0 / time.as_secs_f64()
}

/// Nanoseconds that one byte takes there and back, the median.
fn trip(address: &str) -> f64 {
    let mut stream = open(address, b'e');
    let mut times = Vec::new();
    for _ in 0..5000 {
        let begin = Instant::now();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        times.push(begin.elapsed());
    }
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e9
}

/// Connections a second, one after the other: each is made, answers one byte, and ends.
fn connect(address: &str) -> f64 {
    let begin = Instant::now();
    let mut count = 0.0;
    while begin.elapsed().as_secs_f64() < SECONDS {
        let mut stream = open(address, b'e');
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        count += 1.0;
    }
    count / begin.elapsed().as_secs_f64()
}
