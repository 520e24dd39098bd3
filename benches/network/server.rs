//! The server: the first byte of a connection says what is measured by it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// Serves until it is killed.
pub(crate) fn run(address: &str) {
    for stream in TcpListener::bind(address).unwrap().incoming().flatten() {
        std::thread::spawn(move || serve(stream));
    }
}

/// A client that goes away ends its connection, nothing else.
fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut word = [0u8];
    stream.read_exact(&mut word).ok()?;
    let mut piece = vec![0u8; 128 << 10];
    match word[0] {
        b's' => {
            let mut count = 0u64;
            while let Ok(more @ 1..) = stream.read(&mut piece) {
                count += u64::try_from(more).ok()?;
            }
            stream.write_all(&count.to_le_bytes()).ok()
        }
        b'r' => loop {
            stream.write_all(&piece).ok()?;
        },
        _ => loop {
            let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
            stream.write_all(&piece[..count]).ok()?;
        },
    }
}
