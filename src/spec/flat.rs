//! Writes the nodes of a spec as KDL: one file that extends nothing and has no parameters. Comments say which file
//! a node comes from, where there is more than one.

use std::borrow::Cow;

use crate::spec::assemble::Assembled;
use crate::spec::character::{is_newline, is_space};
use crate::spec::literal::Value;
use crate::spec::param::By;
use crate::spec::tree::{Entry, Node};
use crate::units::{AbsPath, Span, SpecText, shows_itself, visible};

/// Returns the spec that `assembled` is, in the form in which `sbx fmt` leaves it.
pub(crate) fn write(assembled: &Assembled<'_>, names: SpecText<'_>) -> String {
    let mut writer = Writer { out: String::new(), assembled, names };
    for given in &assembled.givens {
        let value = given.value.as_deref().unwrap_or_default();
        let by = match given.by {
            By::Default => writer.place(given.span),
            By::CommandLine => "--set".to_owned(),
        };
        let by = instead(by, given.instead.iter().map(|span| writer.place(*span)));
        writer.out.extend(["// param ", &given.name, " ", &text(value), ", ", &by, "\n"]);
    }
    for node in &assembled.nodes {
        writer.node(node, 0);
    }
    writer.out
}

/// A script that carries its spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its path from its own directory.
    pub outside: String,
    /// Where it lies in the sandbox.
    pub inside: AbsPath,
}

/// Adds to `assembled` what a run adds to the spec of a script: the file, and its name behind the command.
pub(crate) fn show(assembled: &mut Assembled<'_>, script: &Script) {
    let word = |text: &str, span| {
        let value = Value::Text(Cow::Owned(text.to_owned()));
        Entry { name: None, span, value, value_span: span }
    };
    let inside = script.inside.as_str();
    let Some(command) = assembled.nodes.iter_mut().find(|node| node.name == "command") else { return };
    let span = command.span;
    command.entries.push(word(inside, span));
    let node = |name: &'static str, entries, children| Node {
        name: Cow::Borrowed(name),
        name_span: span,
        span,
        entries,
        children,
    };
    let bound = node("bind", vec![word(&script.outside, span), word(inside, span)], None);
    match assembled.nodes.iter_mut().find(|node| node.name == "mounts") {
        Some(mounts) => mounts.children.get_or_insert_default().push(bound),
        None => assembled.nodes.push(node("mounts", Vec::new(), Some(vec![bound]))),
    }
}

struct Writer<'w, 't> {
    out: String,
    assembled: &'w Assembled<'t>,
    names: SpecText<'w>,
}

impl Writer<'_, '_> {
    fn node(&mut self, node: &Node<'_>, depth: usize) {
        let indent = "    ".repeat(depth);
        self.out.push_str(&indent);
        self.out.push_str(&word(&node.name));
        for entry in &node.entries {
            self.out.push(' ');
            self.entry(entry, depth);
        }
        let origin = self.origin(node);
        match &node.children {
            None => self.out.push_str(&origin),
            // What a block says comes from where its children do.
            Some(children) if children.is_empty() => self.out.extend([" {}", &origin]),
            Some(children) => {
                self.out.push_str(" {\n");
                for child in children {
                    self.node(child, depth + 1);
                }
                self.out.extend([indent.as_str(), "}"]);
            }
        }
        self.out.push('\n');
    }

    fn entry(&mut self, entry: &Entry<'_>, depth: usize) {
        if let Some(name) = &entry.name {
            self.out.extend([&word(name), "="]);
        }
        match &entry.value {
            Value::Text(text) => self.out.push_str(&lines(text, depth + 1).unwrap_or_else(|| self::text(text))),
            Value::Integer(number) => self.out.push_str(&number.to_string()),
            Value::Float(number) if number.is_nan() => self.out.push_str("#nan"),
            Value::Float(number) if number.is_infinite() => {
                self.out.push_str(if *number > 0.0 { "#inf" } else { "#-inf" });
            }
            Value::Float(number) => self.out.extend([format!("{number:?}")]),
            Value::Bool(true) => self.out.push_str("#true"),
            Value::Bool(false) => self.out.push_str("#false"),
            // A value that cannot be read is not here: it has been reported.
            Value::Null | Value::Bad => self.out.push_str("#null"),
        }
    }

    /// Returns a comment that says where `node` comes from and what it stands for, if there is a choice.
    fn origin(&self, node: &Node<'_>) -> String {
        if self.names.extended.is_empty() {
            return String::new();
        }
        let within = |span: &Span| node.span.start <= span.start && span.end <= node.span.end;
        let replaced = self.assembled.overrides.iter().filter(|(by, _)| within(by));
        format!(" // {}", instead(self.place(node.span), replaced.map(|(_, other)| self.place(*other))))
    }

    fn place(&self, span: Span) -> String {
        let (name, (line, _)) = self.names.place(span);
        format!("{}:{line}", visible(name))
    }
}

/// Returns who says something, and the places that would have.
fn instead(by: String, places: impl Iterator<Item = String>) -> String {
    let places: Vec<String> = places.collect();
    if places.is_empty() { by } else { format!("{by}, instead of {}", places.join(", ")) }
}

/// Returns a name as KDL has it: in quotes where it could be taken for something else.
fn word(name: &str) -> String {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    match name {
        "true" | "false" | "null" | "inf" | "nan" => text(name),
        _ if first && plain => name.to_owned(),
        _ => text(name),
    }
}

/// Returns `text` in quotes, on one line.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            character if shows_itself(character) => out.push(character),
            character => out.extend(character.escape_unicode()),
        }
    }
    out.push('"');
    out
}

/// Returns `text` as a raw string of many lines, if it has some and all of them can stand in one.
fn lines(text: &str, depth: usize) -> Option<String> {
    let plain = |c: char| c == '\n' || c == '\t' || (shows_itself(c) && !is_newline(c));
    let blank = |line: &str| !line.is_empty() && line.chars().all(is_space);
    if !text.contains('\n') || !text.chars().all(plain) || text.split('\n').any(blank) {
        return None;
    }
    let hashes = (1..).map(|count| "#".repeat(count)).find(|hashes| !text.contains(&format!("\"\"\"{hashes}")))?;
    let indent = "    ".repeat(depth);
    let mut out = format!("{hashes}\"\"\"\n");
    for line in text.split('\n') {
        if !line.is_empty() {
            out.extend([indent.as_str(), line]);
        }
        out.push('\n');
    }
    out.extend([indent.as_str(), "\"\"\"", &hashes]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::write;
    use crate::spec::assemble::Assembled;
    use crate::spec::format::{alike, format, read};
    use crate::spec::oracle::document;
    use crate::units::SpecText;

    #[test]
    fn what_is_written_reads_as_it_was() {
        let mut tried = 0;
        let property = |u: &mut arbtest::arbitrary::Unstructured<'_>| {
            let text = document(u)?;
            let Ok((nodes, _)) = read(&text) else { return Ok(()) };
            tried += 1;
            let mut assembled = Assembled::default();
            assembled.join(std::iter::once(nodes));
            let flat = write(&assembled, SpecText::new("it.kdl", &text));
            let again = read(&flat).unwrap_or_else(|findings| panic!("{text:?}\n{flat}\n{findings:?}"));
            assert!(alike(&assembled.nodes, &again.0), "{text:?}\n{flat}");
            assert_eq!(format(flat.as_bytes()).as_ref(), Ok(&flat), "{text:?}");
            Ok(())
        };
        arbtest::arbtest(property).budget_ms(1000).run();
        assert!(tried > 20, "only {tried} documents were right");
    }
}
