//! The kernel: one system call a function, no policy, no words for users. The only
//! floor where `unsafe` may stand.

pub mod attempt;
pub mod probe;
