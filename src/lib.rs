//! sbx: one readable file describes a sandbox; one call builds it, runs a command
//! in it, tears it down and says what happened.

pub mod error;
pub mod units;

pub mod sys;

pub mod host;
pub mod image;
pub mod spec;

pub mod plan;

pub mod run;

pub mod report;

pub mod app;
pub mod cli;
