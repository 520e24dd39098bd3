//! Writes the spec that a script carries as `sbx fmt` leaves it. Only the lines between `/// sbx` and `///` change:
//! they begin as the one that opens the spec does, and all others stay byte for byte.

use crate::spec::carried::{self, Block, comment};
use crate::spec::diagnostic::Finding;
use crate::spec::format::{self, alike, read};
use crate::spec::scan;
use crate::spec::tree::Node;
use crate::units::Span;

/// Returns `script` with its spec in good form; `None` where it carries none. What the spec says is not judged, only
/// its grammar.
///
/// # Errors
/// What breaks the grammar, with places in the script.
pub fn format_carried(script: &[u8]) -> Result<Option<Vec<u8>>, Vec<Finding>> {
    let Some(block) = carried::find(script).map_err(|finding| vec![finding])? else { return Ok(None) };
    let nodes = nodes(&block)?;
    let formatted = bare(script, &block).and_then(|bare| format::format(bare.as_bytes()).ok());
    let written = formatted.map(|formatted| write(script, &block, &formatted));
    // Whoever overwrites a file with this has to be sure of it.
    let kept = written.filter(|written| {
        let again = carried::find(written).ok().flatten();
        again.is_some_and(|again| self::nodes(&again).is_ok_and(|other| alike(&nodes, &other)))
    });
    kept.map(Some).ok_or_else(|| {
        let finding = Finding::new(block.opening, "the spec of the script would not be the same after formatting");
        vec![
            finding
                .label("begins here")
                .help("let all its lines begin alike, with one space after what makes them comments"),
        ]
    })
}

fn nodes(block: &Block) -> Result<Vec<Node<'_>>, Vec<Finding>> {
    let text = scan::text(&block.masked).map_err(|finding| vec![finding])?;
    read(text).map(|(nodes, _)| nodes)
}

/// Returns the spec without what makes comments of its lines, and the one space that follows it.
fn bare(script: &[u8], block: &Block) -> Option<String> {
    let mut bare = String::new();
    for line in script.get(block.inside.clone())?.split_inclusive(|byte| *byte == b'\n') {
        let (indent, mark) = comment(line)?;
        let said = std::str::from_utf8(line.get(indent + mark.len()..)?).ok()?;
        bare.push_str(said.strip_prefix(' ').unwrap_or(said));
    }
    Some(bare)
}

/// Returns `script` with `formatted` for its spec.
fn write(script: &[u8], block: &Block, formatted: &str) -> Vec<u8> {
    let Span { start, .. } = block.opening;
    let (before, after) = (&script[..block.inside.start], &script[block.inside.end..]);
    let indent = script[start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let prefix = &script[start..start + indent + block.mark.len()];
    let ending: &[u8] = if before.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
    let mut written = before.to_vec();
    for line in formatted.split_terminator('\n') {
        written.extend_from_slice(prefix);
        if !line.is_empty() {
            written.push(b' ');
        }
        written.extend_from_slice(line.as_bytes());
        written.extend_from_slice(ending);
    }
    written.extend_from_slice(after);
    written
}

#[cfg(test)]
mod tests {
    use super::{alike, format_carried, nodes};
    use crate::spec::carried;
    use crate::spec::oracle::document;

    fn formatted(script: &str) -> String {
        String::from_utf8(format_carried(script.as_bytes()).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn the_form_is_this() {
        for (script, expected) in [
            (
                "#!/usr/bin/env sbx\n# words  \n\n# /// sbx\n#   command   \"sh\";\n#\n#\n#mounts {bind \".\" \"/x\" // y\n#}\n# ///\nexit  1\n",
                "#!/usr/bin/env sbx\n# words  \n\n# /// sbx\n# command \"sh\"\n#\n# mounts {\n#     bind \".\" \"/x\" // y\n# }\n# ///\nexit  1\n",
            ),
            ("  -- /// sbx\n-- a;b\n --   c\n -- ///\n", "  -- /// sbx\n  -- a; b\n  -- c\n -- ///\n"),
            ("// /// sbx\r\n//  a 1\r\n// ///\r\nx\r\n", "// /// sbx\r\n// a 1\r\n// ///\r\nx\r\n"),
            ("; /// sbx\n; ///", "; /// sbx\n; ///"),
            ("%/// sbx\n%\n%a\n%///\n", "%/// sbx\n% a\n%///\n"),
            (
                "# /// sbx\n#  a  \"\"\"\n#    x\n#\n#    y  z\n#    \"\"\"\n# ///\n",
                "# /// sbx\n# a \"\"\"\n#    x\n#\n#    y  z\n#    \"\"\"\n# ///\n",
            ),
        ] {
            match format_carried(script.as_bytes()) {
                Ok(Some(found)) => assert_eq!(String::from_utf8(found).unwrap(), expected, "{script:?}"),
                other => panic!("{script:?}: {other:?}"),
            }
            assert_eq!(formatted(expected), expected, "a second time: {script:?}");
        }
        assert_eq!(format_carried(b"rootfs \"host\"\n").unwrap(), None, "no script");
    }

    #[test]
    fn nothing_else_of_the_script_changes() {
        let mut tried = 0;
        let property = |u: &mut arbtest::arbitrary::Unstructured<'_>| {
            let spec = document(u)?;
            let (mark, space) = (*u.choose(&["#", "//", "--", ";", "%", "  #"])?, *u.choose(&["", " ", "  "])?);
            let ending = *u.choose(&["\n", "\r\n"])?;
            let lines: String = spec.split('\n').map(|line| format!("{mark}{space}{line}\n")).collect();
            let head = *u.choose(&["", "#!/usr/bin/env sbx\n", "#!/bin/x\n\n"])?;
            let before = format!("{head}{mark} \u{e4}  {ending}{mark} /// sbx{ending}").into_bytes();
            let after = [format!("{mark} ///{ending}").as_bytes(), u.bytes(u.len().min(40))?].concat();
            let script = [&before, lines.as_bytes(), &after].concat();
            let Ok(Some(block)) = carried::find(&script) else { return Ok(()) };
            let (Ok(said), Ok(written)) = (nodes(&block), format_carried(&script)) else { return Ok(()) };
            tried += 1;
            let written = written.expect("a script");
            let again = carried::find(&written).unwrap().unwrap();
            assert!(alike(&said, &nodes(&again).unwrap()), "{script:?}\n{written:?}");
            assert_eq!(written[..again.inside.start], script[..block.inside.start], "{script:?}\n{written:?}");
            assert_eq!(written[again.inside.end..], script[block.inside.end..], "{script:?}\n{written:?}");
            assert_eq!(format_carried(&written).unwrap().unwrap(), written, "{script:?}");
            Ok(())
        };
        // By the clock, of which a busy machine leaves little.
        arbtest::arbtest(property).budget_ms(2000).run();
        assert!(tried > 5, "only {tried} scripts were right");
    }

    #[test]
    fn mistakes_are_placed_in_the_script() {
        let script = b"#!/bin/sh\n# /// sbx\n# a {\n# ///\n";
        assert_eq!(format_carried(script).unwrap_err()[0].span.start, 24);
        assert!(format_carried(b"# /// sbx\n# a\n").is_err());
    }
}
