//! The client of a registry against Debian's `docker-registry` on loopback, with images made
//! by umoci and pushed by skopeo, and with a hostile middle where the network would be.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod grammar;
mod hostile;
mod login;
mod pulls;
pub(crate) mod trust;
pub(crate) mod yard;
