//! What a spec is made of besides its meaning: its words, and between them comments, ends of lines and lines that go
//! on. The words are those of `scan`; only what lies between them is cut here.

use crate::spec::character::{is_newline, is_space};
use crate::spec::scan::{Kind, Token};

/// What stands in a text, without the spaces between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    Word(Kind, &'t str),
    /// `// …`, without the end of the line and spaces before it.
    Line(&'t str),
    /// `/* … */`
    Block(&'t str),
    /// `\` at the end of a line, and the comments behind it.
    Continued(Vec<&'t str>),
}

impl Piece<'_> {
    pub(crate) fn is(&self, wanted: Kind) -> bool {
        matches!(self, Self::Word(kind, _) if *kind == wanted)
    }

    pub(crate) fn is_comment(&self) -> bool {
        matches!(self, Self::Line(_) | Self::Block(_))
    }
}

/// A text in its pieces.
#[derive(Debug)]
pub(crate) struct Layout<'t> {
    /// The first line, if it is for the kernel.
    pub(crate) first: Option<&'t str>,
    pub(crate) pieces: Vec<Piece<'t>>,
    /// For each comment to the end of its line in turn: how many characters stand before it on its line.
    pub(crate) columns: Vec<usize>,
}

/// Returns the pieces of `text`, whose words are `tokens`.
pub(crate) fn layout<'t>(text: &'t str, tokens: &[Token]) -> Layout<'t> {
    let whole = text;
    let text = text.strip_prefix('\u{feff}').map_or((text, 0), |rest| (rest, 3));
    let (rest, mut at) = text;
    let first = rest.starts_with("#!").then(|| &rest[..rest.find(is_newline).unwrap_or(rest.len())]);
    let (text, skipped) = text;
    at += first.map_or(0, str::len);
    let source = |start: usize, end: usize| &text[start - skipped..end - skipped];
    let mut pieces = Vec::with_capacity(2 * tokens.len());
    let mut columns = Vec::new();
    let mut between = |start: usize, end: usize, pieces: &mut Vec<Piece<'t>>| {
        let gap = source(start, end);
        between(gap, pieces);
        // Nothing can follow such a comment, so it is the last of its gap.
        if let Some(Piece::Line(comment)) = pieces.last()
            && gap.trim_end().ends_with(comment)
            && !comment.is_empty()
        {
            let at = start + gap.trim_end().len() - comment.len();
            columns.push(whole[..at].chars().rev().take_while(|c| !is_newline(*c)).count());
        }
    };
    let mut before = "";
    for token in tokens {
        between(at, token.span.start, &mut pieces);
        let word = source(token.span.start, token.span.end);
        // The two halves of a line end of DOS are one.
        let half = word == "\n" && before == "\r" && at == token.span.start;
        if !half {
            pieces.push(Piece::Word(token.kind, word));
        }
        (at, before) = (token.span.end, word);
    }
    between(at, whole.len(), &mut pieces);
    Layout { first, pieces, columns }
}

/// Cuts what stands between two tokens.
fn between<'t>(gap: &'t str, pieces: &mut Vec<Piece<'t>>) {
    let mut rest = gap;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = comment(rest) {
            let text = &rest[..length];
            pieces.push(if text.starts_with("//") { Piece::Line(text.trim_end()) } else { Piece::Block(text) });
            rest = &rest[length..];
        } else if c == '\\' {
            let mut comments = Vec::new();
            rest = &rest[1..];
            while let Some(c) = rest.chars().next() {
                let length = comment(rest);
                if let Some(length) = length {
                    comments.push(rest[..length].trim_end());
                    rest = &rest[length..];
                } else if is_space(c) {
                    rest = &rest[c.len_utf8()..];
                } else {
                    rest = rest.strip_prefix("\r\n").unwrap_or(&rest[c.len_utf8()..]);
                    break;
                }
            }
            pieces.push(Piece::Continued(comments));
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
}

/// Returns the length of the comment that `text` begins with, if it does.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find(is_newline).unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (bytes, mut at, mut depth) = (text.as_bytes(), 0, 0usize);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}
