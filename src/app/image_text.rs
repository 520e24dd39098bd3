//! The answers of `sbx image` as text for a person: aligned columns, names made visible. Pure: it prints nothing.

use std::fmt::Write as _;

use crate::app::progress::human;
use crate::report::images::{Listed, Problem, Removed, Used};
use crate::units::visible;

/// Digits of a short digest, as `docker images` shows them.
const DIGITS: usize = 12;

/// Returns one line an image and name.
#[must_use]
pub fn list(rows: &[Listed]) -> String {
    let head = ["NAME", "DIGEST", "LAYERS", "SIZE", "PULLED"].map(str::to_owned);
    let row = |row: &Listed| {
        let name = row.name.as_deref().unwrap_or("<none>");
        let name = match &row.platform {
            Some(platform) => format!("{name} ({platform})"),
            None => name.to_owned(),
        };
        let size = row.size.map_or_else(|| "-".to_owned(), human);
        let pulled = row.pulled_at.as_deref().unwrap_or("-").to_owned();
        [visible(&name).into_owned(), short(&row.digest), row.layers.to_string(), size, pulled]
    };
    columns(std::iter::once(head).chain(rows.iter().map(row)).collect())
}

/// Returns one line a part of the store.
#[must_use]
pub fn usage(rows: &[Used]) -> String {
    let head = ["KIND", "NAME", "FILES", "SIZE"].map(str::to_owned);
    let row = |row: &Used| {
        let name = match row.name.split_once('.') {
            Some((digest, flavour)) => format!("{}.{flavour}", short(digest)),
            None if row.kind == "blob" => short(&row.name),
            None => visible(&row.name).into_owned(),
        };
        let name = if row.kind == "total" { visible(&row.name).into_owned() } else { name };
        [row.kind.to_owned(), name, row.files.to_string(), human(row.bytes)]
    };
    columns(std::iter::once(head).chain(rows.iter().map(row)).collect())
}

/// Returns one line a problem: what, where in it, and what is wrong.
#[must_use]
pub fn problems(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut text, problem| {
        let path = problem.path.as_ref().map(|path| format!("`{}` ", visible(path))).unwrap_or_default();
        // Writing to a String cannot fail.
        let _written =
            writeln!(text, "{} {}: {path}{}", problem.kind, visible(&problem.name), visible(&problem.reason));
        text
    })
}

/// Returns one line for each thing that is gone.
#[must_use]
pub fn removed(rows: &[Removed]) -> String {
    rows.iter().fold(String::new(), |mut text, row| {
        let _written = writeln!(text, "removed {} {}", row.kind, visible(&row.name));
        text
    })
}

fn short(digest: &str) -> String {
    digest.strip_prefix("sha256:").unwrap_or(digest).chars().take(DIGITS).collect()
}

/// The last column is as long as it is.
fn columns<const N: usize>(rows: Vec<[String; N]>) -> String {
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    rows.iter().fold(String::new(), |mut text, row| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
        text
    })
}
