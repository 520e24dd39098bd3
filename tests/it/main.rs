//! Everything that is tested from outside of the crate, as one program.

mod doctor;
mod host;
mod host_live;
