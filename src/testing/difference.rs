//! The difference between what was expected and what was found, as lines that a person reads: `-` was expected, `+` was
//! found, and what a terminal would act on or not show at all is written out.

use std::time::Duration;

use similar::{Algorithm, ChangeTag, TextDiff};

use crate::units::visible;

/// Lines around each change.
const CONTEXT: usize = 3;
/// Lines and characters of a line that are shown at most.
const LINES_MAX: usize = 120;
const WIDTH_MAX: usize = 400;
/// After this long a coarser difference will do.
const PATIENCE: Duration = Duration::from_millis(300);

/// Returns the difference, without a final newline; empty if there is none.
#[must_use]
pub fn difference(expected: &str, found: &str) -> String {
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).timeout(PATIENCE).diff_lines(expected, found);
    let mut lines = Vec::new();
    for (number, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if number > 0 {
            lines.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let mark = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            lines.push(line(mark, change.value()));
        }
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    if more > 0 {
        lines.truncate(LINES_MAX);
        lines.push(format!("  … {more} more lines"));
    }
    lines.join("\n")
}

fn line(mark: char, value: &str) -> String {
    let (text, end) = match value.strip_suffix('\n') {
        Some(text) => (text, ""),
        None => (value, "⏎ is missing"),
    };
    let bare = text.trim_end_matches(' ');
    let mut shown: String = visible(bare).chars().take(WIDTH_MAX).collect();
    // Spaces at the end are seen only where they make a difference.
    let spaces = text.len() - bare.len();
    shown.extend(std::iter::repeat_n(if mark == ' ' { ' ' } else { '·' }, spaces.min(WIDTH_MAX)));
    if visible(bare).chars().nth(WIDTH_MAX).is_some() {
        shown.push('…');
    }
    match end {
        "" => format!("{mark} {shown}"),
        end => format!("{mark} {shown}  ({end})"),
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
        let found = "1\n2\n3\n4\nfive\u{1b}[2J\n6\n7\n8\n9\nlast  ";
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
        assert_eq!(difference("same\n", "same\n"), "");
    }

    #[test]
    fn a_large_difference_is_cut() {
        let many: String = (0..100_000).flat_map(|number| [number.to_string(), "\n".to_owned()]).collect();
        let cut = difference("", &many);
        assert!(cut.lines().count() < 130 && cut.ends_with("more lines"), "{}", cut.len());
        assert!(shown(&many, "").lines().count() < 130);
        assert!(difference("", &"x".repeat(1 << 20)).len() < 2000);
    }
}
