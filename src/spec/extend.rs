//! `extends`: which file a spec names, and how its nodes and those of that file become one list. What can stand in a
//! file only once is replaced, what can be repeated is added. It reads no file.

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::literal::Value;
use crate::spec::read::{Children, Reader};
use crate::spec::tree::{Entry, Node};
use crate::spec::value::{self, form};
use crate::spec::{scan, tree};
use crate::units::{AbsPath, Span};

/// A file that a spec names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extends {
    /// As written.
    pub path: String,
    /// Of the node, in the text that names it.
    pub span: Span,
}

/// A node that counts, and the one of an extended file that therefore does not.
pub(crate) type Override = (Span, Span);

/// Returns the file that the spec in `text` extends, without judging anything else.
#[must_use]
pub fn named(text: &[u8]) -> Option<Extends> {
    // Whoever extends nothing pays for nothing.
    if text.len() > scan::MAX_TEXT || !text.windows(7).any(|word| word == b"extends") {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut out = Findings::default();
    let mut nodes = tree::grow(text, &scan::scan(text, &mut out), &mut out);
    take(&mut nodes, &mut out)
}

/// Takes the node `extends` out of the nodes of one file.
pub(crate) fn take(nodes: &mut Vec<Node<'_>>, out: &mut Findings) -> Option<Extends> {
    let mut found: Option<Extends> = None;
    for node in nodes.extract_if(.., |node| node.name == "extends") {
        let mut reader = Reader::new(&node, out);
        let path = reader.argument_read("a path", value::host_path, form::OUTSIDE);
        reader.finish(Children::None);
        match &found {
            Some(first) => {
                let finding = Finding::new(node.name_span, "the node `extends` comes twice").label("the second one");
                let finding = finding.help("one file extends one other, which may extend a third");
                out.push(finding.related(first.span, "the first one"));
            }
            None => found = path.map(|path| Extends { path: path.0, span: node.span }),
        }
    }
    found
}

/// Returns the nodes of `base` and behind them those of `own`, which extends it.
pub(crate) fn merge<'t>(base: Vec<Node<'t>>, own: Vec<Node<'t>>, overrides: &mut Vec<Override>) -> Vec<Node<'t>> {
    let mut merged = base;
    without_variables(&mut merged, &own, overrides);
    for node in own {
        match (node.name.as_ref(), merged.iter().position(|other| other.name == node.name)) {
            (name @ ("mounts" | "limits"), Some(at)) => {
                let key = if name == "mounts" { destination } else { limit };
                let mut children = merged.remove(at).children.unwrap_or_default();
                for child in node.children.into_iter().flatten() {
                    put(&mut children, child, key, overrides);
                }
                merged.push(Node { children: Some(children), ..node });
            }
            _ => {
                let same = |other: &Node<'_>| slot(other).is_some() && slot(other) == slot(&node);
                overrides.extend(merged.extract_if(.., |other| same(other)).map(|other| (node.span, other.span)));
                merged.push(node);
            }
        }
    }
    merged
}

/// Returns what can be there only once: two nodes with the same are the same. `None` if there can be any number.
fn slot(node: &Node<'_>) -> Option<(String, String)> {
    let name = match node.name.as_ref() {
        "script" => "command",
        name => name,
    };
    let key = match name {
        "env" | "pass-env" => return None,
        "secret" | "test" => argument(node, 0)?,
        "collect" => match &node.entries.iter().find(|entry| entry.name.as_deref() == Some("to"))?.value {
            Value::Text(to) => to.to_string(),
            _ => return None,
        },
        _ => String::new(),
    };
    Some((name.to_owned(), key))
}

fn argument(node: &Node<'_>, number: usize) -> Option<String> {
    match &node.entries.iter().filter(|entry| entry.name.is_none()).nth(number)?.value {
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Puts `child` where the one is that it replaces, or at the end.
fn put<'t>(
    children: &mut Vec<Node<'t>>,
    child: Node<'t>,
    key: fn(&Node<'_>) -> Option<String>,
    overrides: &mut Vec<Override>,
) {
    let same = key(&child).and_then(|wanted| children.iter_mut().find(|other| key(other).as_ref() == Some(&wanted)));
    match same {
        Some(other) => {
            overrides.push((child.span, other.span));
            *other = child;
        }
        None => children.push(child),
    }
}

/// Returns the place that a child of `mounts` fills.
fn destination(node: &Node<'_>) -> Option<String> {
    let number = usize::from(matches!(node.name.as_ref(), "bind" | "volume"));
    let text = argument(node, number)?;
    AbsPath::new(&text).map(|path| path.as_str().to_owned()).ok()
}

/// Returns what a child of `limits` limits.
fn limit(node: &Node<'_>) -> Option<String> {
    let of = if matches!(node.name.as_ref(), "io" | "hugetlb") { argument(node, 0)? } else { String::new() };
    Some(format!("{} {of}", node.name))
}

/// Takes out of `base` what gives a value to a variable that `own` gives another.
fn without_variables(base: &mut Vec<Node<'_>>, own: &[Node<'_>], overrides: &mut Vec<Override>) {
    let given: Vec<(String, Span)> = own
        .iter()
        .flat_map(|node| node.entries.iter().filter_map(|entry| Some((variable(node, entry)?.to_owned(), entry.span))))
        .collect();
    if given.is_empty() {
        return;
    }
    base.retain_mut(|node| {
        let before = node.entries.len();
        let name = |node: &Node<'_>, entry: &Entry<'_>| {
            let name = variable(node, entry)?;
            given.iter().find(|(other, _)| other == name).map(|(_, span)| *span)
        };
        let dropped: Vec<Option<Span>> = node.entries.iter().map(|entry| name(node, entry)).collect();
        for (entry, by) in node.entries.iter().zip(&dropped) {
            overrides.extend(by.map(|by| (by, entry.span)));
        }
        let mut dropped = dropped.into_iter();
        node.entries.retain(|_| dropped.next().flatten().is_none());
        // A secret is one variable with a property, the others are lists.
        node.entries.len() == before || (node.name != "secret" && !node.entries.is_empty())
    });
}

/// Returns the variable of the command's environment that `entry` gives a value.
fn variable<'n>(node: &Node<'_>, entry: &'n Entry<'_>) -> Option<&'n str> {
    match (node.name.as_ref(), &entry.name, &entry.value) {
        ("env", Some(name), _) => Some(name),
        ("pass-env", None, Value::Text(name)) => Some(name),
        ("secret", None, Value::Text(name)) if !name.starts_with('/') => Some(name),
        _ => None,
    }
}
