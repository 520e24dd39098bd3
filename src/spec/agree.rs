//! Judges the nodes of one spec together: what contradicts something else in the same
//! file. It knows nothing of the machine; `plan` judges the rest.

use std::collections::BTreeSet;

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::{ExpectedOutcome, Namespace, Network, RootfsSource, Secret, Spec, Test, Writable};
use crate::units::{AbsPath, Origin, Span, Spanned};

/// Reports every contradiction within `spec`.
pub(crate) fn agree(spec: &Spec, out: &mut Findings) {
    together(spec, out);
    if spec.tests.is_empty() {
        return;
    }
    let mut whole = Findings::default();
    together(spec, &mut whole);
    let known = whole.into_vec();
    for test in &spec.tests {
        // What a test says over its file is one spec, which has mistakes that neither has alone.
        let mut found = Findings::default();
        let merged = spec.with(&test.value.own);
        together(&merged, &mut found);
        found.into_vec().into_iter().filter(|finding| !known.contains(finding)).for_each(|finding| out.push(finding));
        expectations(&merged, test, out);
    }
}

fn together(spec: &Spec, out: &mut Findings) {
    rootfs(spec, out);
    namespaces(spec, out);
    environment(spec, out);
    secret_files(spec, out);
    kept(spec, out);
}

/// What can never hold.
fn expectations(spec: &Spec, test: &Spanned<Test>, out: &mut Findings) {
    let Test { name, expect, .. } = &test.value;
    let source = spec.rootfs.as_ref().map(|it| &it.value.source);
    let of_image = !matches!(source, None | Some(RootfsSource::Host | RootfsSource::Scratch));
    // One with a mistake is there all the same.
    if spec.command.is_none() && !of_image && out.is_empty() {
        let finding = Finding::new(place(test), format!("the test `{name}` has no command")).label("nothing to run");
        out.push(finding.help("write `command` into it, or at the top of the file"));
    }
    if let (Some(outcome), Some(exit)) = (&expect.outcome, &expect.exit)
        && outcome.value != ExpectedOutcome::Exited
    {
        let message = format!("a command that ends as `{}` has no exit code", outcome.value.as_str());
        out.push(Finding::new(place(exit), message).label("can never hold").help("remove one of the two"));
    }
    if let Some(outcome) = &expect.outcome
        && let Some(limit) = limit_of(outcome.value, spec)
    {
        let message = format!("no run ends as `{}` without `{limit}`", outcome.value.as_str());
        let finding = Finding::new(place(outcome), message).label("can never hold");
        out.push(finding.help(format!("remove it, or write `limits {{ {limit} \"…\"; }}`")));
    }
    let network = spec.network.as_ref().map(|it| &it.value);
    if let Some(connections) = &expect.connections
        && matches!(network, None | Some(Network::None | Network::Host))
    {
        let finding = Finding::new(place(connections), "connections are only counted where sbx makes them");
        out.push(finding.label("the network is not `egress`").help("remove it, or write `network egress { … }`"));
    }
}

/// Returns the limit that alone brings `outcome` about, where `spec` has none. The kernel ends what takes too much
/// memory without one as well.
fn limit_of(outcome: ExpectedOutcome, spec: &Spec) -> Option<&'static str> {
    let limits = &spec.limits;
    let (name, is_there) = match outcome {
        ExpectedOutcome::WallTimeout => ("wall", limits.wall.is_some()),
        ExpectedOutcome::CpuTimeout => ("cpu-time", limits.cpu_time.is_some()),
        ExpectedOutcome::OutputLimit => ("output", limits.output.is_some()),
        _ => return None,
    };
    (!is_there).then_some(name)
}

fn place<T>(spanned: &Spanned<T>) -> Span {
    match spanned.origin {
        Origin::Spec(span) => span,
        Origin::CommandLine | Origin::Image | Origin::Default => Span::default(),
    }
}

fn rootfs(spec: &Spec, out: &mut Findings) {
    let Some(node) = &spec.rootfs else { return };
    let rootfs = &node.value;
    let writable = rootfs.writable.as_ref().map(|it| it.value);
    match (&rootfs.upper, writable) {
        (Some(upper), mode) if mode != Some(Writable::Persist) => {
            let finding =
                Finding::new(place(upper), "`upper` keeps changes, but nothing is kept").label("without effect");
            out.push(finding.help("add `writable=\"persist\"`"));
        }
        (None, Some(Writable::Persist)) => {
            let at = rootfs.writable.as_ref().map_or(place(node), place);
            let finding =
                Finding::new(at, "`persist` needs a directory to keep changes in").label("`upper=` is missing");
            out.push(finding.help("add `upper=\"DIRECTORY\"`"));
        }
        _ => {}
    }
    let read_only = writable == Some(Writable::No) || (rootfs.source == RootfsSource::Host && writable.is_none());
    if let (Some(size), true) = (&rootfs.size, read_only) {
        let finding = Finding::new(place(size), "`size` bounds the writable part, but the root is read-only");
        out.push(finding.label("without effect").help("add `writable=\"ephemeral\"`, or remove it"));
    }
    if let (Some(size), Some(_)) = (&rootfs.size, &spec.limits.disk) {
        let finding = Finding::new(place(size), "the writable part is bounded twice");
        out.push(finding.label("by this and by `disk` in `limits`").help("remove one of them"));
    }
    let fixed = matches!(rootfs.source, RootfsSource::Host | RootfsSource::Scratch | RootfsSource::Directory(_));
    if let (Some(digest), true) = (&rootfs.digest, fixed) {
        let finding = Finding::new(place(digest), "only a file has a digest").label("cannot be checked");
        out.push(finding.help("remove it, or name a tar"));
    }
    if let (Some(pull), false) = (&rootfs.pull, matches!(rootfs.source, RootfsSource::Registry(_))) {
        let finding = Finding::new(place(pull), "only an image of a registry is pulled").label("without effect");
        out.push(finding.help("remove it, or name a source that begins with `docker://`"));
    }
    let single = fixed || matches!(rootfs.source, RootfsSource::Tar(_));
    if let (Some(platform), true) = (&rootfs.platform, single) {
        let finding = Finding::new(place(platform), "only an image has a platform").label("without effect");
        out.push(finding.help("remove it, or name an image"));
    }
}

fn namespaces(spec: &Spec, out: &mut Findings) {
    let Some(node) = &spec.namespaces else { return };
    let new = |kind: Namespace| node.value.new.contains(&kind);
    let add = |kind: Namespace| format!("add `{}` to `namespaces`", kind.as_str());
    for offset in node.value.boottime.iter().chain(&node.value.monotonic).filter(|_| !new(Namespace::Time)) {
        let finding = Finding::new(place(offset), "an offset needs a clock of its own").label("without effect");
        out.push(finding.help(add(Namespace::Time)));
    }
    match (&spec.network, new(Namespace::Net)) {
        (Some(network), false) if network.value != Network::Host => {
            let message = format!("`network {}` needs the namespace `net`", network.value.as_str());
            let finding = Finding::new(place(network), message);
            out.push(finding.label("contradicts `namespaces`").help(add(Namespace::Net)));
        }
        (Some(network), true) if network.value == Network::Host => {
            let finding = Finding::new(place(network), "`network host` excludes the namespace `net`");
            out.push(finding.label("contradicts `namespaces`").help("remove `net` from `namespaces`"));
        }
        (None, false) => {
            let finding = Finding::new(place(node), "without the namespace `net` the network is the host's");
            out.push(finding.label("does not say so").help("add `net`, or write `network \"host\"` as well"));
        }
        _ => {}
    }
    if let (Some(hostname), false) = (&spec.hostname, new(Namespace::Uts)) {
        let finding = Finding::new(place(hostname), "a hostname needs the namespace `uts`");
        out.push(finding.label("would rename the host").help(add(Namespace::Uts)));
    }
    if let (Some(mount), false) = (spec.mounts.first(), new(Namespace::Mount)) {
        let finding = Finding::new(place(mount), "mounts need the namespace `mount`");
        out.push(finding.label("would appear on the host").help(add(Namespace::Mount)));
    }
    let kept = spec.changes.iter().map(place).chain(spec.collect.iter().map(place)).next();
    if let (Some(at), false) = (kept, new(Namespace::Mount)) {
        let finding = Finding::new(at, "only a root of the sandbox's own is looked at after the run");
        out.push(finding.label("would be the host's").help(add(Namespace::Mount)));
    }
    if let (Some(rootfs), false) = (&spec.rootfs, new(Namespace::Mount)) {
        let finding = Finding::new(place(rootfs), "a root needs the namespace `mount`");
        out.push(finding.label("cannot be mounted").help(add(Namespace::Mount)));
    }
}

/// A variable that is given twice would have the value of whichever comes last.
fn environment(spec: &Spec, out: &mut Findings) {
    let secrets = spec.secrets.iter().filter_map(|it| match &it.value {
        Secret::Env { name, .. } => Some((name.as_str(), place(it))),
        Secret::File { .. } => None,
    });
    let set = spec.env.iter().map(|it| (it.value.name.as_str(), place(it)));
    let passed = spec.pass_env.iter().map(|it| (it.value.as_str(), place(it)));
    let mut all: Vec<(&str, Span)> = set.chain(passed).chain(secrets).collect();
    all.sort_by_key(|(_, span)| span.start);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (name, span) in all {
        if !seen.insert(name) {
            out.push(Finding::new(span, format!("the variable `{name}` comes twice")).label("the second one"));
        }
    }
}

/// What is taken out of the sandbox at the end: each place once, and changes only where there can be some.
fn kept(spec: &Spec, out: &mut Findings) {
    let mut seen: BTreeSet<&str> = spec.changes.iter().map(|it| it.value.0.as_str()).collect();
    for collect in &spec.collect {
        let to = collect.value.to.0.as_str();
        if !seen.insert(to) {
            out.push(
                Finding::new(place(collect), format!("the destination `{to}` comes twice")).label("the second one"),
            );
        }
    }
    let Some(changes) = &spec.changes else { return };
    let rootfs = spec.rootfs.as_ref().map(|it| &it.value);
    let writable = rootfs.and_then(|it| it.writable.as_ref()).map(|it| it.value);
    let read_only = match rootfs.map(|it| &it.source) {
        Some(RootfsSource::Scratch) => {
            let finding = Finding::new(place(changes), "an empty root has no layer below what a run adds to it");
            out.push(finding.label("not with `rootfs \"scratch\"`").help("take it out with `collect \"/\" to=…`"));
            return;
        }
        None | Some(RootfsSource::Host) => writable.is_none_or(|it| it == Writable::No),
        Some(_) => writable == Some(Writable::No),
    };
    if read_only {
        let finding = Finding::new(place(changes), "`changes` keeps what the run changes, but the root is read-only");
        out.push(finding.label("without effect").help("add `writable=\"ephemeral\"` to `rootfs`, or remove it"));
    }
}

fn secret_files(spec: &Spec, out: &mut Findings) {
    let mut seen: BTreeSet<&AbsPath> = spec.mounts.iter().map(|it| it.value.destination()).collect();
    for secret in &spec.secrets {
        if let Secret::File { destination, .. } = &secret.value
            && !seen.insert(destination)
        {
            let message = format!("the destination `{destination}` comes twice");
            out.push(Finding::new(place(secret), message).label("already made by another line"));
        }
    }
}
