//! Starts sbx again inside a scope of the caller's systemd, where that is the only way
//! to a group of one's own.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use crate::app::gather;
use crate::error::{Error, Kind, Result};
use crate::host::{Host, ScopeCommand};
use crate::plan::facts::Accounting;
use crate::spec::{Feature, Spec};
use crate::sys::process::{Pointers, execute};

/// Becomes `systemd-run … sbx …` if a limit of `spec` has no group here and a scope can give one.
///
/// # Errors
/// A `systemd-run` that cannot be started.
pub fn in_scope_if_needed(spec: &Spec, host: &Host) -> Result<()> {
    let Some(scope) = &host.cgroups.scope else { return Ok(()) };
    let wanted = gather::controllers(spec, Accounting::NotWanted);
    let refused =
        wanted.iter().any(|controller| host.cgroups.find(*controller).is_err_and(|refusal| refusal.is_some()));
    let every = Feature::ALL.iter().all(|feature| spec.best_effort.iter().any(|named| named.value == *feature));
    if !refused || every { Ok(()) } else { Err(become_scope(scope)) }
}

/// Returns only when it failed.
fn become_scope(scope: &ScopeCommand) -> Error {
    let bytes = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let own = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let program = bytes(scope.program.as_os_str());
    let mut words = vec![program.clone()];
    words.extend(scope.arguments.iter().map(|word| bytes(word.as_ref())));
    words.push(bytes(own.as_os_str()));
    words.extend(std::env::args_os().skip(1).map(|word| bytes(&word)));
    let mut env: Vec<CString> = Vec::new();
    for (name, value) in
        std::env::vars_os().filter(|(name, _)| scope.environment.iter().all(|(set, _)| set.as_str() != name))
    {
        env.push(bytes(&[name.as_os_str(), value.as_os_str()].join(std::ffi::OsStr::new("="))));
    }
    env.extend(scope.environment.iter().map(|(name, value)| bytes(format!("{name}={value}").as_ref())));
    let errno = execute(&program, &Pointers::new(words), &Pointers::new(env));
    Error::new(Kind::Host, format!("cannot start `{}`", scope.program.display())).with_errno(errno as i32)
}
