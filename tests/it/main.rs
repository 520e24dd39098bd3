//! Everything that is tested from outside of the crate, as one program: one file or
//! folder for each floor and each promise.
#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap its fixture has failed")]

mod aftermath;
mod breakouts;
mod changes;
mod cli;
mod command;
mod docs;
mod doctor;
mod each_step;
mod early;
mod example;
mod faults;
mod fixture;
mod garbage;
mod harness;
mod held;
mod help;
mod hints;
mod host;
mod host_live;
mod hostile;
mod identity;
mod image;
mod image_verbs;
mod landlock;
mod layered;
mod limits;
mod machines;
mod manners;
mod mounts;
mod namespaces;
mod network;
mod oci;
mod odd;
mod plan;
mod plan_show;
mod planted;
mod posture;
mod probes;
mod promises;
mod pty;
mod reach;
mod registry;
mod report;
mod reuse;
mod rootfs;
mod schema;
mod scripts;
mod seccomp;
mod spec;
mod terminal;
mod testing;
mod tidy;
mod trusted;
mod truth;
mod value;
mod vm;
mod volumes;
mod written;

/// Says loudly that something was not tried; with `SBX_MUST_RUN=1` that is a failure.
#[expect(clippy::print_stderr, reason = "a skip that nobody sees is a lie")]
fn skip(reason: &str) {
    assert!(std::env::var_os("SBX_MUST_RUN").is_none_or(|value| value != "1"), "not tried: {reason}");
    eprintln!("SKIP: {reason}");
}
