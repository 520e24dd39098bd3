//! The difference between what was expected and what was found, as lines that a person reads: `-` was expected, `+` was
//! found, and what a terminal would act on or not show at all is written out.

use std::borrow::Cow;
use std::time::Duration;

use similar::{Algorithm, ChangeTag, DiffOp, TextDiff};

use crate::units::{shows_itself, visible};

/// Lines around each change.
const CONTEXT: usize = 3;
/// Lines and characters of a line that are shown at most.
const LINES_MAX: usize = 120;
const WIDTH_MAX: usize = 400;
/// After this long a coarser difference will do.
const PATIENCE: Duration = Duration::from_millis(300);
/// What stands for the byte 0 where it is not of UTF-8, and so on: characters that are nobody's.
const BYTES: u32 = 0x10_ff00;

/// Returns the difference, without a final newline; empty if there is none.
#[must_use]
pub fn difference(expected: &str, found: &[u8]) -> String {
    let found = text(found);
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_lines(expected, &*found);
    let mut lines = Vec::new();
    for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if number > 0 {
            lines.push("  …".to_owned());
        }
        for op in group {
            let of = |tag| of_tag(&diff, *op, tag);
            lines.extend(of(ChangeTag::Equal).into_iter().map(|line| Line::new(line, Escape::Hidden).shown(' ', 0)));
            lines.extend(replaced(&of(ChangeTag::Delete), &of(ChangeTag::Insert)));
        }
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("  … {more} more lines"));
    }
    lines.join("\n")
}

fn of_tag<'a>(diff: &TextDiff<'a, 'a, 'a, str>, op: DiffOp, tag: ChangeTag) -> Vec<&'a str> {
    diff.iter_changes(&op).filter(|change| change.tag() == tag).map(|change| change.value()).collect()
}

/// Returns `bytes` as a text that no others have.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(BYTES + u32::from(*byte))));
    }
    Cow::Owned(text)
}

/// Returns the lines that went and those that came; each is shown from where it differs from its counterpart.
fn replaced(removed: &[&str], added: &[&str]) -> Vec<String> {
    let mut lines = [Vec::new(), Vec::new()];
    for number in 0..removed.len().max(added.len()) {
        let pair = [removed, added].map(|side| side.get(number));
        let mut both = pair.map(|line| line.map(|line| Line::new(line, Escape::Hidden)));
        if both[0] == both[1] {
            both = pair.map(|line| line.map(|line| Line::new(line, Escape::All)));
        }
        let start = match &both {
            [Some(one), Some(other)] => one.start(other),
            _ => 0,
        };
        for ((lines, line), mark) in lines.iter_mut().zip(both).zip(['-', '+']) {
            lines.extend(line.map(|line| line.shown(mark, start)));
        }
    }
    lines.concat()
}

/// What of a line is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// What nobody sees, or takes for a space.
    Hidden,
    /// Whatever could be taken for something else.
    All,
}

/// A line as it is shown, but for its length.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    text: Vec<char>,
    /// How many of the last characters are spaces.
    spaces: usize,
    has_end: bool,
}

impl Line {
    fn new(line: &str, escape: Escape) -> Self {
        let (line, has_end) = line.strip_suffix('\n').map_or((line, false), |line| (line, true));
        let mut text = Vec::with_capacity(line.len());
        for character in line.chars() {
            let is_taken = match escape {
                Escape::Hidden => character.is_whitespace() && character != ' ',
                Escape::All => character == '\\' || !character.is_ascii(),
            };
            match u32::from(character).checked_sub(BYTES) {
                Some(byte) => text.extend(format!("\\x{byte:02x}").chars()),
                None if is_taken || !shows_itself(character) => text.extend(character.escape_default()),
                None => text.push(character),
            }
        }
        Self { text, spaces: line.len() - line.trim_end_matches(' ').len(), has_end }
    }

    /// Returns where both have to be shown from, so that the first difference is seen.
    fn start(&self, other: &Self) -> usize {
        if self.text.len().max(other.text.len()) <= WIDTH_MAX {
            return 0;
        }
        let same = self.text.iter().zip(&other.text).take_while(|(one, other)| one == other).count();
        same.saturating_sub(WIDTH_MAX / 2)
    }

    fn shown(mut self, mark: char, start: usize) -> String {
        // Spaces at the end are seen only where they make a difference.
        if mark != ' ' {
            let bare = self.text.len() - self.spaces;
            self.text[bare..].fill('·');
        }
        let rest = self.text.get(start..).unwrap_or_default();
        let cut = &rest[..rest.len().min(WIDTH_MAX)];
        let mut shown = format!("{mark} ");
        shown.extend((start > 0).then_some('…'));
        shown.extend(cut);
        shown.extend((cut.len() < rest.len()).then_some('…'));
        if !self.has_end {
            shown.push_str("  (⏎ is missing)");
        }
        shown
    }
}

/// Returns `text` as it is shown where there is nothing to compare it with: cut, escaped, each line after `prefix`.
#[must_use]
pub fn shown(text: &str, prefix: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .take(LINES_MAX)
        .map(|line| format!("{prefix}{}", visible(line).chars().take(WIDTH_MAX).collect::<String>()))
        .collect();
    let more = text.lines().count().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.push(format!("{prefix}… {more} more lines"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::{difference, shown};

    #[test]
    fn what_was_expected_and_what_was_found_stand_below_each_other() {
        let expected = "1\n2\n3\n4\n5\n6\n7\n8\n9\nlast\n";
        let found = b"1\n2\n3\n4\nfive\x1b[2J\n6\n7\n8\n9\nlast  ";
        insta::assert_snapshot!(difference(expected, found), @r"
          2
          3
          4
        - 5
        + five\u{1b}[2J
          6
          7
          8
          9
        - last
        + last··  (⏎ is missing)
        ");
        assert_eq!(difference("same\n", b"same\n"), "");
    }

    #[test]
    fn a_large_difference_is_cut() {
        let many: String = (0..100_000).flat_map(|number| [number.to_string(), "\n".to_owned()]).collect();
        let cut = difference("", many.as_bytes());
        assert!(cut.lines().count() < 130 && cut.ends_with("more lines"), "{}", cut.len());
        assert!(shown(&many, "").lines().count() < 130);
        assert!(difference("", &[b'x'; 1 << 20]).len() < 2000);
    }

    #[test]
    fn two_lines_that_differ_are_shown_to_differ() {
        for (expected, found, shown) in [
            ("é", &b"\xe9"[..], r"- é|+ \xe9"),
            ("\u{fffd}", b"\xe9", "- \u{fffd}|+ \\xe9"),
            (r"\xe9\", b"\xe9\\", r"- \\xe9\\|+ \xe9\\"),
            (r"\t", b"\t", r"- \\t|+ \t"),
            ("a b", "a\u{a0}b".as_bytes(), r"- a b|+ a\u{a0}b"),
        ] {
            let difference = difference(&format!("{expected}\n"), &[found, b"\n"].concat());
            assert_eq!(difference.replace('\n', "|"), shown);
        }
    }

    #[test]
    fn a_long_line_is_shown_where_it_differs() {
        let long = "x".repeat(1000);
        let lines = |expected: &str, found: &str| difference(&format!("{expected}\n"), format!("{found}\n").as_bytes());
        let around = "x".repeat(200);
        let after = "x".repeat(199);
        assert_eq!(
            lines(&format!("{long}1{long}"), &format!("{long}2{long}")),
            format!("- …{around}1{after}…\n+ …{around}2{after}…")
        );
        assert_eq!(lines(&long, &format!("{long}y")), format!("- …{around}\n+ …{around}y"));
        assert_eq!(lines("a", &format!("b{long}")), format!("- a\n+ b{around}{after}…"));
    }
}
