//! What a sandbox with a way out needs of the host's file system: where the command looks for its resolver.

use std::path::Path;

use crate::error::Result;
use crate::plan::network;
use crate::spec::{RootfsSource, Spec};
use crate::units::AbsPath;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Adds to `spec` the files by which the command finds sbx's resolver, where it is let out.
///
/// # Errors
/// None that a caller can provoke.
pub fn complete(spec: &mut Spec) -> Result<()> {
    if spec.network.as_ref().is_none_or(|network| network.value.rules().is_none()) {
        return Ok(());
    }
    let host = spec.rootfs.as_ref().is_none_or(|rootfs| rootfs.value.source == RootfsSource::Host);
    // systemd-resolved and others make it a link into `/run`, of which the sandbox has its own.
    let real = if host { Path::new(RESOLV_CONF).canonicalize().ok() } else { None };
    let real = real.and_then(|real| AbsPath::new(real.to_str()?).ok());
    match real.or_else(|| AbsPath::new(RESOLV_CONF).ok()) {
        Some(path) => network::add_files(spec, path),
        None => Ok(()),
    }
}
