//! The server: the first byte of a connection says what is measured by it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::Fault;

/// Threads that take connections: making one for each would be what is measured.
const THREADS: usize = 32;

/// Serves until it is killed.
///
/// # Errors
/// An address that cannot be had.
pub(crate) fn run(address: &str) -> Result<(), Fault> {
    let listener = TcpListener::bind(address)?;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut piece = vec![0u8; 128 << 10];
                for stream in listener.incoming().flatten() {
                    serve(stream, &mut piece);
                }
            });
        }
    });
    Ok(())
}

/// A client that goes away ends its connection, nothing else.
fn serve(mut stream: TcpStream, piece: &mut [u8]) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut word = [0u8];
    stream.read_exact(&mut word).ok()?;
    match word[0] {
        b's' => {
            let mut count = 0u64;
            while let Ok(more @ 1..) = stream.read(piece) {
                count += u64::try_from(more).ok()?;
            }
            stream.write_all(&count.to_le_bytes()).ok()
        }
        b'r' => loop {
            stream.write_all(piece).ok()?;
        },
        // One byte back for one that came.
        b'c' => stream.write_all(&word).ok(),
        _ => loop {
            let count = stream.read(piece).ok().filter(|count| *count > 0)?;
            stream.write_all(&piece[..count]).ok()?;
        },
    }
}
