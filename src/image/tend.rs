//! Work on trees that the caller alone may not do: on directories that are closed to their owner, and on files
//! of his subordinate ids. A process of its own does it, in a user namespace in which all of them are his
//! (`app::tend`); it gets paths of the store only.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::image::layer;
use crate::image::tree::Ownership;
use crate::image::{Range, remove, worker};

/// The word by which sbx is asked for it.
pub const TEND: &str = "tend-store";

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// Makes the root of several layers, each a directory with its list and its tree, the lowest first.
    Assemble { root: PathBuf, layers: Vec<PathBuf>, range: Option<Range> },
    /// Removes what has a name in a directory.
    Remove { parent: PathBuf, name: PathBuf },
}

impl Request {
    /// Reads what `ask` wrote.
    ///
    /// # Errors
    /// A text that is none.
    pub fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::new(Kind::Usage, format!("not a request for the store: {error}")))
    }
}

/// Has `program` do it.
///
/// # Errors
/// What it could not do, or why there was nobody to do it.
pub(super) fn ask(program: &Path, request: &Request) -> Result<()> {
    let failed = |error: &std::io::Error| Error::io(format_args!("cannot run `{}`", program.display()), error);
    let text = serde_json::to_vec(request)
        .map_err(|error| Error::new(Kind::Bug, format!("cannot ask for work on the store: {error}")))?;
    let mut command = Command::new(program);
    command.arg(TEND).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    // One that is gone already says why below.
    drop(child.stdin.take().map(|mut input| input.write_all(&text)));
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    match (output.status.success(), output.stdout.as_slice()) {
        (true, []) => Ok(()),
        (true, line) => Err(worker::told(&String::from_utf8_lossy(line))),
        (false, _) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = crate::units::visible(said.trim());
            Err(Error::new(Kind::Setup, format!("the work on the store ended with {}: {said}", output.status)))
        }
    }
}

/// Does it, here.
///
/// # Errors
/// What cannot be read or made.
pub fn perform(request: &Request) -> Result<()> {
    match request {
        Request::Remove { parent, name } => remove::remove(parent, name.as_os_str()),
        Request::Assemble { root, layers, range } => {
            let merged = layer::merge(layers.iter().map(|place| layer::open(&place.join("list")).map(layer::steps)))?;
            let trees: Vec<PathBuf> = layers.iter().map(|place| place.join("rootfs")).collect();
            let trees: Vec<&Path> = trees.iter().map(PathBuf::as_path).collect();
            layer::assemble(merged, (root, range.map_or(Ownership::Caller, Ownership::Range)), &trees)
        }
    }
}

/// Returns whether it is a matter of rights.
pub(super) fn is_denied(error: &Error) -> bool {
    matches!(error.errno, Some(libc::EACCES | libc::EPERM))
}
