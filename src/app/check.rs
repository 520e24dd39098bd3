//! `sbx check`: all mistakes of all specs, or what they say that is rarely meant.
//! It looks at nothing but the specs.

use std::path::PathBuf;

use crate::app::Refusal;
use crate::app::request::Text;
use crate::plan::caution;
use crate::spec::parse;
use crate::units::{Origin, Spanned, position, visible};

/// Checks every spec; returns what is allowed but rarely meant, in the words that a person reads.
///
/// # Errors
/// The drawn mistakes, exit status 125.
pub fn check(specs: &[PathBuf]) -> Result<String, Refusal> {
    let (mut drawn, mut cautions) = (String::new(), String::new());
    for path in specs {
        match Text::read(path) {
            Ok(text) => match parse::parse(&text.bytes) {
                Ok(spec) => cautions.extend(caution::cautions(&spec).iter().map(|caution| said(caution, &text))),
                Err(findings) => drawn.push_str(&text.draw(&findings)),
            },
            Err(error) => drawn.push_str(&Refusal::new(&error, None).text),
        }
    }
    if drawn.is_empty() { Ok(cautions) } else { Err(Refusal::of_text(cautions + &drawn)) }
}

fn said(caution: &Spanned<String>, text: &Text) -> String {
    let line = match caution.origin {
        Origin::Spec(span) => format!(":{}", position(&text.text, span.start).0),
        Origin::CommandLine | Origin::Default => String::new(),
    };
    format!("sbx: warning: {}{line}: {}\n", visible(&text.name), visible(&caution.value))
}
