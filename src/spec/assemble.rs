//! Puts the files of a spec together: reads the grammar of each, takes out what is about files and parameters,
//! replaces parameters, and joins the nodes. `decode` sees one list of nodes, whoever wrote them.

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::extend::{self, Override};
use crate::spec::input::{File, Input};
use crate::spec::param::{self, By, Given, Param, Replacer, Use};
use crate::spec::read::shorten;
use crate::spec::tree::Node;
use crate::spec::{relocate, scan, tree};
use crate::units::Span;

/// The nodes of one file.
#[derive(Debug)]
pub(crate) struct Part<'t> {
    pub(crate) nodes: Vec<Node<'t>>,
    /// The place of the node that names the next file.
    pub(crate) extends: Option<Span>,
}

/// The nodes of all files as one list, and how it came to be.
#[derive(Debug, Default)]
pub(crate) struct Assembled<'t> {
    pub(crate) nodes: Vec<Node<'t>>,
    pub(crate) overrides: Vec<Override>,
    pub(crate) givens: Vec<Given>,
    uses: Vec<Use>,
}

/// Returns the nodes of each file as they stand there, and the parameters that it declares.
pub(crate) fn read<'t>(input: Input<'t>, out: &mut Findings) -> (Vec<Part<'t>>, Vec<Vec<Param>>) {
    let (mut parts, mut declared) = (Vec::with_capacity(1), Vec::new());
    for file in input.files {
        let mut nodes = nodes(file, out);
        let extends = extend::take(&mut nodes, out).map(|extends| extends.span);
        declared.push(param::take(&mut nodes, out));
        parts.push(Part { nodes, extends });
    }
    unread(input, &parts, out);
    (parts, declared)
}

/// Returns the nodes of each file, with parameters replaced and paths as the first file would write them.
pub(crate) fn parts<'t>(input: Input<'t>, out: &mut Findings) -> (Vec<Part<'t>>, Assembled<'t>) {
    let (mut parts, declared) = read(input, out);
    let givens = param::resolve(&declared, input.settings, out);
    let mut replacer = Replacer::new(&givens);
    for (number, (part, file)) in parts.iter_mut().zip(input.files).enumerate() {
        let text = std::str::from_utf8(file.text).unwrap_or_default();
        replacer.nodes(&mut part.nodes, (number, text, file.start), out);
        relocate::relocate(&mut part.nodes, file.directory);
    }
    let uses = replacer.uses;
    (parts, Assembled { givens, uses, ..Assembled::default() })
}

/// Returns what the grammar makes of one file.
fn nodes<'t>(file: &File<'t>, out: &mut Findings) -> Vec<Node<'t>> {
    let mut found = Findings::default();
    let mut nodes = match scan::text(file.text) {
        Ok(text) => {
            let tokens = scan::scan(text, &mut found);
            tree::grow(text, &tokens, &mut found)
        }
        Err(finding) => {
            found.push(finding);
            Vec::new()
        }
    };
    out.append(found, file.start);
    if file.start > 0 {
        tree::shift(&mut nodes, file.start);
    }
    nodes
}

/// Reports a file that is extended and not there.
fn unread(input: Input<'_>, parts: &[Part<'_>], out: &mut Findings) {
    match (input.missing, parts.last().and_then(|last| last.extends)) {
        (Some(missing), _) => out.push(missing.clone()),
        (None, Some(span)) => {
            let finding = Finding::new(span, "the file that this spec extends is not here");
            out.push(finding.label("names a file, and there is only a text"));
        }
        (None, None) => {}
    }
}

impl<'t> Assembled<'t> {
    /// Joins the nodes of the files, each of which extends the next.
    pub(crate) fn join(&mut self, files: impl DoubleEndedIterator<Item = Vec<Node<'t>>>) {
        let overrides = &mut self.overrides;
        self.nodes = files.rev().reduce(|base, own| extend::merge(base, own, overrides)).unwrap_or_default();
    }

    /// Adds to findings what else has to do with them: the parameters in a value, and who extends the file.
    pub(crate) fn explain(&self, (files, extends): (&[File<'_>], &[Span]), out: &mut Findings) {
        for finding in out.iter_mut() {
            let Span { start, end } = finding.span;
            let touching = self.uses.iter().filter(|(span, _)| span.start <= end && start <= span.end);
            let mut known = Vec::new();
            for given in touching.filter_map(|(_, number)| self.givens.get(*number)) {
                let (Some(value), false) = (&given.value, known.contains(&given.span)) else { continue };
                let who = if given.by == By::Default { "by default" } else { "by `--set`" };
                let what = format!("`{}` is `{}` {who}", given.name, shorten(value));
                known.push(given.span);
                finding.related.push((given.span, what));
            }
            let file = files.iter().rposition(|file| file.start <= start).unwrap_or_default();
            let through = extends.iter().take(file).filter(|span| !known.contains(span)).rev();
            finding.related.extend(through.map(|span| (*span, "extended here".to_owned())));
        }
    }
}
