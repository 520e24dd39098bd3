//! Any bytes: a spec or its mistakes, in bounded time, and the mistakes can be drawn
//! without anything of the text acting on a terminal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sbx::spec::Spec;
use sbx::spec::diagnostic::{Colour, Finding, position, render};
use sbx::spec::format::format;
use sbx::spec::input::{File, Input};
use sbx::spec::parse::{flatten, parse};
use sbx::units::SpecText;
use sbx_fuzz::{budget, text};

fuzz_target!(|bytes: &[u8]| {
    // The reader of KDL takes some 45 ms here, a tenth of that outside, to tell all mistakes of 1.5 KiB of rubble; what is
    // to be found is what doubles with each byte.
    budget::within(250, || match parse(bytes) {
        Ok(spec) => good(bytes, &spec),
        Err(findings) => bad(bytes, &findings),
    });
});

fn good(bytes: &[u8], spec: &Spec) {
    // Of what a person would write; the rest costs too much.
    if bytes.len() < 1 << 12 {
        written(bytes, spec);
    }
    let again = parse(bytes).unwrap_or_else(|findings| panic!("refused the second time: {findings:?}"));
    assert_eq!(again, *spec, "one text, two specs");
    // The kernel strips nothing: a first line for it changes no word of the rest.
    if !bytes.starts_with(b"#!") && !bytes.starts_with("\u{feff}".as_bytes()) && bytes.len() < 1 << 19 {
        let script = [b"#!/usr/bin/env sbx\n", bytes].concat();
        assert!(parse(&script).is_ok(), "refused as a script");
    }
}

/// The formatter and the writer of flat specs lose nothing; the formatter checks itself.
fn written(bytes: &[u8], spec: &Spec) {
    let formatted = format(bytes).unwrap_or_else(|findings| panic!("cannot be formatted: {findings:?}"));
    assert_eq!(format(formatted.as_bytes()).as_ref(), Ok(&formatted), "formatted twice is not formatted once");
    let input = Input { files: &[File { text: bytes, start: 0, directory: "" }], ..Input::default() };
    let shown = String::from_utf8_lossy(bytes);
    let flat = flatten(input, SpecText::new("spec.kdl", &shown), None).expect("it was parsed");
    let again = parse(flat.as_bytes()).unwrap_or_else(|findings| panic!("flat, it is wrong: {findings:?}\n{flat}"));
    assert_eq!(placeless(&again), placeless(spec), "flat, it says something else:\n{flat}");
}

/// Returns a spec as text without the places in its file.
fn placeless(spec: &Spec) -> String {
    let text = format!("{spec:?}");
    let mut parts = text.split("Spec(Span {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once("})").map_or("", |(_, rest)| rest))
}

fn bad(bytes: &[u8], findings: &[Finding]) {
    assert!((1..=1000).contains(&findings.len()), "{} findings", findings.len());
    for finding in findings {
        let span = finding.span;
        assert!(span.start <= span.end && span.end <= bytes.len(), "{finding:?} lies outside of the text");
        assert!(!finding.message.is_empty(), "{finding:?} says nothing");
    }
    // As the program shows it: what is not UTF-8 is replaced, and then spans may lie anywhere.
    let shown = String::from_utf8_lossy(bytes);
    for finding in findings {
        let (line, column) = position(&shown, finding.span.start);
        assert!(line >= 1 && column >= 1, "{line}:{column}");
    }
    let drawn = render("a\u{1b}[2J.kdl", &shown, findings, Colour::Never);
    text::is_tame(&drawn);
    assert!(!render("spec.kdl", &shown, findings, Colour::Always).is_empty());
}
