//! What the parent opens for the child when sbx is root: mount trees of the host, with
//! the ids of their files mapped, because only the host's root may do that.

use std::os::fd::OwnedFd;

use crate::plan::{Attributes, Devices, Idmap, MapWriter, Op, Opener, Plan, Tree, Write};
use crate::run::anchor::Exposed;
use crate::run::c_text::path_text;
use crate::run::fail;
use crate::run::numbers::attribute_bits;
use crate::sys::{Errno, Fd, mount, path, watch};

/// A tree that is open but not yet dressed with its attributes.
#[derive(Debug)]
pub struct Source {
    pub step: usize,
    pub tree: Tree,
    pub handle: OwnedFd,
    attributes: Attributes,
    idmap: Idmap,
}

/// The number of a step and what the kernel answered.
pub type StepFailed = (usize, Errno);

/// Opens every tree that `plan` wants the parent to open.
///
/// # Errors
/// The first step that failed.
pub fn open(plan: &Plan, exposed: &Exposed) -> Result<Vec<Source>, StepFailed> {
    let mut sources = Vec::new();
    for (step, op) in plan.steps.iter().map(|step| &step.op).enumerate() {
        let Op::OpenTree { tree, source, attributes, opener: Opener::Parent(idmap) } = op else { continue };
        if fail::step() == Some(step) {
            return Err((step, fail::ERRNO));
        }
        let name = path_text(source).map_err(|_| (step, Errno::EINVAL))?;
        let cloned = exposed.anchor(source).and_then(|anchored| match anchored {
            Some(anchored) => {
                anchored.open(libc::O_PATH).and_then(|place| mount::clone_tree(watch::number(&place), c""))
            }
            None => mount::clone_tree(Fd(libc::AT_FDCWD), &name),
        });
        let handle = cloned.map_err(|errno| (step, errno))?;
        let handle = watch::own(handle);
        if attributes.devices == Devices::Required {
            path::require_device(watch::number(&handle)).map_err(|errno| (step, errno))?;
        }
        sources.push(Source { step, tree: *tree, handle, attributes: *attributes, idmap: *idmap });
    }
    // A child without ids to map does not wait: what it attaches has to be dressed before it is born.
    if plan.identity.writer == MapWriter::Nobody {
        dress(&sources, &Maps { inside: None, caller: None })?;
    }
    Ok(sources)
}

/// The user namespaces through which ids are mapped.
#[derive(Debug)]
pub struct Maps {
    /// The id N on disk is the id N inside.
    pub inside: Option<OwnedFd>,
    /// The caller on disk is the command inside.
    pub caller: Option<OwnedFd>,
}

/// Dresses the trees, those of devices too: a tree of the host is a peer of what it was cloned from until it is
/// private, and what is mounted on it inside would appear on the host. A file system that cannot map ids is mounted as it is where the command only reads:
/// it can do less then, not more. Returns the sources for which that is so.
///
/// # Errors
/// The first step that failed.
pub fn dress(sources: &[Source], maps: &Maps) -> Result<Vec<usize>, StepFailed> {
    let mut unmapped = Vec::new();
    // A device is taken as it is on the host.
    for source in sources.iter().filter(|source| source.attributes.devices == Devices::Forbidden) {
        let tree = watch::number(&source.handle);
        let bits = attribute_bits(source.attributes);
        let namespace = match source.idmap {
            Idmap::None => None,
            Idmap::Inside => maps.inside.as_ref(),
            Idmap::Caller => maps.caller.as_ref(),
        };
        let set = |namespace| mount::set_attributes(tree, bits, namespace);
        match set(namespace.map(watch::number)) {
            Err(Errno::EINVAL | Errno::EPERM) if namespace.is_some() && source.attributes.write == Write::ReadOnly => {
                set(None).map_err(|errno| (source.step, errno))?;
                unmapped.push(source.step);
            }
            other => other.map_err(|errno| (source.step, errno))?,
        }
    }
    Ok(unmapped)
}

/// Returns whether any source is to be mapped as `idmap`.
#[must_use]
pub fn wants(sources: &[Source], idmap: Idmap) -> bool {
    sources.iter().any(|source| source.idmap == idmap)
}
