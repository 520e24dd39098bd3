//! The one binary of integration tests; each module is a topic.

mod spec;
