//! What a job of GitHub is told: that the log is not to be read for commands while tests write into it, then an
//! annotation for each failure, and the summary of the job.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use crate::app::Refusal;
use crate::error::{Error, Kind, Result};
use crate::report::cases::Shortfall;
use crate::sys::random;
use crate::testing::{Case, Results, annotate};

/// The log of a job, which is read for commands again when it is resumed.
#[derive(Debug)]
pub struct Log {
    token: String,
}

impl Log {
    /// Has the runner take what follows for text; `None` where there is no runner. What a test writes would be
    /// obeyed otherwise, wherever in a line it begins.
    ///
    /// # Errors
    /// No random number.
    pub fn pause() -> Result<Option<Self>> {
        if !is_there() {
            return Ok(None);
        }
        let number = random::number()
            .map_err(|errno| Error::new(Kind::Host, "cannot get a random number").with_errno(errno as i32))?;
        let log = Self { token: format!("sbx-{number:016x}") };
        write(&format!("::stop-commands::{}\n", log.token));
        Ok(Some(log))
    }

    /// Has the runner obey again.
    pub fn resume(&self) {
        write(&format!("::{}::\n", self.token));
    }

    /// Writes annotations and the summary; returns what stood in the way.
    #[must_use]
    pub fn tell(&self, cases: &[Case], results: &Results) -> String {
        write(&annotate::annotations(cases, results, root().as_deref()));
        let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").map(PathBuf::from) else { return String::new() };
        let opened = File::options().append(true).create(true).open(&path);
        match opened.and_then(|mut file| file.write_all(annotate::summary(cases, results).as_bytes())) {
            Ok(()) => String::new(),
            Err(source) => {
                let error = Error::io(format_args!("cannot write `{}`", path.display()), &source);
                Refusal::new(&error, None).text
            }
        }
    }
}

/// Writes annotations of what is wrong with specs, where there is a runner.
pub fn tell_mistakes(mistakes: &[Shortfall]) {
    if is_there() {
        write(&annotate::mistakes(mistakes, root().as_deref()));
    }
}

fn is_there() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// The directory that the paths of annotations begin at.
fn root() -> Option<PathBuf> {
    std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from)
}

/// The runner reads both streams; standard output may be another program's.
fn write(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).ok();
}
