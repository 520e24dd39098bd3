//! Words and numbers that every floor shares: sizes, processor shares, paths
//! inside the sandbox, places in a text. It knows no other file of the crate.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// A range of bytes in the text of a spec, `start` inclusive, `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// Where a value came from: a place in the spec, a flag of the command line, the image, or
/// the defaults of sbx itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Spec(Span),
    CommandLine,
    /// The configuration of the image.
    Image,
    Default,
}

/// A value together with where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub origin: Origin,
}

/// The text in which the spans of a spec, a plan or an error are places: the spec's own and behind it, as if all
/// were one, those of the files that it extends.
#[derive(Debug, Clone, Copy)]
pub struct SpecText<'a> {
    /// The path as the caller gave it.
    pub name: &'a str,
    pub text: &'a str,
    /// In the order of their places.
    pub extended: &'a [Extended],
}

/// A file that a spec extends, by itself or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extended {
    pub name: String,
    pub text: String,
    /// The place of its first byte in the whole.
    pub start: usize,
}

impl<'a> SpecText<'a> {
    /// Returns the text of a spec that extends no other.
    #[must_use]
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, extended: &[] }
    }

    /// Returns the name and the text of the file in which a span begins, and the span in that file.
    #[must_use]
    pub fn file(self, span: Span) -> (&'a str, &'a str, Span) {
        match self.extended.iter().rev().find(|extended| extended.start <= span.start) {
            Some(Extended { name, text, start }) => {
                (name, text, Span { start: span.start - start, end: span.end.saturating_sub(*start) })
            }
            None => (self.name, self.text, span),
        }
    }

    /// Returns the name of the file in which a span begins, the line and the column, as [`position`] does.
    #[must_use]
    pub fn place(self, span: Span) -> (&'a str, (usize, usize)) {
        let (name, text, span) = self.file(span);
        (name, position(text, span.start))
    }
}

impl<T> Spanned<T> {
    /// Returns `value` as written at `origin`.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// Writes the largest unit of 1024 that divides the number: `512M`, `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        for (shift, unit) in UNITS {
            let size = 1u64 << shift;
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A share of the processors in thousandths: 1500 is one and a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCores(pub u32);

impl fmt::Display for MilliCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A path inside the sandbox: absolute, without `..`, `.`, empty components or
/// NUL, and without a trailing slash (but for `/` itself).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsPath(String);

/// Why a text is not an [`AbsPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAbsPath {
    Relative,
    ParentComponent,
    Nul,
    TooLong,
}

impl fmt::Display for NotAbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "must be absolute",
            Self::ParentComponent => "must not contain `..`",
            Self::Nul => "must not contain a NUL character",
            Self::TooLong => "must be shorter than 4096 bytes",
        })
    }
}

impl AbsPath {
    /// Returns the path `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Returns `text` as a path, with repeated slashes and `.` folded away.
    ///
    /// # Errors
    /// The rule that `text` breaks; the length limit is `PATH_MAX` of path_resolution(7).
    pub fn new(text: &str) -> Result<Self, NotAbsPath> {
        if !text.starts_with('/') {
            return Err(NotAbsPath::Relative);
        }
        if text.contains('\0') {
            return Err(NotAbsPath::Nul);
        }
        if text.len() >= 4096 {
            return Err(NotAbsPath::TooLong);
        }
        let mut path = String::with_capacity(text.len());
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(NotAbsPath::ParentComponent);
            }
            path.push('/');
            path.push_str(part);
        }
        Ok(if path.is_empty() { Self::root() } else { Self(path) })
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path one component up, or `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.rfind('/')?;
        match (slash, self.0.len()) {
            (0, 1) => None,
            (0, _) => Some(Self::root()),
            _ => Some(Self(self.0[..slash].to_owned())),
        }
    }

    /// Returns whether `self` is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0 == "/" || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns a length of time as the language writes it: `2m30s`, `500ms`.
#[must_use]
pub fn duration(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

/// Returns the line and the column of the byte `offset` of `text`, both counted
/// from 1, the column in characters. An offset beyond the end is the end.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let head = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let start = head.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = head.iter().filter(|byte| **byte == b'\n').count() + 1;
    // Bytes that begin a character, so that an offset within one cannot go wrong.
    let column = head[start..].iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
    (line, column)
}

/// Returns whether a terminal shows `character` as itself. The others act on it
/// (control characters) or change or hide what stands beside them (format
/// characters), as in CVE-2023-28101 and CVE-2021-42574.
pub(crate) fn shows_itself(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Returns the path without `.` and `..`, which goes up by name, whatever lies there.
#[must_use]
pub fn folded(path: &Path) -> PathBuf {
    let mut folded = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(folded.pop()),
            part => folded.push(part),
        }
    }
    folded
}

/// Returns `text` with every character that does not show itself written out, as in `\u{202e}`.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(shows_itself) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::with_capacity(text.len() + 16), |mut shown, character| {
        match shows_itself(character) {
            true => shown.push(character),
            false => shown.extend(character.escape_default()),
        }
        shown
    }))
}

/// Returns the bytes of a name as text of one line.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name)
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

/// One word of a line that is read by people: as it is where that is one visible
/// word, in double quotes with escapes where it is not.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a>(pub &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| shows_itself(c) && !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\');
        if !self.0.is_empty() && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                character if shows_itself(character) => f.write_char(character)?,
                character => write!(f, "{}", character.escape_default())?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Word, folded, position, visible};

    #[test]
    fn a_path_with_dots_is_another_name_of_one_without() {
        for (path, plain) in
            [("/a/b", "/a/b"), ("/etc/../tmp", "/tmp"), ("/../a/./..//b/", "/b"), ("/a/..", "/"), ("/a/../..", "/")]
        {
            assert_eq!(folded(Path::new(path)), Path::new(plain), "{path}");
        }
    }

    #[test]
    fn a_position_counts_characters_and_survives_any_offset() {
        let text = "a\nßé x\n";
        let found: Vec<_> = [0, 1, 2, 4, 6, 7, 8, 9, 99].map(|offset| position(text, offset)).into();
        assert_eq!(found, [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 1), (3, 1)]);
        assert_eq!(position(text, 3), (2, 2), "within a character");
        assert_eq!(position("", 0), (1, 1));
    }

    #[test]
    fn what_acts_on_a_terminal_is_written_out() {
        for (text, shown) in [
            ("plain ß e\u{301}", "plain ß e\u{301}"),
            ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
            ("a\nb\tc\u{7f}\u{9b}", r"a\nb\tc\u{7f}\u{9b}"),
            ("\u{202e}gpj.exe", r"\u{202e}gpj.exe"),
            ("\u{2066}\u{200b}\u{feff}\u{2028}", r"\u{2066}\u{200b}\u{feff}\u{2028}"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn a_word_is_quoted_only_where_it_would_not_be_one() {
        for (word, shown) in [
            ("/srv/root", "/srv/root"),
            ("", r#""""#),
            ("a b", r#""a b""#),
            (r#"a"b\c"#, r#""a\"b\\c""#),
            ("a\nb", r#""a\nb""#),
            ("a\u{a0}b", "\"a\u{a0}b\""),
            ("\u{202e}", r#""\u{202e}""#),
        ] {
            assert_eq!(Word(word).to_string(), shown);
        }
    }
}
