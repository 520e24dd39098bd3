//! Holds our own scan and grammar against the kdl crate: a document that we accept is
//! one that it accepts and reads alike, and the other way round but for what specs
//! refuse on purpose. Test code only.

use arbtest::arbitrary::{Result, Unstructured};
use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::literal::Value;
use crate::spec::scan::scan;
use crate::spec::tree::{Entry, Node, grow};

/// What documents are made of: every kind of token, plain, odd and broken.
const PIECES: &[&str] = &[
    "a",
    "b-c",
    "\u{e9}t\u{e9}",
    "-",
    "+x",
    ".",
    ".5",
    "r",
    "true",
    "inf",
    "#true",
    "#false",
    "#null",
    "#inf",
    "#tru",
    "1",
    "-2",
    "+3",
    "007",
    "0x1F",
    "0o17",
    "0b101",
    "1_000",
    "1.5",
    "-1.5e3",
    "1e",
    "0x",
    "64M",
    "1.",
    "\"x\"",
    "\"\"",
    "\"a b\"",
    "\"\\n\\t\\\\ \\\"\"",
    "\"\\u{41}\"",
    "\"\\u{d800}\"",
    "\"\\q\"",
    "\"a\\   b\"",
    "\"a\\\n   b\"",
    "\"a\nb\"",
    "\"\u{e9}\u{4e2d}\"",
    "#\"r\\\"#",
    "##\"q\"#q\"##",
    "#\"\"#",
    "#\"a\nb\"#",
    "\"\"\"\n  x\n   y\n  \"\"\"",
    "\"\"\"\n\n x\n \"\"\"",
    "\"\"\"\nx\n  \"\"\"",
    "\"\"\"\n \t\n  z\n  \"\"\"",
    "\"\"\"\n\"\"\"",
    "\"\"\"\n  a\\n\\\n  b\n  \"\"\"",
    "\"\"\"x\"\"\"",
    "#\"\"\"\n  x \\n\r\n  \"y\"\n  \"\"\"#",
    "#\"\"\"\n  x\"\"\"#",
    "\"\"\"\n  \"\" \" x\n  \"\"\"",
    "=",
    "=",
    "{",
    "{",
    "{",
    "}",
    "}",
    "}",
    ";",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{c}",
    " ",
    " ",
    " ",
    " ",
    " ",
    "\t",
    "\u{a0}",
    "\\\n",
    "\\ // c\n",
    "\\",
    "// c\n",
    "/* c */",
    "/* /* n */ * / */",
    "/*\n*/",
    "/*",
    "/-",
    "/-",
    "/",
    "(t)",
    "(",
    ")",
    "[",
    "#",
    "\"",
    ",",
    "\u{feff}",
    "\u{200e}",
    "\u{7f}",
];

/// What we refuse and the kdl crate may accept: a part of the message, and what the
/// text must then hold.
const STRICTER: &[(&str, &str)] = &[
    ("type annotation", "("),
    ("is not allowed", ""),
    ("begins on the line of its", "#\"\"\""),
    ("is not a keyword", "#"),
    // The crate lets a keyword touch what follows it.
    ("space is missing", "#"),
    // The crate reads a raw string of one line that begins with two quotes.
    ("string is never closed", "#\"\"\""),
    // The crate needs no end between a node that `/-` leaves out and its neighbours.
    ("a node ends with its block", "/-"),
    ("only a block can stand here", "/-"),
    // The crate lets `/-` follow `/-`.
    ("stands before nothing", "/-"),
];

fn ours(text: &str) -> std::result::Result<Vec<Node<'_>>, Vec<Finding>> {
    let mut out = Findings::default();
    let tokens = scan(text, &mut out);
    let nodes = grow(text, &tokens, &mut out);
    if out.is_empty() { Ok(nodes) } else { Err(out.into_vec()) }
}

fn same_nodes(text: &str, ours: &[Node<'_>], theirs: &[KdlNode]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same_node(text, ours, theirs))
}

fn same_node(text: &str, ours: &Node<'_>, theirs: &KdlNode) -> bool {
    let entries = ours.entries.len() == theirs.entries().len()
        && ours.entries.iter().zip(theirs.entries()).all(|(ours, theirs)| same_entry(ours, theirs));
    let children = match (&ours.children, theirs.children()) {
        (Some(ours), Some(theirs)) => same_nodes(text, ours, theirs.nodes()),
        (None, None) => true,
        _ => false,
    };
    let name = theirs.name();
    ours.name == name.value() && ours.name_span.start == name.span().offset() && entries && children
}

fn same_entry(ours: &Entry<'_>, theirs: &KdlEntry) -> bool {
    let value = match (&ours.value, theirs.value()) {
        (Value::Text(ours), KdlValue::String(theirs)) => ours == theirs,
        (Value::Integer(ours), KdlValue::Integer(theirs)) => ours == theirs,
        (Value::Float(ours), KdlValue::Float(theirs)) => ours.to_bits() == theirs.to_bits(),
        (Value::Bool(ours), KdlValue::Bool(theirs)) => ours == theirs,
        (Value::Null, KdlValue::Null) => true,
        _ => false,
    };
    let start = ours.span.start == theirs.span().offset();
    ours.name.as_deref() == theirs.name().map(kdl::KdlIdentifier::value) && value && start
}

/// Returns a soup of tokens, mostly broken.
fn soup(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=24)? {
        text.push_str(u.choose(PIECES)?);
        if u.ratio(1, 2)? {
            text.push(' ');
        }
    }
    Ok(text)
}

/// Writes nodes that are mostly well formed. Slashdash is rare: its nesting takes the
/// oracle exponential time.
fn nodes(u: &mut Unstructured<'_>, depth: usize, text: &mut String) -> Result<()> {
    const VALUES: std::ops::Range<usize> = 0..53;
    const SPACES: &[&str] = &[" ", " ", " ", "\t", "  ", "/* c */", " \\\n ", "\\ // c\n", "\u{a0}"];
    const ENDS: &[&str] = &["\n", "\n", "\n", ";", "\r\n", "\n\n", " // c\n", "; ", "\u{85}", ""];
    for _ in 0..u.int_in_range(0..=3)? {
        if u.ratio(1, 12)? {
            text.push_str(u.choose(&["/-", "/- ", "/-\n"])?);
        }
        text.push_str(PIECES[u.int_in_range(VALUES.start..=9)?]);
        for _ in 0..u.int_in_range(0..=3)? {
            text.push_str(u.choose(SPACES)?);
            if u.ratio(1, 12)? {
                text.push_str(u.choose(&["/-", "/- ", "/-\n"])?);
            }
            if u.ratio(1, 3)? {
                text.push_str(u.choose(&["k=", "k = ", "\"k\"=", "#\"k\"#= "])?);
            }
            text.push_str(PIECES[u.int_in_range(VALUES.start..=VALUES.end)?]);
        }
        if depth > 0 && u.ratio(1, 3)? {
            text.push_str(u.choose(&[" {", "{", " { ", " {\n", " /-{} {", " /- {\n} {", " /-{"])?);
            nodes(u, depth - 1, text)?;
            text.push_str(u.choose(&["}", " }", "\n}", "} /-{}", "}{}"])?);
        }
        text.push_str(u.choose(ENDS)?);
    }
    Ok(())
}

pub(crate) fn document(u: &mut Unstructured<'_>) -> Result<String> {
    if u.ratio(1, 4)? {
        return soup(u);
    }
    let mut text = String::new();
    nodes(u, 3, &mut text)?;
    if u.ratio(1, 4)? {
        let at = text.floor_char_boundary(u.int_in_range(0..=text.len())?);
        text.insert_str(at, u.choose(PIECES)?);
    }
    Ok(text)
}

#[test]
fn agrees_with_the_kdl_crate() {
    arbtest::arbtest(|u| {
        let text = document(u)?;
        match (ours(&text), KdlDocument::parse(&text)) {
            (Ok(ours), Ok(theirs)) => {
                assert!(same_nodes(&text, &ours, theirs.nodes()), "{text:?}\n{ours:#?}\n{theirs:#?}");
            }
            (Ok(_), Err(theirs)) => {
                // The crate refuses the `;` after a node that `/-` leaves out, unless it is the first.
                let semicolon = |it: &kdl::KdlDiagnostic| text[it.span.offset()..].starts_with(';');
                let excused = text.contains("/-") && theirs.diagnostics.iter().any(semicolon);
                assert!(excused, "accepted against the kdl crate: {text:?}\n{:?}", theirs.diagnostics);
            }
            (Err(ours), Ok(_)) => {
                let on_purpose = |finding: &Finding| {
                    STRICTER.iter().any(|(part, held)| finding.message.contains(part) && text.contains(held))
                };
                assert!(ours.iter().any(on_purpose), "refused against the kdl crate: {text:?}\n{ours:#?}");
            }
            (Err(_), Err(_)) => {}
        }
        Ok(())
    });
}
