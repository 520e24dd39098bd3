//! Small files of the store that say of themselves whether they are whole: their last line is the digest of what
//! stands before it. What is damaged is never half believed.

use std::io::ErrorKind;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::store::failed;

/// What a sealed file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sealed<T> {
    Missing,
    /// It was cut, edited, or written by something else.
    Damaged,
    Whole(T),
}

impl<T> Sealed<T> {
    /// Returns what a file holds that is there and whole.
    pub(super) fn whole(self) -> Option<T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Missing | Self::Damaged => None,
        }
    }
}

/// Returns `text`, which ends with a newline, with its seal.
pub(super) fn seal(text: &str) -> String {
    format!("{text}{}\n", Digest::of(text.as_bytes()).hex())
}

/// Returns what stands before the seal, if that is right.
pub(super) fn unseal(text: &str) -> Option<&str> {
    let (start, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let start = &text[..start.len() + 1];
    (Digest::of(start.as_bytes()).hex() == digest).then_some(start)
}

/// Reads a note.
///
/// # Errors
/// A file that is there and cannot be read.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Sealed<T>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Sealed::Missing),
        other => other.map_err(|error| failed("read", path, &error))?,
    };
    let text = std::str::from_utf8(&bytes).ok().and_then(unseal);
    let value = text.and_then(|text| serde_json::from_str(text).ok());
    Ok(value.map_or(Sealed::Damaged, Sealed::Whole))
}

/// Writes a note, at once for whoever reads it.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|error| Error::new(Kind::Bug, format!("cannot write a note: {error}")))?;
    replace(path, &seal(&(text + "\n")))
}

/// Puts a file with `text` in the place of `path`. The caller holds a lock, or writes what any other would write.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_added_extension(format!("{}.new", std::process::id()));
    let written = std::fs::write(&new, text).map_err(|error| failed("write", &new, &error));
    let done = written.and_then(|()| std::fs::rename(&new, path).map_err(|error| failed("rename to", path, &error)));
    if done.is_err() {
        std::fs::remove_file(&new).ok();
    }
    done
}

#[cfg(test)]
mod tests {
    use super::{seal, unseal};

    #[test]
    fn a_seal_shows_every_change() {
        let text = seal("{\"a\":1}\nb\n");
        assert_eq!(unseal(&text), Some("{\"a\":1}\nb\n"));
        for at in 0..text.len() {
            assert_eq!(unseal(&text[..at]), None, "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(String::from_utf8(bytes).ok().as_deref().and_then(unseal), None, "flipped at {at}");
        }
        assert_eq!(unseal(&(text + "\n")), None);
    }
}
