//! What is wrong with a spec and how it is shown: findings with their place, drawn
//! with line, column and caret. It judges nothing, and reads no file.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::units::{Span, SpecText};

/// The words at a caret that say nothing but which word is meant.
pub(crate) const UNKNOWN: &str = "unknown";

/// One mistake in the text of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub span: Span,
    /// A lower-case fragment without a final period, user values in backticks.
    pub message: String,
    /// What stands at the caret; may be empty.
    pub label: String,
    /// The one thing to change.
    pub help: Option<String>,
    /// Other places that have to do with it, in this file or another, and what they are.
    pub related: Vec<(Span, String)>,
}

impl Finding {
    /// Returns a finding without label or help.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), label: String::new(), help: None, related: Vec::new() }
    }

    /// Adds what stands at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds the one thing to change.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that has to do with it.
    #[must_use]
    pub fn related(mut self, span: Span, what: impl Into<String>) -> Self {
        self.related.push((span, what.into()));
        self
    }

    /// Moves all places by `start`.
    pub(crate) fn shift(&mut self, start: usize) {
        for span in std::iter::once(&mut self.span).chain(self.related.iter_mut().map(|(span, _)| span)) {
            span.start += start;
            span.end += start;
        }
    }
}

/// Whether the drawing carries the escape sequences of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Never,
    Always,
}

/// How many findings are drawn; a file of garbage has thousands.
const SHOWN: usize = 20;
/// How much of a line is drawn on each side of the caret, in characters.
const CONTEXT: usize = 80;
/// How much of a message is drawn, in characters: it may quote the text.
const MESSAGE: usize = 400;

/// Returns `findings` drawn over the one file of a spec, see [`draw`].
#[must_use]
pub fn render(name: &str, text: &str, findings: &[Finding], colour: Colour) -> String {
    draw(SpecText::new(name, text), findings, colour)
}

/// Returns `findings` drawn over the files of `spec`, in the order of their places; beyond the first 20 only
/// their number.
///
/// What a terminal would obey (control characters, direction marks) is shown as
/// a replacement character or an escape, never sent.
#[must_use]
pub fn draw(spec: SpecText<'_>, findings: &[Finding], colour: Colour) -> String {
    let mut ordered: Vec<&Finding> = findings.iter().collect();
    ordered.sort_by_key(|finding| (finding.span.start, finding.span.end));
    let renderer = match colour {
        Colour::Never => Renderer::plain(),
        Colour::Always => Renderer::styled(),
    };
    let mut out = String::new();
    for finding in ordered.iter().take(SHOWN) {
        out.push_str(&drawn(&renderer, spec, finding));
        out.push_str("\n\n");
    }
    if ordered.len() > SHOWN {
        let _ = writeln!(out, "and {} more", ordered.len() - SHOWN);
    } else {
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// Returns the line and the column of a byte of `text`, both from 1, the column in
/// characters. An offset beyond the end, or within a character, is moved back.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

fn drawn(renderer: &Renderer, spec: SpecText<'_>, finding: &Finding) -> String {
    let mut out = part(renderer, spec, (Level::ERROR, finding.span), finding);
    for (span, what) in &finding.related {
        out.push('\n');
        out.push_str(&part(renderer, spec, (Level::NOTE, *span), &Finding::new(*span, what.as_str())));
    }
    out
}

fn part(renderer: &Renderer, spec: SpecText<'_>, (level, span): (Level<'_>, Span), finding: &Finding) -> String {
    let (name, text, span) = spec.file(span);
    let (line, column) = position(text, span.start);
    let window = window(text, span);
    let label = visible(&finding.label);
    let annotation = AnnotationKind::Primary.span(window.caret);
    let annotation = if label.is_empty() { annotation } else { annotation.label(label) };
    // The path carries the column of the whole line: the window may begin later.
    let path = format!("{}:{line}:{column}", visible(name));
    let message = visible(&finding.message);
    let snippet = Snippet::source(window.source).line_start(line).fold(false).annotation(annotation);
    let mut group = level.primary_title(message).element(snippet);
    if let Some(help) = &finding.help {
        group = group.element(Level::HELP.message(visible(help)));
    }
    let drawn = renderer.render(&[group]);
    // With one line and no path, the renderer has nowhere to say the place.
    match drawn.split_once('\n') {
        Some((title, rest)) => format!("{title}\n{:>1$}--> {path}\n{rest}", "", line.to_string().len()),
        None => drawn,
    }
}

struct Window {
    source: String,
    caret: std::ops::Range<usize>,
}

/// Returns the part of the line around `span` that is drawn, made visible, and
/// where the span lies in it. A span of several lines ends with its first.
fn window(text: &str, span: Span) -> Window {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    // The other half of a line end of DOS.
    let line_end = text[start..line_end].strip_suffix('\r').map_or(line_end, |line| start + line.len());
    let end = end.min(line_end);
    let from = text[line_start..start].char_indices().rev().nth(CONTEXT).map_or(line_start, |(at, _)| line_start + at);
    let to = text[start..line_end].char_indices().nth(CONTEXT).map_or(line_end, |(at, _)| start + at);
    let end = end.min(to);
    let mut source = visible(&text[from..start]);
    let caret_start = source.len();
    source.push_str(&visible(&text[start..end]));
    let caret_end = source.len();
    source.push_str(&visible(&text[end..to]));
    source.truncate(source.trim_end().len().max(caret_end));
    Window { source, caret: caret_start..caret_end }
}

/// Returns `text` on one line with what a terminal would obey replaced, cut at
/// [`MESSAGE`] characters.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4 * MESSAGE));
    for (count, c) in text.chars().enumerate() {
        if count == MESSAGE {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_default()),
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{061c}' | '\u{feff}' => {
                out.extend(c.escape_unicode())
            }
            c => out.push(c),
        }
    }
    out
}

/// The findings of one pass over a text. More than a person would read are only
/// counted, so that a file of garbage costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
}

/// A bound on memory, not on what is shown.
const KEPT: usize = 1000;

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        if self.list.len() < KEPT {
            self.list.push(finding);
        }
    }

    /// Adds those of another file, whose places begin at `start`.
    pub(crate) fn append(&mut self, other: Self, start: usize) {
        for mut finding in other.list {
            finding.shift(start);
            self.push(finding);
        }
    }

    /// Returns the findings, to add to what they say.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        self.list.iter_mut()
    }

    /// Whether reading on could still add a finding.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= KEPT
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the findings in the order of their places.
    pub(crate) fn into_vec(mut self) -> Vec<Finding> {
        self.list.sort_by_key(|finding| (finding.span.start, finding.span.end));
        self.list
    }
}
