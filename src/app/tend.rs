//! Work on the store in a user namespace in which the caller's subordinate ids are his, and no mode keeps him
//! from what is his: see `image::tend`.

use std::io::Read as _;

use crate::app::Refusal;
use crate::app::sight::{self, Whose};
use crate::error::{Error, Kind};
use crate::image::tend::{self, Request};
use crate::image::worker;
use crate::sys::process;

/// Reads a request from standard input and does it; returns what to print where it failed.
///
/// # Errors
/// A request that cannot be read.
pub fn tend() -> Result<Vec<u8>, Refusal> {
    let refuse = |error: Error| Refusal::new(&error, None);
    // It has nothing to do without who asked for it.
    process::signal_on_parent_death(libc::SIGKILL)
        .map_err(|errno| refuse(Error::new(Kind::Host, "cannot follow sbx").with_errno(errno as i32)))?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| refuse(Error::io("cannot read the request", &error)))?;
    let request = Request::read(&text).map_err(refuse)?;
    sight::see_all(Whose::Subordinates);
    Ok(match tend::perform(&request) {
        Ok(()) => Vec::new(),
        Err(error) => worker::failure(0, &error).into_bytes(),
    })
}
