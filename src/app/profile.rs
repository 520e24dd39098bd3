//! Looks up what a filter of system calls depends on, where the spec makes it matter: the
//! default needs nothing, and asks nothing of the machine.

use std::fs::File;
use std::io::Read;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Invocation, SeccompFacts};
use crate::run::anchor::Exposed;
use crate::spec::{Feature, SeccompProfile, Spec};
use crate::sys::seccomp;

/// The largest profile that is read; those that Docker and Podman ship have 17 KiB.
const MAX_PROFILE: u64 = 1 << 20;

/// Returns the facts for the node `seccomp` of `spec`.
///
/// # Errors
/// A profile that cannot be read.
pub fn facts(spec: &Spec, invocation: &Invocation, exposed: &Exposed) -> Result<SeccompFacts> {
    let mut facts = SeccompFacts::default();
    if spec.best_effort.iter().any(|it| it.value == Feature::Seccomp) {
        facts.missing = seccomp::available().err().map(|errno| errno as i32);
    }
    let Some(node) = &spec.seccomp else { return Ok(facts) };
    let SeccompProfile::Oci(path) = &node.value.profile else { return Ok(facts) };
    let path = invocation.absolute(path);
    let failed = |source: &std::io::Error| {
        let message = format_args!("cannot read the seccomp profile `{}`", path.display());
        Error::io(message, source).with_kind(Kind::Spec).at(node.origin)
    };
    let file = exposed.open(&path, libc::O_RDONLY).map_err(|errno| failed(&errno.into()))?;
    let file = File::from(file);
    let length = file.take(MAX_PROFILE + 1).read_to_string(&mut facts.profile).map_err(|source| failed(&source))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_PROFILE) {
        let message = format!("the seccomp profile `{}` is larger than 1 MiB", path.display());
        return Err(Error::new(Kind::Spec, message).at(node.origin));
    }
    facts.kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_err(|source| Error::io("cannot look up the version of the kernel", &source))?;
    Ok(facts)
}
