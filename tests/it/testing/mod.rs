//! `sbx test`: what is expected and what is said of it, how cases are chosen and run, what is written, and that nothing
//! is left behind.

mod cancel;
mod egress;
mod expectations;
mod killed;
mod machinery;
mod many;
mod outputs;
mod own;
mod planted;
mod runners;
mod stranger;
mod texts;

use crate::harness::{Ran, Sbx, Who};

/// Returns `sbx test` of a directory `t` with these files in it.
fn tests(who: Who, files: &[(&str, &str)]) -> Sbx {
    let mut sbx = Sbx::new(who).dir("t").verb(&["test"]).env("TMPDIR", "tmp").dir("tmp");
    for (name, text) in files {
        let text = format!("{text}\npass-env \"SBX_IT_MARK\"\n");
        sbx = sbx.file(&format!("t/{name}"), text.as_bytes());
    }
    sbx
}

/// Runs them and checks that the directory for what goes in and out is empty again.
#[track_caller]
fn run(sbx: &Sbx) -> Ran {
    let ran = sbx.run();
    empty(sbx);
    ran
}

#[track_caller]
fn empty(sbx: &Sbx) {
    let left: Vec<_> = std::fs::read_dir(sbx.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Runs one spec called `a.sbx.kdl`.
#[track_caller]
fn one(who: Who, text: &str) -> Ran {
    run(&tests(who, &[("a.sbx.kdl", text)]).flags(&["t"]))
}

/// Returns what `word` was said of, in the order in which it was said: `a` of `PASS [ 0.1s] t/a.sbx.kdl::a`.
fn said<'a>(ran: &'a Ran, word: &str) -> Vec<&'a str> {
    // What was said of them while they ran, not the list at the end.
    let lines = ran.stderr.lines().take_while(|line| !line.starts_with("----"));
    let lines = lines.filter(|line| line.trim_start().strip_prefix(word).is_some_and(|rest| rest.starts_with(" [")));
    lines.map(|line| line.split_once("::").unwrap().1).collect()
}
