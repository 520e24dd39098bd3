//! `sbx check`: all mistakes of all specs, or what they say that is rarely meant, and what they give away
//! without saying so.

use std::path::PathBuf;

use crate::app::request::{self, Text};
use crate::app::{Refusal, run};
use crate::cli::Request;
use crate::plan::facts::Accounting;
use crate::plan::{Capture, caution, show};
use crate::spec::{Access, Mount, Spec};
use crate::units::{Origin, Spanned, visible};

/// Checks every spec; returns what is allowed but rarely meant, in the words that a person reads.
///
/// # Errors
/// The drawn mistakes, exit status 125.
pub fn check(specs: &[PathBuf], set: &[String]) -> Result<String, Refusal> {
    let settings = request::settings(set).map_err(|error| Refusal::new(&error, None))?;
    let (mut drawn, mut cautions) = (String::new(), String::new());
    for path in specs {
        match Text::read(path) {
            Ok(text) => match text.parse(&settings) {
                Ok(spec) => {
                    cautions.extend(caution::cautions(&spec).iter().map(|caution| said(caution, &text)));
                    cautions.push_str(&hooks(&text, &spec));
                    cautions.push_str(&first_line(&text));
                }
                Err(findings) => drawn.push_str(&text.draw(&findings)),
            },
            Err(error) => drawn.push_str(&Refusal::new(&error, None).text),
        }
    }
    if drawn.is_empty() { Ok(cautions) } else { Err(Refusal::of_text(cautions + &drawn)) }
}

fn said(caution: &Spanned<String>, text: &Text) -> String {
    let place = match caution.origin {
        Origin::Spec(_) => show::place(caution.origin, text.as_spec()),
        Origin::CommandLine | Origin::Image | Origin::Default => visible(&text.name).into_owned(),
    };
    format!("sbx: warning: {place}: {}\n", visible(&caution.value))
}

/// Git runs what lies in `.git/hooks`, and what `.git/config` names, with the rights of whoever calls it next.
fn hooks(text: &Text, spec: &Spec) -> String {
    let mut warnings = String::new();
    let invocation = run::invocation(spec, &Request::default(), text, (Capture::No, Accounting::NotWanted));
    for (number, mount) in spec.mounts.iter().enumerate() {
        let Mount::Bind(bind) = &mount.value else { continue };
        let git = invocation.absolute(&bind.source).join(".git");
        let inside = format!("{}/.git", bind.destination.as_str().trim_end_matches('/'));
        let covered = spec.mounts.iter().skip(number + 1).any(|later| later.value.destination().as_str() == inside);
        if bind.access == Access::ReadWrite && !covered && git.exists() {
            let at = show::place(mount.origin, text.as_spec());
            warnings.extend([
                "sbx: warning: ",
                &at,
                ": the command may write `",
                &visible(&git.to_string_lossy()),
                "`, whose hooks run with your rights; cover `",
                &visible(&inside),
                "` with a read-only `bind` after this line\n",
            ]);
        }
    }
    warnings
}

/// What the kernel and env(1) make of a first line: execve(2), "Interpreter scripts".
fn first_line(text: &Text) -> String {
    const TAKEN: usize = 255;
    let first = text.text.lines().next().unwrap_or_default();
    let Some(rest) = first.strip_prefix("#!") else { return String::new() };
    let words: Vec<&str> = rest.split_whitespace().collect();
    let mut said = String::new();
    let mut say = |what: &str| said.extend(["sbx: warning: ", &visible(&text.name), ":1: ", what, "\n"]);
    if first.len() > TAKEN {
        say("the kernel takes 255 bytes of a first line: move the rest into the spec");
    }
    // `lines` would take the character away.
    if text.text.split('\n').next().is_some_and(|first| first.ends_with('\r')) {
        let name = visible(words.last().copied().unwrap_or_default()).into_owned();
        say(&format!("its line end is that of DOS, so `{name}\\r` is what would be started: write those of Unix"));
    }
    if let [env, "sbx", _, ..] = words.as_slice()
        && env.ends_with("/env")
    {
        let line = visible(&words[1..].join(" ")).into_owned();
        say(&format!("env takes all of `{line}` for the name of a program: write `#!{env} -S {line}`"));
    }
    said
}
