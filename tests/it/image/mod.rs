//! Archives and directories as root file systems: what comes out, what is refused, and
//! that nothing outside of the store ever changes.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod agreement;
pub(crate) mod arena;
mod contents;
mod damage;
pub(crate) mod formats;
mod hostile;
mod inside;
mod store;
