//! Turns the children of `mounts` into `Mount`s, in their order, and `collect` into what is
//! taken out again. It looks at no path of the machine.

use std::collections::BTreeSet;

use crate::spec::diagnostic::Finding;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::value::{self, form};
use crate::spec::{Access, Bind, Collect, Exec, HostPath, Mount, Need, Wanted};
use crate::units::{AbsPath, Spanned};

const CHILDREN: [&str; 9] = ["bind", "tmpfs", "overlay", "file", "dir", "symlink", "volume", "device", "mask"];

/// Returns the mounts of the node `mounts`.
pub(crate) fn mounts(reader: &mut Reader<'_, '_>) -> Vec<Spanned<Mount>> {
    let mut mounts: Vec<Spanned<Mount>> = Vec::new();
    // Not a hash table: its seed would cost a system call.
    let mut places: BTreeSet<AbsPath> = BTreeSet::new();
    if reader.node.children.is_none() {
        let finding = Finding::new(reader.node.span, "`mounts` needs a block");
        reader.out.push(finding.label("children are missing").help("write `mounts { bind \"SRC\" \"DST\" }`"));
    }
    for child in reader.node.children.iter().flatten() {
        if reader.out.is_full() {
            break;
        }
        let mut child = Reader::new(child, reader.out);
        let Some(mount) = mount(&mut child) else {
            child.finish(Children::None);
            continue;
        };
        let destination = mount.destination();
        if !places.insert(destination.clone()) {
            let message = format!("the destination `{destination}` comes twice");
            child.out.push(Finding::new(child.node.span, message).label("hides what an earlier line made there"));
        }
        mounts.push(child.spanned(mount));
        child.finish(Children::None);
    }
    mounts
}

/// Returns what the node `collect` asks for.
pub(crate) fn collect(reader: &mut Reader<'_, '_>) -> Option<Collect> {
    let source = reader.argument_read("a path inside", value::inside_path, form::INSIDE);
    let to = reader.required_property("to").and_then(|it| reader.read(it, value::host_path, form::OUTSIDE));
    let optional = reader.property("optional").and_then(|it| reader.truth(it));
    let need = if optional == Some(true) { Need::Optional } else { Need::Required };
    Some(Collect { source: source?, to: to?, need, wanted: Wanted::FileOrDirectory })
}

fn mount(reader: &mut Reader<'_, '_>) -> Option<Mount> {
    match reader.node.name.as_ref() {
        "bind" => bind(reader).map(Mount::Bind),
        "tmpfs" => tmpfs(reader),
        "overlay" => {
            let destination = destination(reader);
            let lower = reader.required_property("lower");
            let lower = lower.and_then(|it| reader.read(it, value::host_path, form::OUTSIDE));
            Some(Mount::Overlay { destination: destination?, lower: lower? })
        }
        "file" => {
            let destination = destination(reader);
            let text = reader.argument("the text of the file");
            let text = text.and_then(|it| reader.text(it)).map(str::to_owned);
            let mode = mode(reader);
            Some(Mount::File { destination: destination?, text: text?, mode })
        }
        "dir" => {
            let destination = destination(reader);
            let mode = mode(reader);
            Some(Mount::Dir { destination: destination?, mode })
        }
        "symlink" => {
            let destination = destination(reader);
            let target = reader.argument_read("a target", value::link_target, "what the link points at");
            Some(Mount::Symlink { destination: destination?, target: target? })
        }
        "volume" => {
            let name = reader.argument_read("a name", value::volume_name, "the name of a volume");
            let destination = destination(reader);
            Some(Mount::Volume { name: name?, destination: destination? })
        }
        "device" => {
            reader.argument_read("a path", value::device_path, "a path below `/dev`").map(|path| Mount::Device { path })
        }
        "mask" => destination(reader).map(|path| Mount::Mask { path }),
        name => {
            let message = format!("`mounts` has no child `{}`", shorten(name));
            reader.out.push(unknown(reader.node.name_span, message, name, CHILDREN.into_iter()));
            // Its arguments are unknown as well: one finding says it all.
            reader.disregard();
            None
        }
    }
}

fn bind(reader: &mut Reader<'_, '_>) -> Option<Bind> {
    let source: Option<HostPath> = reader.argument_read("a source", value::host_path, form::OUTSIDE);
    let destination = destination(reader);
    let access = reader.property_choice("access", &[("ro", Access::ReadOnly), ("rw", Access::ReadWrite)]);
    let optional = reader.property("optional").and_then(|it| reader.truth(it));
    let exec = reader.property("exec").and_then(|it| reader.truth(it));
    Some(Bind {
        source: source?,
        destination: destination?,
        access: access.map_or(Access::ReadOnly, |it| it.value),
        need: if optional == Some(true) { Need::Optional } else { Need::Required },
        exec: if exec == Some(false) { Exec::Forbidden } else { Exec::Allowed },
    })
}

fn tmpfs(reader: &mut Reader<'_, '_>) -> Option<Mount> {
    let destination = destination(reader);
    let size = reader.property_size("size").map(|it| it.value);
    let inodes = reader.property_number("inodes", 1..=u64::from(u32::MAX));
    let mode = mode(reader);
    Some(Mount::Tmpfs { destination: destination?, size, inodes, mode })
}

fn destination(reader: &mut Reader<'_, '_>) -> Option<AbsPath> {
    reader.argument_read("a destination", value::mount_point, form::INSIDE)
}

fn mode(reader: &mut Reader<'_, '_>) -> Option<u32> {
    reader.property_read("mode", value::mode, form::MODE).map(|it| it.value)
}
