//! What keeps tests from being run: the mistakes of all specs, as a person reads them, and with their places for other
//! programs.

use crate::app::request::{self, Text};
use crate::app::{Refusal, github};
use crate::error::Error;
use crate::report::cases::Shortfall;
use crate::spec::diagnostic::Finding;
use crate::units::Origin;

/// All of them.
#[derive(Debug, Default)]
pub struct Mistakes {
    drawn: String,
    places: Vec<Shortfall>,
}

impl Mistakes {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.drawn.is_empty()
    }

    /// Adds one that is about no spec.
    pub fn add(&mut self, error: &Error) {
        self.drawn.push_str(&Refusal::new(error, None).text);
    }

    /// Adds one of a spec that could not be read.
    pub fn add_unread(&mut self, error: &Error, spec: &str) {
        self.add(error);
        self.place((spec, (1, 1)), error);
    }

    /// Adds one of `text`.
    pub fn add_of(&mut self, error: &Error, text: &Text) {
        let source = if let Origin::Spec(_) = error.origin { Some(text.as_spec()) } else { None };
        self.drawn.push_str(&Refusal::new(error, source).text);
        self.place(text.place(error.origin), error);
    }

    /// Adds those of `text`.
    pub fn add_findings(&mut self, findings: &[Finding], text: &Text) {
        self.drawn.push_str(&text.draw(findings));
        for finding in findings {
            self.place(text.place(Origin::Spec(finding.span)), &request::told(finding));
        }
    }

    fn place(&mut self, (file, (line, column)): (&str, (usize, usize)), error: &Error) {
        let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
        let (file, message) = (file.to_owned(), format!("{error}{hint}"));
        self.places.push(Shortfall { file, line, column, message, difference: None });
    }

    /// Annotates them where GitHub runs this, and returns what a person reads.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        github::tell_mistakes(&self.places);
        Refusal::of_text(self.drawn)
    }
}
