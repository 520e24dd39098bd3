//! A spec that a script carries in its leading comments, between `/// sbx` and `///`. What comes out is as long as
//! what went in, with spaces for all that is not the spec, so that a place in it is the same place in the script.

use std::ops::Range;

use crate::spec::diagnostic::Finding;
use crate::units::Span;

/// What begins a comment, in the languages of scripts. None is the beginning of another but by its last character.
const COMMENTS: [&[u8]; 5] = [b"#", b"//", b"--", b";", b"%"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const OPENING: &[u8] = b"/// sbx";
const CLOSING: &[u8] = b"///";

/// Where a script carries its spec.
#[derive(Debug)]
pub(crate) struct Block {
    /// The script up to the end of the spec, with spaces for all that is not the spec.
    pub(crate) masked: Vec<u8>,
    /// The line that opens it, without its end.
    pub(crate) opening: Span,
    /// The lines between that one and the one that closes it, with their ends.
    pub(crate) inside: Range<usize>,
    /// What makes a comment of each of them.
    pub(crate) mark: &'static [u8],
}

/// Returns the spec that `text` carries, up to its end, or `None` where it carries none and is a spec itself.
///
/// # Errors
/// A block that is not closed before the comments end.
pub fn carried(text: &[u8]) -> Result<Option<Vec<u8>>, Finding> {
    find(text).map(|block| block.map(|block| block.masked))
}

/// Returns where `text` carries its spec, or `None` where it carries none.
///
/// # Errors
/// Those of [`carried`].
pub(crate) fn find(text: &[u8]) -> Result<Option<Block>, Finding> {
    let mut masked = Vec::new();
    let mut opened: Option<(Span, usize, &'static [u8])> = None;
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let span = Span { start, end: start + line.trim_ascii_end().len() };
        start += line.len();
        let prefix = comment(line);
        let Some((indent, mark)) = prefix.filter(|_| std::str::from_utf8(line).is_ok()) else {
            // The first line may say who reads the script; blank ones are no end.
            if opened.is_none() && (line.starts_with(b"#!") || line.trim_ascii().is_empty()) {
                mask(line, &mut masked);
                continue;
            }
            break;
        };
        let said = &line[indent + mark.len()..];
        match opened {
            None if said.trim_ascii() == OPENING => {
                opened = Some((span, start, mark));
                mask(line, &mut masked);
            }
            None => mask(line, &mut masked),
            Some((_, _, wanted)) if wanted != mark => break,
            Some((opening, inside, mark)) if said.trim_ascii() == CLOSING => {
                if let Some(second) = leading(&text[start..], start).find(|(_, line)| opens(line)) {
                    return Err(Finding::new(second.0, "the script has another spec before this one")
                        .label("which of them is meant?")
                        .help("put what is in both between one `/// sbx` and one `///`"));
                }
                return Ok(Some(Block { masked, opening, inside: inside..span.start, mark }));
            }
            Some(_) => {
                mask(&line[..indent + mark.len()], &mut masked);
                masked.extend_from_slice(said);
            }
        }
    }
    match opened {
        None => nearly(text).map_or(Ok(None), Err),
        Some((span, ..)) => Err(Finding::new(span, "the spec of the script has no end")
            .label("begins here")
            .help("close it by a comment line with `///` alone, before the first line that is no comment")),
    }
}

/// Returns the lines of comments that `text` begins with, which stands at `start`, and where they are.
fn leading(text: &[u8], mut start: usize) -> impl Iterator<Item = (Span, &[u8])> {
    let lines = text.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        let span = Span { start, end: start + line.trim_ascii_end().len() };
        start += line.len();
        (span, line)
    });
    let is_comment = |line: &[u8]| comment(unmarked(line)).is_some() || line.trim_ascii().is_empty();
    lines.take_while(move |(_, line)| is_comment(line) && std::str::from_utf8(line).is_ok())
}

/// Returns the line without a byte order mark.
fn unmarked(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

fn opens(line: &[u8]) -> bool {
    comment(line).is_some_and(|(indent, mark)| line[indent + mark.len()..].trim_ascii() == OPENING)
}

/// Finds a line that was to open a spec. No line of a spec begins with the signs of these comments.
fn nearly(text: &[u8]) -> Option<Finding> {
    let meant = |line: &[u8]| {
        let said = unmarked(line).trim_ascii();
        let signs = said.iter().take_while(|byte| b"#;%-".contains(byte)).count();
        let said = said[signs..].trim_ascii();
        signs > 0 && said.strip_prefix(CLOSING).is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(b"sbx"))
    };
    let (span, line) = leading(text, 0).find(|(_, line)| meant(line))?;
    let help = match unmarked(line).len() < line.len() {
        true => "take the byte order mark away that the file begins with",
        false => "write one sign of a comment (`#`, `//`, `--`, `;` or `%`), a space, and `/// sbx`",
    };
    Some(Finding::new(span, "a spec almost begins here").label("this is not `/// sbx` in a comment").help(help))
}

/// Returns how far a comment line is indented, and by what it is one.
pub(crate) fn comment(line: &[u8]) -> Option<(usize, &'static [u8])> {
    let indent = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let mark = COMMENTS.into_iter().find(|mark| line[indent..].starts_with(mark))?;
    Some((indent, mark))
}

fn mask(bytes: &[u8], masked: &mut Vec<u8>) {
    masked.extend(bytes.iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
}

#[cfg(test)]
mod tests {
    use super::carried;

    fn spec(text: &str) -> Option<String> {
        carried(text.as_bytes()).unwrap().map(|spec| String::from_utf8(spec).unwrap())
    }

    #[test]
    fn the_spec_stands_where_it_stood() {
        let text = "#!/usr/bin/env sbx\n# A script.\n\n# /// sbx\n# rootfs \"a\"\n#\tcommand \"sh\"\n#\n# ///\nexit\n";
        let found = spec(text).unwrap();
        assert_eq!(found.trim(), "rootfs \"a\"\n \tcommand \"sh\"");
        assert_eq!(found.find("rootfs"), text.find("rootfs"));
        assert_eq!(found.find("command"), text.find("command"));
    }

    #[test]
    fn every_language_has_its_comments() {
        for mark in ["#", "//", "--", ";", "%", "  #"] {
            let text = format!("{mark} /// sbx\r\n{mark} command \"x\"\r\n{mark} ///\r\n");
            let found = spec(&text).unwrap_or_else(|| panic!("{mark}"));
            assert_eq!(found.trim(), "command \"x\"", "{mark}");
        }
    }

    #[test]
    fn a_spec_is_no_script() {
        for text in
            ["", "\n", "rootfs \"host\"\n", "#!/usr/bin/env sbx\n// words\nrootfs \"host\"\n", "# /// sbxx\n# ///\n"]
        {
            assert_eq!(spec(text), None, "{text}");
        }
        assert_eq!(spec("echo\n# /// sbx\n# ///\n"), None, "no leading comment");
        assert_eq!(carried(b"# \xff\n# /// sbx\n# ///\n").unwrap(), None, "not text");
    }

    #[test]
    fn two_are_one_too_many() {
        let first = "# /// sbx\n# command \"x\"\n# ///\n";
        let finding = carried(format!("{first}# words\n\n{first}echo\n").as_bytes()).unwrap_err();
        assert_eq!((finding.span.start, finding.span.end), (39, 48));
        assert!(spec(&format!("{first}echo\n{first}")).is_some(), "that is in the script");
    }

    #[test]
    fn near_misses_are_told() {
        let first = "#!/usr/bin/env sbx\n# Words.\n";
        for line in ["# ///sbx", ";; /// sbx", "# /// SBX", "%%///sbx", "### ///  sbx"] {
            for text in [format!("{line}\n# ///\n"), format!("{first}{line}\n# ///\n")] {
                assert!(carried(text.as_bytes()).is_err(), "{text}");
            }
        }
        let finding = carried("\u{feff}# /// sbx\n# ///\n".as_bytes()).unwrap_err();
        assert!(finding.help.is_some_and(|help| help.contains("byte order mark")));
        assert_eq!(spec("// about ///sbx\nrootfs \"host\"\n"), None);
    }

    #[test]
    fn an_open_end_is_told() {
        for text in ["# /// sbx\n# command \"x\"\necho\n# ///\n", "# /// sbx\n", "# /// sbx\n// ///\n"] {
            let finding = carried(text.as_bytes()).unwrap_err();
            assert_eq!((finding.span.start, finding.span.end), (0, 9), "{text}");
        }
    }
}
