//! Text becomes a `Spec`, or everything that is wrong with it at once: the spec's own text and, where it extends
//! others, theirs. It reads no file and knows no machine.

use crate::spec::assemble::{self, Assembled, Part};
use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::flat::{self, Script};
use crate::spec::input::{File, Input};
use crate::spec::{Spec, agree, decode};
use crate::units::SpecText;

/// Returns the spec that `text` describes. A first line that begins with `#!` is for
/// the kernel and skipped. Any text of up to 1 MiB is judged in well under a second.
///
/// # Errors
/// All mistakes in the order of their places, but at most 1000 of them: those of the
/// grammar, or, if there are none, those of the language as well.
pub fn parse(text: &[u8]) -> Result<Spec, Vec<Finding>> {
    parse_files(Input { files: &[File { text, start: 0, directory: "" }], ..Input::default() })
}

/// Returns the spec that `input` describes.
///
/// # Errors
/// Those of [`parse`], in any of the files.
pub fn parse_files(input: Input<'_>) -> Result<Spec, Vec<Finding>> {
    assembled(input).map(|(spec, _)| spec)
}

/// Returns the names of the parameters that the files of `input` declare.
///
/// # Errors
/// Mistakes that may hide more: those that are found all the same.
pub fn parameters(input: Input<'_>) -> Result<Vec<String>, Vec<String>> {
    let mut out = Findings::default();
    let (_, declared) = assemble::read(input, &mut out);
    let names = declared.into_iter().flatten().map(|param| param.name).collect();
    if out.is_empty() { Ok(names) } else { Err(names) }
}

/// Returns what `input` describes as the text of one spec that extends nothing and has no parameters. `names` are
/// the files, for comments that say where each node comes from; `script` is the file that carries it, if one does.
///
/// # Errors
/// Those of [`parse_files`].
pub fn flatten(input: Input<'_>, names: SpecText<'_>, script: Option<&Script>) -> Result<String, Vec<Finding>> {
    let (_, mut assembled) = assembled(input)?;
    if let Some(script) = script {
        flat::show(&mut assembled, script);
    }
    Ok(flat::write(&assembled, names))
}

fn assembled(input: Input<'_>) -> Result<(Spec, Assembled<'_>), Vec<Finding>> {
    let mut out = Findings::default();
    let (parts, mut assembled) = assemble::parts(input, &mut out);
    let extends: Vec<_> = parts.iter().filter_map(|part| part.extends).collect();
    // Each file by itself first: what one replaces in another is to be right, too.
    if parts.len() > 1 {
        for part in &parts {
            decode::decode(&part.nodes, &mut out);
        }
    }
    let mut spec = Spec::default();
    if parts.len() == 1 || out.is_empty() {
        assembled.join(parts.into_iter().map(|Part { nodes, .. }| nodes));
        spec = decode::decode(&assembled.nodes, &mut out);
        agree::agree(&spec, &mut out);
    }
    if out.is_empty() {
        return Ok((spec, assembled));
    }
    assembled.explain((input.files, &extends), &mut out);
    Err(out.into_vec())
}
