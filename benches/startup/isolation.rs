//! What the probe sees inside each contender, so that equal isolation is shown
//! and a contender that isolates less is called so beside its time.

use crate::Fault;
use crate::contenders::{Contender, Inside, Scenario};
use crate::yard::Yard;
use std::fmt::Write as _;
use std::fs;

const NAMESPACES: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];

/// What one contender's probe printed.
#[derive(Debug)]
pub(crate) struct Seen {
    text: String,
}

impl Seen {
    /// The rest of the line that starts with `key`; empty when there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')).unwrap_or("")
    }

    /// What is missing of the isolation that the comparison is about.
    pub(crate) fn lacks(&self) -> Vec<String> {
        let own: Vec<&str> = self.get("namespaces").split(' ').collect();
        let mut lacks: Vec<String> =
            NAMESPACES.iter().filter(|name| !own.contains(name)).map(|name| format!("no {name} namespace")).collect();
        let mut expect = |key: &str, good: &str| {
            let found = self.get(key);
            if found != good {
                lacks.push(format!("{key} `{found}`"));
            }
        };
        expect("root", "read-only");
        expect("CapEff", "0000000000000000");
        expect("CapBnd", "0000000000000000");
        expect("NoNewPrivs", "1");
        expect("lo", "up");
        if self.get("uid_map").starts_with("0 0 ") {
            lacks.push("root inside is root outside".to_owned());
        }
        lacks
    }
}

/// Runs the probe in one contender.
///
/// # Errors
/// A contender that does not run it.
pub(crate) fn probe(yard: &Yard, uid: u32, contender: &Contender) -> Result<Seen, Fault> {
    let links = NAMESPACES
        .iter()
        .map(|name| fs::read_link(format!("/proc/self/ns/{name}")))
        .map(|link| Ok(link?.to_string_lossy().into_owned()))
        .collect::<Result<Vec<String>, std::io::Error>>()?;
    let output = contender.try_once(yard, uid, Inside::Probe(&links))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Seen { text })
}

/// The probes' whole output, to be kept beside the samples.
///
/// # Errors
/// Only those of writing to a string.
pub(crate) fn raw(scenario: &Scenario, seen: &[Seen]) -> Result<String, Fault> {
    let mut text = String::new();
    for (contender, seen) in scenario.contenders.iter().zip(seen) {
        writeln!(text, "== {}: {}\n{}", scenario.title, contender.label, seen.text)?;
    }
    Ok(text)
}
