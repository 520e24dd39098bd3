//! What sbx itself obeys (the spec, what it extends, a profile for seccomp) where it lies in a
//! directory that the spec gives away to write: a command must not decide what the next
//! run may do (CVE-2026-25725 of Claude Code). Looks only; asks nothing where nothing is given away.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::plan::Write;
use crate::plan::facts::{Invocation, Pinned};
use crate::spec::{Access, Mount, SeccompProfile, Spec};
use crate::units::Origin;

/// As many links as the kernel follows in one path (path_resolution(7)).
const LINKS: u32 = 40;

/// A directory or a file that the command may write to, by device and inode: it has many names.
struct Given {
    id: (u64, u64),
    by: By,
}

/// What gives it away.
#[derive(Clone, Copy)]
enum By {
    /// The spec's mount of this number.
    Mount(usize),
    /// A kept layer.
    Layer(Origin),
}

/// A name on the way to a file.
#[derive(Debug)]
struct Name {
    /// The directories above, from the root down, without links: what each is, and what leads from it to the name.
    above: Vec<((u64, u64), PathBuf)>,
    /// Of what has the name.
    id: (u64, u64),
    write: Write,
}

/// Returns the names on the way to what sbx obeys that the command could change, links and directories too:
/// where one leads elsewhere, the next run obeys another file.
///
/// # Errors
/// A kept layer around such a file: the command writes there by names that no mount stands for.
pub fn pinned(spec: &Spec, invocation: &Invocation) -> Result<BTreeSet<Pinned>> {
    let given = given(spec, invocation);
    let mut pinned = BTreeSet::new();
    if given.is_empty() {
        return Ok(pinned);
    }
    let profile = spec.seccomp.as_ref().and_then(|seccomp| match &seccomp.value.profile {
        SeccompProfile::Oci(path) => Some(invocation.absolute(path)),
        _ => None,
    });
    for file in invocation.trusted.iter().chain(&profile) {
        let names =
            names(file).map_err(|source| Error::io(format_args!("cannot look at `{}`", file.display()), &source));
        for name in names? {
            for Given { id, by } in &given {
                let itself = (name.id == *id && name.write == Write::ReadOnly).then(PathBuf::new);
                let below = name.above.iter().find(|(above, _)| above == id).map(|(_, rest)| rest.clone());
                match (below.or(itself), by) {
                    (None, _) => {}
                    (Some(path), By::Mount(mount)) => {
                        pinned.insert(Pinned { mount: *mount, path, write: name.write });
                    }
                    (Some(_), By::Layer(origin)) => return Err(in_layer(file).at(*origin)),
                }
            }
        }
    }
    Ok(pinned)
}

fn in_layer(file: &Path) -> Error {
    let message = format!("`{}` lies in the layer that the command writes, and sbx reads it", file.display());
    Error::new(Kind::Spec, message).with_hint("put it elsewhere, or name another directory for `upper`")
}

/// What is not there, or is not for the caller to look at, is not for the command to write either.
fn given(spec: &Spec, invocation: &Invocation) -> Vec<Given> {
    let mounts = spec.mounts.iter().enumerate().filter_map(|(number, mount)| match &mount.value {
        Mount::Bind(bind) if bind.access == Access::ReadWrite => {
            Some((invocation.absolute(&bind.source), By::Mount(number)))
        }
        Mount::Volume { name, .. } => Some((invocation.volumes.join(name), By::Mount(number))),
        _ => None,
    });
    let upper = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref());
    let layers = upper
        .into_iter()
        .flat_map(|upper| ["upper", "work"].map(|name| (invocation.absolute(&upper.value).join(name), upper.origin)));
    let layers = layers.map(|(path, origin)| (path, By::Layer(origin)));
    let found = mounts.chain(layers).filter_map(|(path, by)| Some((std::fs::metadata(path).ok()?, by)));
    found.map(|(found, by)| Given { id: (found.dev(), found.ino()), by }).collect()
}

/// Returns whether the command may make names in `directory`.
#[must_use]
pub fn is_given(spec: &Spec, invocation: &Invocation, directory: &Path) -> bool {
    let given = given(spec, invocation);
    if given.is_empty() {
        return false;
    }
    // What cannot be looked up is not known to be out of reach.
    let Ok(real) = std::fs::canonicalize(directory) else { return true };
    let mut above = real.ancestors().filter_map(|above| std::fs::metadata(above).ok());
    above.any(|found| given.iter().any(|given| given.id == id(&found)))
}

/// Returns every name on the way to the absolute path `file`, those of links and of what they lead through as
/// well; of a way that ends nowhere, those that are there.
///
/// # Errors
/// ELOOP for too many links.
fn names(file: &Path) -> std::io::Result<Vec<Name>> {
    let mut names = Vec::new();
    match walk(file, &mut names) {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => Err(error),
        _ => Ok(names),
    }
}

fn walk(file: &Path, names: &mut Vec<Name>) -> std::io::Result<()> {
    let top = || Ok::<_, std::io::Error>(vec![(PathBuf::from("/"), id(&std::fs::symlink_metadata("/")?))]);
    // The directories from the root to where the walk stands.
    let mut here = top()?;
    let mut left = Vec::new();
    put_before(&mut left, file);
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            here.truncate(here.len().saturating_sub(1).max(1));
            continue;
        }
        let Some((place, _)) = here.last() else { break };
        let path = place.join(&part);
        let found = std::fs::symlink_metadata(&path)?;
        let rest = |above: &Path| path.strip_prefix(above).map(Path::to_owned).unwrap_or_default();
        let above = here.iter().map(|(above, id)| (*id, rest(above))).collect();
        // What lies in a directory that is obeyed as a whole is so, too; those above are only kept in their places.
        let write = if found.is_dir() && !left.is_empty() { Write::ReadWrite } else { Write::ReadOnly };
        // Nobody moves names of procfs.
        if !path.starts_with("/proc") {
            names.push(Name { above, id: id(&found), write });
        }
        if found.is_dir() {
            here.push((path, id(&found)));
        } else if found.is_symlink() {
            links += 1;
            if links > LINKS {
                return Err(std::io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = std::fs::read_link(&path)?;
            if target.is_absolute() {
                here = top()?;
            }
            put_before(&mut left, &target);
        }
    }
    Ok(())
}

fn id(found: &std::fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Puts the parts of `path` before those of `left`, whose last one is the next.
fn put_before(left: &mut Vec<std::ffi::OsString>, path: &Path) {
    left.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    }));
}
