//! What a hostile command, a hostile image or a failing kernel can do to a run: nothing
//! that leaves the sandbox, and nothing that sbx does not survive, name and clean up.
//! Each run has a time limit of its own, so that a hang is a failure.

mod hostile;
mod kernel;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const SBX: &str = env!("CARGO_BIN_EXE_sbx");

/// Longer than any run here takes on a loaded machine, shorter than patience.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn is_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// A directory that every user can enter.
pub(crate) fn home() -> TempDir {
    let home = tempfile::Builder::new().prefix("sbx-faults-").tempdir_in("/tmp").unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    home
}

pub(crate) fn spec(home: &TempDir, text: &str) -> PathBuf {
    let path = home.path().join("spec.kdl");
    fs::write(&path, text).unwrap();
    path
}

pub(crate) fn sbx(spec: &Path, command: &[&str]) -> Command {
    let mut sbx = Command::new(SBX);
    sbx.args(["run", "--report", "none"]).arg(spec).arg("--").args(command);
    sbx.stdin(Stdio::null());
    sbx
}

/// Runs `command` and fails if it takes longer than [`PATIENCE`].
pub(crate) fn end(command: &mut Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(child)
}

pub(crate) fn wait(mut child: Child) -> Output {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.as_mut().map(|out| out.read_to_end(&mut bytes));
        bytes
    });
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.as_mut().map(|err| err.read_to_end(&mut bytes));
        bytes
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                child.kill().ok();
                panic!("sbx hangs: {:?}", child.wait_with_output());
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    Output { status, stdout: reader.join().unwrap(), stderr: errors.join().unwrap() }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A run that sbx refuses or cannot finish says why and is neither a panic nor an abort.
pub(crate) fn assert_refused(output: &Output, status: i32, words: &str) {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{:?}: {said}", output.status);
    assert!(said.contains(words) && !said.contains("panicked"), "{said}");
}

/// Says loudly why a test proves nothing here.
pub(crate) fn skip(reason: &str) {
    std::io::stderr().write_all(format!("SKIP: {reason}\n").as_bytes()).unwrap();
}
