//! The command line of the verbs that write specs; its doc comments are their help. It is part of `cli`, which stays
//! readable without it.

use std::path::PathBuf;

use clap::Args;

/// The flags that change a run and not its spec, so that `sbx plan --flat` cannot show what they do.
pub(crate) const OF_A_RUN: [&str; 17] = [
    "json",
    "command",
    "env",
    "pass_env",
    "bind",
    "tmpfs",
    "memory",
    "cpu",
    "pids",
    "wall",
    "cpu_time",
    "output",
    "network",
    "tty",
    "interactive",
    "hostname",
    "workdir",
];

/// What a spec of `sbx init` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    Rust,
    Python,
    Node,
    C,
    Shell,
    Ci,
}

#[derive(Debug, Args)]
pub struct Init {
    /// What it is for
    #[arg(value_enum, default_value = "shell")]
    pub purpose: Purpose,
    /// The file, instead of PURPOSE.sbx.kdl in the working directory; `-` is standard output
    pub path: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct Fmt {
    /// Specs, or directories for all *.sbx.kdl below, but not in hidden ones, `target`, `node_modules` and `__pycache__`;
    /// `-` formats standard input
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Change nothing: show what would change, and exit with 1 if something would
    #[arg(long)]
    pub check: bool,
}
