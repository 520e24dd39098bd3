//! Any bytes end in a spec or in findings that can be drawn: no signal, no hang, on the
//! small stack of a test thread as well.

use std::time::{Duration, Instant};

use sbx::spec::diagnostic::{Colour, position, render};
use sbx::spec::parse::parse;

/// What an exponential or quadratic reader would need far more than.
const PATIENCE: Duration = Duration::from_secs(20);

/// Parses `text`, draws what was found, and returns the drawing.
fn judge(text: &[u8]) -> String {
    let start = Instant::now();
    let drawing = match parse(text) {
        Ok(_) => String::new(),
        Err(findings) => {
            assert!(!findings.is_empty() && findings.len() <= 1000);
            let lossy = String::from_utf8_lossy(text);
            render("hostile.kdl", &lossy, &findings, Colour::Never)
        }
    };
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
    let tame =
        |c: char| c == '\n' || (!c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert!(drawing.chars().all(tame), "the drawing holds what a terminal obeys");
    drawing
}

/// Each was exponential, quadratic or recursive in a parser of KDL, or could be.
const UNITS: &[&str] = &[
    "{",
    "}",
    "a {\n",
    "a /-{\n",
    "/- a {\n b\n",
    "/*",
    "*",
    "/* * */",
    "\"",
    "\"\"",
    "\"\"\"",
    "#\"",
    "#\"\n",
    "#",
    "# ",
    "(",
    "(a",
    "(a)",
    "[",
    ")\n",
    "/",
    "/ ",
    "\\",
    "\\ ",
    "\\\n",
    "\\ a",
    "\n",
    "\r",
    "a",
    "a\n",
    "a ",
    "a;",
    ";",
    "=",
    "a=",
    "a a=",
    "a )\n",
    "a {} b\n",
    "\"a\" ",
    "env A=\"1\"\n",
    "A=\"1\" ",
    "/-",
    "/- ",
    "/-a ",
    "/-\n",
    "1 ",
    "0x1F ",
    "9",
    "1.5e3 ",
    "\"\\u{41}\" ",
    "\"\\u{zz}\" ",
    "64M ",
    "\u{1}",
    "\u{202e}",
    "\u{feff}",
    "\u{e9}",
    "\u{2028}",
    " ",
    "true ",
    "\u{85} #\" ",
    "inf 1_0 ",
    "#x ",
    "rootf\n",
    "dir \"/x\"\n",
    "//\n",
    "\"\\",
    "{}",
    "/-{} ",
    "a /-{} {\n",
    "{ /- a {",
];

/// What stands around the repeated unit.
const FRAMES: &[(&str, &str)] = &[
    ("", ""),
    ("a \"", "\""),
    ("a \"\"\"\n", "\n\"\"\""),
    ("a \"\"\"\n", "\n  \"\"\""),
    ("a #\"\"\"\n", "\n\"\"\"#"),
    ("mounts {\n", "\n}"),
    ("capabilities ", "\n"),
    ("a /* ", " */"),
    ("a /-{", "}"),
];

#[test]
fn repetition_ends() {
    for unit in UNITS {
        for (before, after) in FRAMES {
            let text = format!("{before}{}{after}", unit.repeat((16 << 10) / unit.len()));
            judge(text.as_bytes());
        }
    }
}

#[test]
fn a_mebibyte_ends() {
    for unit in ["a {\n", "}", "/-{", "env A=\"1\"\n", "\"\\u{41}\" ", "rootf\n", "\\\n", "\"a\" ", "((", "#\"\n"] {
        judge(unit.repeat((1 << 20) / unit.len()).as_bytes());
    }
}

#[test]
fn short_texts_that_took_the_kdl_crate_minutes_end() {
    for depth in [14, 16, 20, 1000] {
        judge("a /-{\n".repeat(depth).as_bytes());
        judge("/- a {\n b\n".repeat(depth).as_bytes());
        judge(format!("{}{}", "a /-{\n".repeat(depth), "}\n".repeat(depth)).as_bytes());
    }
}

#[test]
fn a_mebibyte_of_script_is_a_spec() {
    let script = "    echo 'hello, \\world' \"$@\"\n".repeat((1 << 20) / 32);
    let text = format!("script #\"\"\"\n{script}    \"\"\"#\n");
    assert!(parse(text.as_bytes()).is_ok());
    let longer = format!("{text}{}", "//".repeat(1 << 20));
    assert!(judge(longer.as_bytes()).contains("larger than 1 MiB"));
}

#[test]
fn arbitrary_bytes_end() {
    arbtest::arbtest(|u| {
        let text: Vec<u8> = u.arbitrary()?;
        judge(&text);
        Ok(())
    });
}

#[test]
fn arbitrary_damage_to_a_spec_ends() {
    let whole = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/specs/everything.kdl")).unwrap();
    arbtest::arbtest(|u| {
        let mut text = whole.clone().into_bytes();
        for _ in 0..u.int_in_range(1..=4)? {
            let at = u.int_in_range(0..=text.len())?;
            let end = u.int_in_range(at..=text.len().min(at + 20))?;
            let unit = u.choose(UNITS)?;
            text.splice(at..end, unit.bytes());
        }
        judge(&text);
        Ok(())
    });
}

#[test]
fn the_place_of_a_finding_lies_in_the_text() {
    let text = "a\n\u{e9}\u{e9}b\n";
    assert_eq!(position(text, 0), (1, 1));
    assert_eq!(position(text, 2), (2, 1));
    assert_eq!(position(text, 3), (2, 1), "within a character");
    assert_eq!(position(text, 6), (2, 3));
    assert_eq!(position(text, 7), (2, 4));
    assert_eq!(position(text, 999), (3, 1));
}

#[test]
fn not_utf8_is_said_where_it_is() {
    let findings = parse(b"hostname \"a\xffb\"\n").unwrap_err();
    assert_eq!((findings[0].span.start, findings[0].span.end), (11, 12));
    assert!(parse("\u{feff}hostname \"a\"\r\n".as_bytes()).is_ok());
    assert!(parse(b"#!/usr/bin/env -S sbx run (").is_ok());
}
