//! Joins tokens into nodes: name, arguments, properties, children. It says what breaks
//! the grammar of KDL and knows no word of the language. The kdl crate is its oracle
//! in the tests.

use std::borrow::Cow;

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::literal::{Literals, Value};
use crate::spec::scan::{Joint, Kind, MAX_DEPTH, Token};
use crate::units::Span;

/// One node. `span` is its head: from the name to the last argument or property.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node<'t> {
    pub(crate) name: Cow<'t, str>,
    pub(crate) name_span: Span,
    pub(crate) span: Span,
    pub(crate) entries: Vec<Entry<'t>>,
    pub(crate) children: Option<Vec<Node<'t>>>,
}

/// An argument, or a property where there is a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<'t> {
    pub(crate) name: Option<Cow<'t, str>>,
    /// Of the name and the value.
    pub(crate) span: Span,
    pub(crate) value: Value<'t>,
    pub(crate) value_span: Span,
}

/// Returns the nodes that `tokens` of `text` make up.
pub(crate) fn grow<'t>(text: &'t str, tokens: &[Token], out: &mut Findings) -> Vec<Node<'t>> {
    let mut grower = Grower { tokens, at: 0, literals: Literals::new(text), levels: Vec::new(), nodes: Vec::new() };
    while grower.at < tokens.len() && !out.is_full() {
        if !grower.step(out) {
            break;
        }
    }
    for level in grower.levels.iter().filter(|_| grower.at == tokens.len()) {
        out.push(
            Finding::new(level.brace, "this block is never closed").label("opened here").help("close it with `}`"),
        );
    }
    while !grower.levels.is_empty() {
        grower.close();
    }
    grower.nodes
}

/// Moves all places in `nodes` by `start`.
pub(crate) fn shift(nodes: &mut [Node<'_>], start: usize) {
    let moved = |span: &mut Span| *span = Span { start: span.start + start, end: span.end + start };
    for node in nodes {
        moved(&mut node.name_span);
        moved(&mut node.span);
        for entry in &mut node.entries {
            moved(&mut entry.span);
            moved(&mut entry.value_span);
        }
        shift(node.children.as_deref_mut().unwrap_or_default(), start);
    }
}

fn starts_entry(kind: Kind) -> bool {
    matches!(kind, Kind::Word | Kind::Text(_) | Kind::Broken | Kind::Slashdash)
}

/// Whether `/-` stands before something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
}

/// A block that is open: the node that it belongs to, and the nodes before that.
struct Level<'t> {
    before: Vec<Node<'t>>,
    parent: Option<Node<'t>>,
    parent_fate: Fate,
    fate: Fate,
    brace: Span,
}

struct Grower<'t, 's> {
    tokens: &'s [Token],
    at: usize,
    literals: Literals<'t>,
    levels: Vec<Level<'t>>,
    nodes: Vec<Node<'t>>,
}

impl<'t> Grower<'t, '_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn next_is(&mut self, kind: Kind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    /// Takes what can stand where a node begins.
    fn step(&mut self, out: &mut Findings) -> bool {
        let Some(token) = self.peek() else { return false };
        match token.kind {
            Kind::Newline => self.at += 1,
            Kind::Close => return self.end_block(token, out),
            Kind::Word | Kind::Text(_) | Kind::Broken => return self.node(Fate::Kept, out),
            Kind::Slashdash => {
                self.at += 1;
                self.skip_newlines();
                match self.peek() {
                    Some(Token { kind: Kind::Word | Kind::Text(_) | Kind::Broken, .. }) => {
                        return self.node(Fate::Dropped, out);
                    }
                    _ => out.push(Finding::new(token.span, "`/-` stands before nothing").label("nothing to leave out")),
                }
            }
            Kind::Open => {
                out.push(Finding::new(token.span, "a block without a node").label("a name is missing before it"));
                self.at += 1;
                return self.open(None, Fate::Dropped, (Fate::Dropped, token), out);
            }
            Kind::Semicolon => {
                out.push(Finding::new(token.span, "unexpected `;`").label("no node ends here"));
                self.at += 1;
            }
            Kind::Equals => {
                out.push(Finding::new(token.span, "unexpected `=`").label("a property belongs to a node"));
                self.skip_line();
            }
        }
        true
    }

    fn skip_newlines(&mut self) {
        while self.next_is(Kind::Newline) {}
    }

    /// Goes on after the next end of a node: the rest would only be reported again.
    fn skip_line(&mut self) {
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Newline | Kind::Semicolon | Kind::Open | Kind::Close => return,
                _ => self.at += 1,
            }
        }
    }

    fn node(&mut self, fate: Fate, out: &mut Findings) -> bool {
        let Some(token) = self.peek() else { return false };
        self.at += 1;
        let name = match self.literals.value(token, out) {
            Value::Text(name) => name,
            Value::Bad => Cow::Borrowed(""),
            _ => {
                out.push(Finding::new(token.span, "a node must begin with a word").label("not a word"));
                Cow::Borrowed("")
            }
        };
        let mut node = Node { name, name_span: token.span, span: token.span, entries: Vec::new(), children: None };
        while let Some(entry) = self.peek().filter(|token| starts_entry(token.kind) && !out.is_full()) {
            if entry.joint == Joint::Touching {
                let finding =
                    Finding::new(entry.span, "a space is missing before this").label("touches what is before it");
                out.push(finding.help("raw strings are written `#\"…\"#`"));
            }
            if let Some(brace) = self.slashdashed_block(entry) {
                return self.open(Some(node), fate, (Fate::Dropped, brace), out);
            }
            let start = node.span.start;
            if let Some(entry) = self.entry(entry, out) {
                node.span = Span { start, end: entry.span.end };
                node.entries.push(entry);
            }
        }
        self.after_entries(node, fate, out)
    }

    /// Takes `/-{`, and returns the brace.
    fn slashdashed_block(&mut self, token: Token) -> Option<Token> {
        if token.kind != Kind::Slashdash {
            return None;
        }
        let newlines = self.tokens[self.at + 1..].iter().take_while(|token| token.kind == Kind::Newline).count();
        let brace = self.tokens.get(self.at + 1 + newlines).copied().filter(|token| token.kind == Kind::Open)?;
        self.at += 2 + newlines;
        Some(brace)
    }

    /// Takes an argument or a property; `None` if it is left out by `/-`.
    fn entry(&mut self, first: Token, out: &mut Findings) -> Option<Entry<'t>> {
        self.at += 1;
        let (mut token, mut fate) = (first, Fate::Kept);
        if first.kind == Kind::Slashdash {
            self.skip_newlines();
            fate = Fate::Dropped;
            token = match self.peek() {
                Some(next) if matches!(next.kind, Kind::Word | Kind::Text(_) | Kind::Broken) => next,
                _ => {
                    out.push(Finding::new(first.span, "`/-` stands before nothing").label("nothing to leave out"));
                    return None;
                }
            };
            self.at += 1;
        }
        let value = self.literals.value(token, out);
        let entry = match self.next_is(Kind::Equals) {
            true => self.property(token, value, out),
            false => Some(Entry { name: None, span: token.span, value, value_span: token.span }),
        };
        entry.filter(|_| fate == Fate::Kept)
    }

    fn property(&mut self, key: Token, name: Value<'t>, out: &mut Findings) -> Option<Entry<'t>> {
        let name = match name {
            Value::Text(name) => name,
            Value::Bad => Cow::Borrowed(""),
            _ => {
                out.push(Finding::new(key.span, "a property must begin with a word").label("not a word"));
                Cow::Borrowed("")
            }
        };
        let Some(token) = self.peek().filter(|token| matches!(token.kind, Kind::Word | Kind::Text(_) | Kind::Broken))
        else {
            out.push(
                Finding::new(key.span, format!("the property `{name}` has no value")).label("nothing after its `=`"),
            );
            return None;
        };
        self.at += 1;
        let span = Span { start: key.span.start, end: token.span.end };
        let value = self.literals.value(token, out);
        Some(Entry { name: Some(name), span, value, value_span: token.span })
    }

    /// Takes what can stand after the last argument or property.
    fn after_entries(&mut self, node: Node<'t>, fate: Fate, out: &mut Findings) -> bool {
        match self.peek() {
            Some(token) if token.kind == Kind::Open => {
                self.at += 1;
                return self.open(Some(node), fate, (Fate::Kept, token), out);
            }
            Some(token) if token.kind == Kind::Equals => {
                out.push(Finding::new(token.span, "unexpected `=`").label("no property begins before it"));
                self.skip_line();
            }
            _ => {}
        }
        self.finish(Some(node), fate);
        self.end_of_node();
        true
    }

    fn end_of_node(&mut self) {
        let ends = |token: &Token| matches!(token.kind, Kind::Newline | Kind::Semicolon);
        self.at += usize::from(self.peek().as_ref().is_some_and(ends));
    }

    fn finish(&mut self, node: Option<Node<'t>>, fate: Fate) {
        self.nodes.extend(node.filter(|_| fate == Fate::Kept));
    }

    fn open(&mut self, parent: Option<Node<'t>>, parent_fate: Fate, block: (Fate, Token), out: &mut Findings) -> bool {
        let (fate, brace) = block;
        if self.levels.len() == MAX_DEPTH {
            out.push(
                Finding::new(brace.span, format!("blocks are nested deeper than {MAX_DEPTH}")).label("one too many"),
            );
            return false;
        }
        let before = std::mem::take(&mut self.nodes);
        self.levels.push(Level { before, parent, parent_fate, fate, brace: brace.span });
        true
    }

    /// Ends the innermost block and returns its node and that node's fate.
    fn close(&mut self) -> Option<(Option<Node<'t>>, Fate)> {
        let level = self.levels.pop()?;
        let children = std::mem::replace(&mut self.nodes, level.before);
        let mut parent = level.parent;
        if let (Some(node), Fate::Kept) = (&mut parent, level.fate) {
            node.children = Some(children);
        }
        Some((parent, level.parent_fate))
    }

    /// Takes `}` and what can stand after it: other blocks, as long as but one is
    /// not left out, and the end of the node.
    fn end_block(&mut self, token: Token, out: &mut Findings) -> bool {
        self.at += 1;
        let Some((node, fate)) = self.close() else {
            out.push(Finding::new(token.span, "this `}` closes nothing").label("no block is open"));
            return true;
        };
        match self.peek() {
            Some(next) if next.kind == Kind::Slashdash => {
                if let Some(brace) = self.slashdashed_block(next) {
                    return self.open(node, fate, (Fate::Dropped, brace), out);
                }
                out.push(Finding::new(next.span, "only a block can stand here").label("after the block of a node"));
                self.skip_line();
            }
            Some(next) if next.kind == Kind::Open && node.as_ref().is_some_and(|node| node.children.is_none()) => {
                self.at += 1;
                return self.open(node, fate, (Fate::Kept, next), out);
            }
            Some(next) if !matches!(next.kind, Kind::Newline | Kind::Semicolon | Kind::Close) => {
                let finding = Finding::new(next.span, "a node ends with its block").label("belongs to no node");
                out.push(finding.help("put it before the block, or on a line of its own"));
                self.skip_line();
            }
            _ => {}
        }
        self.finish(node, fate);
        self.end_of_node();
        true
    }
}
