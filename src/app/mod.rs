//! The wiring: one verb a file, each a story. Only `main` prints errors; only these
//! files and `main` know the terminal.

pub mod append;
pub mod check;
pub mod configure;
pub mod deliver;
pub mod diff;
pub mod edit;
pub mod extended;
pub mod extract;
pub mod fmt;
pub mod gather;
pub mod github;
pub mod image;
pub mod image_text;
pub mod init;
pub mod inspect;
pub mod machine;
pub mod network;
pub mod prepare;
pub mod profile;
pub mod progress;
pub mod redirection;
pub mod reenter;
pub mod replace;
pub mod request;
pub mod run;
pub mod script;
pub mod sight;
pub mod source;
pub mod stages;
pub mod store;
pub mod tend;
pub mod test;
pub mod test_case;
pub mod test_display;
pub mod test_mistakes;
pub mod test_reserve;
pub mod test_scratch;
pub mod test_suite;
pub mod trusted;
pub mod watch_network;

use crate::error::{Error, Kind, exit};

/// Why a verb ended without doing its part: already in the words that a person reads.
#[derive(Debug)]
pub struct Refusal {
    /// For standard error, with a final newline.
    pub text: String,
    pub status: u8,
}

impl Refusal {
    /// Returns a refusal that says `error` and where it comes from.
    #[must_use]
    pub fn new(error: &Error, source: Option<crate::units::SpecText<'_>>) -> Self {
        let text = crate::report::text::text(error, source, colour());
        Self { text, status: crate::report::exit::error_status(error) }
    }

    /// Returns a refusal whose text is made already.
    #[must_use]
    pub fn of_text(text: String) -> Self {
        Self { text, status: exit::SBX }
    }
}

/// A set-id sbx would open files for its caller that the caller cannot open.
///
/// # Errors
/// The program has the set-user-id or set-group-id bit, and its owner is not the caller.
pub fn refuse_set_id() -> Result<(), Refusal> {
    if !crate::sys::process::is_set_id() {
        return Ok(());
    }
    let error =
        Error::new(Kind::Host, "this program is set-id, and would act for its caller with the rights of its owner");
    Err(Refusal::new(&error.with_hint("take the bit away: `chmod ug-s` on it"), None))
}

/// Returns whether standard error wants colours: a terminal, and nothing like NO_COLOR says otherwise.
#[must_use]
pub fn colour() -> crate::report::text::Colour {
    match anstream::AutoStream::choice(&std::io::stderr()) {
        anstream::ColorChoice::Never => crate::report::text::Colour::Plain,
        _ => crate::report::text::Colour::Ansi,
    }
}
