//! The classes of characters of KDL 2, and those that no spec may hold. It knows no
//! token.

use crate::spec::diagnostic::{Finding, Findings};
use crate::units::Span;

/// Code points that change what a reader sees are refused wherever they stand: KDL
/// refuses most of them in strings only, and a comment can hide a line as well.
pub(crate) fn reject_invisible(text: &str, out: &mut Findings) {
    let suspicious = |byte: u8| (byte < 0x20 && !matches!(byte, b'\t'..=b'\r')) || byte == 0x7f || byte >= 0xe2;
    if !text.bytes().any(suspicious) {
        return;
    }
    for (at, c) in text.char_indices() {
        let refused = matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (c == '\u{feff}' && at > 0);
        if refused {
            let span = Span { start: at, end: at + c.len_utf8() };
            let finding = Finding::new(span, format!("the character U+{:04X} is not allowed", u32::from(c)))
                .label("invisible character")
                .help("in a quoted string it can be written as `\\u{…}`");
            out.push(finding);
        }
        if out.is_full() {
            return;
        }
    }
}

/// Whether KDL ends a line at `c`.
pub(crate) fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether KDL takes `c` for a space.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Whether KDL lets `c` stand in a word.
pub(crate) fn is_word(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => true,
        '\\' | '/' | '(' | ')' | '{' | '}' | '[' | ']' | ';' | '"' | '#' | '=' => false,
        c => !is_space(c) && !is_newline(c) && !matches!(c, '\0'..='\u{1f}' | '\u{7f}' | '\u{feff}'),
    }
}

/// Whether the first character of `bytes` is one of [`is_newline`].
pub(crate) fn breaks_line(bytes: &[u8]) -> bool {
    match bytes {
        [b'\n' | b'\r' | 0xb | 0xc, ..] | [0xc2, 0x85, ..] => true,
        [0xe2, 0x80, last, ..] => matches!(last, 0xa8 | 0xa9),
        _ => false,
    }
}
