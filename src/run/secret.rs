//! Reads a file that is a secret: a regular one, of bounded size, once, before anything of the
//! sandbox exists. What it holds is in no error.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::run::anchor::Exposed;

/// Bytes of one secret.
const LIMIT: u64 = 1 << 20;

/// Returns what the secret `path` holds.
///
/// # Errors
/// A file that cannot be opened, is not a regular one, or is larger than 1 MiB: a device would never end, and a
/// FIFO may never begin.
pub fn read(path: &Path, exposed: &Exposed) -> Result<Vec<u8>> {
    let name = path.display();
    let failed = |source: std::io::Error| {
        Error::io(format_args!("cannot read the secret `{name}`"), &source).with_kind(Kind::Spec)
    };
    let opened = exposed.open(path, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = opened.map(File::from).map_err(|errno| failed(errno.into()))?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Error::new(Kind::Spec, format!("the secret `{name}` is not a regular file"))
            .with_hint("write it into a file first, or take it from a variable with `env=`"));
    }
    let too_large = || {
        Error::new(Kind::Spec, format!("the secret `{name}` is larger than 1 MiB"))
            .with_hint("use `bind` for a file of that size")
    };
    if found.len() > LIMIT {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    (&file).take(LIMIT + 1).read_to_end(&mut content).map_err(failed)?;
    match u64::try_from(content.len()) {
        Ok(length) if length <= LIMIT => Ok(content),
        _ => Err(too_large()),
    }
}
