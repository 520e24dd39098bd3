//! Everything that is tested from outside of the crate, as one program: one file or
//! folder for each floor and each promise.
#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap its fixture has failed")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a skip is loud")]

mod docs;
mod doctor;
mod example;
mod faults;
mod help;
mod hints;
mod host;
mod host_live;
mod hostile;
mod image;
mod plan;
mod plan_show;
mod report;
mod schema;
mod spec;
mod tidy;
mod value;
mod vm;
