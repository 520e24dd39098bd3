//! Archives and directories as root file systems: what comes out, what is refused, and
//! that nothing outside of the store ever changes.

mod arena;
mod contents;
mod damage;
mod formats;
mod hostile;
mod inside;
mod store;
