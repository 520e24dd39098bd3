//! Snapshots: what a run wrote and how it ended, as a text file beside the spec. They are read before anything is run
//! and written after, by descriptor, below the directory of the spec and through no link: commands may write there.

use std::ffi::{CString, OsStr};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::run::harvest::target::Target;
use crate::spec::Test;
use crate::spec::diagnostic::Finding;
use crate::sys::file::{self, Access};
use crate::sys::watch::{number, own};
use crate::sys::{Errno, Sys, path as files};
use crate::units::{Origin, Span, Spanned, shows_itself};

/// The directory beside the spec.
const DIRECTORY: &str = "snapshots";

/// What file systems of Linux take for the name of a file, in bytes.
const NAME_MAX: usize = 255;

/// More than the longest text of two streams has: see [`crate::run::CAPTURE_MAX`].
const MAX: u64 = 16 << 20;

/// What begins the lines of a snapshot that are no output.
const MARK: &str = "--- ";
const NO_NEWLINE: &str = "(no newline at the end)";

/// What lies in the place of a snapshot, and which directory that of the spec is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub content: OnDisk,
    /// By device and inode; none where it could not be opened.
    home: Option<(u64, u64)>,
}

/// What of a snapshot is there before the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnDisk {
    Missing,
    Text(String),
    /// Why it cannot be read.
    Unreadable(String),
}

/// Returns where the snapshot of the test `name` of `spec` lies.
#[must_use]
pub fn path(spec: &Path, name: &str) -> PathBuf {
    let file = spec.file_name().map(|file| file.to_string_lossy()).unwrap_or_default();
    let stem = file.strip_suffix(".sbx.kdl").or(file.strip_suffix(".kdl")).unwrap_or(&file);
    let mut slug = String::new();
    for character in name.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            slug.push(character);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    let directory = spec.parent().unwrap_or(Path::new("")).join(DIRECTORY);
    directory.join(format!("{stem}__{}.snap", slug.trim_end_matches('-')))
}

/// Returns what is wrong with the names of `tests` of `spec` whose snapshots no directory could hold.
#[must_use]
pub fn unstorable(spec: &Path, tests: &[Spanned<Test>]) -> Vec<Finding> {
    let with = tests.iter().filter(|test| test.value.expect.snapshot.is_some());
    let findings = with.filter_map(|test| {
        let length = path(spec, &test.value.name).file_name().unwrap_or_default().len();
        let span = match test.origin {
            Origin::Spec(span) => span,
            Origin::CommandLine | Origin::Image | Origin::Default => Span::default(),
        };
        let message = format!("the name of the snapshot has {length} bytes, of {NAME_MAX} that there can be");
        let finding = Finding::new(span, message).label("from the name of the test and of the spec");
        (length > NAME_MAX).then_some(finding.help("give the test a shorter name"))
    });
    findings.collect()
}

impl Kept {
    /// Looks at the snapshot at `path`, which is one of [`path`].
    #[must_use]
    pub fn look(path: &Path) -> Self {
        let home = match file::open(home_of(path), Access::DirectoryPlace) {
            Ok(home) => home,
            Err(errno) => return Self { content: OnDisk::Unreadable(unread(path, errno)), home: None },
        };
        let content = read(&home, path).unwrap_or_else(OnDisk::Unreadable);
        Self { content, home: identity(&home).ok() }
    }

    /// Writes `text` to the snapshot at `path`, whole or not at all.
    ///
    /// # Errors
    /// What stands in the way: the directory of the spec is another one than before, that of the snapshots a link.
    pub fn replace(&self, path: &Path, text: &str) -> Result<()> {
        let goal = format!("cannot write the snapshot `{}`", path.display());
        let failed = |errno: Errno| Error::io(&goal, &errno.into());
        let home = file::open(home_of(path), Access::DirectoryPlace).map_err(failed)?;
        if Some(identity(&home).map_err(failed)?) != self.home {
            let message = format!("{goal}: `{}` is not the directory that it was", home_of(path).display());
            return Err(
                Error::new(Kind::Io, message).with_hint("look at what the tests do to the directories of specs")
            );
        }
        let name = path.file_name().unwrap_or_default();
        let target = Target::within(directory(&home).map_err(failed)?, name, path.display().to_string());
        let (staged, mut file) = target.stage_file().map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(|source| Error::io(&goal, &source))?;
        staged.put().map_err(failed)
    }
}

/// Returns the directory of the spec of a snapshot.
fn home_of(path: &Path) -> &Path {
    let home = path.parent().and_then(Path::parent).unwrap_or(Path::new(""));
    if home.as_os_str().is_empty() { Path::new(".") } else { home }
}

fn identity(home: &OwnedFd) -> Sys<(u64, u64)> {
    file::stat(home).map(|found| (found.device, found.inode))
}

/// Opens the directory of the snapshots and makes it where it is not there.
fn directory(home: &OwnedFd) -> Sys<OwnedFd> {
    let name = CString::new(DIRECTORY).map_err(|_| Errno::EINVAL)?;
    let open = || files::open_beneath(number(home), &name, libc::O_PATH | libc::O_DIRECTORY).map(own);
    match open() {
        Err(Errno::ENOENT) => {
            files::make_dir_at(number(home), &name, 0o777)?;
            open()
        }
        opened => opened,
    }
}

/// Nothing but a regular file is read, and nothing waits for what another one would give.
fn read(home: &OwnedFd, path: &Path) -> std::result::Result<OnDisk, String> {
    let below = Path::new(DIRECTORY).join(path.file_name().unwrap_or(OsStr::new("")));
    let below = CString::new(below.as_os_str().as_bytes()).map_err(|_| unread(path, Errno::EINVAL))?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match files::open_beneath(number(home), &below, flags) {
        Ok(file) => File::from(own(file)),
        Err(Errno::ENOENT) => return Ok(OnDisk::Missing),
        Err(errno) => return Err(unread(path, errno)),
    };
    let why = |why: &str| format!("cannot read the snapshot `{}`: it {why}", path.display());
    let failed = |source: std::io::Error| Error::io(what(path), &source).to_string();
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(why("is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).map_err(failed)?;
    if found.len() > MAX {
        return Err(why(&format!("has {} bytes, more than any", found.len())));
    }
    String::from_utf8(bytes)
        .map(OnDisk::Text)
        .map_err(|_| why("is not UTF-8; remove it, and let `--update` make it anew"))
}

fn what(path: &Path) -> String {
    format!("cannot read the snapshot `{}`", path.display())
}

fn unread(path: &Path, errno: Errno) -> String {
    Error::io(what(path), &errno.into()).to_string()
}

/// Returns the text of a snapshot. No two outputs have the same.
#[must_use]
pub fn text(ended: &str, stdout: &[u8], stderr: &[u8]) -> String {
    let mut text = format!("{ended}\n");
    for (name, stream) in [("stdout", stdout), ("stderr", stderr)] {
        if stream.is_empty() {
            continue;
        }
        text.extend([MARK, name, "\n"]);
        for line in stream.split_inclusive(|byte| *byte == b'\n') {
            write_line(line.strip_suffix(b"\n").unwrap_or(line), &mut text);
            text.push('\n');
        }
        if !stream.ends_with(b"\n") {
            text.extend([NO_NEWLINE, "\n"]);
        }
    }
    text
}

/// Leaves a line as it is where it shows itself: the file is read by people, in reviews too.
fn write_line(line: &[u8], text: &mut String) {
    // Nothing else begins with `\-` or `\(`, as a backslash of the output is doubled.
    if [MARK, NO_NEWLINE].iter().any(|mark| line.starts_with(mark.as_bytes())) {
        text.push('\\');
    }
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\t' => text.push('\t'),
                shown if shows_itself(shown) => text.push(shown),
                hidden => text.extend(hidden.escape_default()),
            }
        }
        for byte in chunk.invalid() {
            // Into a string nothing can fail.
            write!(text, "\\x{byte:02x}").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{path, text};

    #[test]
    fn a_snapshot_lies_beside_its_spec() {
        let of = |spec: &str, name: &str| path(Path::new(spec), name).display().to_string();
        assert_eq!(of("a/app.sbx.kdl", "Rejects  an empty/file!"), "a/snapshots/app__rejects-an-empty-file.snap");
        assert_eq!(of("app.kdl", "../../x"), "snapshots/app__x.snap");
    }

    #[test]
    fn a_snapshot_can_be_read() {
        insta::assert_snapshot!(text("exited 1", b"one\n\ttwo\x1b[1m\n", b"oops"), @r"
        exited 1
        --- stdout
        one
        	two\u{1b}[1m
        --- stderr
        oops
        (no newline at the end)
        ");
        assert_eq!(text("exited 0", b"", b""), "exited 0\n");
    }

    #[test]
    fn no_two_outputs_have_one_snapshot() {
        let outputs: [(&[u8], &[u8]); 12] = [
            (b"\xff\x80", b""),
            (b"\xfe\x81", b""),
            (b"\\xff\\x80", b""),
            ("\u{fffd}\u{fffd}".as_bytes(), b""),
            (b"\x1b", b""),
            (b"\\u{1b}", b""),
            (b"a", b""),
            (b"a\n(no newline at the end)\n", b""),
            (b"a\n\\(no newline at the end)\n", b""),
            (b"a\n", b"b\n"),
            (b"a\n--- stderr\nb\n", b""),
            (b"a\n\\--- stderr\nb\n", b""),
        ];
        let texts: std::collections::BTreeSet<String> =
            outputs.iter().map(|(stdout, stderr)| text("exited 0", stdout, stderr)).collect();
        assert_eq!(texts.len(), outputs.len(), "{texts:#?}");
        assert!(texts.iter().all(|text| !text.contains(['\u{1b}', '\u{fffd}']) || text.contains("\u{fffd}\u{fffd}")));
    }
}
