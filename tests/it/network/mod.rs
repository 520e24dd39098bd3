//! The way out of a sandbox and the way in, end to end: real servers in a network namespace that each test makes,
//! real clients in the sandbox that know nothing of sbx.

mod bridge;
mod doors;
mod egress;
mod held;
mod manners;
mod measured;
mod names;
mod postgres;
mod protocols;
mod publish;
mod requests;
mod shaping;
mod spec;
pub(crate) mod world;
