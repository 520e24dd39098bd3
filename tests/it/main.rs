//! The one binary of integration tests; each module is a topic.

mod hostile;
mod spec;
mod value;
