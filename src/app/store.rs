//! The caller's store, with the extractor that sbx uses: itself, confined.

use std::path::PathBuf;

use crate::error::Result;
use crate::image::{Extractor, Store};

/// Returns the caller's store.
///
/// # Errors
/// No home, or an `SBX_STORE` that is not absolute.
pub fn of_caller() -> Result<Store> {
    let store = Store::of_caller(|name| std::env::var_os(name))?;
    Ok(store.with_extractor(Extractor::Program(PathBuf::from("/proc/self/exe"))))
}
