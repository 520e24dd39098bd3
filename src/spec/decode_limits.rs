//! Turns the children of `limits`, and `best-effort`, into types. What the machine can
//! enforce is not its question.

use crate::spec::diagnostic::Finding;
use crate::spec::literal::Value;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::tree::Entry;
use crate::spec::value::{self, form};
use crate::spec::{Cpu, Disk, Feature, Hugetlb, Io, Limits, Memory, Resource, Rlimit, Wall};
use crate::units::{Bytes, MilliCores, Origin, Spanned};

const CHILDREN: [&str; 16] = [
    "memory",
    "cpu",
    "cpuset",
    "pids",
    "io",
    "hugetlb",
    "wall",
    "cpu-time",
    "output",
    "disk",
    "open-files",
    "file-size",
    "core",
    "stack",
    "locked-memory",
    "cgroup",
];

/// `PID_MAX_LIMIT`, the most that any 64-bit kernel hands out.
const MAX_PIDS: u64 = 4_194_304;

/// Returns the limits of the node `limits`.
pub(crate) fn limits(reader: &mut Reader<'_, '_>) -> Limits {
    let mut limits = Limits::default();
    let mut seen: Vec<&str> = Vec::new();
    if reader.node.children.is_none() {
        let finding = Finding::new(reader.node.span, "`limits` needs a block");
        reader.out.push(finding.label("children are missing").help("write `limits { memory \"512M\" }`"));
    }
    for node in reader.node.children.iter().flatten() {
        let name = node.name.as_ref();
        if reader.out.is_full() {
            break;
        }
        if !CHILDREN.contains(&name) {
            let message = format!("`limits` has no child `{}`", shorten(name));
            reader.out.push(unknown(node.name_span, message, name, CHILDREN.into_iter()));
            continue;
        }
        if seen.contains(&name) && !matches!(name, "io" | "hugetlb") {
            let message = format!("the limit `{name}` comes twice");
            reader.out.push(Finding::new(node.name_span, message).label("the second one"));
            continue;
        }
        seen.push(name);
        let mut child = Reader::new(node, reader.out);
        limit(&mut child, &mut limits);
        child.finish(Children::None);
    }
    limits.rlimits.sort_by_key(|it| it.value.resource);
    limits
}

fn limit(reader: &mut Reader<'_, '_>, limits: &mut Limits) {
    match reader.node.name.as_ref() {
        "memory" => limits.memory = memory(reader).map(|it| reader.spanned(it)),
        "cpu" => limits.cpu = cpu(reader).map(|it| reader.spanned(it)),
        "cpuset" => {
            let list = reader.argument_read("a list of processors", value::cpuset, form::CPUSET);
            limits.cpuset = list.map(|it| reader.spanned(it));
        }
        "pids" => {
            let number = reader.argument("a number").and_then(|it| reader.number(it, 1..=MAX_PIDS));
            limits.pids = number.map(|it| reader.spanned(it));
        }
        "io" => limits.io.extend(io(reader).map(|it| reader.spanned(it))),
        "hugetlb" => hugetlb(reader, limits),
        "wall" => limits.wall = wall(reader).map(|it| reader.spanned(it)),
        "cpu-time" => {
            let time = reader.argument_read("a time", value::positive_time, form::TIME);
            limits.cpu_time = time.map(|it| reader.spanned(it));
        }
        "output" => limits.output = size(reader).map(|it| reader.spanned(it)),
        "disk" => {
            let size = size(reader);
            let inodes = reader.property_number("inodes", 1..=u64::from(u32::MAX));
            limits.disk = size.map(|size| reader.spanned(Disk { size, inodes }));
        }
        "open-files" => rlimit(reader, Resource::OpenFiles, limits),
        "file-size" => rlimit(reader, Resource::FileSize, limits),
        "core" => rlimit(reader, Resource::Core, limits),
        "stack" => rlimit(reader, Resource::Stack, limits),
        "locked-memory" => rlimit(reader, Resource::LockedMemory, limits),
        _ => {
            let path = reader.argument_read("a path", value::host_path, "the path of a cgroup");
            limits.cgroup = path.map(|it| reader.spanned(it));
        }
    }
}

fn size(reader: &mut Reader<'_, '_>) -> Option<Bytes> {
    let entry = reader.argument("a size")?;
    reader.size(entry)
}

fn memory(reader: &mut Reader<'_, '_>) -> Option<Memory> {
    let max = size(reader);
    let swap = reader.property("swap").and_then(|it| reader.size_or_zero(it));
    let high = reader.property_size("high");
    let max = max?;
    if let Some(Spanned { value: high, origin: Origin::Spec(span) }) = high
        && high > max
    {
        let message = format!("the throttling mark `{high}` lies above the limit `{max}`");
        reader.out.push(Finding::new(span, message).label("never reached"));
    }
    Some(Memory { max, swap, high: high.map(|it| it.value) })
}

fn cpu(reader: &mut Reader<'_, '_>) -> Option<Cpu> {
    let argument = reader.optional_argument();
    let cores = argument.and_then(|entry| cores(reader, entry));
    let weight = reader.property_number("weight", 1..=10_000).and_then(|it| u32::try_from(it).ok());
    if argument.is_none() && reader.property("weight").is_none() {
        let finding = Finding::new(reader.node.span, "`cpu` needs a number of cores or `weight=`");
        reader.out.push(finding.label("nothing is limited"));
    }
    Some(Cpu { cores, weight })
}

fn cores(reader: &mut Reader<'_, '_>, entry: &Entry<'_>) -> Option<MilliCores> {
    let result = match &entry.value {
        Value::Integer(number) => value::cores(&number.to_string()),
        Value::Float(number) => value::milli_cores(number * 1000.0),
        Value::Text(text) => value::cores(text),
        Value::Bad => return None,
        _ => Err("a number of cores is needed here".to_owned()),
    };
    reader.result(entry, result, form::CORES)
}

fn io(reader: &mut Reader<'_, '_>) -> Option<Io> {
    let device = reader.argument_read("a device or a path", value::host_path, form::OUTSIDE);
    let read = reader.property_read("read", value::rate, form::RATE).map(|it| it.value);
    let write = reader.property_read("write", value::rate, form::RATE).map(|it| it.value);
    let read_iops = reader.property_number("read-iops", 1..=u64::from(u32::MAX));
    let write_iops = reader.property_number("write-iops", 1..=u64::from(u32::MAX));
    if reader.node.entries.iter().all(|entry| entry.name.is_none()) {
        let finding = Finding::new(reader.node.span, "`io` needs a rate");
        reader.out.push(finding.label("`read=`, `write=`, `read-iops=` or `write-iops=` is missing"));
    }
    Some(Io { device: device?, read, write, read_iops, write_iops })
}

fn hugetlb(reader: &mut Reader<'_, '_>, limits: &mut Limits) {
    let page = reader.argument("the size of a page");
    let page_size = page.and_then(|it| reader.size(it));
    let max = reader.argument("a size").and_then(|it| reader.size_or_zero(it));
    let (Some(page), Some(page_size), Some(max)) = (page, page_size, max) else { return };
    if !page_size.0.is_power_of_two() || page_size.0 < 4096 {
        let message = format!("no page has the size `{page_size}`");
        reader.out.push(Finding::new(page.span, message).label("a power of two from 4K on, such as `2M`"));
    }
    if limits.hugetlb.iter().any(|it| it.value.page_size == page_size) {
        let message = format!("pages of `{page_size}` are limited twice");
        reader.out.push(Finding::new(reader.node.span, message).label("the second one"));
    }
    limits.hugetlb.push(reader.spanned(Hugetlb { page_size, max }));
}

fn wall(reader: &mut Reader<'_, '_>) -> Option<Wall> {
    let after = reader.argument_read("a time", value::positive_time, form::TIME);
    let grace = reader.property_read("grace", value::time, form::TIME);
    Some(Wall { after: after?, grace: grace.map_or(std::time::Duration::ZERO, |it| it.value) })
}

/// Reads the argument of a limit of getrlimit(2); `max` is `RLIM_INFINITY`.
fn rlimit(reader: &mut Reader<'_, '_>, resource: Resource, limits: &mut Limits) {
    let Some(entry) = reader.argument("a value") else { return };
    let value = match (&entry.value, resource) {
        (Value::Text(word), _) if matches!(word.as_ref(), "max" | "unlimited") => Some(u64::MAX),
        (_, Resource::OpenFiles) => reader.number(entry, 4..=u64::from(u32::MAX)),
        _ => reader.size_or_zero(entry).map(|it| it.0),
    };
    limits.rlimits.extend(value.map(|value| reader.spanned(Rlimit { resource, value })));
}

/// Returns the features of the node `best-effort`.
pub(crate) fn best_effort(reader: &mut Reader<'_, '_>) -> Vec<Spanned<Feature>> {
    let choices = Feature::ALL.map(|it| (it.as_str(), it));
    let mut features: Vec<Spanned<Feature>> = Vec::new();
    for entry in reader.arguments("the name of a feature") {
        let Some(feature) = reader.choice(entry, &choices) else { continue };
        if features.iter().any(|it| it.value == feature) {
            let message = format!("the feature `{}` comes twice", feature.as_str());
            reader.out.push(Finding::new(entry.span, message).label("the second one"));
        } else {
            features.push(Spanned::new(feature, Origin::Spec(entry.span)));
        }
    }
    features
}
