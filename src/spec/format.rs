//! Writes a spec as `sbx fmt` leaves it: four spaces for each block, one space between words, at most one empty line.
//! Words, strings and comments stay byte for byte, but for the line ends within them; the kdl crate's own formatter
//! loses comments and rewrites strings.

use std::borrow::Cow;

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::layout::{Layout, Piece, layout};
use crate::spec::scan::Kind;
use crate::spec::tree::Node;
use crate::spec::{scan, tree};
use crate::units::Span;

/// Returns `text` in good form. What it says is not judged, only its grammar.
///
/// # Errors
/// What breaks the grammar.
pub fn format(text: &[u8]) -> Result<String, Vec<Finding>> {
    let text = scan::text(text).map_err(|finding| vec![finding])?;
    let (nodes, _) = read(text)?;
    let unix = unix(text);
    let (_, layout) = read(&unix)?;
    let formatted = Printer::new(&layout).print(layout.first);
    // Whoever overwrites a file with this has to be sure of it.
    let kept =
        read(&formatted).is_ok_and(|(again, other)| alike(&nodes, &again) && same(&layout.pieces, &other.pieces));
    if kept {
        return Ok(formatted);
    }
    let finding = Finding::new(Span::default(), "the spec would not be the same after formatting");
    Err(vec![finding.help("this is a mistake of sbx: please report it with the spec")])
}

/// Returns `text` with the line ends of Unix, in strings and comments too: a string of one line can have none, and in
/// the value of one of several they all are those of Unix anyway (KDL 2, "Multi-line Strings").
fn unix(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

/// Returns what the grammar makes of `text`, and its pieces.
pub(crate) fn read(text: &str) -> Result<(Vec<Node<'_>>, Layout<'_>), Vec<Finding>> {
    let mut out = Findings::default();
    let tokens = scan::scan(text, &mut out);
    let nodes = tree::grow(text, &tokens, &mut out);
    if out.is_empty() { Ok((nodes, layout(text, &tokens))) } else { Err(out.into_vec()) }
}

/// Returns whether two lists of nodes say the same, wherever it stands.
pub(crate) fn alike(some: &[Node<'_>], others: &[Node<'_>]) -> bool {
    let same = |(node, other): (&Node<'_>, &Node<'_>)| {
        let entries = node.entries.len() == other.entries.len()
            && node.entries.iter().zip(&other.entries).all(|(entry, other)| {
                // A number that is none equals nothing, not even itself.
                let value = entry.value == other.value || format!("{:?}", entry.value) == format!("{:?}", other.value);
                entry.name == other.name && value
            });
        let children = match (&node.children, &other.children) {
            (Some(children), Some(others)) => alike(children, others),
            (None, None) => true,
            _ => false,
        };
        node.name == other.name && entries && children
    };
    some.len() == others.len() && some.iter().zip(others).all(same)
}

/// Returns whether two texts have the same words and comments in the same order.
fn same(some: &[Piece<'_>], others: &[Piece<'_>]) -> bool {
    let kept = |piece: &&Piece<'_>| !piece.is(Kind::Newline) && !piece.is(Kind::Semicolon);
    some.iter().filter(kept).eq(others.iter().filter(kept))
}

/// Where in a line the printer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing is written yet; the line before ended a node.
    Start,
    /// Nothing is written yet; the line before goes on.
    Continued,
    Within,
}

/// How a block is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// `{ a; b }`, as it was.
    Line,
    /// A node a line.
    Lines,
}

struct Printer<'p, 't> {
    pieces: &'p [Piece<'t>],
    /// For each `{` in turn.
    blocks: std::vec::IntoIter<Block>,
    open: Vec<Block>,
    out: String,
    at: At,
    /// Whether an empty line is due before what comes next.
    gap: bool,
    /// Whether nothing stands yet on the lines of the block, or of the file.
    fresh: bool,
    /// Of the comments that are still to come.
    columns: std::vec::IntoIter<usize>,
    /// The comments behind something.
    trailing: Vec<Trailing>,
    /// Counts what ends a run of lines: empty lines and the ends of blocks.
    run: usize,
}

/// A comment behind something, which stands below those of its run if it did before.
#[derive(Debug, Clone, Copy)]
struct Trailing {
    /// Where it begins in what is written.
    at: usize,
    /// How many characters stand before it.
    width: usize,
    /// The column in which it was, and the run of lines.
    was: (usize, usize),
}

impl<'p, 't> Printer<'p, 't> {
    fn new(layout: &'p Layout<'t>) -> Self {
        Self {
            pieces: &layout.pieces,
            blocks: blocks(&layout.pieces).into_iter(),
            open: Vec::new(),
            out: String::new(),
            at: At::Start,
            gap: false,
            fresh: true,
            columns: layout.columns.clone().into_iter(),
            trailing: Vec::new(),
            run: 0,
        }
    }

    fn print(mut self, first: Option<&str>) -> String {
        if let Some(first) = first {
            self.out.push_str(first.trim_end());
            self.at = At::Within;
            self.fresh = false;
        }
        for number in 0..self.pieces.len() {
            self.piece(number);
        }
        self.end_line();
        align(self.out, &self.trailing)
    }

    fn piece(&mut self, number: usize) {
        let piece = &self.pieces[number];
        match piece {
            Piece::Word(Kind::Newline, _) => self.newline(number),
            Piece::Word(Kind::Semicolon, _) => {
                // The end of a line or a block ends a node as well.
                let next = self.pieces[number + 1..].iter().find(|piece| !piece.is_comment());
                if next.is_some_and(|next| !next.is(Kind::Newline) && !next.is(Kind::Close)) {
                    self.put(number, ";");
                }
            }
            Piece::Word(Kind::Open, _) => {
                self.put(number, "{");
                self.fresh = true;
                self.open.extend(self.blocks.next());
                self.run += usize::from(self.open.last() == Some(&Block::Lines));
                if self.open.last() == Some(&Block::Lines) && !self.stays(number) {
                    self.end_line();
                }
            }
            Piece::Word(Kind::Close, _) => {
                if self.open.pop() == Some(Block::Lines) {
                    self.end_line();
                    self.run += 1;
                }
                self.gap = false;
                self.put(number, "}");
                self.fresh = false;
            }
            Piece::Word(_, text) | Piece::Block(text) => self.put(number, text),
            Piece::Line(text) => {
                let behind = self.at == At::Within;
                self.put(number, text);
                let (column, at) = (self.columns.next().unwrap_or_default(), self.out.len() - text.len());
                let width = self.out[..at].chars().rev().take_while(|c| *c != '\n').count();
                self.trailing.extend(behind.then_some(Trailing { at, width, was: (column, self.run) }));
            }
            Piece::Continued(comments) => {
                self.put(number, "\\");
                for comment in comments {
                    self.out.extend([" ", comment]);
                }
                self.out.push('\n');
                self.at = At::Continued;
            }
        }
    }

    /// Whether what follows a `{` stays on its line: comments up to the end of the line.
    fn stays(&self, open: usize) -> bool {
        let mut after = self.pieces[open + 1..].iter();
        after.next().is_some_and(Piece::is_comment)
            && after.find(|piece| !piece.is_comment()).is_some_and(|piece| piece.is(Kind::Newline))
    }

    fn newline(&mut self, number: usize) {
        let after_slashdash = number > 0 && self.pieces[number - 1].is(Kind::Slashdash);
        match self.at {
            _ if self.open.last() == Some(&Block::Line) => {}
            // Of several, each would find the one before it.
            _ if after_slashdash || self.after_slashdash(number) => {}
            At::Start => self.gap = true,
            At::Continued => {
                self.out.push('\n');
                self.at = At::Start;
            }
            At::Within => self.end_line(),
        }
    }

    /// Whether only ends of lines lie between a `/-` and this one.
    fn after_slashdash(&self, number: usize) -> bool {
        let before = self.pieces[..number].iter().rfind(|piece| !piece.is(Kind::Newline));
        before.is_some_and(|piece| piece.is(Kind::Slashdash))
    }

    fn end_line(&mut self) {
        if self.at == At::Within {
            self.out.push('\n');
        }
        self.at = At::Start;
        self.gap = false;
    }

    /// Writes `text` for the piece of this number, with what belongs before it.
    fn put(&mut self, number: usize, text: &str) {
        if self.at == At::Within {
            if self.is_spaced(number) {
                self.out.push(' ');
            }
        } else {
            if self.gap && !self.fresh {
                self.out.push('\n');
                self.run += 1;
            }
            self.fresh = false;
            let depth = self.open.len() + usize::from(self.at == At::Continued);
            self.out.push_str(&"    ".repeat(depth));
        }
        self.gap = false;
        self.out.push_str(text);
        self.at = At::Within;
    }

    fn is_spaced(&self, number: usize) -> bool {
        let piece = &self.pieces[number];
        // Ends of lines that are not written separate nothing.
        let before = self.pieces[..number].iter().rfind(|piece| !piece.is(Kind::Newline));
        let Some(before) = before else { return true };
        let words = !piece.is_comment() && !before.is_comment();
        let empty = before.is(Kind::Open) && piece.is(Kind::Close);
        let joined = piece.is(Kind::Equals) || before.is(Kind::Equals) || before.is(Kind::Slashdash);
        !(piece.is(Kind::Semicolon) || empty || (words && joined && !matches!(piece, Piece::Continued(_))))
    }
}

/// Puts comments that stood in one column into one column again.
fn align(mut out: String, trailing: &[Trailing]) -> String {
    for run in trailing.chunk_by(|one, next| one.was == next.was).rev() {
        let width = run.iter().map(|comment| comment.width).max().unwrap_or_default();
        for comment in run.iter().rev() {
            out.insert_str(comment.at, &" ".repeat(width - comment.width));
        }
    }
    out
}

/// Returns how each block is written, in the order of their `{`: on one line if it was and nothing in it has several.
fn blocks(pieces: &[Piece<'_>]) -> Vec<Block> {
    let (mut blocks, mut open): (Vec<Block>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    for (number, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Word(Kind::Open, _) => {
                open.push((blocks.len(), number));
                blocks.push(Block::Line);
            }
            Piece::Word(Kind::Close, _) => {
                let Some((block, start)) = open.pop() else { continue };
                if pieces[start + 1..number].iter().all(|piece| piece.is(Kind::Newline)) {
                    blocks[block] = Block::Line;
                    continue;
                }
                // What spreads over lines spreads its surroundings.
                if let (Block::Lines, Some((outer, _))) = (blocks[block], open.last()) {
                    blocks[*outer] = Block::Lines;
                }
            }
            Piece::Word(Kind::Newline, _) | Piece::Continued(_) => {
                open.last().into_iter().for_each(|(block, _)| blocks[*block] = Block::Lines);
            }
            Piece::Word(_, text) | Piece::Block(text) | Piece::Line(text) => {
                let spread = text.contains(crate::spec::character::is_newline);
                open.last().filter(|_| spread).into_iter().for_each(|(block, _)| blocks[*block] = Block::Lines);
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::{Piece, alike, format, read, same, unix};
    use crate::spec::oracle::document;

    fn formatted(text: &str) -> String {
        String::from_utf8(format(text.as_bytes()).unwrap().into_bytes()).unwrap()
    }

    #[test]
    fn the_form_is_this() {
        for (text, expected) in [
            ("", ""),
            ("\n\n", ""),
            ("a", "a\n"),
            ("\u{feff}a\r\n\r\n\r\nb\r\n", "a\n\nb\n"),
            (
                "#!/usr/bin/env sbx\r\na \"\"\"\r\n  x\r\n  \"\"\" /* y\r\n z */ \\\r\n 1 // w\r\n",
                "#!/usr/bin/env sbx\na \"\"\"\n  x\n  \"\"\" /* y\n z */ \\\n    1 // w\n",
            ),
            ("a \"\"\"\r\r\n  x\r  \"\"\"\r", "a \"\"\"\n\n  x\n  \"\"\"\n"),
            ("#!/usr/bin/env sbx  \n\n\n  a", "#!/usr/bin/env sbx\n\na\n"),
            ("#!/usr/bin/env sbx", "#!/usr/bin/env sbx\n"),
            ("  a   1  k = \"v\"  ;\n", "a 1 k=\"v\"\n"),
            ("a;b ; c;", "a; b; c\n"),
            ("a{b 1;c;}", "a { b 1; c }\n"),
            ("a{\n\n\nb\n\n\n\nc\n\n}\n", "a {\n    b\n\n    c\n}\n"),
            ("a { b\n }", "a {\n    b\n}\n"),
            ("a { b {\nc\n} }", "a {\n    b {\n        c\n    }\n}\n"),
            ("a {\n\n}", "a {}\n"),
            ("a    // x\nbcd  // y\n\nc // z\nde // z\n", "a   // x\nbcd // y\n\nc // z\nde // z\n"),
            ("a    // x\nbcdef\ng    // y\nh { i   // z\n}", "a // x\nbcdef\ng // y\nh {\n    i // z\n}\n"),
            ("a { b }\n\nc {}\n\n\nd", "a { b }\n\nc {}\n\nd\n"),
            ("a { // why\n\n b }", "a { // why\n    b\n}\n"),
            ("a { /* why */ b\n }", "a {\n    /* why */ b\n}\n"),
            ("//x  \n\n\n// y\na   //z\n", "//x\n\n// y\na //z\n"),
            ("a {\nb\n// last\n\n}", "a {\n    b\n    // last\n}\n"),
            ("/-\n\na 1 /- 2 /- k=3 /-  {\nb\n}", "/-a 1 /-2 /-k=3 /-{\n    b\n}\n"),
            ("/- // why\n\na", "/- // why\n\na\n"),
            ("a \\\n  1 \\ // two\n2\nb", "a \\\n    1 \\ // two\n    2\nb\n"),
            ("a{b \\\nc}", "a {\n    b \\\n        c\n}\n"),
            ("a /* x\n y */ 1", "a /* x\n y */ 1\n"),
            ("a \"\"\"\n   x\n  \"\"\" 0x1F 1.50 #\"r\"#", "a \"\"\"\n   x\n  \"\"\" 0x1F 1.50 #\"r\"#\n"),
            ("a { b #\"\"\"\n  x\n  \"\"\"# }", "a {\n    b #\"\"\"\n  x\n  \"\"\"#\n}\n"),
        ] {
            assert_eq!(formatted(text), expected, "{text:?}");
            assert_eq!(formatted(expected), expected, "a second time: {text:?}");
        }
    }

    #[test]
    fn nothing_is_lost_and_twice_is_once() {
        let mut tried = 0;
        let property = |u: &mut arbtest::arbitrary::Unstructured<'_>| {
            let text = document(u)?;
            let Ok((nodes, _)) = read(&text) else { return Ok(()) };
            let unix = unix(&text);
            let (_, layout) = read(&unix).unwrap();
            let comments = layout.pieces.iter().filter(|piece| matches!(piece, Piece::Line(_))).count();
            assert_eq!(layout.columns.len(), comments, "{text:?}");
            tried += 1;
            let once = formatted(&text);
            let (again, other) = read(&once).unwrap();
            assert!(alike(&nodes, &again) && same(&layout.pieces, &other.pieces), "{text:?}\n{once:?}");
            assert_eq!(formatted(&once), once, "{text:?}");
            let empty = |line: &str| line.ends_with([' ', '\t']) && !text.contains("\"\"\"") && !text.contains("/*");
            assert!(!once.lines().any(empty) && !once.starts_with('\n'), "{text:?}\n{once:?}");
            Ok(())
        };
        arbtest::arbtest(property).budget_ms(1000).run();
        assert!(tried > 20, "only {tried} documents were right");
    }

    #[test]
    fn what_breaks_the_grammar_is_not_formatted() {
        for text in ["a {", "\"x", "a=", "}"] {
            assert!(format(text.as_bytes()).is_err(), "{text}");
        }
        assert!(format(b"\xff").is_err());
    }
}
