//! What the fuzz targets share: a directory in memory with a canary beside it, texts that
//! must not act on a terminal, and the time that one input may take.

pub mod arena;
pub mod budget;
pub mod text;
pub mod words;
