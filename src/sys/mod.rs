//! The kernel, one system call a function: no policy, no words for users, and the
//! only place of the crate where unsafe code may stand.

pub mod file;
