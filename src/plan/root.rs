//! The root and what sbx itself puts into every sandbox: `/proc`, a fresh `/dev`, a
//! `/tmp` and a `/run` of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Base, Facts, FileKind, Inputs};
use crate::plan::ground::{self, Grounds, MASKED};
use crate::plan::harvest::Upper;
use crate::plan::layers::{self, Made};
use crate::plan::posture;
use crate::plan::steps::{DATA, DEVICE, KEPT, NewFilesystem, Place, SEALED, Steps, View, WRITABLE};
use crate::plan::{Filesystem, Idmap, Op, Tree};
use crate::spec::{Namespace, RootfsSource, Secret, Spec, Writable};
use crate::units::{AbsPath, Bytes, Origin};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The directories of one overlay on the stage.
#[derive(Debug)]
struct Layer {
    place: AbsPath,
    /// `None` is an empty one.
    lower: Option<Tree>,
    /// What lies in the upper layer from the beginning.
    made: Vec<Made>,
    origin: Origin,
}

/// How the root is built.
#[derive(Debug)]
pub struct Root {
    pub writable: Writable,
    /// The bound on the writable part, and who asked for it.
    pub size: Option<(Bytes, Option<u64>, Origin)>,
    /// What is written to the root lies here.
    pub uppers: Vec<Upper>,
    layers: Vec<Layer>,
    origin: Origin,
}

/// Makes the root: one tree, or a tmpfs with the host's directories in it, layered wherever something has
/// to be writable or made. Returns what is left to be done at the end.
///
/// # Errors
/// A combination that makes no sense for this rootfs.
pub fn build(inputs: Inputs<'_>, grounds: &Grounds, steps: &mut Steps) -> Result<Root> {
    let Inputs { spec, facts, .. } = inputs;
    let origin = spec.rootfs.as_ref().map_or(Origin::Default, |rootfs| rootfs.origin);
    let writable = writable(spec);
    let mut root = Root { writable, size: size(spec), uppers: Vec::new(), layers: Vec::new(), origin };
    let mut layered = layers::layers(inputs, grounds, writable);
    match &facts.base {
        Base::Image(image) => build_image(inputs, &mut root, (image, layered), steps)?,
        Base::Scratch | Base::Host(_) if writable == Writable::Persist => {
            let message = "only a directory or an archive can be kept with `writable=\"persist\"`";
            return Err(Error::new(Kind::Spec, message)
                .at(origin)
                .with_hint("write `writable=\"ephemeral\"`, or name a directory or a tar"));
        }
        Base::Scratch => {
            let options = tmpfs_options(root.size, "755");
            let tree = steps.new_filesystem(
                NewFilesystem { filesystem: Filesystem::Tmpfs, options: &pairs(&options), attributes: WRITABLE },
                origin,
            );
            steps.assemble(Op::Pivot { tree }, origin);
        }
        Base::Host(entries) => {
            // All that is writable lies on one file system, whose size is its bound: `/` itself as well.
            if writable == Writable::Ephemeral {
                root.layers.push(Layer { place: AbsPath::root(), lower: None, made: Vec::new(), origin });
            }
            let mut attached = Vec::new();
            for entry in entries.iter().filter(|entry| entry.link.is_none()) {
                let view = View { attributes: SEALED, idmap: Idmap::None };
                let tree = steps.open(PathBuf::from(entry.path.as_str()), view, origin);
                match layered.remove(&entry.path) {
                    Some(made) => {
                        root.layers.push(Layer { place: entry.path.clone(), lower: Some(tree), made, origin });
                    }
                    None => attached.push((entry.path.clone(), tree)),
                }
            }
            let mut overlays = stage(&mut root, None, steps);
            let tree = if writable == Writable::Ephemeral {
                overlays.remove(0).1
            } else {
                let inodes = inodes(spec).to_string();
                let options = [("mode", "755"), ("size", "1m"), ("nr_inodes", &inodes)];
                let new = NewFilesystem { filesystem: Filesystem::Tmpfs, options: &options, attributes: WRITABLE };
                steps.new_filesystem(new, origin)
            };
            steps.assemble(Op::Pivot { tree }, origin);
            for entry in entries {
                match &entry.link {
                    Some(target) => {
                        steps.inside(Op::MakeSymlink { path: entry.path.clone(), target: target.clone() }, origin);
                    }
                    None => steps.inside(Op::MakeDir { path: entry.path.clone(), mode: 0o755 }, origin),
                }
            }
            for (path, tree) in attached.into_iter().chain(overlays) {
                steps.attach(tree, &path, origin);
            }
        }
    }
    Ok(root)
}

fn build_image(
    inputs: Inputs<'_>,
    root: &mut Root,
    (image, mut layered): (&PathBuf, BTreeMap<AbsPath, Vec<Made>>),
    steps: &mut Steps,
) -> Result<()> {
    layers::enterable(inputs).map_err(|error| error.at(root.origin))?;
    let view = View { attributes: SEALED, idmap: Idmap::Inside };
    let lower = steps.open(image.clone(), view, root.origin);
    let Some(made) = layered.remove(&AbsPath::root()) else {
        steps.assemble(Op::Pivot { tree: lower }, root.origin);
        return Ok(());
    };
    root.layers.push(Layer { place: AbsPath::root(), lower: Some(lower), made, origin: root.origin });
    let upper = inputs.spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref());
    let kept = upper.map(|upper| {
        // With one id alone all that is kept is the caller's, whoever that is inside.
        let one = inputs.identity.uid_map.iter().all(|range| range.count == 1);
        let idmap = if one { Idmap::Caller } else { Idmap::Inside };
        let view = View { attributes: KEPT, idmap };
        steps.open(inputs.invocation.absolute(&upper.value), view, upper.origin)
    });
    let overlays = stage(root, kept, steps);
    for (_, tree) in overlays {
        steps.assemble(Op::Pivot { tree }, root.origin);
    }
    Ok(())
}

/// Puts the overlays of `root` together on one tmpfs and returns them, each with its place. With `kept`,
/// the first one's changes go there instead.
fn stage(root: &mut Root, kept: Option<Tree>, steps: &mut Steps) -> Vec<(AbsPath, Tree)> {
    if root.layers.is_empty() {
        return Vec::new();
    }
    let options = tmpfs_options(root.size, "755");
    let tree = steps.new_filesystem(
        NewFilesystem { filesystem: Filesystem::Tmpfs, options: &pairs(&options), attributes: WRITABLE },
        root.origin,
    );
    let mut directories: Vec<String> = Vec::new();
    for number in 0..root.layers.len() {
        directories.extend(["lower", "upper", "work"].map(|name| format!("{name}{number}")));
    }
    if kept.is_some() {
        directories.push("kept".to_owned());
    }
    steps.assemble(Op::Stage { tree, directories }, root.origin);
    if let Some(kept) = kept {
        steps.assemble(Op::AttachStaged { tree: kept, directory: "kept".to_owned() }, root.origin);
    }
    let mut overlays = Vec::new();
    for (number, layer) in root.layers.iter().enumerate() {
        let directory = format!("lower{number}");
        if let Some(tree) = layer.lower {
            steps.assemble(Op::AttachStaged { tree, directory: directory.clone() }, layer.origin);
        }
        let (upper, work) = match kept {
            Some(_) => ("kept/upper".to_owned(), "kept/work".to_owned()),
            None => (format!("upper{number}"), format!("work{number}")),
        };
        root.uppers.push(Upper {
            place: layer.place.clone(),
            holder: kept.unwrap_or(tree),
            directory: upper.strip_prefix("kept/").unwrap_or(&upper).to_owned(),
            lower: layer.lower,
        });
        for made in &layer.made {
            let rest = made.path.as_str().strip_prefix(layer.place.as_str()).unwrap_or_default();
            let directory = format!("{upper}/{}", rest.trim_start_matches('/'));
            steps.assemble(Op::MakeStaged { directory, mode: made.mode }, made.origin);
        }
        let options = [("lowerdir", directory.as_str()), ("upperdir", &upper), ("workdir", &work), ("userxattr", "")];
        let tree = steps.new_filesystem(
            NewFilesystem { filesystem: Filesystem::Overlay, options: &options, attributes: WRITABLE },
            layer.origin,
        );
        overlays.push((layer.place.clone(), tree));
    }
    overlays
}

/// Fills the base mounts and records them in `grounds`.
///
/// # Errors
/// A base mount point that is not a directory in the image.
pub fn base(inputs: Inputs<'_>, grounds: &mut Grounds, steps: &mut Steps) -> Result<()> {
    let Inputs { spec, facts, .. } = inputs;
    let origin = Origin::Default;
    let proc = proc_tree(inputs, steps);
    for path in ground::base_mounts(spec) {
        steps.mount_point(Place { grounds, facts, path: &path, origin }, FileKind::Directory)?;
        match path.as_str() {
            "/proc" => steps.attach(proc, &path, origin),
            "/dev" => devices(steps),
            place => {
                let bounded =
                    place == "/tmp" && (writable(spec) == Writable::No || matches!(facts.base, Base::Host(_)));
                let bound = if bounded { size(spec) } else { None };
                let options = tmpfs_options(bound, if place == "/tmp" { "1777" } else { "755" });
                let origin = bound.map_or(origin, |(_, _, origin)| origin);
                let options = options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",");
                steps.inside(
                    Op::Mount {
                        filesystem: Filesystem::Tmpfs,
                        destination: path.clone(),
                        options,
                        attributes: WRITABLE,
                    },
                    origin,
                );
            }
        }
        grounds.cover_base(path);
    }
    if ground::base_mounts(spec).iter().any(|path| path.as_str() == "/proc") {
        posture::proc(spec, steps);
    }
    if matches!(facts.base, Base::Host(_)) {
        mask_host_secrets(facts, steps);
    }
    Ok(())
}

/// A new procfs shows the pid namespace of its maker, and the kernel lets only that namespace's owner make
/// one; without a new namespace the host's is what there is.
fn proc_tree(Inputs { spec, namespaces, .. }: Inputs<'_>, steps: &mut Steps) -> Tree {
    if namespaces.contains(&Namespace::Pid) {
        let (posture, origin) = posture::of_spec(spec);
        let options = posture.proc_options();
        steps.new_filesystem(NewFilesystem { filesystem: Filesystem::Proc, options, attributes: DATA }, origin)
    } else {
        steps.open(PathBuf::from("/proc"), View { attributes: DATA, idmap: Idmap::None }, Origin::Default)
    }
}

fn devices(steps: &mut Steps) {
    let origin = Origin::Default;
    let inside = |text: &str| AbsPath::new(text).unwrap_or_else(|_| AbsPath::root());
    let mount = |path: &str, filesystem, options: &str| Op::Mount {
        filesystem,
        destination: inside(path),
        options: options.to_owned(),
        attributes: DATA,
    };
    steps.inside(mount("/dev", Filesystem::Tmpfs, "mode=755,size=64m,nr_inodes=4096"), origin);
    for name in DEVICES {
        let path = inside(&format!("/dev/{name}"));
        let view = View { attributes: DEVICE, idmap: Idmap::None };
        let tree = steps.open(PathBuf::from(path.as_str()), view, origin);
        steps.inside(Op::MakeFile { path: path.clone(), mode: 0o666 }, origin);
        steps.attach(tree, &path, origin);
    }
    for (path, target) in DEVICE_LINKS {
        steps.inside(Op::MakeSymlink { path: inside(path), target: target.to_owned() }, origin);
    }
    // A directory of `/dev` is as good as one more file system, and its bound is the same.
    for (path, mode) in [("/dev/pts", 0o755), ("/dev/shm", 0o1777)] {
        steps.inside(Op::MakeDir { path: inside(path), mode }, origin);
    }
    let terminals = Op::Mount {
        filesystem: Filesystem::Devpts,
        destination: inside("/dev/pts"),
        options: "newinstance,ptmxmode=0666,mode=620".to_owned(),
        // Its files are devices, of the sandbox's own instance only.
        attributes: DEVICE,
    };
    steps.inside(terminals, origin);
}

fn mask_host_secrets(facts: &Facts, steps: &mut Steps) {
    for path in MASKED {
        let kind = facts.host_kind(std::path::Path::new(path));
        if let (true, Ok(path)) = (ground::exists(kind), AbsPath::new(path)) {
            mask(&path, kind, Origin::Default, steps);
        }
    }
}

/// Covers what is at `path`: a directory with an empty one, anything else with `/dev/null`.
pub fn mask(path: &AbsPath, kind: FileKind, origin: Origin, steps: &mut Steps) {
    if kind == FileKind::Directory {
        let op = Op::Mount {
            filesystem: Filesystem::Tmpfs,
            destination: path.clone(),
            options: "mode=555,size=4k,nr_inodes=2".to_owned(),
            attributes: SEALED,
        };
        steps.inside(op, origin);
    } else {
        let tree = steps.open(PathBuf::from("/dev/null"), View { attributes: DEVICE, idmap: Idmap::None }, origin);
        steps.attach(tree, path, origin);
    }
}

/// Makes read-only what was writable only so that mount points could be made. What the spec itself mounted
/// over it stays as it is.
pub fn finish(root: &Root, (spec, facts): (&Spec, &Facts), steps: &mut Steps) {
    if root.writable != Writable::No {
        return;
    }
    let covers = std::mem::take(&mut steps.covers);
    for path in root.layers.iter().map(|layer| &layer.place).chain(&covers) {
        if spec.mounts.iter().all(|mount| mount.value.destination() != path) {
            steps.inside(Op::ReadOnly { path: path.clone() }, root.origin);
        }
    }
    if !matches!(facts.base, Base::Image(_)) {
        steps.inside(Op::ReadOnly { path: AbsPath::root() }, root.origin);
    }
}

/// Returns what becomes of changes to the root.
#[must_use]
pub fn writable(spec: &Spec) -> Writable {
    let rootfs = spec.rootfs.as_ref().map(|rootfs| &rootfs.value);
    let host = rootfs.is_none_or(|rootfs| rootfs.source == RootfsSource::Host);
    let default = if host { Writable::No } else { Writable::Ephemeral };
    rootfs.and_then(|rootfs| rootfs.writable.as_ref()).map_or(default, |written| written.value)
}

/// Returns how many files the root needs that holds nothing but mount points.
fn inodes(spec: &Spec) -> usize {
    let files = spec.secrets.iter().filter_map(|secret| match &secret.value {
        Secret::File { destination, .. } => Some(destination),
        Secret::Env { .. } => None,
    });
    let places = spec.mounts.iter().map(|mount| mount.value.destination()).chain(files);
    // Half of the first thousand is for what sbx itself makes.
    (512 + places.map(|place| place.as_str().matches('/').count()).sum::<usize>()).next_multiple_of(1024)
}

/// Returns the bound on the writable part: `rootfs size=` or `limits { disk }`, whichever is smaller.
fn size(spec: &Spec) -> Option<(Bytes, Option<u64>, Origin)> {
    // A kept layer has the size of its file system; `limits` refuses the bound or has leave to drop it.
    if spec.rootfs.as_ref().is_some_and(|rootfs| rootfs.value.upper.is_some()) {
        return None;
    }
    let written = spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.size.as_ref());
    let written = written.map(|size| (size.value, None, size.origin));
    let disk = spec.limits.disk.as_ref().map(|disk| (disk.value.size, disk.value.inodes, disk.origin));
    match (written, disk) {
        (Some(size), Some(disk)) if size.0 < disk.0 => Some((size.0, disk.1, size.2)),
        (written, disk) => disk.or(written),
    }
}

/// The options of a tmpfs: never without a bound.
fn tmpfs_options(bound: Option<(Bytes, Option<u64>, Origin)>, mode: &'static str) -> Vec<(&'static str, String)> {
    let size = bound.map_or_else(|| "50%".to_owned(), |(size, _, _)| size.0.to_string());
    let mut options = vec![("mode", mode.to_owned()), ("size", size)];
    if let Some((_, Some(inodes), _)) = bound {
        options.push(("nr_inodes", inodes.to_string()));
    }
    options
}

fn pairs<'a>(options: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    options.iter().map(|(key, value)| (*key, value.as_str())).collect()
}
