//! One read of an archive: hashed, decompressed, placed. Nothing of it is run, and the
//! tree that comes out is only kept by the caller, once the digest is known to be right.

use std::cell::Cell;
use std::fs::File;
use std::io::{BufRead as _, Read as _};
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::image::decode::{self, Packed};
use crate::image::members::Members;
use crate::image::tree::{Ownership, Tree};
use crate::image::{Bounds, Progress, Skipped, Step};

/// Extracts `file`, which is `total` bytes long, into the empty directory `root`, and
/// returns its digest and what was left out.
///
/// # Errors
/// What is wrong with the archive, or why it could not be written.
pub(super) fn extract(
    (file, total): (&File, u64),
    (root, ownership): (&Path, Ownership),
    bounds: &Bounds,
    progress: &mut dyn FnMut(Progress),
) -> Result<(String, Skipped)> {
    let read = Cell::new(0);
    let mut source = decode::buffered(Packed::new(file, (&read, total), Step::Extract, progress));
    let placed = place_all(&mut source, &read, (root, ownership), bounds);
    let skipped = placed.map_err(|error| match error.kind {
        Kind::Image if error.errno.is_none() => {
            let message = format!("{} (near byte {} of {total})", error.message, read.get());
            Error { message, ..error }
        }
        _ => error,
    })?;
    match source.fill_buf() {
        Ok([]) => Ok((source.into_inner().digest(), skipped)),
        Ok(_) => Err(Error::new(Kind::Image, "there is something after its compressed data")),
        Err(error) => Err(Error::io("cannot be read", &error)),
    }
}

/// Returns the digest of `file`, which is `total` bytes long.
///
/// # Errors
/// A file that cannot be read.
pub(super) fn verify((file, total): (&File, u64), progress: &mut dyn FnMut(Progress)) -> Result<String> {
    let read = Cell::new(0);
    let mut packed = Packed::new(file, (&read, total), Step::Verify, progress);
    let mut buffer = vec![0; 256 << 10];
    while packed.read(&mut buffer).map_err(|error| Error::io("cannot be read", &error))? > 0 {}
    Ok(packed.digest())
}

fn place_all(
    source: &mut std::io::BufReader<Packed<'_>>,
    read: &Cell<u64>,
    (root, ownership): (&Path, Ownership),
    bounds: &Bounds,
) -> Result<Skipped> {
    let mut members = Members::new(decode::unpacked(source, read, bounds)?);
    let mut tree = Tree::new(root, ownership, *bounds)?;
    while let Some(member) = members.next()? {
        tree.place(member, &mut members)?;
    }
    tree.finish()
}
