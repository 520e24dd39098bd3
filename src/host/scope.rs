//! The way to a group of one's own through the caller's systemd: sbx starts itself again
//! inside a transient scope with delegation. This file only decides; it starts nothing.

use std::path::{Path, PathBuf};

use crate::host::{Caller, ScopeCommand};
use crate::sys::probe::{Access, access};

/// Set in the scope, so that an sbx that still finds no group does not ask for another.
pub const GUARD: &str = "SBX_SCOPE";

/// The only places where `systemd-run` is looked for: a `PATH` of the caller's would decide
/// what runs with the caller's limits lifted.
const PROGRAMS: [&str; 3] = ["/usr/bin/systemd-run", "/bin/systemd-run", "/run/current-system/sw/bin/systemd-run"];

/// What of the environment matters, as read by [`Surroundings::read`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    pub guard: Option<String>,
}

impl Surroundings {
    /// Reads the two variables of this process.
    #[must_use]
    pub fn read() -> Self {
        Self { runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), guard: std::env::var(GUARD).ok() }
    }
}

/// Returns the command where it can help: the caller is not root, sbx is not in such a
/// scope already, the caller's systemd listens, and `systemd-run` is there.
///
/// Root needs none: it makes its groups below the real root.
#[must_use]
pub fn scope_command(caller: Caller, surroundings: &Surroundings) -> Option<ScopeCommand> {
    if caller.is_root() || surroundings.guard.is_some() {
        return None;
    }
    // cron, su and many CI runners leave the variable out; the place is fixed by pam_systemd(8).
    let usual = PathBuf::from(format!("/run/user/{}", caller.uid));
    let runtime_dir = surroundings.runtime_dir.iter().chain([&usual]).find(|dir| is_reachable(dir))?;
    let program = PROGRAMS.map(Path::new).into_iter().find(|path| access(path, Access::Execute).is_ok())?;
    Some(compose(program, runtime_dir))
}

/// Returns whether a manager or a bus can be asked under `runtime_dir`.
fn is_reachable(runtime_dir: &Path) -> bool {
    ["systemd/private", "bus"].iter().any(|socket| access(&runtime_dir.join(socket), Access::Write).is_ok())
}

/// Returns the command for a known program and directory.
#[must_use]
pub fn compose(program: &Path, runtime_dir: &Path) -> ScopeCommand {
    let arguments = ["--user", "--scope", "--quiet", "--collect", "-p", "Delegate=yes", "--"];
    let runtime_dir = runtime_dir.to_string_lossy().into_owned();
    ScopeCommand {
        program: program.to_owned(),
        arguments: arguments.map(str::to_owned).to_vec(),
        environment: vec![("XDG_RUNTIME_DIR".to_owned(), runtime_dir), (GUARD.to_owned(), "1".to_owned())],
    }
}
