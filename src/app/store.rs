//! Which store is meant, with the extractor that sbx uses: itself, confined. The one place that decides.

use std::path::PathBuf;

use crate::cli::Place;
use crate::error::{Error, Result};
use crate::image::{Extractor, Store};

/// Returns the store that the command line names, else the caller's.
///
/// # Errors
/// No home, an `SBX_STORE` that is not absolute, no working directory for a relative `--store`.
pub fn chosen(place: &Place) -> Result<Store> {
    let store = match &place.store {
        Some(path) => {
            let path = std::path::absolute(path);
            Store::new(path.map_err(|error| Error::io("cannot look up the working directory for `--store`", &error))?)
        }
        None => Store::of_caller(|name| std::env::var_os(name))?,
    };
    Ok(store.with_extractor(Extractor::Program(PathBuf::from("/proc/self/exe"))))
}
