//! What streams and connections gave, as tables.

use std::fmt::Write as _;

use crate::contenders::Contender;
use crate::{Fault, median};

/// What is measured, how it is called, in what unit and with how many digits.
const COLUMNS: [(&str, &str, f64, usize); 5] = [
    ("out", "out, Gbit/s", 1e9, 2),
    ("in", "in, Gbit/s", 1e9, 2),
    ("trip", "round trip, µs", 1e3, 0),
    ("connect", "connections a second, one client", 1.0, 0),
    ("crowd", "16 clients", 1.0, 0),
];

fn heading(aspect: &str) -> Option<&'static str> {
    COLUMNS.iter().find(|column| column.0 == aspect).map(|column| column.1)
}

/// Returns the table of all contenders, and how sbx stands to the others.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn streams(all: &[Contender<'_>], rounds: usize) -> Result<String, Fault> {
    let mut text = String::new();
    writeln!(text, "The pair of interfaces has an MTU of 1500; the median of {rounds} rounds, interleaved.\n")?;
    writeln!(text, "| | {} |", COLUMNS.map(|column| column.1).join(" | "))?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|")?;
    for contender in all {
        let cells = COLUMNS.map(|(aspect, _, scale, digits)| match middle(contender, aspect) {
            Some(number) => format!("{:.digits$}", number / scale),
            None => "–".to_owned(),
        });
        writeln!(text, "| {} | {} |", contender.name, cells.join(" | "))?;
    }
    writeln!(text)?;
    for contender in all {
        let mut troubles = contender.troubles.clone();
        troubles.dedup();
        for (aspect, trouble) in troubles {
            let what = heading(aspect).map_or("is left out".to_owned(), |heading| format!("failed ({heading})"));
            writeln!(text, "{} {what}: {trouble}.\n", contender.name)?;
        }
    }
    let named = |name: &str| all.iter().find(|contender| contender.name == name);
    let ratio = |name: &str, aspect| Some(middle(named("sbx")?, aspect)? / middle(named(name)?, aspect)?);
    for name in ["slirp4netns", "pasta"] {
        if let (Some(out), Some(back)) = (ratio(name, "out"), ratio(name, "in")) {
            writeln!(text, "Through sbx a stream is {out:.1} × (out) and {back:.1} × (in) as fast as through {name}.")?;
        }
    }
    if let Some(trip) = ratio("the pair itself", "trip") {
        writeln!(text, "A round trip takes {trip:.2} × that of the pair itself.")?;
    }
    Ok(text)
}

fn middle(contender: &Contender<'_>, aspect: &str) -> Option<f64> {
    let numbers = contender.numbers.iter().filter(|(of, _)| *of == aspect).map(|(_, number)| *number);
    let numbers: Vec<f64> = numbers.collect();
    (!numbers.is_empty()).then(|| median(&numbers))
}
