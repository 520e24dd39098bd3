//! What the parts of sbx do to real files and processes, one file for each floor.

mod image;
