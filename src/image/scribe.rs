//! The last third of an extraction: hashes the tar and the contents of its files, as they were noted, and writes the
//! list of the tree. It opens nothing and decides nothing.

use std::fs::File;
use std::io::BufWriter;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::layer::{self, Contents, FileKind, What, Writer};
use crate::image::ledger::Note;
use crate::image::pieces::{Hashed, Piece, Rest};
use crate::image::queue::{Giver, Taker};
use crate::image::shown::unwritten;
use crate::image::unfinished::{Leave, Unfinished};

/// Does what is left of each piece, gives its memory back to `emptied`, and returns the digest of those pieces that
/// were not hashed before; `None` where the tree did not become whole.
///
/// # Errors
/// A list that cannot be written.
pub(super) fn write(list: File, rest: &Taker<Rest>, emptied: &Giver<Vec<u8>>) -> Result<Option<Digest>> {
    let mut scribe = Scribe {
        list: Writer::new(BufWriter::with_capacity(64 << 10, list)),
        tar: Sha256::new(),
        contents: blake3::Hasher::new(),
        file: None,
    };
    while let Some(rest) = rest.take() {
        match rest {
            Rest::Piece(piece, notes) => {
                scribe.piece(&piece, notes)?;
                // Who does not take it back has sent all.
                emptied.give(piece.bytes).ok();
            }
            Rest::End(notes, skipped) => {
                scribe.piece(&Piece::default(), notes)?;
                let Scribe { list, tar, .. } = scribe;
                list.finish(&skipped).map_err(failed)?;
                return Ok(Some(Digest::finish(tar)));
            }
        }
    }
    Ok(None)
}

struct Scribe {
    list: Writer<BufWriter<File>>,
    tar: Sha256,
    /// Of the file whose entry comes next.
    contents: blake3::Hasher,
    /// That file, where it is still to be written.
    file: Option<(Unfinished, Leave)>,
}

impl Scribe {
    fn piece(&mut self, piece: &Piece, notes: Vec<Note>) -> Result<()> {
        let bytes = &piece.bytes[..piece.filled];
        if piece.hashed == Hashed::No {
            self.tar.update(bytes);
        }
        for note in notes {
            match note {
                Note::File(file, leave) => self.file = Some((file, leave)),
                Note::Contents(range) => {
                    let bytes = bytes.get(range).unwrap_or_default();
                    self.contents.update(bytes);
                    self.file.iter_mut().try_for_each(|(file, _)| file.write(bytes))?;
                }
                Note::Hole(count) => {
                    hash_zeros(&mut self.contents, count);
                    self.file.iter_mut().for_each(|(file, _)| file.skip(count));
                }
                Note::Entry(mut entry) => {
                    if let What::File(layer::File { kind: FileKind::Regular { contents, .. }, .. }) = &mut entry.what {
                        *contents = Contents::Blake3(*self.contents.finalize().as_bytes());
                        self.contents.reset();
                        self.file.take().map_or(Ok(()), |(file, _)| file.finish())?;
                    }
                    self.list.add(&entry).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}

/// Hashes a hole, which reads as zeros.
fn hash_zeros(hash: &mut blake3::Hasher, mut count: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let piece = count.min(4096);
        hash.update(&ZEROS[..usize::try_from(piece).unwrap_or_default()]);
        count -= piece;
    }
}

fn failed(error: std::io::Error) -> Error {
    unwritten("cannot write the list of the layer".to_owned(), &error)
}
