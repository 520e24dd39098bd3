//! Writes what holds a limit into the files of a group, and asks the kernel to tell of
//! the v1 limit that kills. Every failure names the file and the line of the spec.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::plan::{Setting, Value};
use crate::run::c_text::path_text;
use crate::run::counters::Counters;
use crate::sys::{Errno, fd, watch};

/// What was written to and is to be closed.
pub type Spent = Vec<OwnedFd>;

/// Writes one setting of `group`.
///
/// # Errors
/// What the kernel says, with the line of the spec.
pub fn write_setting(group: &Path, setting: &Setting, spent: &mut Spent) -> Result<()> {
    let file = group.join(&setting.file);
    let value = match &setting.value {
        Value::Text(text) => text.clone(),
        Value::OfParent => {
            let above = group.parent().unwrap_or(group).join(&setting.file);
            std::fs::read_to_string(&above).map_err(|source| {
                Error::io(format_args!("cannot read `{}`", above.display()), &source).at(setting.origin)
            })?
        }
    };
    match write(&file, &value) {
        Ok(opened) => {
            spent.push(opened);
            Ok(())
        }
        Err(source) if source.kind() == std::io::ErrorKind::NotFound && is_swap(&setting.file) && !swap_exists() => {
            Ok(())
        }
        Err(source) => {
            let message = format!(
                "cannot set `{}` to `{}` for the limit `{}`",
                file.display(),
                value.trim_end(),
                setting.feature
            );
            let error = Error::io(message, &source).with_kind(Kind::Host).at(setting.origin);
            Err(match setting.feature {
                _ if is_swap(&setting.file) => {
                    error.with_hint("boot with `swapaccount=1`, or turn swap off with `swapoff -a`")
                }
                "cpuset" => error.with_hint(
                    "name processors that are there, see `/sys/devices/system/cpu/online`, and that the surrounding group allows",
                ),
                _ => error.with_hint("the surrounding group may allow less, or this kernel takes other values"),
            })
        }
    }
}

/// Writes to a file of a group and returns it, still open. Two calls; the standard library makes four.
///
/// # Errors
/// Those of openat(2) and write(2).
pub fn write(file: &Path, value: &str) -> std::io::Result<OwnedFd> {
    let path = path_text(file).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    let opened = fd::open(&path, libc::O_WRONLY, 0).map(watch::own)?;
    fd::write(watch::number(&opened), value.as_bytes())?;
    Ok(opened)
}

fn is_swap(file: &str) -> bool {
    matches!(file, "memory.memsw.limit_in_bytes" | "memory.swap.max")
}

/// Without any swap there is nothing to forbid, and kernels without swap have no file for it.
fn swap_exists() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}

/// Has the kernel raise a counter when the v1 memory limit is hit for good (cgroup.event_control,
/// Documentation/admin-guide/cgroup-v1/memory.rst, section 10).
///
/// # Errors
/// A kernel that cannot: one without the file, or with real-time preemption.
pub fn watch_oom(group: &Path, counters: &Counters, spent: &mut Spent) -> Result<OwnedFd> {
    let control = group.join("memory.oom_control");
    let failed = |source: &std::io::Error| {
        Error::io(format_args!("cannot watch `{}`", control.display()), source).with_kind(Kind::Host)
    };
    let counter = watch::counter().map(watch::own).map_err(|errno| failed(&errno.into()))?;
    let watched = counters.handle("memory.oom_control").ok_or_else(|| failed(&Errno::ENOENT.into()))?;
    let line = format!("{} {}", watch::number(&counter).0, watched.0);
    spent.push(write(&group.join("cgroup.event_control"), &line).map_err(|source| failed(&source))?);
    Ok(counter)
}
