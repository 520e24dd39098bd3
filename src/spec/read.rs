//! A reader over one node: arguments in turn, properties by name, children by name.
//! What nobody asked for is reported when it is done. It knows no word of the language.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use crate::spec::diagnostic::{Finding, Findings, UNKNOWN};
use crate::spec::literal::Value;
use crate::spec::tree::{Entry, Node};
use crate::spec::value::{self, form};
use crate::units::{Bytes, Origin, Span, Spanned};

/// Hands out the parts of a node. Each mistake becomes a finding and a `None`.
pub(crate) struct Reader<'n, 't> {
    pub(crate) node: &'n Node<'t>,
    pub(crate) out: &'n mut Findings,
    taken: usize,
    asked: Vec<&'static str>,
    regard: Regard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Regard {
    None,
    Full,
}

/// Whether somebody reads the block of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    None,
    Read,
}

impl<'n, 't> Reader<'n, 't> {
    pub(crate) fn new(node: &'n Node<'t>, out: &'n mut Findings) -> Self {
        Self { node, out, taken: 0, asked: Vec::new(), regard: Regard::Full }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::Spec(self.node.span)
    }

    /// Returns `value` with the place of the node.
    pub(crate) fn spanned<T>(&self, value: T) -> Spanned<T> {
        Spanned::new(value, self.origin())
    }

    /// Returns the next argument, if there is one.
    pub(crate) fn optional_argument(&mut self) -> Option<&'n Entry<'t>> {
        let entry = arguments(self.node).nth(self.taken)?;
        self.taken += 1;
        Some(entry)
    }

    /// Returns the next argument, which must be there.
    pub(crate) fn argument(&mut self, what: &str) -> Option<&'n Entry<'t>> {
        let entry = self.optional_argument();
        if entry.is_none() {
            let message = format!("`{}` needs {what}", self.node.name);
            self.out.push(Finding::new(self.node.span, message).label(format!("{what} is missing")));
        }
        entry
    }

    /// Returns all arguments that were not asked for yet, at least one.
    pub(crate) fn arguments(&mut self, what: &str) -> Vec<&'n Entry<'t>> {
        let mut entries: Vec<_> = self.argument(what).into_iter().collect();
        entries.extend(arguments(self.node).skip(self.taken));
        self.taken = usize::MAX;
        entries
    }

    /// Returns the property `name`, if it is there.
    pub(crate) fn property(&mut self, name: &'static str) -> Option<&'n Entry<'t>> {
        self.asked.push(name);
        self.node.entries.iter().find(|entry| entry.name.as_deref() == Some(name))
    }

    /// Returns the property `name`, which must be there.
    pub(crate) fn required_property(&mut self, name: &'static str) -> Option<&'n Entry<'t>> {
        let entry = self.property(name);
        if entry.is_none() {
            let message = format!("`{}` needs `{name}=`", self.node.name);
            self.out.push(Finding::new(self.node.span, message).label(format!("`{name}=` is missing")));
        }
        entry
    }

    /// Returns the text of `entry`.
    pub(crate) fn text<'e>(&mut self, entry: &'e Entry<'_>) -> Option<&'e str> {
        match &entry.value {
            Value::Text(text) => Some(text),
            Value::Bad => None,
            other => {
                let finding = Finding::new(entry.value_span, "a text is needed here").label(kind(other));
                self.out.push(finding.help("put it in quotes"));
                None
            }
        }
    }

    /// Returns what `read` makes of the text of `entry`; `form` says how it is written.
    pub(crate) fn read<T>(&mut self, entry: &Entry<'_>, read: fn(&str) -> Result<T, String>, form: &str) -> Option<T> {
        match &entry.value {
            Value::Text(text) => {
                let result = read(text);
                self.result(entry, result, form)
            }
            Value::Bad => None,
            other => {
                let finding =
                    Finding::new(entry.value_span, format!("{} where a text is needed", kind(other))).label(form);
                self.out.push(finding);
                None
            }
        }
    }

    /// Returns what `read` makes of the next argument, which must be there.
    pub(crate) fn argument_read<T>(
        &mut self,
        what: &str,
        read: fn(&str) -> Result<T, String>,
        form: &str,
    ) -> Option<T> {
        let entry = self.argument(what)?;
        self.read(entry, read, form)
    }

    /// Returns what `read` makes of the property `name`, if it is there.
    pub(crate) fn property_read<T>(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<T, String>,
        form: &str,
    ) -> Option<Spanned<T>> {
        let entry = self.property(name)?;
        let value = self.read(entry, read, form)?;
        Some(Spanned::new(value, Origin::Spec(entry.span)))
    }

    /// Returns the choice whose word the property `name` is, if it is there.
    pub(crate) fn property_choice<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Option<Spanned<T>> {
        let entry = self.property(name)?;
        let value = self.choice(entry, choices)?;
        Some(Spanned::new(value, Origin::Spec(entry.span)))
    }

    /// Returns the size that the property `name` is, if it is there.
    pub(crate) fn property_size(&mut self, name: &'static str) -> Option<Spanned<Bytes>> {
        let entry = self.property(name)?;
        let value = self.size(entry)?;
        Some(Spanned::new(value, Origin::Spec(entry.span)))
    }

    /// Returns the whole number that the property `name` is, if it is there.
    pub(crate) fn property_number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let entry = self.property(name)?;
        self.number(entry, range)
    }

    /// Returns a size: a text with a unit, or a whole number of bytes.
    pub(crate) fn size_or_zero(&mut self, entry: &Entry<'_>) -> Option<Bytes> {
        match entry.value {
            Value::Integer(_) => self.number(entry, 0..=i64::MAX.unsigned_abs()).map(Bytes),
            _ => self.read(entry, value::size, form::SIZE),
        }
    }

    /// Returns a size of at least one byte.
    pub(crate) fn size(&mut self, entry: &Entry<'_>) -> Option<Bytes> {
        let size = self.size_or_zero(entry)?;
        let positive = if size.0 == 0 { Err("a size of zero is no limit".to_owned()) } else { Ok(size) };
        self.result(entry, positive, form::SIZE)
    }

    /// Reports nothing of what is left: the node itself is unknown.
    pub(crate) fn disregard(&mut self) {
        self.taken = usize::MAX;
        self.regard = Regard::None;
    }

    pub(crate) fn result<T>(&mut self, entry: &Entry<'_>, result: Result<T, String>, form: &str) -> Option<T> {
        result.map_err(|message| self.out.push(Finding::new(entry.value_span, message).label(form))).ok()
    }

    /// Returns the whole number of `entry`, if it lies within `range`.
    pub(crate) fn number(&mut self, entry: &Entry<'_>, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (range.start(), range.end());
        let form = format!("a whole number from {low} to {high}");
        let written = match &entry.value {
            // What a parameter makes of a text can be nothing else.
            Value::Text(text) => value::whole_number(text),
            Value::Integer(number) => Some(*number),
            _ => None,
        };
        match (&entry.value, written) {
            (_, Some(number)) => {
                let number = u64::try_from(number).ok().filter(|number| range.contains(number));
                self.result(entry, number.ok_or_else(|| "the number is out of range".to_owned()), &form)
            }
            (Value::Bad, _) => None,
            (other, None) => {
                self.out.push(
                    Finding::new(entry.value_span, format!("{} where a number is needed", kind(other))).label(form),
                );
                None
            }
        }
    }

    /// Returns the truth value of `entry`.
    pub(crate) fn truth(&mut self, entry: &Entry<'_>) -> Option<bool> {
        match &entry.value {
            Value::Bool(truth) => Some(*truth),
            Value::Bad => None,
            other => {
                let message = format!("{} where `#true` or `#false` is needed", kind(other));
                self.out.push(Finding::new(entry.value_span, message).label("`#true` or `#false`"));
                None
            }
        }
    }

    /// Returns the choice whose word `entry` is.
    pub(crate) fn choice<T: Copy>(&mut self, entry: &Entry<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(entry)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() && !self.out.is_full() {
            let words = choices.iter().map(|(word, _)| *word);
            self.unknown(entry.value_span, format!("unknown value `{}`", shorten(text)), text, words);
        }
        found.map(|(_, value)| *value)
    }

    fn unknown(&mut self, span: Span, message: String, text: &str, words: impl Iterator<Item = &'static str>) {
        self.out.push(unknown(span, message, text, words));
    }

    /// Reports every argument, property and child that nobody asked for.
    pub(crate) fn finish(self, children: Children) {
        let Self { node, out, taken, asked, regard } = self;
        if regard == Regard::None {
            return;
        }
        for entry in arguments(node).skip(taken).filter(|entry| entry.value != Value::Bad) {
            let message = format!("`{}` has an argument too many", node.name);
            out.push(Finding::new(entry.span, message).label("unexpected argument"));
        }
        let mut seen: Vec<&str> = Vec::new();
        for (entry, name) in node.entries.iter().filter_map(|entry| Some((entry, entry.name.as_deref()?))) {
            if out.is_full() {
                break;
            }
            if !asked.contains(&name) {
                let message = format!("`{}` has no property `{}`", node.name, shorten(name));
                out.push(unknown(entry.span, message, name, asked.iter().copied()));
            } else if seen.contains(&name) {
                out.push(
                    Finding::new(entry.span, format!("the property `{name}` comes twice")).label("the second one"),
                );
            } else {
                seen.push(name);
            }
        }
        if let (Children::None, Some(_)) = (children, &node.children) {
            out.push(Finding::new(node.name_span, format!("`{}` takes no block", node.name)).label("has a block"));
        }
    }
}

fn arguments<'n, 't>(node: &'n Node<'t>) -> impl Iterator<Item = &'n Entry<'t>> {
    node.entries.iter().filter(|entry| entry.name.is_none())
}

fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::Text(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a fraction",
        Value::Bool(_) => "a truth value",
        Value::Null => "`#null`",
        Value::Bad => "a value that cannot be read",
    }
}

/// Names are quoted in messages; nobody reads more of one than this.
pub(crate) fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(60) {
        Some((at, _)) => Cow::Owned(format!("{}…", &text[..at])),
        None => Cow::Borrowed(text),
    }
}

/// Returns a finding about an unknown word, with the nearest of `words` or, where
/// none is near, all of them if they are few.
pub(crate) fn unknown<'w>(span: Span, message: String, text: &str, words: impl Iterator<Item = &'w str>) -> Finding {
    let finding = Finding::new(span, message);
    let words: Vec<&str> = words.collect();
    match nearest(text, &words) {
        Some(word) => finding.label(format!("did you mean `{word}`?")),
        None if (1..=8).contains(&words.len()) => finding.label(format!("possible here: `{}`", words.join("`, `"))),
        None => finding.label(UNKNOWN),
    }
}

fn nearest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    // Beyond this nothing is near, and the comparison takes the product of the lengths.
    if text.len() > 40 {
        return None;
    }
    let text = text.to_lowercase();
    let score = |word: &str| strsim::damerau_levenshtein(&text, &word.to_lowercase());
    let best = words.iter().map(|word| (score(word), *word)).min_by_key(|(distance, _)| *distance)?;
    let allowed = (text.chars().count().max(best.1.len()) / 3).max(1);
    (best.0 <= allowed).then_some(best.1)
}
