//! `sbx check`: all mistakes of all specs, or nothing.

use std::path::PathBuf;

use crate::app::Refusal;
use crate::app::request::Text;
use crate::spec::parse;

/// Checks every spec and says all that is wrong.
///
/// # Errors
/// The drawn mistakes, exit status 125.
pub fn check(specs: &[PathBuf]) -> Result<(), Refusal> {
    let mut drawn = String::new();
    for path in specs {
        match Text::read(path) {
            Ok(text) => {
                if let Err(findings) = parse::parse(&text.bytes) {
                    drawn.push_str(&text.draw(&findings));
                }
            }
            Err(error) => drawn.push_str(&Refusal::new(&error, None).text),
        }
    }
    if drawn.is_empty() { Ok(()) } else { Err(Refusal::of_text(drawn)) }
}
