//! Starts sbx again inside a scope of the caller's systemd, where that is the only way
//! to a group of one's own.

use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::app::gather;
use crate::app::request::Text;
use crate::error::{Error, Kind, Result};
use crate::host::{Host, ScopeCommand};
use crate::plan::facts::Accounting;
use crate::spec::{Feature, Spec};
use crate::sys::process::{Pointers, execute};
use crate::sys::{Fd, fd, process, start, watch};

/// Becomes `systemd-run … sbx …` if a limit of `spec` has no group here and a scope can give one.
///
/// # Errors
/// A `systemd-run` that cannot be started, or a spec that the sbx inside could not read.
pub fn in_scope_if_needed(text: &Text, spec: &Spec, host: &Host) -> Result<()> {
    let Some(scope) = &host.cgroups.scope else { return Ok(()) };
    let wanted = gather::controllers(spec, Accounting::NotWanted);
    let refused =
        wanted.iter().any(|controller| host.cgroups.find(*controller).is_err_and(|refusal| refusal.is_some()));
    let mut limits = Feature::ALL.iter().filter(|feature| !matches!(feature, Feature::Seccomp | Feature::Landlock));
    let every = limits.all(|feature| spec.best_effort.iter().any(|named| named.value == *feature));
    if !refused || every {
        return Ok(());
    }
    put_back(text)?;
    Err(become_scope(scope))
}

/// Lets the sbx in the scope read again what can be read only once. Otherwise it would read nothing, which
/// is a spec too: one without limits.
fn put_back(text: &Text) -> Result<()> {
    let named = || ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|dir| text.name.strip_prefix(dir)?.parse().ok());
    let number = match text.name.as_str() {
        "-" | "/dev/stdin" => Some(0),
        _ => named(),
    };
    let failed = |source: &std::io::Error| Error::io("cannot keep the spec for the scope of systemd", source);
    let Some(number) = number else {
        let found = std::fs::metadata(Path::new(&text.name)).map_err(|source| failed(&source))?;
        if found.is_file() {
            return Ok(());
        }
        let message = format!("the spec `{}` cannot be read a second time, in a scope of systemd", text.name);
        return Err(Error::new(Kind::Host, message).with_hint("write it to a regular file, or to standard input"));
    };
    let kept = fd::memory_file(c"spec").map(watch::own).map_err(|errno| failed(&errno.into()))?;
    let mut kept = File::from(kept);
    kept.write_all(&text.bytes).and_then(|()| kept.rewind()).map_err(|source| failed(&source))?;
    fd::duplicate(watch::number(&kept.into()), Fd(number)).map_err(|errno| failed(&errno.into()))
}

/// Returns only when it failed.
fn become_scope(scope: &ScopeCommand) -> Error {
    let bytes = |text: &std::ffi::OsStr| CString::new(text.as_bytes()).unwrap_or_default();
    let own = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let program = bytes(scope.program.as_os_str());
    let mut words = vec![program.clone()];
    words.extend(scope.arguments.iter().map(|word| bytes(word.as_ref())));
    words.push(bytes(own.as_os_str()));
    words.extend(start::arguments().iter().skip(1).map(|word| bytes(word)));
    let mut env: Vec<CString> = Vec::new();
    for (name, value) in
        std::env::vars_os().filter(|(name, _)| scope.environment.iter().all(|(set, _)| set.as_str() != name))
    {
        env.push(bytes(&[name.as_os_str(), value.as_os_str()].join(std::ffi::OsStr::new("="))));
    }
    env.extend(scope.environment.iter().map(|(name, value)| bytes(format!("{name}={value}").as_ref())));
    // What is executed starts with the signals that sbx started with.
    process::unblock_signals().ok();
    let errno = execute(&program, &Pointers::new(words), &Pointers::new(env));
    Error::new(Kind::Host, format!("cannot start `{}`", scope.program.display())).with_errno(errno as i32)
}
