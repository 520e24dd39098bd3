//! Ties the plan together: what was written meets what is there, and the order of
//! everything is decided, on one screen.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Accounting, Base, Facts, Inputs, Invocation};
use crate::plan::ground::Grounds;
use crate::plan::root;
use crate::plan::steps::{Privilege, Steps};
use crate::plan::{
    AppliedLimit, Counting, Identity, MapWriter, Op, Plan, StdinPlan, Step, Watch, Weakened, caution, exec, harvest,
    identity, landlock, limits, mounts, network, posture, seccomp, terminal,
};
use crate::spec::{Init, Namespace, Network, Profile, Resource, Rlimit, Spec, Stdin, Writable};
use crate::units::{AbsPath, Bytes, Origin, Spanned, duration};

/// Decides what will happen.
///
/// # Errors
/// The first thing that this host, this image or this caller cannot do.
pub fn resolve(spec: &Spec, facts: &Facts, invocation: &Invocation) -> Result<Plan> {
    let namespaces = namespaces(spec, facts)?;
    let identity = identity::resolve(spec, facts, invocation, &namespaces)?;
    let decided = limits::resolve(spec, facts, invocation)?;
    let inputs = Inputs { spec, facts, invocation, namespaces: &namespaces, identity: &identity };
    let privilege = if facts.host.caller.is_root() { Privilege::Root } else { Privilege::Caller };
    let mut steps = Steps::new(privilege);

    let (root, mut grounds) = (Grounds::new(&facts.base), Grounds::new(&facts.base));
    network::check(inputs)?;
    let opening = opening(inputs, &identity, network::bridge_steps(inputs)?);
    let terminal = terminal::resolve(inputs)?;
    let (mut exec_plan, mut uppers) = (None, Vec::new());
    if namespaces.contains(&Namespace::Mount) {
        let made = root::build(inputs, &root, &mut steps)?;
        root::base(inputs, &mut grounds, &mut steps)?;
        if let Some((_, origin)) = terminal {
            terminal::add(origin, &mut steps);
        }
        mounts::add(inputs, &mut grounds, &mut steps)?;
        exec_plan = Some(exec::resolve(inputs, &identity, &grounds, &mut steps)?);
        root::finish(&made, (spec, facts), &mut steps);
        uppers = made.uppers;
    }
    let exec_plan = match exec_plan {
        Some(plan) => plan,
        None => exec::resolve(inputs, &identity, &grounds, &mut steps)?,
    };
    let harvest = harvest::resolve(spec, invocation, (uppers, &steps.inside))?;
    // Before the stage covers procfs.
    steps.sources.extend(harvest.iter().map(harvest::Harvest::step));
    let filter = seccomp::resolve::resolve(spec, facts)?;
    let mut closing = closing(
        inputs,
        if decided.cgroup.is_some() { Cgroup::Made } else { Cgroup::NotMade },
        exec_plan.workdir.clone(),
    );
    if filter.as_ref().is_none_or(|filter| !filter.closes_keyrings()) {
        closing.push(Step { op: Op::Posture(posture::Deed::NewKeyring), origin: Origin::Default });
    }
    let sources = steps.sources.iter().chain(&steps.assembly).chain(&steps.inside);
    let rules = landlock::resolve::resolve(inputs, &sources.collect::<Vec<_>>())?;
    closing.extend(rules.steps);
    closing.extend(filter.map(|filter| Step {
        op: Op::Seccomp { filter },
        origin: spec.seccomp.as_ref().map_or(Origin::Default, |seccomp| seccomp.origin),
    }));
    let unfiltered = seccomp::resolve::weakened(spec, facts);
    let way = network::way(inputs);
    let cautions = caution::cautions(spec).into_iter().map(|caution| caution.value);
    let warnings = cautions.chain(network::caution(inputs)).collect();
    Ok(Plan {
        steps: arrange(opening, steps, closing),
        identity,
        cgroup: decided.cgroup,
        exec: exec_plan,
        init: spec.init.as_ref().map_or(Init::Reaper, |init| init.value),
        stdin: stdin(spec, invocation),
        streams: invocation.streams,
        terminal: terminal.map(|(terminal, _)| terminal),
        watch: watch(spec, invocation),
        harvest,
        way,
        landlock: rules.in_force,
        limits: [decided.limits, own_limits(spec, &decided.weakened)].concat(),
        weakened: decided.weakened.into_iter().chain(unfiltered).chain(rules.weakened).collect(),
        warnings,
        namespaces,
    })
}

/// Returns the namespaces that are new.
fn namespaces(spec: &Spec, facts: &Facts) -> Result<Vec<Namespace>> {
    let network = spec.network.as_ref().map_or(&Network::None, |network| &network.value);
    let Some(written) = &spec.namespaces else {
        let wanted = |kind: &Namespace| match kind {
            Namespace::Time => false,
            Namespace::Net => *network != Network::Host,
            _ => true,
        };
        return Ok(Namespace::ALL.into_iter().filter(wanted).collect());
    };
    let new = &written.value.new;
    if !new.contains(&Namespace::Mount) {
        let asked = spec.rootfs.as_ref().map(|rootfs| rootfs.origin).or(spec.mounts.first().map(|mount| mount.origin));
        if let Some(origin) = asked {
            return Err(Error::new(Kind::Spec, "a rootfs and mounts need a mount namespace")
                .with_hint("add `mount` to `namespaces`")
                .at(origin));
        }
    }
    if !new.contains(&Namespace::User) && !new.is_empty() && facts.host.caller.uid != 0 {
        return Err(Error::new(Kind::Spec, "only root can make namespaces without a user namespace")
            .with_hint("add `user` to `namespaces`")
            .at(written.origin));
    }
    Ok(new.clone())
}

/// What needs neither ids nor mounts comes first: root's child waits for its ids, and this overlaps.
fn opening(inputs: Inputs<'_>, identity: &Identity, joining: Vec<Step>) -> Vec<Step> {
    let Inputs { spec, facts, namespaces, .. } = inputs;
    let mut steps = posture::opening(inputs);
    let mut add = |op, origin| steps.push(Step { op, origin });
    // The kernel makes every mount a slave of the host's where there is a new user namespace (copy_mnt_ns() of
    // fs/namespace.c): nothing travels out of it.
    if namespaces.contains(&Namespace::Mount) && !namespaces.contains(&Namespace::User) {
        add(Op::PrivateMounts, Origin::Default);
    }
    // Once the ids have changed the kernel no longer lets this process write its own offsets.
    if let Some(written) = spec.namespaces.as_ref().filter(|written| written.value.new.contains(&Namespace::Time)) {
        let offset = |clock: &Option<Spanned<i64>>| clock.as_ref().map_or(0, |offset| offset.value);
        let (monotonic, boottime) = (offset(&written.value.monotonic), offset(&written.value.boottime));
        add(Op::UnshareTime { monotonic, boottime }, written.origin);
    }
    if namespaces.contains(&Namespace::Uts) {
        let (name, origin) = spec
            .hostname
            .as_ref()
            .map_or_else(|| ("sbx".to_owned(), Origin::Default), |name| (name.value.clone(), name.origin));
        add(Op::Hostname { name }, origin);
    }
    if namespaces.contains(&Namespace::Net) && inputs.over_mounts().is_none() {
        add(Op::LoopbackUp, spec.network.as_ref().map_or(Origin::Default, |network| network.origin));
        steps.extend(network::steps(inputs));
    }
    let mut add = |op, origin| steps.push(Step { op, origin });
    let origin = spec.user.as_ref().map_or(Origin::Default, |user| user.origin);
    if identity.writer != MapWriter::Nobody {
        add(Op::MapIds, origin);
    }
    steps.extend(joining);
    let mut add = |op, origin| steps.push(Step { op, origin });
    // A child that mapped the caller's own id has it already, and may not change its groups.
    // Without a user namespace root becomes another, whether the spec names a user or not; nobody else can.
    let change = match identity.writer {
        MapWriter::Child => false,
        MapWriter::Parent | MapWriter::Helpers => true,
        // Without a user namespace only root changes, and root always has to.
        MapWriter::Nobody => facts.host.caller.is_root(),
    };
    if change {
        add(Op::SetIds, origin);
    }
    // The kernel takes groups that are mapped only.
    steps.extend(network::pings(inputs));
    let mut add = |op, origin| steps.push(Step { op, origin });
    add(Op::DieWithParent, Origin::Default);
    steps
}

/// Everything that weakens the child itself comes when nothing else needs its rights.
fn closing(inputs: Inputs<'_>, cgroup: Cgroup, workdir: AbsPath) -> Vec<Step> {
    let Inputs { spec, namespaces, .. } = inputs;
    let mut steps = Vec::with_capacity(8);
    let mut add = |op, origin| steps.push(Step { op, origin });
    if let Base::Image(_) = inputs.facts.base {
        add(Op::BareRoot, Origin::Default);
    }
    // A device that the parent opened is a peer of the host's mounts until now: without this a mount that a
    // capable command makes over it would appear on the host.
    if namespaces.contains(&Namespace::Mount) {
        add(Op::SealMounts, Origin::Default);
    }
    if cgroup == Cgroup::Made {
        add(Op::JoinCgroup, Origin::Default);
        if namespaces.contains(&Namespace::Cgroup) {
            add(Op::UnshareCgroup, Origin::Default);
        }
    }
    for limit in &spec.limits.rlimits {
        add(Op::Rlimit { resource: limit.value.resource, value: limit.value.value }, limit.origin);
    }
    if let Some(capability) = inputs.over_mounts() {
        let own = [Namespace::Net, Namespace::Ipc, Namespace::Uts];
        let own: Vec<_> = own.into_iter().filter(|kind| namespaces.contains(kind)).collect();
        let network = own.contains(&Namespace::Net);
        add(Op::LockMounts { namespaces: own }, capability.origin);
        if network {
            add(Op::LoopbackUp, spec.network.as_ref().map_or(Origin::Default, |network| network.origin));
            steps.extend(network::steps(inputs));
        }
    }
    let mut add = |op, origin| steps.push(Step { op, origin });
    let keep = spec.capabilities.iter().map(|capability| capability.value).collect();
    add(Op::Capabilities { keep }, spec.capabilities.first().map_or(Origin::Default, |first| first.origin));
    add(Op::NoNewPrivileges, Origin::Default);
    let origin = spec.workdir.as_ref().map_or(Origin::Default, |workdir| workdir.origin);
    // The new root is the working directory already.
    if workdir != AbsPath::root() || !namespaces.contains(&Namespace::Mount) {
        add(Op::Workdir { path: workdir }, origin);
    }
    steps
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cgroup {
    Made,
    NotMade,
}

fn arrange(opening: Vec<Step>, steps: Steps, closing: Vec<Step>) -> Vec<Step> {
    [opening, steps.sources, steps.assembly, steps.inside, closing].concat()
}

fn stdin(spec: &Spec, invocation: &Invocation) -> StdinPlan {
    match spec.stdin.as_ref().map(|stdin| (&stdin.value, stdin.origin)) {
        None | Some((Stdin::Inherit, _)) => StdinPlan::Inherit,
        Some((Stdin::Null, _)) => StdinPlan::Null,
        Some((Stdin::File(path), origin)) => StdinPlan::File(invocation.absolute(path), origin),
    }
}

fn watch(spec: &Spec, invocation: &Invocation) -> Watch {
    let limits = &spec.limits;
    let kept = spec.rootfs.as_ref().is_some_and(|rootfs| rootfs.value.upper.is_some());
    let counting = match invocation.accounting {
        Accounting::NotWanted => Counting::No,
        Accounting::IfAvailable => Counting::Yes,
    };
    Watch {
        wall: limits.wall.as_ref().map(|wall| wall.value.after),
        grace: limits.wall.as_ref().map_or(Duration::ZERO, |wall| wall.value.grace),
        cpu_time: limits.cpu_time.as_ref().map(|limit| limit.value),
        output: limits.output.as_ref().map(|limit| limit.value),
        capture: invocation.capture,
        counting,
        refusals: match spec.profile.as_ref().map(|profile| profile.value) {
            // A process has one supervisor: it may be that of a sandbox inside.
            Some(Profile::Compat) => Counting::No,
            None | Some(Profile::Default | Profile::Strict) => counting,
        },
        cores: limits.cpu.as_ref().and_then(|cpu| cpu.value.cores),
        disk: limits
            .disk
            .as_ref()
            .filter(|_| !kept)
            .map(|_| if root::writable(spec) == Writable::No { temporary() } else { AbsPath::root() }),
    }
}

fn temporary() -> AbsPath {
    AbsPath::new("/tmp").unwrap_or_else(|_| AbsPath::root())
}

/// The limits that sbx itself or the child's own rlimits hold.
fn own_limits(spec: &Spec, weakened: &[Weakened]) -> Vec<AppliedLimit> {
    let limits = &spec.limits;
    let time = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let entry =
        |name, requested: String, applied, by: &str| AppliedLimit { name, requested, applied, by: by.to_owned() };
    let mut all = Vec::new();
    if let Some(wall) = &limits.wall {
        all.push(entry("wall", duration(wall.value.after), time(wall.value.after), "sbx"));
        if !wall.value.grace.is_zero() {
            all.push(entry("wall.grace", duration(wall.value.grace), time(wall.value.grace), "sbx"));
        }
    }
    let held = |feature: &str| weakened.iter().all(|weak| weak.feature != feature);
    if let Some(limit) = limits.cpu_time.as_ref().filter(|_| held("cpu-time")) {
        all.push(entry("cpu-time", duration(limit.value), time(limit.value), "sbx"));
    }
    if let Some(limit) = &limits.output {
        all.push(entry("output", limit.value.to_string(), limit.value.0, "sbx"));
    }
    if let Some(limit) = limits.disk.as_ref().filter(|_| held("disk")) {
        let (size, number) = match root::writable(spec) {
            Writable::No => ("tmpfs size of /tmp", "tmpfs nr_inodes of /tmp"),
            Writable::Ephemeral | Writable::Persist => ("tmpfs size", "tmpfs nr_inodes"),
        };
        all.push(entry("disk", limit.value.size.to_string(), limit.value.size.0, size));
        if let Some(inodes) = limit.value.inodes {
            all.push(entry("disk.inodes", inodes.to_string(), inodes, number));
        }
    }
    for limit in &limits.rlimits {
        let Rlimit { resource, value } = limit.value;
        let requested = match (resource, value) {
            (_, u64::MAX) => "max".to_owned(),
            (Resource::OpenFiles, _) => value.to_string(),
            (Resource::FileSize | Resource::Core | Resource::Stack | Resource::LockedMemory, _) => {
                Bytes(value).to_string()
            }
        };
        all.push(entry(resource.as_str(), requested, value, "rlimit"));
    }
    all
}
