//! `sbx check`: all mistakes of all specs, or nothing; and what a spec gives away without saying so.

use std::path::PathBuf;

use crate::app::request::Text;
use crate::app::run::Done;
use crate::app::{Refusal, run};
use crate::cli::Request;
use crate::plan::facts::Accounting;
use crate::plan::{Capture, show};
use crate::spec::{Access, Mount, Spec, parse};

/// Checks every spec and says all that is wrong; of one that is right, what a person should know before using it.
///
/// # Errors
/// The drawn mistakes, exit status 125.
pub fn check(specs: &[PathBuf]) -> Result<Done, Refusal> {
    let (mut drawn, mut warnings) = (String::new(), String::new());
    for path in specs {
        match Text::read(path) {
            Ok(text) => match parse::parse(&text.bytes) {
                Ok(spec) => warnings.push_str(&hooks(&text, &spec)),
                Err(findings) => drawn.push_str(&text.draw(&findings)),
            },
            Err(error) => drawn.push_str(&Refusal::new(&error, None).text),
        }
    }
    drawn.push_str(&warnings);
    // Warnings alone are no reason to fail.
    if drawn == warnings { Ok(Done { text: drawn, status: 0 }) } else { Err(Refusal::of_text(drawn)) }
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
            let at = show::place(mount.origin, &text.name, &text.text);
            warnings.extend([
                "sbx: warning: ",
                &at,
                ": the command may write `",
                &crate::units::visible(&git.to_string_lossy()),
                "`, whose hooks run with your rights; cover `",
                &crate::units::visible(&inside),
                "` with a read-only `bind` after this line\n",
            ]);
        }
    }
    warnings
}
