//! Turns the node `seccomp` into types: the profile, and rules on single calls in the
//! order in which they are written. What a profile allows is not its question.

use nix::errno::Errno;

use crate::spec::diagnostic::Finding;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::tree::Node;
use crate::spec::value;
use crate::spec::{Compare, Condition, Seccomp, SeccompProfile, SeccompRule, SeccompVerdict, Syscall};
use crate::units::{Origin, Spanned};

const RULES: [&str; 3] = ["allow", "deny", "log"];

/// The words of a comparison: those of the OCI runtime specification without `SCMP_CMP_`.
const COMPARISONS: [(&str, Compare); 7] = [
    ("eq", Compare::Eq),
    ("ne", Compare::Ne),
    ("lt", Compare::Lt),
    ("le", Compare::Le),
    ("gt", Compare::Gt),
    ("ge", Compare::Ge),
    ("masked-eq", Compare::MaskedEq { mask: 0 }),
];

/// Returns what the node says.
pub(crate) fn seccomp(reader: &mut Reader<'_, '_>) -> Option<Seccomp> {
    let what = "`default`, `strict`, `none`, or the path of a profile, as in `./profile.json`";
    let profile = reader.argument_read("a profile", profile, what);
    let mut rules: Vec<Spanned<SeccompRule>> = Vec::new();
    for node in reader.node.children.iter().flatten() {
        let name = node.name.as_ref();
        if reader.out.is_full() {
            break;
        }
        if !RULES.contains(&name) {
            let message = format!("`seccomp` has no child `{}`", shorten(name));
            reader.out.push(unknown(node.name_span, message, name, RULES.into_iter()));
            continue;
        }
        let mut child = Reader::new(node, reader.out);
        let rule = rule(&mut child);
        child.finish(Children::Read);
        if let Some(rule) = rule {
            unreachable_calls(node, &rule, &rules, reader);
            rules.push(Spanned::new(rule, Origin::Spec(node.span)));
        }
    }
    Some(Seccomp { profile: profile?, rules })
}

pub(crate) fn profile(text: &str) -> Result<SeccompProfile, String> {
    match text {
        "default" => Ok(SeccompProfile::Default),
        "strict" => Ok(SeccompProfile::Strict),
        "none" => Ok(SeccompProfile::None),
        // A word without a dot or a slash is rather a profile that does not exist than a file.
        _ if !text.contains(['/', '.']) => Err(format!("unknown profile `{}`", shorten(text))),
        _ => value::host_path(text).map(SeccompProfile::Oci),
    }
}

fn rule(reader: &mut Reader<'_, '_>) -> Option<SeccompRule> {
    let verdict = match reader.node.name.as_ref() {
        "allow" => Some(SeccompVerdict::Allow),
        "log" => Some(SeccompVerdict::Log),
        _ => match reader.property_read("errno", errno, "the name of an error, as in `EPERM`") {
            Some(errno) => Some(SeccompVerdict::Deny(errno.value)),
            None => reader.property("errno").is_none().then_some(SeccompVerdict::Deny(Errno::EPERM as u16)),
        },
    };
    let mut calls: Vec<Syscall> = Vec::new();
    for entry in reader.arguments("the name of a system call") {
        let Some(text) = reader.text(entry).filter(|_| !reader.out.is_full()) else { continue };
        match Syscall::named(text) {
            Some(call) if calls.contains(&call) => {
                let message = format!("the system call `{text}` comes twice");
                reader.out.push(Finding::new(entry.span, message).label("the second one"));
            }
            Some(call) => calls.push(call),
            None => {
                let message = format!("unknown system call `{}`", shorten(text));
                let finding = unknown(entry.span, message, text, Syscall::all().map(|call| call.name));
                reader.out.push(finding.help("the names are those of this machine's architecture, as in syscalls(2)"));
            }
        }
    }
    let conditions = conditions(reader);
    Some(SeccompRule { verdict: verdict?, calls, conditions: conditions? }).filter(|rule| !rule.calls.is_empty())
}

fn errno(text: &str) -> Result<u16, String> {
    let named = (1..=133u16).find(|number| format!("{:?}", Errno::from_raw((*number).into())) == text);
    named.ok_or_else(|| format!("`{text}` is not the name of an error"))
}

/// Returns the conditions, or nothing where one cannot be read: a rule without it would say more than meant.
fn conditions(reader: &mut Reader<'_, '_>) -> Option<Vec<Condition>> {
    let mut conditions = Vec::new();
    let mut whole = true;
    for node in reader.node.children.iter().flatten() {
        if node.name != "arg" {
            let message = format!("`{}` has no child `{}`", reader.node.name, shorten(&node.name));
            reader.out.push(unknown(node.name_span, message, &node.name, ["arg"].into_iter()));
            whole = false;
            continue;
        }
        let mut child = Reader::new(node, reader.out);
        let condition = condition(&mut child);
        child.finish(Children::None);
        whole &= condition.is_some();
        conditions.extend(condition);
    }
    if conditions.len() > SeccompRule::CONDITIONS {
        let message = format!("a rule has at most {} conditions", SeccompRule::CONDITIONS);
        reader.out.push(Finding::new(reader.node.name_span, message).label("has more"));
        whole = false;
    }
    whole.then_some(conditions)
}

fn condition(reader: &mut Reader<'_, '_>) -> Option<Condition> {
    let argument = reader.argument("the index of an argument").and_then(|it| reader.number(it, 0..=5));
    let compare = reader.argument("a comparison").and_then(|it| reader.choice(it, &COMPARISONS));
    if compare.is_none() {
        // How many numbers follow is not known.
        reader.disregard();
        return None;
    }
    let all = 0..=u64::MAX;
    let compare = match compare? {
        Compare::MaskedEq { .. } => {
            let mask = reader.argument("a mask and a value").and_then(|it| reader.number(it, all.clone()));
            mask.map(|mask| Compare::MaskedEq { mask })
        }
        other => Some(other),
    };
    let entry = reader.argument("a value")?;
    let value = reader.number(entry, all);
    if let (Some(Compare::MaskedEq { mask }), Some(value)) = (compare, value)
        && value & !mask != 0
    {
        let finding = Finding::new(entry.span, "the value has bits that the mask takes away");
        reader.out.push(finding.label("can never be equal"));
        return None;
    }
    Some(Condition { argument: u8::try_from(argument?).ok()?, compare: compare?, value: value? })
}

/// The first rule that matches decides, so a later one is a mistake where an earlier takes every call.
fn unreachable_calls(
    node: &Node<'_>,
    rule: &SeccompRule,
    before: &[Spanned<SeccompRule>],
    reader: &mut Reader<'_, '_>,
) {
    for call in &rule.calls {
        let taken = before.iter().any(|rule| rule.value.conditions.is_empty() && rule.value.calls.contains(call));
        if taken {
            let message = format!("an earlier rule takes every `{}`", call.name);
            let finding = Finding::new(node.span, message).label("never reached");
            reader.out.push(finding.help("the first rule that matches decides: put the one with `arg` first"));
        }
    }
}
