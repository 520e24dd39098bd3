//! The decoders alone: an archive is decompressed as sbx does it, and what comes out is thrown away.

use std::fs::File;
use std::io::{BufReader, Read};

use crate::Fault;

/// Decompresses the file at `path`.
///
/// # Errors
/// A file that cannot be read or is not packed as its name says.
pub(crate) fn decode(path: &str) -> Result<(), Fault> {
    const BUFFER: usize = 256 << 10;
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let mut decoder: Box<dyn Read + '_> = match path.rsplit('.').next() {
        Some("gz") => Box::new(flate2::bufread::GzDecoder::new(file)),
        Some("zst") => Box::new(zstd::stream::read::Decoder::with_buffer(&mut file)?),
        Some("xz") => Box::new(lzma_rust2::XzReader::new(file, true)),
        _ => Box::new(file),
    };
    let mut buffer = vec![0; BUFFER];
    while decoder.read(&mut buffer)? > 0 {}
    Ok(())
}
