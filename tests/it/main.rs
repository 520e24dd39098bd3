//! Everything that is tested from outside of the crate, as one program: one file or
//! folder for each floor and each promise.
#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap its fixture has failed")]

mod aftermath;
mod cli;
mod command;
mod doctor;
mod each_step;
mod example;
mod fixture;
mod harness;
mod hints;
mod host;
mod host_live;
mod identity;
mod image;
mod limits;
mod manners;
mod mounts;
mod namespaces;
mod plan_show;
mod report;
mod rootfs;
mod schema;
mod spec;
mod truth;
