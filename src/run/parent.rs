//! Makes the parent of a run's v2 group ready: sbx out of the way, the controllers
//! enabled for the groups below. What it makes stays for the next run.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::host::delegation::LEAF;
use crate::host::{Controller, Preparation, Version};
use crate::plan::Group;
use crate::run::setting;

/// Enables the controllers for the children of the parent; in v2 a group with processes cannot have them
/// there, so sbx moves itself into a leaf first (cgroups(7), "No internal processes").
///
/// # Errors
/// What could not be made or written, and who may stand in the way.
pub fn prepare(group: &Group) -> Result<()> {
    let write = |file: PathBuf, text: &str| {
        setting::write(&file, text).map(drop).map_err(|source| {
            Error::io(format_args!("cannot write `{}` to `{}`", text.trim_end(), file.display()), &source)
                .with_kind(Kind::Host)
                .with_hint("another process in that group stands in the way: run sbx under `systemd-run --user --scope -p Delegate=yes`")
        })
    };
    if group.preparation == Preparation::Ready {
        return Ok(());
    }
    if group.preparation == Preparation::MoveSelfThenEnable {
        let leaf = group.parent.join(LEAF);
        match std::fs::create_dir(&leaf) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io(format_args!("cannot make the cgroup `{}`", leaf.display()), &source)
                    .with_kind(Kind::Host));
            }
            _ => write(leaf.join("cgroup.procs"), "0")?,
        }
    }
    let wanted = group.controllers.iter().filter(|controller| **controller != Controller::Cpuacct);
    let names: Vec<String> = wanted.map(|controller| format!("+{}", controller.name(Version::V2))).collect();
    if group.preparation == Preparation::MakeThenEnable {
        match std::fs::create_dir(&group.parent) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                let message = format!("cannot make the cgroup `{}`", group.parent.display());
                return Err(Error::io(message, &source).with_kind(Kind::Host));
            }
            _ => {}
        }
        let above = group.parent.parent().unwrap_or(&group.parent);
        write(above.join("cgroup.subtree_control"), &names.join(" "))?;
    }
    write(group.parent.join("cgroup.subtree_control"), &names.join(" "))
}
