//! Images of OCI and Docker: what is read of them, what is refused and with which words, and whether the field's own
//! tools see the same.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic, in its helpers too")]

mod arbitrary;
mod archives;
mod choice;
mod config;
mod detection;
mod documents;
mod layout;
mod maker;
mod tools;
