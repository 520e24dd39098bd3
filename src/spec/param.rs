//! The parameters of a spec: what `param` declares, what they are set to, and `${NAME}` in texts replaced by it. A
//! value is text: it never becomes nodes, and is not looked through for other parameters.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::literal::Value;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::scan::MAX_TEXT;
use crate::spec::tree::{Entry, Node};
use crate::spec::value;
use crate::units::Span;

/// `--set NAME=VALUE` of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
}

/// A parameter as one file declares it.
#[derive(Debug)]
pub(crate) struct Param {
    pub(crate) name: String,
    default: Option<(String, Span)>,
    span: Span,
}

/// A parameter with its value.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) name: String,
    /// `None` where nobody says: that has been reported.
    pub(crate) value: Option<String>,
    pub(crate) by: By,
    /// Of the default, or of the declaration.
    pub(crate) span: Span,
    /// Of the defaults that therefore do not count.
    pub(crate) instead: Vec<Span>,
    /// The number of the last file that declares it: those that come after it know nothing of it.
    reach: usize,
}

/// Who says what a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Default,
    CommandLine,
}

/// A text in which a parameter was replaced, and the number of the parameter.
pub(crate) type Use = (Span, usize);

/// Takes the declarations of one file out of its nodes.
pub(crate) fn take(nodes: &mut Vec<Node<'_>>, out: &mut Findings) -> Vec<Param> {
    let mut params: Vec<Param> = Vec::new();
    for node in nodes.extract_if(.., |node| node.name == "param") {
        let mut reader = Reader::new(&node, out);
        let name = reader.argument_read("a name", value::parameter_name, "the name of a parameter");
        let default = reader.property("default");
        let default = default.and_then(|entry| Some((reader.text(entry)?.to_owned(), entry.span)));
        reader.finish(Children::None);
        let Some(name) = name else { continue };
        if let Some(first) = params.iter().find(|param| param.name == name) {
            let finding = Finding::new(node.span, format!("the parameter `{name}` comes twice"));
            out.push(finding.label("the second one").related(first.span, "the first one"));
            continue;
        }
        params.push(Param { name, default, span: node.span });
    }
    params
}

/// Returns all parameters with their values. `files` are those that each file declares: where two declare the same,
/// the earlier one is the one that extends, and wins.
pub(crate) fn resolve(files: &[Vec<Param>], settings: &[Setting], out: &mut Findings) -> Vec<Given> {
    let mut givens: Vec<Given> = Vec::new();
    for (number, param) in files.iter().enumerate().flat_map(|(number, it)| it.iter().map(move |param| (number, param)))
    {
        if let Some(given) = givens.iter_mut().find(|given| given.name == param.name) {
            given.reach = number;
            given.instead.extend(param.default.as_ref().map(|(_, span)| *span));
            continue;
        }
        let set = settings.iter().find(|setting| setting.name == param.name);
        let default = param.default.as_ref().and_then(|(text, span)| plain(text, *span, out).map(|it| (it, *span)));
        let (value, by, span) = match (set, default) {
            (Some(setting), _) => (Some(setting.value.clone()), By::CommandLine, param.span),
            (None, Some((value, span))) => (Some(value), By::Default, span),
            (None, None) => (None, By::Default, param.span),
        };
        if value.is_none() && param.default.is_none() {
            out.push(unset(param, &files[number + 1..]));
        }
        let own = param.default.iter().map(|(_, span)| *span).filter(|_| by == By::CommandLine);
        givens.push(Given { name: param.name.clone(), value, by, span, instead: own.collect(), reach: number });
    }
    for setting in settings.iter().filter(|setting| givens.iter().all(|given| given.name != setting.name)) {
        out.push(undeclared_here(setting, &givens));
    }
    givens
}

/// Returns what is wrong with the first of `settings` that none of several specs declares; `known` has the names of each.
#[must_use]
pub fn undeclared(settings: &[Setting], known: &[Vec<String>]) -> Option<Finding> {
    let names: BTreeSet<&str> = known.iter().flatten().map(String::as_str).collect();
    let setting = settings.iter().find(|setting| !names.contains(setting.name.as_str()))?;
    let name = shorten(&setting.name);
    let message = format!("`--set {name}=…`: no spec has the parameter `{name}`");
    Some(unknown(Span::default(), message, &setting.name, names.into_iter()))
}

fn unset(param: &Param, extended: &[Vec<Param>]) -> Finding {
    let name = &param.name;
    let finding = Finding::new(param.span, format!("the parameter `{name}` is not set")).label("has no `default=`");
    let finding = finding.help(format!("give it a value: `--set {name}=…`"));
    let hidden = extended.iter().flatten().find(|other| other.name == *name && other.default.is_some());
    match hidden.and_then(|other| other.default.as_ref()) {
        Some((_, span)) => {
            finding.related(*span, "this default does not count: the file that extends declares it anew")
        }
        None => finding,
    }
}

fn undeclared_here(setting: &Setting, givens: &[Given]) -> Finding {
    let name = shorten(&setting.name);
    let message = format!("`--set {name}=…`: the spec has no parameter `{name}`");
    let names = || givens.iter().map(|given| given.name.as_str());
    let finding = unknown(Span::default(), message, &setting.name, names());
    // Best shown where the one is declared that may have been meant.
    let span =
        givens.iter().find(|given| finding.label.contains(&format!("mean `{}`?", given.name))).or(givens.first());
    Finding { span: span.map_or(Span::default(), |given| given.span), ..finding }
}

/// A default may write `$${` for `${`, and no parameter.
fn plain(text: &str, span: Span, out: &mut Findings) -> Option<String> {
    match replaced(text, |_| None) {
        Ok((text, _)) => Some(text.into_owned()),
        Err(part) => {
            let finding = Finding::new(span, format!("`{}` within a default", shorten(part)));
            out.push(finding.label("is not replaced here").help("write `$${` for the text `${`"));
            None
        }
    }
}

/// Replaces parameters in the texts of one file and counts how much they make of it.
pub(crate) struct Replacer<'g> {
    pub(crate) givens: &'g [Given],
    pub(crate) uses: Vec<Use>,
    budget: usize,
}

impl<'g> Replacer<'g> {
    pub(crate) fn new(givens: &'g [Given]) -> Self {
        Self { givens, uses: Vec::new(), budget: MAX_TEXT }
    }

    /// Replaces what stands in the arguments and properties of `nodes`, those of file `number`, whose text `source`
    /// begins at `start`. A file that no parameter reaches stays as it is.
    pub(crate) fn nodes(&mut self, nodes: &mut [Node<'_>], file: (usize, &str, usize), out: &mut Findings) {
        if self.givens.iter().all(|given| given.reach < file.0) {
            return;
        }
        for node in nodes {
            for entry in &mut node.entries {
                self.entry(entry, file, out);
            }
            self.nodes(node.children.as_deref_mut().unwrap_or_default(), file, out);
        }
    }

    fn entry(&mut self, entry: &mut Entry<'_>, (number, source, start): (usize, &str, usize), out: &mut Findings) {
        let Value::Text(text) = &entry.value else { return };
        let mut used = Vec::new();
        let known = |name: &str| {
            let at = self.givens.iter().position(|given| given.name == name && given.reach >= number)?;
            used.push(at);
            Some(self.givens[at].value.as_deref().unwrap_or_default())
        };
        let result = replaced(text, known);
        self.uses.extend(used.iter().map(|at| (entry.value_span, *at)));
        let unset = used.iter().any(|at| self.givens[*at].value.is_none());
        let value = match result {
            Ok(_) if unset => Value::Bad,
            Ok((Cow::Borrowed(_), _)) => return,
            Ok((Cow::Owned(text), grown)) => match self.budget.checked_sub(grown) {
                Some(left) => {
                    self.budget = left;
                    Value::Text(Cow::Owned(text))
                }
                None => {
                    let finding = Finding::new(entry.value_span, "the parameters make the spec larger than 1 MiB");
                    out.push(finding.label("not read from here on"));
                    Value::Bad
                }
            },
            Err(part) => {
                out.push(self.unknown(part, entry.value_span, (number, source, start)));
                Value::Bad
            }
        };
        entry.value = value;
    }

    /// `part` is what begins with `${` and names nothing.
    fn unknown(&self, part: &str, span: Span, (number, source, start): (usize, &str, usize)) -> Finding {
        let written = source.get(span.start - start..span.end - start).unwrap_or_default();
        // As it was written, which is elsewhere in a text with escapes.
        let span = match written.find(part) {
            Some(at) => Span { start: span.start + at, end: span.start + at + part.len() },
            None => span,
        };
        let names = self.givens.iter().filter(|given| given.reach >= number).map(|given| given.name.as_str());
        let name = part.trim_start_matches("${").trim_end_matches('}');
        let message = format!("`{}` names no parameter", shorten(part));
        unknown(span, message, name, names).help("write `$${` for the text `${`")
    }
}

/// Returns `text` with every `${NAME}` replaced by what `known` says, and by how much that is longer. Before `{`, two
/// `$` stand for one; elsewhere `$` is a character as any.
///
/// # Errors
/// The first `${…}` that is not known, up to its end.
fn replaced<'t, 'v>(
    text: &'t str,
    mut known: impl FnMut(&str) -> Option<&'v str>,
) -> Result<(Cow<'t, str>, usize), &'t str> {
    if !text.contains("${") {
        return Ok((Cow::Borrowed(text), 0));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(brace) = rest.find("${").map(|dollar| dollar + 1) {
        // `$$` before the one that was found cannot have been found before: each is followed by `$`.
        let dollars = brace - rest[..brace].trim_end_matches('$').len();
        out.push_str(&rest[..brace - dollars]);
        out.extend(std::iter::repeat_n('$', dollars / 2));
        if dollars.is_multiple_of(2) {
            out.push('{');
            rest = &rest[brace + 1..];
            continue;
        }
        let end = rest[brace..].find('}').map(|end| brace + end);
        let value = end.and_then(|end| known(&rest[brace + 1..end]));
        let (Some(end), Some(value)) = (end, value) else {
            let line = rest[brace..].find(['\n', '}']).map_or(rest.len(), |at| brace + at);
            let closed = usize::from(rest[line..].starts_with('}'));
            return Err(&rest[brace - 1..line + closed]);
        };
        out.push_str(value);
        if out.len() > 2 * MAX_TEXT {
            break;
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    let grown = out.len().saturating_sub(text.len());
    Ok((Cow::Owned(out), grown))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn two_dollars_before_a_brace_stand_for_one() {
        for (text, expected) in [
            ("", ""),
            ("$X $$ $(x) $", "$X $$ $(x) $"),
            ("${A}", "1"),
            ("a${A}b${LONG}", "a1btwo words"),
            ("$${A}", "${A}"),
            ("$$${A}", "$1"),
            ("$$$${A}", "$${A}"),
            ("x$${HOME:-y}z", "x${HOME:-y}z"),
            ("$${", "${"),
            ("{${A}}", "{1}"),
            ("$ ${A}$", "$ 1$"),
        ] {
            let known = |name: &str| match name {
                "A" => Some("1"),
                "LONG" => Some("two words"),
                _ => None,
            };
            assert_eq!(replaced(text, known).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn what_names_nothing_is_told_up_to_its_end() {
        for (text, part) in
            [("a${B}c", "${B}"), ("${", "${"), ("${x\ny}", "${x"), ("$$${}", "${}"), ("${A:-1}", "${A:-1}")]
        {
            assert_eq!(replaced(text, |name| (name == "A").then_some("1")), Err(part), "{text}");
        }
    }

    #[test]
    fn a_value_is_not_looked_through() {
        assert_eq!(replaced("${A}${A}", |_| Some("${A}")).unwrap().0, "${A}${A}");
    }
}
