//! Turns the node `landlock` into types: one rule for each path and port. Whether the
//! kernel can hold a rule is not its question.

use crate::spec::diagnostic::Finding;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::tree::Entry;
use crate::spec::value::{self, form};
use crate::spec::{Landlock, LandlockRule};
use crate::units::{AbsPath, Origin, Spanned};

const RULES: [&str; 5] = ["read", "write", "execute", "connect", "bind"];

/// Returns what the node says.
pub(crate) fn landlock(reader: &mut Reader<'_, '_>) -> Option<Landlock> {
    let none = reader.optional_argument();
    let node = reader.node;
    match (none, &node.children) {
        (Some(entry), None) => return reader.choice(entry, &[("none", ())]).map(|()| Landlock::None),
        (None, Some(_)) => {}
        (Some(_), Some(_)) => {
            let finding = Finding::new(node.name_span, "`landlock` takes `none` or rules, not both");
            reader.out.push(finding.label("has both"));
        }
        (None, None) => {
            let finding = Finding::new(node.span, "`landlock` needs `none` or a block of rules");
            reader.out.push(finding.label("says nothing").help("without this node the rules follow from the mounts"));
        }
    }
    let mut rules: Vec<Spanned<LandlockRule>> = Vec::new();
    for child in node.children.iter().flatten() {
        let name = child.name.as_ref();
        if reader.out.is_full() {
            break;
        }
        if !RULES.contains(&name) {
            let message = format!("`landlock` has no child `{}`", shorten(name));
            reader.out.push(unknown(child.name_span, message, name, RULES.into_iter()));
            continue;
        }
        let mut child = Reader::new(child, reader.out);
        let what = if matches!(name, "connect" | "bind") { "a port" } else { "a path" };
        for entry in child.arguments(what) {
            let Some(rule) = rule(&mut child, name, entry) else { continue };
            if rules.iter().any(|it| it.value == rule) {
                let finding = Finding::new(entry.span, format!("this `{name}` comes twice"));
                child.out.push(finding.label("the second one"));
            }
            rules.push(Spanned::new(rule, Origin::Spec(entry.span)));
        }
        child.finish(Children::None);
    }
    if rules.is_empty() && node.children.is_some() && none.is_none() {
        // What could not be read has been reported.
        if node.children.iter().flatten().next().is_none() {
            let finding = Finding::new(node.span, "the block of `landlock` is empty").label("no rule");
            reader.out.push(finding.help("`landlock none` turns Landlock off; without the node the mounts decide"));
        }
        return None;
    }
    Some(Landlock::Rules(rules))
}

fn rule(reader: &mut Reader<'_, '_>, name: &str, entry: &Entry<'_>) -> Option<LandlockRule> {
    let path = |reader: &mut Reader<'_, '_>, rule: fn(AbsPath) -> LandlockRule| {
        reader.read(entry, value::inside_path, form::INSIDE).map(rule)
    };
    let port = |reader: &mut Reader<'_, '_>, first, rule: fn(u16) -> LandlockRule| {
        reader.number(entry, first..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()).map(rule)
    };
    match name {
        "read" => path(reader, LandlockRule::Read),
        "write" => path(reader, LandlockRule::Write),
        "execute" => path(reader, LandlockRule::Execute),
        "connect" => port(reader, 1, LandlockRule::Connect),
        _ => port(reader, 0, LandlockRule::Bind),
    }
}
