//! The list of a layer as a file: JSON, one line an entry, the last one sealing those before with a
//! digest. Names are bytes: what is not UTF-8 is written as `%XX`, and so is `%`.

use std::io::{BufRead, Read as _, Seek as _, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::Skipped;
use crate::image::digest::{self, Digest};
use crate::image::layer::{Attributes, Described, Directory, Entry, File, FileKind, What};
use crate::sys::file::{Owner, Time};

/// Bytes of one line: the names and attributes of one member, which are at most a few paths and a PAX header of 1 MiB,
/// each byte of which takes up to six when it is escaped.
const LINE: u64 = 8 << 20;

/// How much a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) struct Totals {
    pub(in crate::image) entries: u64,
    /// Of the contents of its files.
    pub(in crate::image) bytes: u64,
}

/// A list in the making.
pub(in crate::image) struct Writer<W> {
    output: W,
    hash: Sha256,
    entries: u64,
    bytes: u64,
}

/// Unknown fields cannot be denied beside a flattened one; the seal tells of what was added.
#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    #[serde(flatten)]
    what: Shape,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Shape {
    Directory {
        described: bool,
        mode: u32,
        uid: u32,
        gid: u32,
        time: Option<(i64, u32)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<(String, String)>,
    },
    File {
        mode: u32,
        uid: u32,
        gid: u32,
        time: (i64, u32),
        size: u64,
        sha256: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<(String, String)>,
    },
    Symlink {
        mode: u32,
        uid: u32,
        gid: u32,
        time: (i64, u32),
        target: String,
    },
    Fifo {
        mode: u32,
        uid: u32,
        gid: u32,
        time: (i64, u32),
    },
    Link {
        target: String,
    },
    Hidden,
    Opaque,
    End {
        entries: u64,
        bytes: u64,
        devices: u64,
        set_id: u64,
        attributes: u64,
        sha256: String,
    },
}

impl<W: Write> Writer<W> {
    /// Returns the list that is written to `output`.
    pub(in crate::image) fn new(output: W) -> Self {
        Self { output, hash: Sha256::new(), entries: 0, bytes: 0 }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of the output.
    pub(in crate::image) fn add(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.entries += 1;
        if let What::File(File { kind: FileKind::Regular { size, .. }, .. }) = entry.what {
            self.bytes = self.bytes.saturating_add(size);
        }
        self.line(&Line { path: escape(&entry.path), what: shape(&entry.what) })
    }

    /// Seals the list and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub(in crate::image) fn finish(mut self, skipped: &Skipped) -> std::io::Result<W> {
        let Skipped { devices, set_id, attributes } = *skipped;
        let sha256 = Digest::finish(self.hash.clone()).hex().to_owned();
        let what = Shape::End { entries: self.entries, bytes: self.bytes, devices, set_id, attributes, sha256 };
        self.line(&Line { path: String::new(), what })?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.hash.update(&text);
        self.output.write_all(&text)
    }
}

/// Reads a list.
///
/// # Errors
/// Anything but a whole list as it was written.
pub(in crate::image) fn read(mut input: impl BufRead) -> Result<(Vec<Entry>, Skipped)> {
    let damaged = |why: &str| Error::new(Kind::Host, format!("the list of the layer is damaged: {why}"));
    let mut hash = Sha256::new();
    let mut entries: Vec<Entry> = Vec::new();
    let mut text = Vec::new();
    loop {
        text.clear();
        let length = std::io::Read::take(&mut input, LINE).read_until(b'\n', &mut text);
        if length.map_err(|error| Error::io("cannot read the list of the layer", &error))? == 0 {
            return Err(damaged("it has no end"));
        }
        let line: Line = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
        if let Shape::End { entries: count, devices, set_id, attributes, sha256, .. } = line.what {
            let whole = u64::try_from(entries.len()) == Ok(count) && sha256 == Digest::finish(hash).hex();
            let after = input.fill_buf().map_err(|error| Error::io("cannot read the list of the layer", &error))?;
            return match (whole, after.is_empty()) {
                (true, true) => Ok((entries, Skipped { devices, set_id, attributes })),
                (false, _) => Err(damaged("its digest is another")),
                (_, false) => Err(damaged("something follows its end")),
            };
        }
        hash.update(&text);
        let what = unshape(line.what).ok_or_else(|| damaged("a value is out of range"))?;
        let path = unescape(&line.path).ok_or_else(|| damaged("a name is not escaped right"))?;
        entries.push(Entry { path, what });
    }
}

/// Returns the totals of a list from its end, without reading all of it: `None` for one that is damaged there.
///
/// # Errors
/// A file that cannot be read.
pub(in crate::image) fn totals(file: &mut std::fs::File) -> std::io::Result<Option<Totals>> {
    const END: u64 = 1024;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(END)))?;
    let mut text = Vec::new();
    std::io::Read::take(&mut *file, END).read_to_end(&mut text)?;
    let last = text.strip_suffix(b"\n").and_then(|text| text.rsplit(|byte| *byte == b'\n').next());
    let line = last.and_then(|line| serde_json::from_slice::<Line>(line).ok());
    Ok(line.and_then(|line| match line.what {
        Shape::End { entries, bytes, .. } => Some(Totals { entries, bytes }),
        _ => None,
    }))
}

fn shape(what: &What) -> Shape {
    match what {
        What::Directory(Directory { described, mode, owner, time, attributes }) => Shape::Directory {
            described: *described == Described::Yes,
            mode: *mode,
            uid: owner.uid,
            gid: owner.gid,
            time: time.map(|time| (time.seconds, time.nanoseconds)),
            attributes: escaped(attributes),
        },
        What::File(File { kind, mode, owner: Owner { uid, gid }, time, attributes }) => {
            let (mode, uid, gid, time) = (*mode, *uid, *gid, (time.seconds, time.nanoseconds));
            match kind {
                FileKind::Regular { size, sha256 } => {
                    let (sha256, attributes) = (digest::hex(sha256), escaped(attributes));
                    Shape::File { mode, uid, gid, time, size: *size, sha256, attributes }
                }
                FileKind::Symlink { target } => Shape::Symlink { mode, uid, gid, time, target: escape(target) },
                FileKind::Fifo => Shape::Fifo { mode, uid, gid, time },
            }
        }
        What::Link { target } => Shape::Link { target: escape(target) },
        What::Hidden => Shape::Hidden,
        What::Opaque => Shape::Opaque,
    }
}

fn unshape(shape: Shape) -> Option<What> {
    let at = |(seconds, nanoseconds)| Time { seconds, nanoseconds };
    let file = |kind, mode, (uid, gid), time| File {
        kind,
        mode,
        owner: Owner { uid, gid },
        time: at(time),
        attributes: Vec::new(),
    };
    Some(match shape {
        Shape::Directory { described, mode, uid, gid, time, attributes } => What::Directory(Directory {
            described: if described { Described::Yes } else { Described::No },
            mode,
            owner: Owner { uid, gid },
            time: time.map(at),
            attributes: unescaped(&attributes)?,
        }),
        Shape::File { mode, uid, gid, time, size, sha256, attributes } => What::File(File {
            attributes: unescaped(&attributes)?,
            ..file(FileKind::Regular { size, sha256: unhex(&sha256)? }, mode, (uid, gid), time)
        }),
        Shape::Symlink { mode, uid, gid, time, target } => {
            What::File(file(FileKind::Symlink { target: unescape(&target)? }, mode, (uid, gid), time))
        }
        Shape::Fifo { mode, uid, gid, time } => What::File(file(FileKind::Fifo, mode, (uid, gid), time)),
        Shape::Link { target } => What::Link { target: unescape(&target)? },
        Shape::Hidden => What::Hidden,
        Shape::Opaque => What::Opaque,
        Shape::End { .. } => return None,
    })
}

fn escaped(attributes: &Attributes) -> Vec<(String, String)> {
    attributes.iter().map(|(name, value)| (escape(name), escape(value))).collect()
}

fn unescaped(attributes: &[(String, String)]) -> Option<Attributes> {
    attributes.iter().map(|(name, value)| Some((unescape(name)?, unescape(value)?))).collect()
}

fn escape(name: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for piece in name.utf8_chunks() {
        for character in piece.valid().chars() {
            match character {
                '%' => text.push_str("%25"),
                _ => text.push(character),
            }
        }
        for byte in piece.invalid() {
            // Writing into a String cannot fail.
            let _: std::fmt::Result = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut name = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend(rest.as_bytes());
    }
    Some(name)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}
