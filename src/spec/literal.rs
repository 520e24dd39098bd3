//! Turns one token into its value. What is plainly written is read here, as that is
//! nearly all of it and takes the kdl crate a microsecond a byte; any other token is
//! handed to the kdl crate. It knows no node and no word of the language.

use std::borrow::Cow;

use kdl::{KdlEntry, KdlValue};

use crate::spec::character::{is_newline, is_space};
use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::scan::{Escapes, Form, Kind, Lines, Token};
use crate::units::Span;

/// A value of KDL, `Bad` where a finding has already been made of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'t> {
    Text(Cow<'t, str>),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Null,
    Bad,
}

/// Reads tokens of one text and keeps count of what it hands to the kdl crate.
#[derive(Debug)]
pub(crate) struct Literals<'t> {
    text: &'t str,
    budget: usize,
}

/// How many bytes the kdl crate reads of one spec: some 100 ms. Long texts are
/// written as raw strings, which it does not need to see.
const MAX_INTRICATE: usize = 1 << 16;
/// What a token costs the crate whatever its length, in bytes.
const INTRICATE_EACH: usize = 16;

impl<'t> Literals<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, budget: MAX_INTRICATE }
    }

    /// Returns the value of a word or a string.
    pub(crate) fn value(&mut self, token: Token, out: &mut Findings) -> Value<'t> {
        let source = &self.text[token.span.start..token.span.end];
        match token.kind {
            Kind::Text(form) => self.string(source, form, token.span, out),
            Kind::Broken => Value::Bad,
            _ => self.word(source, token.span, out),
        }
    }

    fn word(&mut self, source: &'t str, span: Span, out: &mut Findings) -> Value<'t> {
        match source {
            "#true" => return Value::Bool(true),
            "#false" => return Value::Bool(false),
            "#null" => return Value::Null,
            "true" | "false" | "null" => {
                let finding = Finding::new(span, format!("`{source}` is not a word")).label("not a word of KDL 2");
                out.push(finding.help(format!("write `#{source}`, or `\"{source}\"` for the text")));
                return Value::Bad;
            }
            _ => {}
        }
        let unsigned = source.trim_start_matches(['+', '-']);
        let digits = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
        if !digits && !source.starts_with('#') && !matches!(source, "inf" | "-inf" | "nan") {
            return Value::Text(Cow::Borrowed(source));
        }
        let fraction = source.split_once('.').is_some_and(|(whole, part)| all_digits(whole) && all_digits(part));
        if let (true, Ok(number)) = (fraction, source.parse()) {
            return Value::Float(number);
        }
        // 38 digits always fit.
        if source.len() <= 38 && all_digits(source) {
            return Value::Integer(source.bytes().fold(0, |sum, digit| sum * 10 + i128::from(digit - b'0')));
        }
        self.intricate(source, span, out)
    }

    fn string(&mut self, source: &'t str, form: Form, span: Span, out: &mut Findings) -> Value<'t> {
        let quotes = match form.lines {
            Lines::One => 1,
            Lines::Many => 3,
        };
        let body = &source[form.hashes + quotes..source.len() - form.hashes - quotes];
        match form {
            Form { escapes: Escapes::Some, lines: Lines::One, .. } => match unescape(body) {
                Some(text) => Value::Text(Cow::Owned(text)),
                None => self.intricate(source, span, out),
            },
            Form { escapes: Escapes::None, lines: Lines::One, .. } => Value::Text(Cow::Borrowed(body)),
            Form { escapes: Escapes::Some, lines: Lines::Many, .. } => self.intricate(source, span, out),
            Form { escapes: Escapes::None, lines: Lines::Many, hashes } => {
                match dedent(body, span.start + hashes + quotes) {
                    Ok(text) => Value::Text(Cow::Owned(text)),
                    Err(finding) => {
                        out.push(finding);
                        Value::Bad
                    }
                }
            }
        }
    }

    /// Lets the kdl crate read `source`. A lone value cannot lead it into recursion.
    fn intricate(&mut self, source: &'t str, span: Span, out: &mut Findings) -> Value<'t> {
        let Some(left) = self.budget.checked_sub(source.len() + INTRICATE_EACH) else {
            let message = "too much of the spec are strings with escapes";
            out.push(
                Finding::new(span, message).label("this one").help("write it as a raw string: `#\"\"\"` … `\"\"\"#`"),
            );
            return Value::Bad;
        };
        self.budget = left;
        match KdlEntry::parse(source).as_ref().map(KdlEntry::value) {
            Ok(KdlValue::String(text)) => Value::Text(Cow::Owned(text.clone())),
            Ok(KdlValue::Integer(number)) => Value::Integer(*number),
            Ok(KdlValue::Float(number)) => Value::Float(*number),
            Ok(KdlValue::Bool(truth)) => Value::Bool(*truth),
            Ok(KdlValue::Null) => Value::Null,
            Err(error) => {
                out.push(explain(source, span, error));
                Value::Bad
            }
        }
    }
}

/// Puts the first complaint of the kdl crate into our words: those that follow are
/// its attempts to go on.
fn explain(source: &str, span: Span, error: &kdl::KdlError) -> Finding {
    if let Some(word) = source.strip_prefix('#').filter(|word| !word.starts_with(['"', '#'])) {
        let help = match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "write `#true`",
            "false" | "no" | "off" => "write `#false`",
            _ => "the keywords are `#true`, `#false` and `#null`",
        };
        return Finding::new(span, format!("`{source}` is not a keyword")).label("unknown keyword").help(help);
    }
    if !source.starts_with('"') && !source.starts_with('#') {
        if source.trim_start_matches(['+', '-']).bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
            return Finding::new(span, "the number is too large").label("more than 127 bits");
        }
        let finding = Finding::new(span, format!("`{source}` is neither a number nor a word")).label("not a number");
        return finding.help(format!("quote it: `\"{source}\"`"));
    }
    if let Some((at, length)) = bad_escape(source) {
        let place = Span { start: span.start + at, end: span.start + at + length };
        let escape = &source[at..at + length];
        let finding = Finding::new(place, format!("`{escape}` is not an escape")).label("not an escape");
        return finding.help("write `\\\\` for `\\`, or a raw string: `#\"…\"#`");
    }
    let first = error.diagnostics.first();
    let message = first.and_then(|it| it.message.as_deref()).unwrap_or("this string cannot be read");
    let finding = Finding::new(span, lower_first(message)).label("in this string");
    match first.and_then(|it| it.help.as_deref()) {
        Some(help) => finding.help(lower_first(help.trim_end_matches('.'))),
        None => finding,
    }
}

/// Returns where the first escape is that KDL does not have, and its length.
fn bad_escape(source: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    while let Some(found) = source[at..].find('\\') {
        at += found;
        let escaped = source[at + 1..].chars().next()?;
        match escaped {
            'u' => {
                let rest = source[at + 2..].strip_prefix('{').unwrap_or("");
                let digits = rest.find('}').map_or("", |close| &rest[..close]);
                let known = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !known || u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).is_none() {
                    return Some((at, if known { digits.len() + 4 } else { 2 }));
                }
            }
            c if "nrtsbf\\\"".contains(c) || is_space(c) || is_newline(c) => {}
            c => return Some((at, 1 + c.len_utf8())),
        }
        at += 1 + escaped.len_utf8();
    }
    None
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Returns `body` with its escapes replaced, or `None` where there are others than
/// those of one letter.
fn unescape(body: &str) -> Option<String> {
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escaped = rest[at + 1..].chars().next()?;
        out.push(match escaped {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            's' => ' ',
            'b' => '\u{8}',
            'f' => '\u{c}',
            '\\' | '"' => escaped,
            _ => return None,
        });
        rest = &rest[at + 2..];
    }
    out.push_str(rest);
    (!body.contains(is_newline)).then_some(out)
}

/// Returns the lines between the first and the last of a string of many lines,
/// without the indentation of the last. `start` is the offset of `body` in the spec.
fn dedent(body: &str, start: usize) -> Result<String, Finding> {
    let finding =
        |from: usize, to: usize, message: &str| Finding::new(Span { start: start + from, end: start + to }, message);
    let Some((first, mut at)) = line(body) else {
        return Err(finding(0, 0, "the text begins on the line of its `\"\"\"`")
            .label("line break expected here")
            .help("a text within one line stands between single `\"`"));
    };
    if !first.is_empty() {
        return Err(finding(0, first.len(), "the text begins on the line of its `\"\"\"`")
            .label("to be moved to the next line"));
    }
    let last = body[at..]
        .rfind(is_newline)
        .map_or(at, |newline| at + newline + body[at + newline..].chars().next().map_or(0, char::len_utf8));
    let indent = &body[last..];
    if !indent.chars().all(is_space) {
        return Err(finding(last, body.len(), "the closing quotes are not on a line of their own")
            .label("to be ended before the quotes"));
    }
    let mut out = String::with_capacity(body.len());
    let begin = at;
    while at < last {
        let Some((text, length)) = line(&body[at..]) else { break };
        if at > begin {
            out.push('\n');
        }
        if let Some(text) = text.strip_prefix(indent) {
            out.push_str(if text.chars().all(is_space) { "" } else { text });
        } else if !text.chars().all(is_space) {
            return Err(finding(at, at + text.len(), "this line is indented less than the closing quotes")
                .label("its whitespace must begin as theirs")
                .help("move the closing quotes, or this line"));
        }
        at += length;
    }
    Ok(out)
}

/// Returns the first line of `text` and its length with the line break, or `None`
/// where there is no line break.
fn line(text: &str) -> Option<(&str, usize)> {
    let end = text.find(is_newline)?;
    let rest = &text[end..];
    let newline = if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
    Some((&text[..end], end + newline))
}
