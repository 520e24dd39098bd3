//! Who owns what is extracted: it depends on what this process may give away.

use crate::error::{Error, Result};
use crate::image::tree::Ownership;
use crate::sys::file::effective_uid;

/// Root keeps the owners of the archive, if its user namespace knows them; others cannot.
pub(super) fn ownership() -> Result<Ownership> {
    const ENOUGH: u64 = 65_535;
    if effective_uid() != 0 {
        return Ok(Ownership::Caller);
    }
    for path in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let map =
            std::fs::read_to_string(path).map_err(|error| Error::io(format_args!("cannot read `{path}`"), &error))?;
        let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        if counts.sum::<u64>() < ENOUGH {
            return Ok(Ownership::Caller);
        }
    }
    Ok(Ownership::Archive)
}
