//! What holds each limit: files of cgroups, or sbx itself; and what the host cannot do.

use crate::error::{Error, Kind, Result};
use crate::host::{Controller, Hierarchy, Version};
use crate::plan::facts::{Accounting, Facts, Invocation};
use crate::plan::{AppliedLimit, CgroupPlan, Group, Setting, Value, Weakened};
use crate::plan::{ground, root};
use crate::spec::{Feature, Init, Limits, Spec, Writable};
use crate::units::{Bytes, Origin};

/// The period in which `cpu.max` and `cpu.cfs_quota_us` count, in microseconds: the kernel's default, with which
/// every new v1 group begins.
const PERIOD: u64 = 100_000;

/// What was decided about the limits.
#[derive(Debug, Default)]
pub struct Decided {
    pub cgroup: Option<CgroupPlan>,
    pub limits: Vec<AppliedLimit>,
    pub weakened: Vec<Weakened>,
}

/// One write that a limit wants, in a hierarchy with `controller`.
struct Want {
    feature: Feature,
    controller: Controller,
    origin: Origin,
    /// The same limit in the words of both versions; `None` where a version does not have it.
    v2: Option<Vec<(String, String)>>,
    v1: Option<Vec<(String, Value)>>,
    shown: Vec<Shown>,
}

/// One line of the report: a limit, and in which file of each version it is held.
struct Shown {
    name: &'static str,
    requested: String,
    applied: u64,
    v2: String,
    v1: String,
}

fn shown(name: &'static str, (requested, applied): (String, u64), (v2, v1): (&str, &str)) -> Shown {
    Shown { name, requested, applied, v2: v2.to_owned(), v1: v1.to_owned() }
}

/// Decides what holds the limits that need a cgroup.
///
/// # Errors
/// The first limit that this host cannot enforce and that `best-effort` does not name.
pub fn resolve(spec: &Spec, facts: &Facts, invocation: &Invocation) -> Result<Decided> {
    let mut decided = Decided::default();
    let mut groups: Vec<Group> = Vec::new();
    let limits = &spec.limits;
    for want in wants(spec, facts, invocation)? {
        match place(&want, facts) {
            Ok((hierarchy, settings)) => {
                let version = hierarchy.version;
                group(&mut groups, hierarchy, want.controller).settings.extend(settings);
                decided.limits.extend(want.shown.into_iter().map(|Shown { name, requested, applied, v2, v1 }| {
                    let by = if version == Version::V2 { v2 } else { v1 };
                    AppliedLimit { name, requested, applied, by }
                }));
            }
            Err(error) => refuse(spec, want.feature, error.at(want.origin), &mut decided)?,
        }
    }
    if !groups.is_empty() || invocation.accounting == Accounting::IfAvailable || limits.cgroup.is_some() {
        let accounting = [Controller::Memory, Controller::Pids, Controller::Cpu, Controller::Cpuacct];
        for controller in accounting {
            if let Ok(hierarchy) = facts.host.cgroups.find(controller)
                && (controller != Controller::Cpu || counts_unlimited(hierarchy, &groups))
            {
                group(&mut groups, hierarchy, controller);
            }
        }
        // Counting I/O costs nothing where a group for the rest is made anyway; v1 would need one more.
        if let Ok(hierarchy) = facts.host.cgroups.find(Controller::Io)
            && hierarchy.version == Version::V2
            && groups.iter().any(|group| group.parent == hierarchy.parent)
        {
            group(&mut groups, hierarchy, Controller::Io);
        }
    }
    // Who gave leave for the limits that it would hold gave it for the group.
    if let Some(named) = limits.cgroup.as_ref().filter(|_| groups.is_empty() && decided.weakened.is_empty()) {
        return Err(useless(&named.value.0, facts).at(named.origin));
    }
    disk(spec, &mut decided)?;
    // The same first group whatever the limits, so that a later run finds what this one may leave.
    groups.sort_by_key(|group| (std::cmp::Reverse(group.version), group.controllers.iter().min().copied()));
    decided.cgroup = (!groups.is_empty()).then_some(CgroupPlan { groups });
    Ok(decided)
}

/// The writable part of a root is a tmpfs of sbx, whose size is its own, or a directory that is kept. Where the
/// root is read-only it is `/tmp`.
fn disk(spec: &Spec, decided: &mut Decided) -> Result<()> {
    if let (Some(disk), Writable::No) = (&spec.limits.disk, root::writable(spec))
        && ground::base_mounts(spec).iter().all(|path| path.as_str() != "/tmp")
    {
        let message = "`disk` bounds nothing: the root is read-only, and `/tmp` is a mount of the spec";
        let error = Error::new(Kind::Spec, message).with_hint("bound that mount with `size=`, or drop `disk`");
        return refuse(spec, Feature::Disk, error.at(disk.origin), decided);
    }
    let Some(rootfs) = spec.rootfs.as_ref().filter(|rootfs| rootfs.value.upper.is_some()) else { return Ok(()) };
    let disk = spec.limits.disk.as_ref().map(|disk| disk.origin);
    let Some(origin) = disk.or(rootfs.value.size.as_ref().map(|size| size.origin)) else { return Ok(()) };
    let message = "the size of a kept `upper` directory is its file system's and cannot be bounded by sbx";
    let error = Error::new(Kind::Host, message).with_hint("give it a file system of its own, or drop the bound");
    refuse(spec, Feature::Disk, error.at(origin), decided)
}

/// Returns whether the controller `cpu` tells anything of a run whose processors are not limited. In v1 it counts
/// nothing but the limit's own periods: a group for that alone would cost a tenth of a millisecond.
fn counts_unlimited(hierarchy: &Hierarchy, groups: &[Group]) -> bool {
    hierarchy.version == Version::V2
        || hierarchy.controllers.contains(&Controller::Cpuacct)
        || groups.iter().any(|group| group.parent == hierarchy.parent)
}

/// The group that the spec names holds the command, whatever it asks for besides.
fn useless(path: &str, facts: &Facts) -> Error {
    match facts.host.cgroups.refusals.first() {
        Some(refusal) => {
            let error = Error::new(Kind::Host, format!("no group can be made below `{path}`: {}", refusal.why));
            let error = error.with_hint(refusal.hint.clone());
            if let Some(errno) = refusal.errno { error.with_errno(errno) } else { error }
        }
        None => Error::new(Kind::Host, format!("nothing that the spec asks for is held by a group below `{path}`"))
            .with_hint("name a group of another hierarchy, or leave `cgroup` out of `limits`"),
    }
}

fn refuse(spec: &Spec, feature: Feature, error: Error, decided: &mut Decided) -> Result<()> {
    if !spec.best_effort.iter().any(|named| named.value == feature) {
        let hint = error.hint.clone().unwrap_or_default();
        let leave = format!("or write `best-effort \"{}\"` to run without it", feature.as_str());
        return Err(error.with_hint(if hint.is_empty() { leave } else { format!("{hint}; {leave}") }));
    }
    let weakened = Weakened { feature: feature.as_str(), why: error.message };
    if !decided.weakened.contains(&weakened) {
        decided.weakened.push(weakened);
    }
    Ok(())
}

fn group<'a>(groups: &'a mut Vec<Group>, hierarchy: &Hierarchy, controller: Controller) -> &'a mut Group {
    let found = groups.iter().position(|group| group.parent == hierarchy.parent);
    let index = found.unwrap_or_else(|| {
        groups.push(Group {
            version: hierarchy.version,
            parent: hierarchy.parent.clone(),
            preparation: hierarchy.preparation,
            controllers: Vec::new(),
            settings: Vec::new(),
        });
        groups.len() - 1
    });
    let group = &mut groups[index];
    if !group.controllers.contains(&controller) {
        group.controllers.push(controller);
    }
    group
}

fn place<'a>(want: &Want, facts: &'a Facts) -> Result<(&'a Hierarchy, Vec<Setting>)> {
    let hierarchy = facts.host.cgroups.find(want.controller).map_err(|refusal| {
        let limit = want.feature.as_str();
        match refusal {
            Some(refusal) => {
                let error = Error::new(Kind::Host, format!("the limit `{limit}` cannot be enforced: {}", refusal.why));
                let error = error.with_hint(refusal.hint.clone());
                if let Some(errno) = refusal.errno { error.with_errno(errno) } else { error }
            }
            None => Error::new(
                Kind::Host,
                format!("the limit `{limit}` cannot be enforced: this kernel has no controller for it"),
            )
            .with_hint("see `sbx doctor`"),
        }
    })?;
    let setting = |file: String, value| Setting { file, value, feature: want.feature.as_str(), origin: want.origin };
    let settings = match hierarchy.version {
        Version::V2 => want
            .v2
            .as_ref()
            .map(|files| files.iter().map(|(file, value)| setting(file.clone(), Value::Text(value.clone()))).collect()),
        Version::V1 => want
            .v1
            .as_ref()
            .map(|files| files.iter().map(|(file, value)| setting(file.clone(), value.clone())).collect()),
    };
    let settings = settings.ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!("the limit `{}` in this form cannot be enforced by cgroups v1", want.feature.as_str()),
        )
        .with_hint("boot with cgroups v2 (`systemd.unified_cgroup_hierarchy=1`)")
    })?;
    Ok((hierarchy, settings))
}

fn files<V: From<String>>(pairs: Vec<(&str, String)>) -> Option<Vec<(String, V)>> {
    Some(pairs.into_iter().map(|(file, value)| (file.to_owned(), V::from(value))).collect())
}

fn wants(spec: &Spec, facts: &Facts, invocation: &Invocation) -> Result<Vec<Want>> {
    let limits = &spec.limits;
    let mut wants = Vec::new();
    memory(limits, &mut wants);
    cpu(limits, &mut wants);
    pids(spec, &mut wants);
    for limit in &limits.hugetlb {
        let (size, max) = (huge_page(limit.value.page_size.0), limit.value.max.0.to_string());
        let (v2, v1) = (format!("hugetlb.{size}.max"), format!("hugetlb.{size}.limit_in_bytes"));
        let requested = format!("{} {}", limit.value.page_size, limit.value.max);
        wants.push(Want {
            feature: Feature::Hugetlb,
            controller: Controller::Hugetlb,
            origin: limit.origin,
            v2: files(vec![(&v2, max.clone())]),
            v1: files(vec![(&v1, max)]),
            shown: vec![shown("hugetlb", (requested, limit.value.max.0), (&v2, &v1))],
        });
    }
    for limit in &limits.io {
        wants.push(io(limit, facts, invocation)?);
    }
    if let Some(limit) = &limits.cpu_time {
        // The figure needs a group; in v2 every group has `cpu.stat`, in v1 it is `cpuacct`'s.
        let v2 = facts.host.cgroups.hierarchies.iter().find(|hierarchy| hierarchy.version == Version::V2);
        let controller = match v2.and_then(|hierarchy| hierarchy.controllers.first()) {
            Some(controller) if facts.host.cgroups.find(Controller::Cpuacct).is_err() => *controller,
            _ => Controller::Cpuacct,
        };
        // What holds it is sbx, which the report says beside the other clocks.
        let (v2, v1, shown) = (Some(Vec::new()), Some(Vec::new()), Vec::new());
        wants.push(Want { feature: Feature::CpuTime, controller, origin: limit.origin, v2, v1, shown });
    }
    Ok(wants)
}

fn memory(limits: &Limits, wants: &mut Vec<Want>) {
    let Some(limit) = &limits.memory else { return };
    let (max, swap) = (limit.value.max, limit.value.swap.map_or(0, |swap| swap.0));
    let mut v2 = vec![
        ("memory.max", max.0.to_string()),
        ("memory.swap.max", swap.to_string()),
        ("memory.oom.group", "1".to_owned()),
    ];
    if let Some(high) = limit.value.high {
        v2.push(("memory.high", high.0.to_string()));
    }
    // One page more than asked, or the kernel charges both counters at once and `memory.failcnt` stays 0.
    let both = max.0.saturating_add(swap).saturating_add(4096);
    let v1 = vec![("memory.limit_in_bytes", max.0.to_string()), ("memory.memsw.limit_in_bytes", both.to_string())];
    wants.push(Want {
        feature: Feature::Memory,
        controller: Controller::Memory,
        origin: limit.origin,
        v2: files(v2),
        v1: if limit.value.high.is_none() { files(v1) } else { None },
        shown: [
            Some(("memory", max, ("memory.max", "memory.limit_in_bytes"))),
            limit.value.swap.map(|swap| ("memory.swap", swap, ("memory.swap.max", "memory.memsw.limit_in_bytes"))),
            limit.value.high.map(|high| ("memory.high", high, ("memory.high", ""))),
        ]
        .into_iter()
        .flatten()
        .map(|(name, size, files)| shown(name, (size.to_string(), size.0), files))
        .collect(),
    });
}

fn cpu(limits: &Limits, wants: &mut Vec<Want>) {
    if let Some(limit) = &limits.cpu {
        let quota = limit.value.cores.map(|cores| u64::from(cores.0) * PERIOD / 1000);
        let (mut v2, mut v1) = (Vec::new(), Vec::new());
        if let Some(quota) = quota {
            v2.push(("cpu.max", format!("{quota} {PERIOD}")));
            v1.push(("cpu.cfs_quota_us", quota.to_string()));
        }
        if let Some(weight) = limit.value.weight {
            v2.push(("cpu.weight", weight.to_string()));
            // 100 is the default of the one, 1024 of the other.
            v1.push(("cpu.shares", (u64::from(weight) * 1024 / 100).max(2).to_string()));
        }
        let cores = limit
            .value
            .cores
            .map(|cores| shown("cpu", (cores.to_string(), u64::from(cores.0)), ("cpu.max", "cpu.cfs_quota_us")));
        let weight = limit
            .value
            .weight
            .map(|weight| shown("cpu.weight", (weight.to_string(), u64::from(weight)), ("cpu.weight", "cpu.shares")));
        let shown = cores.into_iter().chain(weight).collect();
        let (feature, controller, origin) = (Feature::Cpu, Controller::Cpu, limit.origin);
        wants.push(Want { feature, controller, origin, v2: files(v2), v1: files(v1), shown });
    }
    if let Some(limit) = &limits.cpuset {
        let list = limit.value.clone();
        // In v1 a group without memory nodes takes no process.
        let v1 =
            vec![("cpuset.mems".to_owned(), Value::OfParent), ("cpuset.cpus".to_owned(), Value::Text(list.clone()))];
        wants.push(Want {
            feature: Feature::Cpuset,
            controller: Controller::Cpuset,
            origin: limit.origin,
            v2: files(vec![("cpuset.cpus", list.clone())]),
            v1: Some(v1),
            shown: vec![shown("cpuset", (list.clone(), cpus_in(&list)), ("cpuset.cpus", "cpuset.cpus"))],
        });
    }
}

/// sbx's own init is in the group too, so the kernel's limit is one higher than the one written.
fn pids(spec: &Spec, wants: &mut Vec<Want>) {
    let Some(limit) = &spec.limits.pids else { return };
    let init = match spec.init.as_ref().map_or(Init::Reaper, |init| init.value) {
        Init::Reaper => 1,
        Init::Command => 0,
    };
    let max = limit.value.saturating_add(init).to_string();
    wants.push(Want {
        feature: Feature::Pids,
        controller: Controller::Pids,
        origin: limit.origin,
        v2: files(vec![("pids.max", max.clone())]),
        v1: files(vec![("pids.max", max)]),
        shown: vec![shown("pids", (limit.value.to_string(), limit.value), ("pids.max", "pids.max"))],
    });
}

fn io(limit: &crate::units::Spanned<crate::spec::Io>, facts: &Facts, invocation: &Invocation) -> Result<Want> {
    let path = invocation.absolute(&limit.value.device);
    let Some((major, minor)) = facts.devices.get(&path) else {
        let message = format!("`{}` is neither a block device nor on one", path.display());
        let hint = "name a disk, or a file or directory on one (tmpfs, overlay and btrfs have none)";
        return Err(Error::new(Kind::Spec, message).with_hint(hint).at(limit.origin));
    };
    let rates = [
        ("io.read", "rbps", "read_bps", limit.value.read),
        ("io.write", "wbps", "write_bps", limit.value.write),
        ("io.read-iops", "riops", "read_iops", limit.value.read_iops),
        ("io.write-iops", "wiops", "write_iops", limit.value.write_iops),
    ];
    let given = rates.iter().filter_map(|(name, v2, v1, rate)| rate.map(|rate| (*name, v2, v1, rate)));
    let line: Vec<String> = given.clone().map(|(_, v2, _, rate)| format!("{v2}={rate}")).collect();
    let file = |v1: &str| format!("blkio.throttle.{v1}_device");
    let v1 = given.clone().map(|(_, _, v1, rate)| (file(v1), Value::Text(format!("{major}:{minor} {rate}"))));
    let device = &limit.value.device.0;
    let lines = given.clone().map(|(name, _, v1, rate)| {
        let written = if name.ends_with("iops") { rate.to_string() } else { format!("{}/s", Bytes(rate)) };
        shown(name, (format!("{device} {written}"), rate), ("io.max", &file(v1)))
    });
    Ok(Want {
        feature: Feature::Io,
        controller: Controller::Io,
        origin: limit.origin,
        v2: files(vec![("io.max", format!("{major}:{minor} {}", line.join(" ")))]),
        v1: Some(v1.collect()),
        shown: lines.collect(),
    })
}

/// The kernel's name of a page size: `2MB`, `1GB`, `64KB`.
fn huge_page(bytes: u64) -> String {
    [(30, "GB"), (20, "MB")]
        .iter()
        .find(|(shift, _)| bytes >= 1 << shift)
        .map_or_else(|| format!("{}KB", bytes >> 10), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// Counts the processors of a list that was checked when it was read.
fn cpus_in(list: &str) -> u64 {
    list.split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
            Some(last.saturating_sub(first) + 1)
        })
        .sum()
}
