//! Cuts the text of a spec into tokens: words, strings, braces, ends of nodes. One
//! pass, no recursion, bounded by its limits. It does not know what a token means.
//!
//! It stands before the kdl crate (6.7.1), which overflows its stack on deep braces,
//! on `*` in block comments and on stray `}`, and takes exponential time on nested
//! slashdash (kdl-rs issue 177): the crate is only ever shown single tokens.

use crate::spec::character::{breaks_line, is_newline, is_space, is_word, reject_invisible};
use crate::spec::diagnostic::{Finding, Findings};
use crate::units::Span;

/// The longest text that is read at all.
pub(crate) const MAX_TEXT: usize = 1 << 20;
/// The deepest nesting of children; the language itself needs four.
pub(crate) const MAX_DEPTH: usize = 16;
const MAX_COMMENT_DEPTH: usize = 8;
/// As many tokens as 10,000 mounts have.
const MAX_TOKENS: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A run of identifier characters: an identifier, a number, or `#true` and the like.
    Word,
    /// Any of the string forms with quotes, well delimited.
    Text(Form),
    /// Something that a finding has already been made of.
    Broken,
    Equals,
    Open,
    Close,
    /// `;`
    Semicolon,
    Newline,
    Slashdash,
}

/// How a string is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// The number of `#` on each side; 0 is a quoted string.
    pub(crate) hashes: usize,
    pub(crate) lines: Lines,
    pub(crate) escapes: Escapes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Between `"`.
    One,
    /// Between `"""`.
    Many,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escapes {
    None,
    Some,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Span,
    /// Whether something other than space stands right before it.
    pub(crate) joint: Joint,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joint {
    Spaced,
    Touching,
}

/// Returns the text that `bytes` are, if it can be a spec.
///
/// # Errors
/// Too many bytes, or some that are not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Finding> {
    if bytes.len() > MAX_TEXT {
        let finding = Finding::new(Span { start: MAX_TEXT, end: MAX_TEXT }, "the spec is larger than 1 MiB");
        return Err(finding.label("not read from here on"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let start = error.valid_up_to();
        let end = start + error.error_len().unwrap_or(bytes.len() - start);
        let finding = Finding::new(Span { start, end }, "the spec is not UTF-8").label("not a character");
        finding.help("save the file as UTF-8")
    })
}

/// Returns the tokens of `text`. With findings, the tokens are those that could be told.
pub(crate) fn scan(text: &str, out: &mut Findings) -> Vec<Token> {
    let mut scanner = Scanner { text, at: 0, joint: Joint::Spaced, tokens: Vec::with_capacity(text.len() / 6 + 8) };
    reject_invisible(text, out);
    if text.starts_with('\u{feff}') {
        scanner.at = 3;
    }
    if text[scanner.at..].starts_with("#!") {
        scanner.at = scanner.line_end();
    }
    while scanner.at < text.len() && !out.is_full() {
        if scanner.step(out) == Flow::Stop {
            break;
        }
        if scanner.tokens.len() > MAX_TOKENS {
            let here = scanner.span_from(scanner.at);
            out.push(
                Finding::new(here, format!("the spec has more than {MAX_TOKENS} words")).label("not read from here on"),
            );
            break;
        }
    }
    scanner.tokens
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    Stop,
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
    joint: Joint,
    tokens: Vec<Token>,
}

impl<'t> Scanner<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn span_from(&self, start: usize) -> Span {
        Span { start, end: self.at }
    }

    fn line_end(&self) -> usize {
        self.rest().find(is_newline).map_or(self.text.len(), |newline| self.at + newline)
    }

    fn emit(&mut self, kind: Kind, length: usize) {
        let start = self.at;
        self.at += length;
        self.tokens.push(Token { kind, span: self.span_from(start), joint: self.joint });
        self.joint = Joint::Touching;
    }

    fn skip(&mut self, length: usize) {
        self.at += length;
        self.joint = Joint::Spaced;
    }

    /// Takes what stands at the present place.
    fn step(&mut self, out: &mut Findings) -> Flow {
        let Some(c) = self.rest().chars().next() else { return Flow::Stop };
        match c {
            ' ' | '\t' => self.skip(1),
            '{' => self.emit(Kind::Open, 1),
            '}' => self.emit(Kind::Close, 1),
            ';' => self.emit(Kind::Semicolon, 1),
            '=' => self.emit(Kind::Equals, 1),
            '"' => return self.string(out),
            '#' => return self.hash(out),
            '/' => return self.slash(out),
            '\\' => return self.continuation(out),
            '(' => self.annotation(out),
            c if is_newline(c) => {
                self.emit(Kind::Newline, c.len_utf8());
                self.joint = Joint::Spaced;
            }
            c if is_space(c) => self.skip(c.len_utf8()),
            c if is_word(c) => {
                let rest = self.rest();
                self.emit(Kind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
            }
            c => self.stray(c, out),
        }
        Flow::Continue
    }

    /// Reports `c`, and takes what it is glued to as well: that would only be reported again.
    fn stray(&mut self, c: char, out: &mut Findings) {
        // The invisible ones are reported already, for the whole text.
        if !matches!(c, ')' | '[' | ']' | '/' | '#') {
            return self.skip(c.len_utf8());
        }
        let span = Span { start: self.at, end: self.at + c.len_utf8() };
        let mut finding = Finding::new(span, format!("unexpected `{c}`")).label("not part of a word");
        if matches!(c, '/' | '#') {
            finding = finding.help("a path or a text with such characters stands in quotes");
        }
        out.push(finding);
        let rest = &self.rest()[1..];
        self.emit(Kind::Broken, 1 + rest.find(|c| !is_word(c) && c != '/' && c != '#').unwrap_or(rest.len()));
    }

    /// `(type)`: allowed by KDL, without meaning here.
    fn annotation(&mut self, out: &mut Findings) {
        let start = self.at;
        let name = self.rest()[1..].find(|c| !is_word(c)).map_or(self.text.len(), |end| start + 1 + end);
        let close = usize::from(self.text[name..].starts_with(')'));
        self.skip(name + close - start);
        let finding = Finding::new(self.span_from(start), "a type annotation has no meaning in a spec")
            .label("type annotation")
            .help("remove it; a text with parentheses stands in quotes");
        out.push(finding);
    }

    /// `\` at the end of a line: the node goes on in the next one.
    fn continuation(&mut self, out: &mut Findings) -> Flow {
        let start = self.at;
        self.skip(1);
        loop {
            match self.rest().chars().next() {
                Some(c) if is_space(c) => self.skip(c.len_utf8()),
                Some('/') if self.rest().starts_with("/*") => {
                    if self.block_comment(out) == Flow::Stop {
                        return Flow::Stop;
                    }
                }
                Some('/') if self.rest().starts_with("//") => self.at = self.line_end(),
                Some(c) if !is_newline(c) => {
                    let span = Span { start, end: start + 1 };
                    let finding = Finding::new(span, "unexpected `\\`").label("does not end its line");
                    out.push(finding.help("a text with such characters stands in quotes"));
                    return Flow::Continue;
                }
                _ => break,
            }
        }
        let newline = self.newline_length();
        self.skip(newline);
        Flow::Continue
    }

    fn newline_length(&self) -> usize {
        let rest = self.rest();
        if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) }
    }

    fn slash(&mut self, out: &mut Findings) -> Flow {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'/') => {
                let end = self.line_end();
                self.skip(end - self.at);
            }
            Some(b'*') => return self.block_comment(out),
            Some(b'-') => self.emit(Kind::Slashdash, 2),
            _ => self.stray('/', out),
        }
        Flow::Continue
    }

    fn block_comment(&mut self, out: &mut Findings) -> Flow {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let (mut at, mut depth) = (start, 0usize);
        while let (Some(first), second) = (bytes.get(at), bytes.get(at + 1)) {
            match (first, second) {
                (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
                (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth > MAX_COMMENT_DEPTH {
                let span = Span { start: at - 2, end: at };
                out.push(Finding::new(span, format!("comments are nested deeper than {MAX_COMMENT_DEPTH}")));
                return Flow::Stop;
            }
            if depth == 0 {
                self.skip(at - start);
                return Flow::Continue;
            }
        }
        let span = Span { start, end: start + 2 };
        out.push(Finding::new(span, "this comment is never closed").label("opened here").help("close it with `*/`"));
        Flow::Stop
    }

    /// `#true` and its like, or a raw string.
    fn hash(&mut self, out: &mut Findings) -> Flow {
        let rest = self.rest();
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if rest[hashes..].starts_with('"') {
            return self.raw_string(hashes, out);
        }
        match rest[hashes..].find(|c| !is_word(c)).unwrap_or(rest.len() - hashes) {
            length if hashes == 1 && length > 0 => self.emit(Kind::Word, 1 + length),
            _ => self.stray('#', out),
        }
        Flow::Continue
    }

    fn raw_string(&mut self, hashes: usize, out: &mut Findings) -> Flow {
        let body = self.at + hashes;
        let lines = lines(&self.text[body..]);
        let inner = body + quotes(lines);
        let close = format!("{}{}", &"\"\"\""[..quotes(lines)], "#".repeat(hashes));
        let found = match lines {
            Lines::Many => self.text[inner..].find(&close).map(|at| inner + at),
            Lines::One => close_in_line(&self.text[inner..], &close).map(|at| inner + at),
        };
        let form = Form { hashes, lines, escapes: Escapes::None };
        self.close_string(form, found, close.len(), out)
    }

    fn string(&mut self, out: &mut Findings) -> Flow {
        let lines = lines(self.rest());
        let bytes = self.text.as_bytes();
        let (mut at, mut escapes) = (self.at + quotes(lines), Escapes::None);
        let found = loop {
            match bytes.get(at) {
                None => break None,
                Some(b'\\') => {
                    let space = self.text[at + 1..].chars().take_while(|c| is_space(*c) || is_newline(*c));
                    (at, escapes) = (at + 1 + space.map(char::len_utf8).sum::<usize>().max(1), Escapes::Some);
                }
                Some(b'"') if lines == Lines::One || bytes[at..].starts_with(b"\"\"\"") => break Some(at),
                // A string of one line ends with it, unless the newline is escaped.
                Some(_) if lines == Lines::One && breaks_line(&bytes[at..]) => break None,
                Some(_) => at += 1,
            }
        };
        self.close_string(Form { hashes: 0, lines, escapes }, found, quotes(lines), out)
    }

    /// Takes the string whose closing quotes stand at `close`, or says that there are none.
    fn close_string(&mut self, form: Form, close: Option<usize>, length: usize, out: &mut Findings) -> Flow {
        let start = self.at;
        if let Some(close) = close {
            self.emit(Kind::Text(form), close + length - start);
            return Flow::Continue;
        }
        let span = Span { start, end: start + form.hashes + quotes(form.lines) };
        let finding = Finding::new(span, "this string is never closed").label("opened here");
        if form.lines == Lines::Many {
            self.emit(Kind::Broken, self.text.len() - start);
            out.push(finding.help("close it with the same quotes on a line of their own"));
            return Flow::Stop;
        }
        out.push(finding.help("a text of several lines stands between `\"\"\"`, or `#\"\"\"` and `\"\"\"#`"));
        let end = self.line_end();
        self.emit(Kind::Broken, end - start);
        Flow::Continue
    }
}

/// Returns where `close` begins in the first line of `text`.
fn close_in_line(text: &str, close: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        if breaks_line(&bytes[at..]) {
            return None;
        }
        if bytes[at] == b'"' && bytes[at..].starts_with(close.as_bytes()) {
            return Some(at);
        }
    }
    None
}

fn lines(text: &str) -> Lines {
    if text.starts_with("\"\"\"") { Lines::Many } else { Lines::One }
}

fn quotes(lines: Lines) -> usize {
    match lines {
        Lines::One => 1,
        Lines::Many => 3,
    }
}
