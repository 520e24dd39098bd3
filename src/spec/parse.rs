//! Text becomes a `Spec`, or everything that is wrong with it at once. It reads no
//! file and knows no machine.

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::scan::MAX_TEXT;
use crate::spec::{Spec, agree, decode, scan, tree};
use crate::units::Span;

/// Returns the spec that `text` describes. A first line that begins with `#!` is for
/// the kernel and skipped. Any text of up to 1 MiB is judged in well under a second.
///
/// # Errors
/// All mistakes in the order of their places, but at most 1000 of them: those of the
/// grammar, or, if there are none, those of the language as well.
pub fn parse(text: &[u8]) -> Result<Spec, Vec<Finding>> {
    if text.len() > MAX_TEXT {
        let finding = Finding::new(Span { start: MAX_TEXT, end: MAX_TEXT }, "the spec is larger than 1 MiB");
        return Err(vec![finding.label("not read from here on")]);
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let start = error.valid_up_to();
        let end = start + error.error_len().unwrap_or(text.len() - start);
        let finding = Finding::new(Span { start, end }, "the spec is not UTF-8").label("not a character");
        vec![finding.help("save the file as UTF-8")]
    })?;
    let mut out = Findings::default();
    let tokens = scan::scan(text, &mut out);
    let nodes = tree::grow(text, &tokens, &mut out);
    let spec = decode::decode(&nodes, &mut out);
    agree::agree(&spec, &mut out);
    if out.is_empty() { Ok(spec) } else { Err(out.into_vec()) }
}
