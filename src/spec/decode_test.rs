//! Turns `test` nodes into types: what a case changes of its file, and what it expects. What came of a run is not
//! its question.

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::tree::{Entry, Node};
use crate::spec::value::{self, form};
use crate::spec::{ConnectionRule, Expect, ExpectedOutcome, FileRule, Spec, Test, TextRule, value_test};
use crate::units::{Origin, Spanned};

/// The children of a test. Those that are not here belong to `sbx run` alone: where the report goes and what is kept;
/// or to the file, as does a terminal.
const CHILDREN: [&str; 21] = [
    "rootfs",
    "namespaces",
    "user",
    "hostname",
    "workdir",
    "mounts",
    "network",
    "limits",
    "env",
    "pass-env",
    "secret",
    "seccomp",
    "landlock",
    "capabilities",
    "profile",
    "command",
    "script",
    "init",
    "best-effort",
    "stdin",
    "expect",
];

const EXPECTATIONS: [&str; 10] =
    ["outcome", "exit", "stdout", "stderr", "snapshot", "file", "memory", "wall", "cpu-time", "connections"];

/// Those that can be there more than once: all of them have to hold.
const REPEATABLE: [&str; 3] = ["stdout", "stderr", "file"];

/// Reads nodes as the top of a spec is read, where only some words may stand in a block of this name.
type Section = fn(&[&Node<'_>], (&str, &[&'static str]), &mut Findings) -> Spec;

/// Reads one `test`, whose own nodes are read by `section`.
pub(crate) fn test(reader: &mut Reader<'_, '_>, section: Section) -> Option<Test> {
    let name = reader.argument_read("a name", value_test::test_name, "one line that says what holds");
    let Some(children) = &reader.node.children else {
        let finding = Finding::new(reader.node.span, "`test` needs a block").label("children are missing");
        reader.out.push(finding.help("write `test \"NAME\" { command \"…\"; expect { exit 0; } }`"));
        return None;
    };
    let is_own = |node: &&Node<'_>| !matches!(node.name.as_ref(), "stdin" | "expect");
    let own: Vec<&Node<'_>> = children.iter().filter(is_own).collect();
    let own = section(&own, ("test", &CHILDREN), reader.out);
    let stdin = once(children, "stdin", reader.out).and_then(|node| stdin(node, reader.out));
    let expect = once(children, "expect", reader.out).map(|node| expect(node, reader.out));
    Some(Test { name: name?, own, stdin, expect: expect.unwrap_or_default() })
}

/// Returns the first child of this name; the others are too many.
fn once<'n, 't>(children: &'n [Node<'t>], name: &str, out: &mut Findings) -> Option<&'n Node<'t>> {
    let mut found = children.iter().filter(|node| node.name == name);
    let first = found.next();
    for node in found {
        out.push(Finding::new(node.name_span, format!("the node `{name}` comes twice")).label("the second one"));
    }
    first
}

/// A test has no input of sbx's own: what it reads is written here.
fn stdin(node: &Node<'_>, out: &mut Findings) -> Option<Spanned<String>> {
    let mut reader = Reader::new(node, out);
    let text = reader.argument("a text").and_then(|entry| reader.text(entry)).map(str::to_owned);
    let text = text.map(|it| reader.spanned(it));
    reader.finish(Children::None);
    text
}

fn expect(node: &Node<'_>, out: &mut Findings) -> Expect {
    let mut expect = Expect::default();
    let mut seen: Vec<&str> = Vec::new();
    if node.children.is_none() {
        let finding = Finding::new(node.span, "`expect` needs a block").label("children are missing");
        out.push(finding.help("write `expect { exit 0; }`"));
    }
    Reader::new(node, out).finish(Children::Read);
    for child in node.children.iter().flatten().filter(|child| !child.name.is_empty()) {
        let name = child.name.as_ref();
        if out.is_full() {
            break;
        }
        if !EXPECTATIONS.contains(&name) {
            let message = format!("`expect` has no child `{}`", shorten(name));
            out.push(unknown(child.name_span, message, name, EXPECTATIONS.into_iter()));
            continue;
        }
        if seen.contains(&name) && !REPEATABLE.contains(&name) {
            let finding = Finding::new(child.name_span, format!("the expectation `{name}` comes twice"));
            out.push(finding.label("the second one"));
            continue;
        }
        seen.push(name);
        let mut reader = Reader::new(child, out);
        expectation(&mut reader, &mut expect);
        reader.finish(Children::None);
    }
    expect
}

fn expectation(reader: &mut Reader<'_, '_>, expect: &mut Expect) {
    match reader.node.name.as_ref() {
        "outcome" => {
            let choices = ExpectedOutcome::ALL.map(|it| (it.as_str(), it));
            let outcome = reader.argument("a kind of outcome").and_then(|entry| reader.choice(entry, &choices));
            expect.outcome = outcome.map(|it| reader.spanned(it));
        }
        "exit" => {
            let code = reader.argument("an exit code").and_then(|entry| reader.number(entry, 0..=255));
            expect.exit = code.and_then(|code| u8::try_from(code).ok()).map(|it| reader.spanned(it));
        }
        "stdout" => expect.stdout.extend(required(reader)),
        "stderr" => expect.stderr.extend(required(reader)),
        "snapshot" => expect.snapshot = Some(reader.origin()),
        "file" => {
            let path = reader.argument_read("a path", value::mount_point, form::INSIDE);
            let rules = rules(reader).into_iter().map(|rule| rule.value).collect();
            expect.files.extend(path.map(|path| reader.spanned(FileRule { path, rules })));
        }
        "memory" => {
            let below = reader.required_property("below").and_then(|entry| reader.size(entry));
            expect.memory = below.map(|it| reader.spanned(it));
        }
        "wall" => expect.wall = time_below(reader),
        "cpu-time" => expect.cpu_time = time_below(reader),
        _ => {
            let (refused, allowed) = (count(reader, "refused"), count(reader, "allowed"));
            if reader.node.entries.is_empty() {
                let finding = Finding::new(reader.node.span, "`connections` needs a number");
                reader.out.push(finding.label("`refused=` or `allowed=` is missing"));
            }
            expect.connections = Some(reader.spanned(ConnectionRule { refused, allowed }));
        }
    }
}

fn count(reader: &mut Reader<'_, '_>, name: &'static str) -> Option<u64> {
    reader.property_number(name, 0..=u64::from(u32::MAX))
}

fn time_below(reader: &mut Reader<'_, '_>) -> Option<Spanned<std::time::Duration>> {
    let below = reader.required_property("below")?;
    let time = reader.read(below, value::positive_time, form::TIME)?;
    Some(reader.spanned(time))
}

/// Reads the rules of a stream, at least one.
fn required(reader: &mut Reader<'_, '_>) -> Vec<Spanned<TextRule>> {
    let rules = rules(reader);
    if reader.node.entries.is_empty() {
        let finding = Finding::new(reader.node.span, format!("`{}` expects nothing", reader.node.name));
        reader.out.push(finding.label("a text, `contains=`, `matches=` or `empty=#true` is missing"));
    }
    rules
}

/// Reads what has to hold for a text: an exact one, or properties.
fn rules(reader: &mut Reader<'_, '_>) -> Vec<Spanned<TextRule>> {
    let mut rules = Vec::new();
    let mut add = |entry: &Entry<'_>, rule| rules.push(Spanned::new(rule, Origin::Spec(entry.span)));
    if let Some(entry) = reader.optional_argument()
        && let Some(text) = reader.text(entry)
    {
        add(entry, TextRule::Exactly(text.to_owned()));
    }
    if let Some(entry) = reader.property("contains")
        && let Some(text) = reader.read(entry, value_test::part, "a text that is not empty")
    {
        add(entry, TextRule::Contains(text));
    }
    if let Some(entry) = reader.property("matches")
        && let Some(pattern) = reader.read(entry, value_test::pattern, "a regular expression: `id [0-9]+`")
    {
        add(entry, TextRule::Matches(pattern));
    }
    if let Some(entry) = reader.property("empty")
        && let Some(empty) = reader.truth(entry)
    {
        add(entry, if empty { TextRule::Empty } else { TextRule::NotEmpty });
    }
    rules
}
