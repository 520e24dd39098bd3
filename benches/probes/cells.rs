//! The table as text: one cell for one door and one runner, for both users at once.
//! The test reads the cells that the benchmark wrote.

use crate::stage::{Answer, Door, Found};

/// One column: a runner, and what was found when root started it and when a user did.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) label: String,
    pub(crate) root: Option<Found>,
    pub(crate) user: Option<Found>,
}

impl Column {
    fn answer(&self, door: &str) -> [Option<Answer>; 2] {
        [&self.root, &self.user].map(|found| found.as_ref()?.get(door).map(|(answer, _)| *answer))
    }

    /// Returns the cell of one door.
    pub(crate) fn cell(&self, door: &str) -> &'static str {
        match self.answer(door).map(|answer| answer.unwrap_or(Answer::NotApplicable)) {
            [Answer::Open, Answer::Open] => "open",
            [Answer::Open, _] => "root",
            [_, Answer::Open] => "user",
            [Answer::NotApplicable, Answer::NotApplicable] => "n/a",
            _ => "·",
        }
    }

    fn count(&self, doors: &[Door]) -> String {
        let count = |found: &Option<Found>| {
            let found = found.as_ref()?;
            let open = |door: &&Door| found.get(&door.name).is_some_and(|(answer, _)| *answer == Answer::Open);
            Some(doors.iter().filter(open).count().to_string())
        };
        let [root, user] = [count(&self.root), count(&self.user)].map(|count| count.unwrap_or_else(|| "–".to_owned()));
        format!("{root} / {user}")
    }
}

/// Returns the rows as Markdown.
pub(crate) fn table(doors: &[Door], columns: &[Column]) -> String {
    let mut text = String::from("| what is let through |");
    for column in columns {
        text.extend([" ", &column.label, " |"]);
    }
    text.push_str("\n|---|");
    text.push_str(&":-:|".repeat(columns.len()));
    text.push_str("\n| **of all, when root starts it / a user** |");
    for column in columns {
        text.extend([" ", &column.count(doors), " |"]);
    }
    text.push('\n');
    for door in doors {
        if !door.group.is_empty() {
            text.extend(["| **", &door.group, "** |", &" |".repeat(columns.len()), "\n"]);
        }
        text.extend(["| ", &door.text, " |"]);
        for column in columns {
            text.extend([" ", column.cell(&door.name), " |"]);
        }
        text.push('\n');
    }
    text
}
