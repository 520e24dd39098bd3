//! The pieces of a file between its holes, and the map of them that goes before its contents: version 1.0 of the
//! formats of GNU tar for PAX ("Sparse Formats" of its manual), as `image::sparse` reads it.

use std::ops::Range;
use std::os::fd::OwnedFd;

use crate::image::sparse::EXTENTS;
use crate::sys::{Sys, entry};

/// Readers see the pieces one after another, each from the start of a block.
const BLOCK: u64 = 512;

/// Returns where the bytes of a file of `size` bytes are; the last piece ends with the file.
///
/// # Errors
/// Those of lseek(2).
pub(super) fn pieces(opened: &OwnedFd, size: u64) -> Sys<Vec<Range<u64>>> {
    let mut pieces: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    while at < size {
        // Whoever has more pieces than readers take has the holes behind them written out.
        if pieces.len() + 2 == EXTENTS {
            pieces.push(at..size);
            break;
        }
        let Some(data) = entry::data_from(opened, at)? else { break };
        let end = data.end.next_multiple_of(BLOCK).min(size);
        match pieces.last_mut() {
            Some(last) if data.start / BLOCK * BLOCK <= last.end => last.end = end,
            _ if data.start < size => pieces.push(data.start / BLOCK * BLOCK..end),
            _ => {}
        }
        at = end;
    }
    if pieces.last().is_none_or(|last| last.end < size) {
        pieces.push(size..size);
    }
    Ok(pieces)
}

/// Returns the map of `pieces`.
pub(super) fn map(pieces: &[Range<u64>]) -> Vec<u8> {
    let line = |piece: &Range<u64>| format!("{}\n{}\n", piece.start, piece.end - piece.start);
    let mut map = format!("{}\n{}", pieces.len(), pieces.iter().map(line).collect::<String>()).into_bytes();
    map.resize(map.len().next_multiple_of(512), 0);
    map
}

/// Returns the records that say what the map is, of the file `path` of `size` bytes.
pub(super) fn records(path: &[u8], size: u64) -> Vec<(String, Vec<u8>)> {
    let record = |key: &str, value: &[u8]| (format!("GNU.sparse.{key}"), value.to_vec());
    let size = size.to_string();
    vec![record("major", b"1"), record("minor", b"0"), record("name", path), record("realsize", size.as_bytes())]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::{map, pieces};

    #[test]
    fn a_file_is_its_pieces_and_its_end() {
        const MIB: u64 = 1 << 20;
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = named.as_file();
        let found = |size| {
            file.set_len(size).unwrap();
            pieces(&file.try_clone().unwrap().into(), size).unwrap()
        };
        for size in [0, 4 * MIB] {
            let all = found(size);
            assert_eq!((all.first(), all.len()), (Some(&(size..size)), 1));
        }
        file.write_all_at(b"x", MIB).unwrap();
        file.write_all_at(b"yy", 3 * MIB - 2).unwrap();
        let all = found(3 * MIB);
        let (first, last) = (&all[0], &all[all.len() - 1]);
        assert!(first.start > 0 && first.contains(&MIB) && last.contains(&(3 * MIB - 1)), "{all:?}");
        assert_eq!((last.end, all.len()), (3 * MIB, 2));
        assert!(all.iter().all(|piece| piece.start % 512 == 0), "{all:?}");
        assert_eq!(found(4 * MIB).last(), Some(&(4 * MIB..4 * MIB)));
    }

    #[test]
    fn a_map_is_whole_blocks() {
        let text = map(&[0..512, 4096..5000]);
        assert_eq!((text.len(), text.starts_with(b"2\n0\n512\n4096\n904\n\0")), (512, true));
    }
}
