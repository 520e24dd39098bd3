//! Text as the kernel takes it: bytes that end with the only NUL.

use std::ffi::CString;

use crate::error::{Error, Kind, Result};

/// Returns `text` as the kernel takes it.
///
/// # Errors
/// A NUL character in it.
pub fn text(text: &str) -> Result<CString> {
    CString::new(text)
        .map_err(|_| Error::new(Kind::Spec, format!("`{}` contains a NUL character", text.escape_debug())))
}

/// Returns `path` as the kernel takes it.
///
/// # Errors
/// A path with a NUL character.
pub fn path_text(path: &std::path::Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Kind::Spec, format!("`{}` contains a NUL character", path.display())))
}
