//! The client: one measurement, one number on standard output. Runs inside of what is measured.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::Fault;

const PIECE: usize = 128 << 10;
const SECONDS: f64 = 2.0;
/// Who makes connections beside each other.
const CROWD: usize = 16;

/// Measures `aspect` against the server at `address`.
///
/// # Errors
/// The first of a connection.
pub(crate) fn run(aspect: &str, address: &str) -> Result<(), Fault> {
    let number = match aspect {
        "out" => out(address)?,
        "in" => back(address)?,
        "trip" => trip(address)?,
        "connect" => connect(address)?,
        _ => crowd(address)?,
    };
    crate::say(&number.to_string());
    Ok(())
}

fn open(address: &str, word: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&[word])?;
    Ok(stream)
}

/// Bits a second, as the server has seen them.
fn out(address: &str) -> io::Result<f64> {
    let mut stream = open(address, b's')?;
    let piece = vec![0u8; PIECE];
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        stream.write_all(&piece)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut count = [0u8; 8];
    stream.read_exact(&mut count)?;
    Ok(bits(u64::from_le_bytes(count), begin.elapsed()))
}

/// Bits a second, as they come.
fn back(address: &str) -> io::Result<f64> {
    let mut stream = open(address, b'r')?;
    let mut piece = vec![0u8; PIECE];
    let mut count = 0;
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < SECONDS {
        count += u64::try_from(stream.read(&mut piece)?).unwrap();
    }
    Ok(bits(count, begin.elapsed()))
}

fn bits(bytes: u64, time: Duration) -> f64 {
    // Exact: no measurement moves 2⁵³ bytes.
    let bytes: f64 = bytes.to_string().parse().unwrap();
    bytes * 8.0 / time.as_secs_f64()
}

/// Nanoseconds that one byte takes there and back, the median.
fn trip(address: &str) -> io::Result<f64> {
    let mut stream = open(address, b'e')?;
    let mut times = Vec::new();
    for _ in 0..5000 {
        let begin = Instant::now();
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2].as_secs_f64() * 1e9)
}

/// Connections a second, one after the other: each is made, answers one byte, and ends.
fn connect(address: &str) -> io::Result<f64> {
    let begin = Instant::now();
    let mut count = 0.0;
    while begin.elapsed().as_secs_f64() < SECONDS {
        open(address, b'c')?.read_exact(&mut [0])?;
        count += 1.0;
    }
    Ok(count / begin.elapsed().as_secs_f64())
}

/// The same of many clients at once.
fn crowd(address: &str) -> io::Result<f64> {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..CROWD).map(|_| scope.spawn(|| connect(address))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    })
}
