//! The columns of sbx in the table of `SECURITY.md`: the same probes, tried again, and
//! the table has to say what they say. The peers' columns are the benchmark's alone.

#[path = "../../benches/shared/compile.rs"]
mod compile;
#[path = "../../benches/probes/own.rs"]
mod own;
#[path = "../../benches/probes/stage.rs"]
mod stage;
#[path = "../../benches/shared/surroundings.rs"]
mod surroundings;

use std::collections::BTreeMap;

use crate::fixture;
use crate::harness::{Who, skip};

use own::COLUMNS;
use stage::{Answer, Found, Stage};

pub(crate) type Fault = Box<dyn std::error::Error>;

/// Returns the cells of one column, by what stands before them.
fn column(heading: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/SECURITY.md")).unwrap();
    let (_, rest) = text.split_once("<!-- probes: begin -->").unwrap();
    let (table, _) = rest.split_once("<!-- probes: end -->").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .collect();
    let at = rows[0].iter().position(|cell| *cell == heading).unwrap_or_else(|| panic!("no column `{heading}`"));
    rows.iter().filter(|row| row.len() > at).map(|row| (row[0].to_owned(), row[at].to_owned())).collect()
}

fn mistakes(stage: &Stage, found: &Found, heading: &str, who: &str) -> Vec<String> {
    let cells = column(heading);
    let mut mistakes = Vec::new();
    for door in stage.doors().unwrap() {
        let Some(cell) = cells.get(&door.text) else {
            mistakes.push(format!("no row `{}`", door.text));
            continue;
        };
        let said = if cell == "open" || cell == who { Answer::Open } else { Answer::Closed };
        let Some((answer, how)) = found.get(&door.name) else {
            mistakes.push(format!("no answer for `{}`", door.name));
            continue;
        };
        let (group, name) = (&door.group, &door.name);
        // What cannot be tried on this machine is as good as closed.
        if said == Answer::Open && *answer == Answer::NotApplicable {
            skip(&format!("the probe `{name}`, which would be open: {how}"));
        } else if (*answer == Answer::Open) != (said == Answer::Open) {
            mistakes.push(format!("{group} {name}: the table says `{cell}`, but started by {who}: {answer:?}, {how}"));
        }
    }
    mistakes
}

#[test]
fn sbx_lets_through_what_the_table_says() {
    for who in Who::all() {
        let stage = match Stage::build(who.uid()) {
            Ok(stage) => stage,
            Err(fault) => return skip(&format!("{fault}")),
        };
        let sbx = fixture::binary().display().to_string();
        for (profile, heading) in COLUMNS {
            let found = stage.try_all(|stage, run| own::words(stage, run, profile, &sbx)).unwrap();
            let name = if who == Who::Root { "root" } else { "user" };
            let mistakes = mistakes(&stage, &found, heading, name);
            assert!(mistakes.is_empty(), "{heading}:\n  {}", mistakes.join("\n  "));
        }
    }
}

/// A probe that no sandbox at all would pass proves nothing: without one most doors are open.
#[test]
fn the_probes_find_what_is_open() {
    for who in Who::all() {
        let stage = match Stage::build(who.uid()) {
            Ok(stage) => stage,
            Err(fault) => return skip(&format!("{fault}")),
        };
        let found = stage.try_all(|stage, run| {
            let here = matches!(run, stage::Run::Main | stage::Run::Limits | stage::Run::Network);
            Ok(here.then(|| vec![stage.text("work/doors"), run.word().to_owned()]))
        });
        let open = found.unwrap().values().filter(|(answer, _)| *answer == Answer::Open).count();
        assert!(open > 25, "{who:?}: {open}");
    }
}
