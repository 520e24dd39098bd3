//! The way out of a plan for people and programs: one rule a row, in the words of the language.

use std::fmt;

use crate::plan::network::Way;
use crate::spec::Publish;
use crate::units::{Origin, Spanned, duration};

/// One rule: its word, what it is about, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub word: &'static str,
    pub value: String,
    pub origin: Origin,
}

/// Returns the rules of a way.
#[must_use]
pub fn rows(way: &Way) -> Vec<Row> {
    let rules = &way.rules;
    let mut rows = Vec::new();
    list(&mut rows, "allow", &rules.allow);
    list(&mut rows, "deny", &rules.deny);
    list(&mut rows, "publish", &rules.publish);
    list(&mut rows, "bandwidth", rules.bandwidth.as_slice());
    let latency = rules.latency.iter();
    rows.extend(latency.map(|it| Row { word: "latency", value: duration(it.value), origin: it.origin }));
    list(&mut rows, "loss", rules.loss.as_slice());
    list(&mut rows, "dns", &rules.dns);
    rows
}

fn list<T: fmt::Display>(rows: &mut Vec<Row>, word: &'static str, list: &[Spanned<T>]) {
    rows.extend(list.iter().map(|it| Row { word, value: it.value.to_string(), origin: it.origin }));
}

impl fmt::Display for Publish {
    /// Writes `127.0.0.1:8080->80/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}/{}", self.outside, self.inside, self.protocol.as_str())
    }
}
