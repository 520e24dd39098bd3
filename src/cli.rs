//! The command line: its doc comments are the help, the man page and the completions.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};

pub use crate::cli_image::{Append, Image, ImageVerb, Place};
pub use crate::cli_spec::{Fmt, Init, Purpose};
pub use crate::cli_test::Test;

const EXIT_CODES: &str = "\
Exit status:
  the command's own, or
  2    wrong usage of sbx
  124  a time limit ended the run (`wall`, `cpu-time`)
  125  sbx could not do its part: a mistake in the spec, a host that cannot do it
  126  the command was found but cannot be executed
  127  the command was not found
  128+N  signal N ended the command
  137  the memory or the output limit ended the run
A command can return any of these itself; the member `outcome` of the report says what happened.";

/// Run commands in a sandbox that one readable file describes
#[derive(Debug, Parser)]
#[command(name = "sbx", version, max_term_width = 100, after_help = EXIT_CODES, infer_subcommands = false)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a command in the sandbox of a spec
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Say all that is wrong with specs, or nothing
    Check {
        /// Specs to read; `-` is standard input
        #[arg(required = true, value_name = "SPEC")]
        specs: Vec<PathBuf>,
        /// Set a parameter of the specs (can be repeated)
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
    },
    /// Show what a run would do, one operation a line, with the line that asked for it
    Plan {
        #[command(flatten)]
        request: Request,
        /// Write JSON
        #[arg(long)]
        json: bool,
        /// Write the spec instead, as one that extends nothing and has no parameters
        #[arg(long, conflicts_with_all = crate::cli_spec::OF_A_RUN)]
        flat: bool,
    },
    /// Run the tests of specs, each in a sandbox of its own
    #[command(after_help = crate::cli_test::EXIT_CODES)]
    Test(Test),
    /// Write a small spec to begin with
    Init(Init),
    /// Put specs into good form; comments, strings and empty lines stay
    Fmt(Fmt),
    /// List what the runs of a spec have changed in its root, where `upper` keeps it: added, modified, deleted
    Diff {
        /// The spec; `-` is standard input
        #[arg(value_name = "SPEC")]
        spec: PathBuf,
        /// Write JSON
        #[arg(long)]
        json: bool,
        /// Set a parameter of the spec (can be repeated)
        #[arg(long, value_name = "NAME=VALUE")]
        set: Vec<String>,
        #[command(flatten)]
        store: Place,
    },
    /// Say what this host can do, what is missing, and the one thing to change for each
    Doctor {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// List, pull, verify, make and remove images
    Image(Image),
    /// Remove what killed runs left behind
    Gc {
        #[command(flatten)]
        store: Place,
    },
    /// Print the JSON Schema of a format
    Schema {
        #[arg(value_enum)]
        format: Format,
    },
    /// Print the completions for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the man page, in the source of man(7)
    Man,
    // sbx starts itself with these three words, see `app::extract` and `app::tend`.
    #[command(hide = true)]
    ExtractLayers,
    #[command(hide = true)]
    PlaceLayers,
    #[command(hide = true)]
    TendStore,
    // And with this one, see `image::Store::settle_later`.
    #[command(hide = true)]
    SettleStore {
        #[command(flatten)]
        store: Place,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Format {
    Report,
}

// A run is the verb whose start-up time counts, and the definition of all the others takes longer to build than
// the sandbox's plan.
/// Run a command in the sandbox of a spec
#[derive(Debug, Parser)]
#[command(name = "sbx run", bin_name = "sbx run", max_term_width = 100, after_help = EXIT_CODES)]
struct RunAlone {
    #[command(flatten)]
    run: Run,
}

#[derive(Debug, Args, Default, PartialEq, Eq)]
pub struct Run {
    #[command(flatten)]
    pub request: Request,
    /// Where the report goes: a file, `fd:N`, `stdout`, `stderr` or `none`
    #[arg(long, value_name = "TARGET")]
    pub report: Option<String>,
    /// Put what the command writes into the report, up to 1 MiB a stream, instead of passing it on
    #[arg(long)]
    pub capture: bool,
    /// Copy NAME=VALUE into the report (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// Print on standard error what leaves the sandbox and what may not, as it happens
    #[arg(long)]
    pub watch_network: bool,
    /// Print the stages and their times on standard error
    #[arg(short, long)]
    pub verbose: bool,
}

/// A spec and what the command line changes in it.
#[derive(Debug, Args, Default, PartialEq, Eq)]
pub struct Request {
    /// The spec; `-` is standard input
    #[arg(value_name = "SPEC")]
    pub spec: PathBuf,
    /// The command instead of the spec's, or the arguments of its script
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
    /// Set a parameter of the spec (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Set a variable of the command's environment (can be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Pass a variable of yours to the command (can be repeated)
    #[arg(long, value_name = "NAME")]
    pub pass_env: Vec<String>,
    /// Mount SOURCE on DESTINATION, read-only unless `:rw` follows (can be repeated)
    #[arg(long, value_name = "SOURCE:DESTINATION[:rw]")]
    pub bind: Vec<String>,
    /// Mount a tmpfs on PATH (can be repeated)
    #[arg(long, value_name = "PATH")]
    pub tmpfs: Vec<String>,
    /// Limit the memory of the whole tree
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Limit the processors, as in `1.5` or `150%`
    #[arg(long, value_name = "CORES")]
    pub cpu: Option<String>,
    /// Limit the number of processes and threads
    #[arg(long, value_name = "COUNT")]
    pub pids: Option<u64>,
    /// Limit the time by the clock, as in `2m30s`
    #[arg(long, value_name = "TIME")]
    pub wall: Option<String>,
    /// Limit the processor time of the whole tree
    #[arg(long, value_name = "TIME")]
    pub cpu_time: Option<String>,
    /// Limit what the command may write to standard output and error together
    #[arg(long, value_name = "SIZE")]
    pub output: Option<String>,
    /// Choose the network: `none`, `host`, or `egress` by the rules of the spec, without which it lets nothing out
    #[arg(long, value_name = "MODE")]
    pub network: Option<String>,
    /// Let connections to DESTINATION out, as in `crates.example:443` (can be repeated)
    #[arg(long, value_name = "DESTINATION")]
    pub allow: Vec<String>,
    /// Give the command a terminal of its own: `yes`, `no`, or `auto`, which is where you are at one
    #[arg(short, long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "yes")]
    pub tty: Option<String>,
    /// Pass your standard input on, whatever the spec says
    #[arg(short, long)]
    pub interactive: bool,
    /// Name the host inside
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Start in this directory of the sandbox
    #[arg(long, value_name = "PATH")]
    pub workdir: Option<String>,
    #[command(flatten)]
    pub place: Place,
}

impl Cli {
    /// Returns the definition from which help, completions and man page are made.
    #[must_use]
    pub fn definition() -> clap::Command {
        Self::command()
    }

    /// Reads the whole command line; the first word is the name of the program.
    ///
    /// # Errors
    /// Wrong usage, or a question such as `--help`.
    pub fn read(arguments: Vec<OsString>) -> Result<(Self, Form), clap::Error> {
        let (mut arguments, form) = with_verb(arguments);
        if arguments.get(1).is_none_or(|verb| verb != "run") {
            return Self::try_parse_from(arguments).map(|cli| (cli, form));
        }
        arguments.remove(0);
        let run = match plain(&arguments) {
            Some(run) => run,
            None => RunAlone::try_parse_from(arguments)?.run,
        };
        Ok((Self { verb: Verb::Run(run) }, form))
    }
}

/// Writes the man page: the program, then the options of each verb.
///
/// # Errors
/// Those of `page`.
pub fn man(page: &mut Vec<u8>) -> std::io::Result<()> {
    let definition = Cli::definition();
    clap_mangen::Man::new(definition.clone()).render(page)?;
    for verb in definition.get_subcommands().filter(|verb| verb.get_arguments().next().is_some()) {
        section(page, verb.get_name(), verb)?;
        for inner in verb.get_subcommands() {
            section(page, &format!("{} {}", verb.get_name(), inner.get_name()), inner)?;
        }
    }
    Ok(())
}

fn section(page: &mut Vec<u8>, name: &str, verb: &clap::Command) -> std::io::Result<()> {
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(page, ".SH \"SBX {}\"\n{about}", name.to_uppercase())?;
    match verb.get_arguments().next() {
        Some(_) => clap_mangen::Man::new(verb.clone()).render_options_section(page),
        None => Ok(()),
    }
}

/// Returns the run of `run SPEC`, with or without `-- COMMAND…`: the form without any flag, which needs no
/// reader of flags.
fn plain(words: &[OsString]) -> Option<Run> {
    let (spec, rest) = words.get(1..)?.split_first()?;
    let is_flag = spec.as_bytes().first().is_none_or(|byte| *byte == b'-') && spec != "-";
    let command = match rest.split_first() {
        None => &[],
        Some((dashes, command)) if dashes == "--" => command,
        Some(_) => return None,
    };
    if is_flag {
        return None;
    }
    let request = Request { spec: spec.into(), command: command.to_vec(), ..Request::default() };
    Some(Run { request, ..Run::default() })
}

/// Returns the arguments with `run` put in where the first one is a path: the form of `#!/usr/bin/env sbx`.
/// A word with a `/`, or the name of an existing file with a dot in it, is a path.
fn with_verb(mut arguments: Vec<OsString>) -> (Vec<OsString>, Form) {
    let is_path = arguments.get(1).is_some_and(|first| {
        let has = |byte| first.as_bytes().contains(&byte);
        !first.as_bytes().starts_with(b"-") && (has(b'/') || (has(b'.') && std::path::Path::new(first).is_file()))
    });
    if !is_path {
        return (arguments, Form::Verb);
    }
    arguments.insert(1, "run".into());
    // All that follows is the script's own, dashes too.
    arguments.insert(3, "--".into());
    (arguments, Form::Script)
}

/// Returns the error with a tip where a word stands between the spec and `--`: most who write it mean the command.
#[must_use]
pub fn advised(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && !word.starts_with('-')
    {
        let tip = format!("the command follows `--`: `sbx run SPEC -- {} …`", word.escape_debug());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // Some are not for people.
    if let Some(ContextValue::Strings(words)) = error.get(ContextKind::SuggestedSubcommand) {
        let definition = Cli::definition();
        let shown = |word: &&String| definition.find_subcommand(word).is_some_and(|verb| !verb.is_hide_set());
        let words: Vec<_> = words.iter().filter(shown).cloned().collect();
        match words.as_slice() {
            [] => drop(error.remove(ContextKind::SuggestedSubcommand)),
            [one] => drop(error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(one.clone()))),
            _ => drop(error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(words))),
        }
    }
    // The kernel passes all that follows the program in a `#!` line as one argument (execve(2)).
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && word.contains(' ')
    {
        let tip = format!("in a first line write `#!/usr/bin/env -S sbx {}`", word.escape_debug());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// How sbx was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Verb,
    /// `sbx FILE ARGUMENT…`: the report is `none` by default, and the arguments follow the command of the spec; of one
    /// that has none they are the command, after a `--` or without.
    Script,
}

#[cfg(test)]
mod tests {
    use super::{Parser, RunAlone, plain};

    #[test]
    fn the_plain_form_means_what_the_full_reader_says() {
        let lines: [&[&str]; 9] = [
            &["run", "a.kdl"],
            &["run", "-"],
            &["run", "a.kdl", "--"],
            &["run", "a.kdl", "--", "true"],
            &["run", "a.kdl", "--", "sh", "-c", "x", "--", "--report"],
            &["run", "--", "a.kdl"],
            &["run", "--help"],
            &["run", ""],
            &["run", "a.kdl", "b", "--", "c"],
        ];
        let mut plainly = 0;
        for line in lines {
            let words: Vec<_> = line.iter().map(Into::into).collect();
            if let Some(run) = plain(&words) {
                plainly += 1;
                assert_eq!(run, RunAlone::try_parse_from(line).unwrap().run, "{line:?}");
            }
        }
        assert_eq!(plainly, 5);
    }
}
