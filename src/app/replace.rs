//! Writes a file of the caller whole or not at all: beside the old one, then in its place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Whether a file that is there may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    Replaced,
    Refused,
}

/// Writes `content` to a file that is not there yet, with this mode but for what umask(2) takes.
///
/// # Errors
/// What the kernel says; EEXIST where it is there, a dangling link too.
pub fn create(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let failed = |source: &std::io::Error| Error::io(format_args!("cannot write `{}`", path.display()), source);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|source| failed(&source))?;
    file.write_all(content).map_err(|source| {
        // Half a file would be in the way of the next attempt.
        fs::remove_file(path).ok();
        failed(&source)
    })
}

/// Puts `content` in the place of the file at `path`, links followed. Its mode and owner stay.
///
/// # Errors
/// What the kernel says; the file is as it was then.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |source: &std::io::Error| Error::io(format_args!("cannot replace `{}`", path.display()), source);
    let path = fs::canonicalize(path).map_err(|source| failed(&source))?;
    let old = fs::metadata(&path).map_err(|source| failed(&source))?;
    let (file, beside) = beside(&path).map_err(|source| failed(&source))?;
    let written = fill(file, content, &old).and_then(|()| fs::rename(&beside, &path));
    written.map_err(|source| {
        fs::remove_file(&beside).ok();
        failed(&source)
    })
}

fn fill(mut file: File, content: &[u8], old: &fs::Metadata) -> std::io::Result<()> {
    file.write_all(content)?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    // After the owner: chown(2) takes set-id bits away.
    file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    // Otherwise a crash of the machine could leave the new name on an empty file.
    file.sync_all()
}

/// Returns a new file in the directory of `path`, for its owner only, and its path.
fn beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = std::process::id();
    loop {
        let beside = path.with_file_name(format!(".{name}.{number}"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside) {
            // Left by one that was killed, or being written by another of this number.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number = number.wrapping_add(1),
            opened => return opened.map(|file| (file, beside)),
        }
    }
}
