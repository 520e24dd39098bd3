//! Compiles the C programs of the benchmarks and of the tests that share them, with
//! the compiler of this machine. It installs nothing.

use std::path::Path;
use std::process::Command;

/// Compiles `benches/c/NAME.c` of each name into one program.
///
/// # Errors
/// No compiler, with the way to get it, or what it says.
pub(crate) fn compile(names: &[&str], to: &Path, flags: &[&str]) -> Result<(), Box<dyn std::error::Error>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/c");
    let sources = names.iter().map(|name| place.join(format!("{name}.c")));
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra"])
        .args(flags)
        .arg("-o")
        .arg(to)
        .args(sources)
        .output()
        .map_err(|fault| format!("cc: {fault} (apt-get install gcc libc6-dev)"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("cc {names:?}: {errors}").into())
}
