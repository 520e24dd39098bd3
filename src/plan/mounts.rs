//! The mounts of the spec, in the order in which they are written.

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{FileKind, Inputs};
use crate::plan::ground::{self, Ground, Grounds};
use crate::plan::layers;
use crate::plan::root::mask;
use crate::plan::steps::{ASKED_DEVICE, Place, SEALED, Steps, View, WRITABLE};
use crate::plan::{Attributes, Content, Filesystem, Idmap, Op, Write};
use crate::spec::{Access, Bind, HostPath, Mount, Need, Secret};
use crate::units::{AbsPath, Bytes, Origin, Spanned};

const ABSENT: &str = "create it, or look at the spelling";

/// Adds the steps of all mounts and of the secrets that are files.
///
/// # Errors
/// The first mount that cannot be: its source or destination is missing or of the wrong kind.
pub fn add(inputs: Inputs<'_>, grounds: &mut Grounds, steps: &mut Steps) -> Result<()> {
    for (number, mount) in inputs.spec.mounts.iter().enumerate() {
        if let Some(closed) = layers::closed(inputs, grounds, mount.value.destination()) {
            // What is to be masked is out of sight already.
            if matches!(mount.value, Mount::Mask { .. }) {
                continue;
            }
            steps.cover(closed.clone(), mount.origin);
            grounds.cover(closed, Ground::Own);
        }
        add_one(inputs, mount, grounds, steps).map_err(|error| error.at(mount.origin))?;
        pin(inputs, number, mount, steps).map_err(|error| error.at(mount.origin))?;
        if let Some(ground) = ground::ground_of(&mount.value, inputs.invocation) {
            grounds.cover(mount.value.destination().clone(), ground);
        }
    }
    for secret in &inputs.spec.secrets {
        if let Secret::File { destination, source } = &secret.value {
            if let Some(closed) = layers::closed(inputs, grounds, destination) {
                steps.cover(closed.clone(), secret.origin);
                grounds.cover(closed, Ground::Own);
            }
            let content = Content::Secret(inputs.invocation.absolute(source));
            let place = Place { grounds, facts: inputs.facts, path: destination, origin: secret.origin };
            add_file(place, (0o400, content), steps)?;
        }
    }
    Ok(())
}

/// Keeps the command from what sbx reads, before a later mount can cover it.
fn pin(inputs: Inputs<'_>, number: usize, mount: &Spanned<Mount>, steps: &mut Steps) -> Result<()> {
    for pinned in inputs.facts.pinned.iter().filter(|pinned| pinned.mount == number) {
        let place = std::path::Path::new(mount.value.destination().as_str()).join(&pinned.path);
        let path = place.to_str().and_then(|place| AbsPath::new(place).ok()).ok_or_else(|| {
            let message = format!("the command could change `{}`, which sbx reads", place.display());
            Error::new(Kind::Spec, message)
                .with_hint("name it so that it is valid UTF-8 and shorter, or put it where the command cannot write")
        })?;
        steps.inside(Op::Pin { path, write: pinned.write }, mount.origin);
    }
    Ok(())
}

fn add_one(inputs: Inputs<'_>, mount: &Spanned<Mount>, grounds: &Grounds, steps: &mut Steps) -> Result<()> {
    let Inputs { facts, invocation, .. } = inputs;
    let Spanned { value: mount, origin } = mount;
    let path = mount.destination();
    let place = Place { grounds, facts, path, origin: *origin };
    match mount {
        Mount::Bind(bind) => add_bind(inputs, bind, place, steps),
        Mount::Tmpfs { size, inodes, mode, .. } => {
            steps.mount_point(place, FileKind::Directory)?;
            let options = tmpfs_options(*size, *inodes, *mode);
            let destination = path.clone();
            steps.inside(
                Op::Mount { filesystem: Filesystem::Tmpfs, destination, options, attributes: WRITABLE },
                *origin,
            );
            Ok(())
        }
        Mount::Overlay { lower, .. } => add_overlay(inputs, lower, place, steps),
        Mount::File { text, mode, .. } => add_file(place, (mode.unwrap_or(0o644), Content::Text(text.clone())), steps),
        Mount::Dir { mode, .. } => add_dir(place, *mode, steps),
        Mount::Symlink { target, .. } => {
            if let Some(question) = grounds.question(path)
                && ground::exists(facts.kind(&question))
            {
                return Err(Error::new(Kind::Spec, format!("`{path}` exists already, so no link can be made there"))
                    .with_hint("choose another path"));
            }
            refuse_bound(place)?;
            steps.make_ancestors(grounds.under(path).0, path, *origin);
            steps.inside(Op::MakeSymlink { path: path.clone(), target: target.clone() }, *origin);
            Ok(())
        }
        Mount::Volume { name, .. } => {
            steps.mount_point(place, FileKind::Directory)?;
            let source = invocation.volumes.join(name);
            let tree = steps.open(source, View { attributes: WRITABLE, idmap: Idmap::Caller }, *origin);
            steps.attach(tree, path, *origin);
            Ok(())
        }
        Mount::Device { path } => {
            let source = std::path::PathBuf::from(path.as_str());
            if existing(facts.host_kind(&source), &source, ABSENT)? == FileKind::Directory {
                return Err(Error::new(Kind::Spec, format!("`{path}` is no device"))
                    .with_hint("name a device; for a directory write `bind`"));
            }
            steps.mount_point(place, FileKind::File)?;
            let tree = steps.open(source, View { attributes: ASKED_DEVICE, idmap: Idmap::None }, *origin);
            steps.attach(tree, path, *origin);
            Ok(())
        }
        Mount::Mask { path } => {
            let known =
                grounds.question(path).map(|question| facts.kind(&question)).filter(|kind| ground::exists(*kind));
            match known.or_else(|| steps.made(path)) {
                Some(kind) => mask(path, kind, *origin, steps),
                None => {
                    return Err(Error::new(Kind::Spec, format!("there is nothing at `{path}` to mask"))
                        .with_hint("look at the spelling, and at the order of the mounts"));
                }
            }
            Ok(())
        }
    }
}

fn add_bind(inputs: Inputs<'_>, bind: &Bind, place: Place<'_>, steps: &mut Steps) -> Result<()> {
    let source = inputs.invocation.absolute(&bind.source);
    let kind = inputs.facts.host_kind(&source);
    if kind == FileKind::Missing && bind.need == Need::Optional {
        return Ok(());
    }
    let hint = match place.origin {
        Origin::Spec(_) => "create it, or write `optional=#true` if the run can do without",
        Origin::CommandLine | Origin::Image | Origin::Default => ABSENT,
    };
    let kind = existing(kind, &source, hint)?;
    steps.mount_point(place, kind)?;
    let write = if bind.access == Access::ReadWrite { Write::ReadWrite } else { Write::ReadOnly };
    let attributes = Attributes { write, exec: bind.exec, ..WRITABLE };
    let tree = steps.open(source, View { attributes, idmap: Idmap::Caller }, place.origin);
    steps.attach(tree, place.path, place.origin);
    Ok(())
}

/// A copy-on-write view has a stage of its own inside the sandbox: the host is gone when it is mounted, so
/// its layers are attached below the destination itself and hidden by the result.
fn add_overlay(inputs: Inputs<'_>, lower: &HostPath, place: Place<'_>, steps: &mut Steps) -> Result<()> {
    let source = inputs.invocation.absolute(lower);
    match existing(inputs.facts.host_kind(&source), &source, ABSENT)? {
        FileKind::Directory => {}
        _ => {
            return Err(Error::new(Kind::Spec, format!("`{}` is not a directory", source.display()))
                .with_hint("name a directory as `lower`, or use `bind` for a file"));
        }
    }
    steps.mount_point(place, FileKind::Directory)?;
    let origin = place.origin;
    let lower = steps.open(source, View { attributes: SEALED, idmap: Idmap::Caller }, origin);
    let below = |name: &str| AbsPath::new(&format!("{}/{name}", place.path));
    let (Ok(lower_path), Ok(upper_path), Ok(work_path)) = (below("lower"), below("upper"), below("work")) else {
        return Err(Error::new(Kind::Spec, format!("`{}` is too long", place.path)).with_hint("choose a shorter path"));
    };
    let options = tmpfs_options(None, None, None);
    let destination = place.path.clone();
    steps.inside(
        Op::Mount { filesystem: Filesystem::Tmpfs, destination: destination.clone(), options, attributes: WRITABLE },
        origin,
    );
    for path in [&lower_path, &upper_path, &work_path] {
        steps.inside(Op::MakeDir { path: path.clone(), mode: 0o755 }, origin);
    }
    steps.attach(lower, &lower_path, origin);
    let options = format!("lowerdir={lower_path},upperdir={upper_path},workdir={work_path},userxattr");
    if place.path.as_str().contains([',', ':', '\\']) {
        let message = format!("`{}` contains a character that overlay options cannot hold", place.path);
        return Err(Error::new(Kind::Spec, message).with_hint("choose a destination without `,`, `:` and `\\`"));
    }
    steps.inside(Op::Mount { filesystem: Filesystem::Overlay, destination, options, attributes: WRITABLE }, origin);
    Ok(())
}

/// Adds a file with its content, on a file system of its own.
///
/// # Errors
/// A directory at that path, or a missing path in a bound directory of the host.
pub fn add_file(place: Place<'_>, (mode, content): (u32, Content), steps: &mut Steps) -> Result<()> {
    steps.mount_point(place, FileKind::File)?;
    let tree = steps.next_tree();
    steps.source(Op::NewFile { tree, mode, content }, place.origin);
    steps.attach(tree, place.path, place.origin);
    Ok(())
}

fn add_dir(place: Place<'_>, mode: Option<u32>, steps: &mut Steps) -> Result<()> {
    let found = place.grounds.question(place.path).map_or(FileKind::Missing, |question| place.facts.kind(&question));
    match found {
        FileKind::Directory if mode.is_some() => return Err(existing_dir(place.path)),
        FileKind::Directory => return Ok(()),
        FileKind::File => {
            return Err(Error::new(Kind::Spec, format!("`{}` is a file", place.path)).with_hint("choose another path"));
        }
        FileKind::Missing | FileKind::Unknown(_) => {}
    }
    if mode.is_some() && (steps.made(place.path).is_some() || place.grounds.under(place.path).0 == place.path) {
        return Err(existing_dir(place.path));
    }
    refuse_bound(place)?;
    steps.make_ancestors(place.grounds.under(place.path).0, place.path, place.origin);
    steps.inside(Op::MakeDir { path: place.path.clone(), mode: mode.unwrap_or(0o755) }, place.origin);
    Ok(())
}

fn existing_dir(path: &AbsPath) -> Error {
    Error::new(Kind::Spec, format!("`{path}` exists already, so `mode` would have no effect"))
        .with_hint("leave `mode` out, or put this line before the one that makes the directory")
}

fn refuse_bound(place: Place<'_>) -> Result<()> {
    match place.grounds.under(place.path).1 {
        Ground::Bound(source) => {
            let message =
                format!("`{}` lies in `{}`, and nothing is ever made on the host", place.path, source.display());
            Err(Error::new(Kind::Spec, message).with_hint("make it there first, or choose a path elsewhere"))
        }
        Ground::Kernel => {
            let message = format!("`{}` does not exist, and nothing can be made in `/proc`", place.path);
            Err(Error::new(Kind::Spec, message).with_hint("choose a path elsewhere"))
        }
        Ground::Own | Ground::Image | Ground::System | Ground::View(_) => Ok(()),
    }
}

/// Returns `kind` if something is there.
fn existing(kind: FileKind, source: &std::path::Path, hint: &str) -> Result<FileKind> {
    match kind {
        FileKind::Missing => Err(Error::new(Kind::Spec, format!("`{}` does not exist", source.display()))
            .with_errno(libc::ENOENT)
            .with_hint(hint)),
        FileKind::Unknown(errno) => {
            Err(Error::new(Kind::Spec, format!("cannot look at `{}`", source.display())).with_errno(errno))
        }
        known => Ok(known),
    }
}

fn tmpfs_options(size: Option<Bytes>, inodes: Option<u64>, mode: Option<u32>) -> String {
    let size = size.map_or_else(|| "50%".to_owned(), |size| size.0.to_string());
    let inodes = inodes.map(|inodes| format!(",nr_inodes={inodes}")).unwrap_or_default();
    format!("mode={:o},size={size}{inodes}", mode.unwrap_or(0o1777))
}
