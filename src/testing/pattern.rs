//! Looks for what an expectation names in what was written, which need not be text.

/// Returns whether `part` stands somewhere in `bytes`.
#[must_use]
pub fn contains(bytes: &[u8], part: &str) -> bool {
    // No valid text begins or ends within what is none.
    bytes.utf8_chunks().any(|chunk| chunk.valid().contains(part))
}

/// Returns whether `pattern` matches somewhere in `bytes`. `^` and `$` are the ends of lines, as in grep(1), and what
/// ends with a newline has no further line behind it: `^[0-9]*$` would match all that any command writes. A byte that
/// is not of UTF-8 is matched by nothing.
#[must_use]
pub fn matches(pattern: &str, bytes: &[u8]) -> bool {
    let Ok(pattern) = regex_lite::RegexBuilder::new(pattern).multi_line(true).build() else { return false };
    // The crate knows text only, so each stretch of it is looked at by itself, with what replaces a byte around it.
    let text = String::from_utf8_lossy(bytes);
    let mut start = 0;
    for chunk in bytes.utf8_chunks().filter(|chunk| !chunk.invalid().is_empty()) {
        let end = start + chunk.valid().len();
        let next = end + char::REPLACEMENT_CHARACTER.len_utf8();
        // The first end of any match: the usual one is as long as can be, and may reach into what was replaced.
        if pattern.shortest_match_at(&text[..next], start).is_some_and(|found| found <= end) {
            return true;
        }
        start = next;
    }
    let found = pattern.find_at(&text, start);
    found.is_some_and(|found| found.start() < text.len() || !text.ends_with('\n'))
}

#[cfg(test)]
mod tests {
    use super::{contains, matches};

    #[test]
    fn a_match_may_be_of_every_part_that_is_text() {
        for (pattern, bytes, expected) in [
            ("^.$", &b"\xff"[..], false),
            ("^.*$", b"\xff", false),
            ("^$", b"\xff\n\n", true),
            ("a.*", b"\xffab\xff", true),
            ("a.*z", b"a\xffz", false),
            ("a.*z|a", b"a\xffz", true),
            (r"a[^b]", b"a\xff", false),
            (r"\Aa\xff?", b"a\xff", true),
            (r"\Aa", b"\xffa", false),
            (r"a\z", b"a\xff", false),
            (r"a$", b"\xffa\n\xff", true),
            (r"a$", b"a\xff\n", false),
            (r"^a", b"\xffa", false),
            (r"\ba\b", b"\xffa\xff", true),
            ("\u{fffd}", b"\xff", false),
            ("\u{fffd}", "\u{fffd}".as_bytes(), true),
            (r"é\z", b"\xc3\xc3\xa9", true),
            (r"\x{fffd}*b", b"\xff\xffb", true),
            // Cut in the middle of a character.
            ("a$", b"a\xe2\x82", false),
            (r"\z", b"a\xff", true),
        ] {
            assert_eq!(matches(pattern, bytes), expected, "{pattern} {bytes:?}");
        }
    }

    #[test]
    fn no_line_begins_at_the_end() {
        for (pattern, text, expected) in [
            ("^$", "", true),
            ("^$", "\n", true),
            ("^$", "a\n", false),
            ("^$", "a\n\n", true),
            ("^[0-9]*$", "a\n", false),
            ("^[0-9]*$", "a\n1\n", true),
            ("$", "a\n", true),
            (r"\n\z", "a\n", true),
            (r"\Aa\n*\z", "a\n", true),
            (r"a\z", "a", true),
        ] {
            assert_eq!(matches(pattern, text.as_bytes()), expected, "{pattern} {text:?}");
        }
    }

    #[test]
    fn a_part_is_looked_for_in_bytes() {
        for (bytes, part, expected) in [
            (&b"\xffab\xff"[..], "ab", true),
            (b"a\xffb", "ab", false),
            (b"\xff", "\u{fffd}", false),
            (b"\xc3\xc3\xa9", "é", true),
            (b"\xe2\x82\xe2\x82\xac", "€", true),
        ] {
            assert_eq!(contains(bytes, part), expected, "{part} {bytes:?}");
        }
    }

    /// Each byte that is no text is a stretch of its own.
    #[test]
    fn many_bytes_take_no_time() {
        assert!(!matches("a.*b", &[0xff; 1 << 18]));
    }
}
