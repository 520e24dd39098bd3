//! The filter of system calls: its programs against a reference, profiles that others
//! ship, every dangerous call tried inside, and real programs that must not notice.

mod bpf;
mod differential;
mod missing;
pub(crate) mod probe;
mod profiles;
mod programs;
mod reference;
mod refused;
