//! The list of a layer as a file: JSON, one line an entry, the last one sealing those before with a
//! digest. Names are bytes: what is not UTF-8 is written as `%XX`, and so is `%`.

use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write};

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::Skipped;
use crate::image::digest::{self, Digest};
use crate::image::layer::escape::{escape, unescape};
use crate::image::layer::{Attributes, Contents, Described, Directory, Entry, File, FileKind, What};
use crate::image::store::failed;
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

/// All that any line has: an enumeration inside would be gathered field by field first, and read at half the pace.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Line {
    path: String,
    kind: Tag,
    #[serde(skip_serializing_if = "Option::is_none")]
    described: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<(i64, u32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blake3: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Several>,
    /// Of the end that of all lines before it; of a file that of its contents, where an earlier sbx wrote the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tag {
    /// None; no list has such a line.
    #[default]
    #[serde(skip)]
    Unknown,
    Directory,
    File,
    Symlink,
    Fifo,
    Link,
    Hidden,
    Opaque,
    End,
}

/// Extended attributes: those of a file, or how many a layer has that the tree has not.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Several {
    Names(Vec<(String, String)>),
    Count(u64),
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
        self.line(&Line { path: escape(&entry.path), ..line(&entry.what) })
    }

    /// Seals the list and returns the output.
    ///
    /// # Errors
    /// Those of the output.
    pub(in crate::image) fn finish(mut self, skipped: &Skipped) -> std::io::Result<W> {
        let Skipped { devices, set_id, attributes } = *skipped;
        self.line(&Line {
            kind: Tag::End,
            entries: Some(self.entries),
            bytes: Some(self.bytes),
            devices: Some(devices),
            set_id: Some(set_id),
            attributes: Some(Several::Count(attributes)),
            sha256: Some(Digest::finish(self.hash.clone()).hex().to_owned()),
            ..Line::default()
        })?;
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

/// The entries of a list as it was written, one after the other; then an error, where it was not.
struct Lines<R> {
    input: R,
    hash: Sha256,
    entries: u64,
    /// The line that is read.
    text: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    fn new(input: R) -> Self {
        Self { input, hash: Sha256::new(), entries: 0, text: Vec::new(), ended: false }
    }

    /// Returns the next entry, or `None` at the end of a whole list.
    fn entry(&mut self) -> Result<Option<Entry>> {
        let damaged = |why: &str| Error::new(Kind::Host, format!("the list of the layer is damaged: {why}"));
        let unread = |error| Error::io("cannot read the list of the layer", &error);
        self.text.clear();
        let length = std::io::Read::take(&mut self.input, LINE).read_until(b'\n', &mut self.text);
        if length.map_err(unread)? == 0 {
            return Err(damaged("it has no end"));
        }
        let line: Line = serde_json::from_slice(&self.text).map_err(|error| damaged(&error.to_string()))?;
        if let Some(totals) = line.end() {
            let digest = Digest::finish(std::mem::take(&mut self.hash));
            let whole = self.entries == totals.entries && line.sha256.as_deref() == Some(digest.hex());
            return match (whole, self.input.fill_buf().map_err(unread)?.is_empty()) {
                (true, true) => Ok(None),
                (false, _) => Err(damaged("its digest is another")),
                (_, false) => Err(damaged("something follows its end")),
            };
        }
        self.hash.update(&self.text);
        self.entries += 1;
        let path = unescape(&line.path).ok_or_else(|| damaged("a name is not escaped right"))?;
        let what = line.what().ok_or_else(|| damaged("a value is missing or out of range"))?;
        Ok(Some(Entry { path, what }))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.entry().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Opens the list at `path`.
///
/// # Errors
/// A file that cannot be opened.
pub(in crate::image) fn open(path: &Path) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
    let list = std::fs::File::open(path).map_err(|error| failed("open", path, &error))?;
    Ok(Lines::new(BufReader::with_capacity(256 << 10, list)))
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
    Ok(line.and_then(|line| line.end()))
}

fn line(what: &What) -> Line {
    match what {
        What::Directory(Directory { described, mode, owner, time, attributes }) => Line {
            described: Some(*described == Described::Yes),
            attributes: several(attributes),
            ..common(Tag::Directory, (*mode, *owner), *time)
        },
        What::File(File { kind, mode, owner, time, attributes }) => {
            let common = |kind| common(kind, (*mode, *owner), Some(*time));
            match kind {
                FileKind::Regular { size, contents } => {
                    let (blake3, sha256) = match contents {
                        Contents::Blake3(digest) => (Some(digest::hex(digest)), None),
                        Contents::Sha256(digest) => (None, Some(digest::hex(digest))),
                    };
                    Line { size: Some(*size), blake3, sha256, attributes: several(attributes), ..common(Tag::File) }
                }
                FileKind::Symlink { target } => Line { target: Some(escape(target)), ..common(Tag::Symlink) },
                FileKind::Fifo => common(Tag::Fifo),
            }
        }
        What::Link { target } => Line { kind: Tag::Link, target: Some(escape(target)), ..Line::default() },
        What::Hidden => Line { kind: Tag::Hidden, ..Line::default() },
        What::Opaque => Line { kind: Tag::Opaque, ..Line::default() },
    }
}

fn common(kind: Tag, (mode, Owner { uid, gid }): (u32, Owner), time: Option<Time>) -> Line {
    let time = time.map(|time| (time.seconds, time.nanoseconds));
    Line { kind, mode: Some(mode), uid: Some(uid), gid: Some(gid), time, ..Line::default() }
}

impl Line {
    /// Returns what the last line says.
    fn end(&self) -> Option<Totals> {
        let &Self { kind: Tag::End, entries: Some(entries), bytes: Some(bytes), .. } = self else { return None };
        let &Self { devices: Some(_), set_id: Some(_), attributes: Some(Several::Count(_)), .. } = self else {
            return None;
        };
        Some(Totals { entries, bytes })
    }

    /// Returns what any other says.
    fn what(self) -> Option<What> {
        Some(match self.kind {
            Tag::Directory => What::Directory(Directory {
                described: if self.described? { Described::Yes } else { Described::No },
                mode: self.mode?,
                owner: Owner { uid: self.uid?, gid: self.gid? },
                time: self.time(),
                attributes: names(self.attributes)?,
            }),
            Tag::File | Tag::Symlink | Tag::Fifo => What::File(File {
                mode: self.mode?,
                owner: Owner { uid: self.uid?, gid: self.gid? },
                time: self.time()?,
                kind: match self.kind {
                    Tag::File => FileKind::Regular {
                        size: self.size?,
                        contents: match (self.blake3, self.sha256) {
                            (Some(digest), None) => Contents::Blake3(unhex(&digest)?),
                            (None, Some(digest)) => Contents::Sha256(unhex(&digest)?),
                            _ => return None,
                        },
                    },
                    Tag::Symlink => FileKind::Symlink { target: unescape(&self.target?)? },
                    _ => FileKind::Fifo,
                },
                attributes: names(self.attributes)?,
            }),
            Tag::Link => What::Link { target: unescape(&self.target?)? },
            Tag::Hidden => What::Hidden,
            Tag::Opaque => What::Opaque,
            Tag::Unknown | Tag::End => return None,
        })
    }

    fn time(&self) -> Option<Time> {
        self.time.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds })
    }
}

fn several(attributes: &Attributes) -> Option<Several> {
    let names = attributes.iter().map(|(name, value)| (escape(name), escape(value)));
    (!attributes.is_empty()).then(|| Several::Names(names.collect()))
}

fn names(attributes: Option<Several>) -> Option<Attributes> {
    match attributes {
        None => Some(Attributes::new()),
        Some(Several::Names(names)) => {
            names.iter().map(|(name, value)| Some((unescape(name)?, unescape(value)?))).collect()
        }
        Some(Several::Count(_)) => None,
    }
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 {
        return None;
    }
    let (pairs, _) = text.as_bytes().as_chunks();
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Digest, Lines};
    use crate::error::Result;
    use crate::image::layer::{Contents, Entry, File, FileKind, What};
    use crate::sys::file::{Owner, Time};

    const FILE: &str = r#"{"path":"a%25","kind":"file","mode":420,"uid":1,"gid":2,"time":[3,4],"size":5,"#;

    fn sealed(file: &str) -> String {
        let lines = format!("{FILE}{file}}}\n");
        let digest = Digest::of(lines.as_bytes());
        let end = r#""kind":"end","entries":1,"bytes":5,"devices":0,"set_id":0,"attributes":7"#;
        format!("{lines}{{\"path\":\"\",{end},\"sha256\":\"{}\"}}\n", digest.hex())
    }

    fn read(list: &str) -> Result<Vec<Entry>> {
        Lines::new(list.as_bytes()).collect()
    }

    /// A store outlives the sbx that made it.
    #[test]
    fn a_list_of_an_earlier_sbx_is_read_as_what_it_is() {
        let digits = "0f".repeat(32);
        for (name, contents) in [("sha256", Contents::Sha256([15; 32])), ("blake3", Contents::Blake3([15; 32]))] {
            let entries = read(&sealed(&format!("\"{name}\":\"{digits}\""))).unwrap();
            let what = What::File(File {
                kind: FileKind::Regular { size: 5, contents },
                mode: 0o644,
                owner: Owner { uid: 1, gid: 2 },
                time: Time { seconds: 3, nanoseconds: 4 },
                attributes: Vec::new(),
            });
            assert_eq!(entries, [Entry { path: b"a%".to_vec(), what }]);
        }
    }

    #[test]
    fn a_file_has_one_digest_and_no_words_that_nobody_knows() {
        let digits = "0f".repeat(32);
        for file in [
            String::from(r#""target":"x""#),
            format!(r#""sha256":"{digits}","blake3":"{digits}""#),
            format!(r#""blake3":"{}""#, &digits[2..]),
            format!(r#""blake3":"{digits}","attributes":1"#),
            format!(r#""blake3":"{digits}","shake":1"#),
        ] {
            let error = read(&sealed(&file)).unwrap_err().to_string();
            assert!(error.contains("the list of the layer is damaged"), "{file}: {error}");
        }
    }
}
