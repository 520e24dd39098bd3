//! The one binary of integration tests; a file here is a topic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod example;
mod hints;
mod plan_show;
mod report;
mod schema;
