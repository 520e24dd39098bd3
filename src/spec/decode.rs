//! Turns nodes into a `Spec`: the nodes that stand at the top, each once unless the
//! language says otherwise. It judges single nodes; `agree` judges them together.

use crate::spec::diagnostic::{Finding, Findings};
use crate::spec::literal::Value;
use crate::spec::read::{Children, Reader, shorten, unknown};
use crate::spec::tree::Node;
use crate::spec::value::{self, form};
use crate::spec::{
    Ids, Init, Namespace, Namespaces, Profile, Pull, ReportTarget, Rootfs, Spec, Stdin, Tty, User, Who, Writable,
    decode_landlock, decode_limits, decode_mounts, decode_network, decode_process, decode_seccomp, decode_test,
    value_rootfs,
};

/// All nodes of the language, in the order of the reference.
const NODES: [&str; 27] = [
    "rootfs",
    "namespaces",
    "user",
    "hostname",
    "workdir",
    "mounts",
    "network",
    "limits",
    "env",
    "pass-env",
    "secret",
    "seccomp",
    "landlock",
    "capabilities",
    "profile",
    "command",
    "script",
    "stdin",
    "tty",
    "init",
    "changes",
    "collect",
    "report",
    "best-effort",
    "test",
    "extends",
    "param",
];

const REPEATABLE: [&str; 5] = ["env", "pass-env", "secret", "collect", "test"];

/// Returns what `nodes` say. With findings, what could be read of it.
pub(crate) fn decode(nodes: &[Node<'_>], out: &mut Findings) -> Spec {
    section(&nodes.iter().collect::<Vec<_>>(), ("", &NODES), out)
}

/// The same for the nodes within `owner`, which is empty at the top; only `words` may stand there.
fn section(nodes: &[&Node<'_>], (owner, words): (&str, &[&'static str]), out: &mut Findings) -> Spec {
    let mut spec = Spec::default();
    let mut seen: Vec<&str> = Vec::new();
    for node in nodes.iter().filter(|node| !node.name.is_empty()) {
        let name = node.name.as_ref();
        if out.is_full() {
            break;
        }
        if !words.contains(&name) {
            let message = match owner {
                "" => format!("unknown node `{}`", shorten(name)),
                owner => format!("`{owner}` has no child `{}`", shorten(name)),
            };
            let mut finding = unknown(node.name_span, message, name, words.iter().copied());
            if let Some((parent, example)) = misplaced(name) {
                finding = finding.help(format!("`{name}` belongs into `{parent}`: `{parent} {example}`"));
            }
            out.push(finding);
            continue;
        }
        if seen.contains(&name) && !REPEATABLE.contains(&name) {
            out.push(Finding::new(node.name_span, format!("the node `{name}` comes twice")).label("the second one"));
            continue;
        }
        seen.push(name);
        top(node, &mut spec, out);
    }
    spec
}

/// Children and properties that are easily written as nodes at the top: where they belong, and an example of it.
fn misplaced(name: &str) -> Option<(&'static str, &'static str)> {
    Some(match name {
        "bind" => ("mounts", "{ bind \"SRC\" \"DST\" }"),
        "tmpfs" => ("mounts", "{ tmpfs \"DST\" }"),
        "overlay" => ("mounts", "{ overlay \"DST\" lower=\"SRC\" }"),
        "volume" => ("mounts", "{ volume \"NAME\" \"DST\" }"),
        "memory" => ("limits", "{ memory \"512M\" }"),
        "cpu" => ("limits", "{ cpu 1.5 }"),
        "pids" => ("limits", "{ pids 256 }"),
        "wall" => ("limits", "{ wall \"5m\" }"),
        "allow" | "deny" => ("network", "egress { allow \"crates.example:443\"; deny \"secret.example\" }"),
        "publish" => ("network", "egress { publish 8080 80 }"),
        "dns" => ("network", "egress { dns \"10.0.0.2\" }"),
        "bandwidth" | "latency" | "loss" => {
            ("network", "egress { bandwidth \"10mbit\"; latency \"50ms\"; loss \"0.5%\" }")
        }
        "writable" | "digest" => ("rootfs", "\"IMAGE\" writable=\"ephemeral\" digest=\"sha256:…\""),
        "ids" => ("user", "\"root\" ids=\"range\""),
        "expect" => ("test", "\"NAME\" { expect { exit 0 } }"),
        _ => return None,
    })
}

fn top(node: &Node<'_>, spec: &mut Spec, out: &mut Findings) {
    let mut reader = Reader::new(node, out);
    let mut children = Children::None;
    match node.name.as_ref() {
        "rootfs" => spec.rootfs = rootfs(&mut reader).map(|it| reader.spanned(it)),
        "namespaces" => {
            spec.namespaces = namespaces(&mut reader).map(|it| reader.spanned(it));
            children = Children::Read;
        }
        "user" => spec.user = user(&mut reader).map(|it| reader.spanned(it)),
        "hostname" => {
            let name = reader.argument("a name").and_then(|it| reader.read(it, value::hostname, "one name"));
            spec.hostname = name.map(|it| reader.spanned(it));
        }
        "workdir" => {
            let path = reader.argument("a path").and_then(|it| reader.read(it, value::inside_path, form::INSIDE));
            spec.workdir = path.map(|it| reader.spanned(it));
        }
        "mounts" => {
            spec.mounts = decode_mounts::mounts(&mut reader);
            children = Children::Read;
        }
        "network" => {
            let (network, read) = decode_network::network(&mut reader);
            spec.network = network.map(|it| reader.spanned(it));
            children = read;
        }
        "limits" => {
            spec.limits = decode_limits::limits(&mut reader);
            children = Children::Read;
        }
        "seccomp" => {
            spec.seccomp = decode_seccomp::seccomp(&mut reader).map(|it| reader.spanned(it));
            children = Children::Read;
        }
        "landlock" => {
            spec.landlock = decode_landlock::landlock(&mut reader).map(|it| reader.spanned(it));
            children = Children::Read;
        }
        "profile" => {
            let choices = Profile::ALL.map(|it| (it.as_str(), it));
            let profile = reader.argument("`default`, `strict` or `compat`").and_then(|it| reader.choice(it, &choices));
            spec.profile = profile.map(|it| reader.spanned(it));
        }
        "test" => {
            test(&mut reader, spec);
            children = Children::Read;
        }
        "stdin" => spec.stdin = stdin(&mut reader).map(|it| reader.spanned(it)),
        "tty" => {
            let choices = [("auto", Tty::Auto), ("yes", Tty::Yes), ("no", Tty::No)];
            let tty = reader.argument("`auto`, `yes` or `no`").and_then(|it| reader.choice(it, &choices));
            spec.tty = tty.map(|it| reader.spanned(it));
        }
        "init" => {
            let init = reader.argument("`#true` or `#false`").and_then(|it| reader.truth(it));
            spec.init = init.map(|it| reader.spanned(if it { Init::Reaper } else { Init::Command }));
        }
        "changes" => {
            let path = reader.argument_read("a path", value::host_path, form::OUTSIDE);
            spec.changes = path.map(|it| reader.spanned(it));
        }
        "collect" => spec.collect.extend(decode_mounts::collect(&mut reader).map(|it| reader.spanned(it))),
        "report" => spec.report = report(&mut reader).map(|it| reader.spanned(it)),
        "best-effort" => spec.best_effort = decode_limits::best_effort(&mut reader),
        // Taken out where the files are put together.
        "extends" | "param" => reader.disregard(),
        _ => return decode_process::process(reader, spec),
    }
    reader.finish(children);
}

fn test(reader: &mut Reader<'_, '_>, spec: &mut Spec) {
    let Some(test) = decode_test::test(reader, section) else { return };
    if spec.tests.iter().any(|other| other.value.name == test.name) {
        let message = format!("the test `{}` comes twice", test.name);
        reader.out.push(Finding::new(reader.node.span, message).label("the second one"));
    }
    spec.tests.push(reader.spanned(test));
}

fn rootfs(reader: &mut Reader<'_, '_>) -> Option<Rootfs> {
    let modes = [("no", Writable::No), ("ephemeral", Writable::Ephemeral), ("persist", Writable::Persist)];
    let pulls = [("missing", Pull::Missing), ("always", Pull::Always), ("never", Pull::Never)];
    let form = "`host`, `scratch`, the path of a directory, a tar or an image, or `docker://HOST/NAME:TAG`";
    let source = reader.argument_read("a source", value_rootfs::rootfs_source, form);
    let digest = reader.property_read("digest", value::digest, form::DIGEST);
    let writable = reader.property_choice("writable", &modes);
    let upper = reader.property_read("upper", value::host_path, form::OUTSIDE);
    let size = reader.property_size("size");
    let pull = reader.property_choice("pull", &pulls);
    let platform = reader.property_read("platform", value_rootfs::platform, "`linux/amd64`, `linux/arm64/v8`");
    Some(Rootfs { source: source?, pull, platform, digest, writable, upper, size })
}

fn namespaces(reader: &mut Reader<'_, '_>) -> Option<Namespaces> {
    let choices = Namespace::ALL.map(|it| (it.as_str(), it));
    let mut namespaces = Namespaces::default();
    for entry in reader.arguments("the name of a namespace") {
        let Some(name) = reader.choice(entry, &choices) else { continue };
        if namespaces.new.contains(&name) {
            let message = format!("the namespace `{}` comes twice", name.as_str());
            reader.out.push(Finding::new(entry.span, message).label("the second one"));
        } else {
            namespaces.new.push(name);
        }
    }
    namespaces.new.sort();
    let mut times = 0;
    for child in reader.node.children.iter().flatten() {
        if child.name != "time" {
            let message = format!("`namespaces` has no child `{}`", shorten(&child.name));
            reader.out.push(unknown(child.name_span, message, &child.name, ["time"].into_iter()));
            continue;
        }
        times += 1;
        if times > 1 {
            reader.out.push(Finding::new(child.name_span, "the node `time` comes twice").label("the second one"));
            continue;
        }
        let mut time = Reader::new(child, reader.out);
        namespaces.boottime = time.property_read("boottime", value::offset, form::OFFSET);
        namespaces.monotonic = time.property_read("monotonic", value::offset, form::OFFSET);
        if child.entries.is_empty() {
            let finding = Finding::new(child.span, "`time` needs an offset");
            time.out.push(finding.label("`boottime=` or `monotonic=` is missing"));
        }
        time.finish(Children::None);
    }
    Some(namespaces)
}

fn user(reader: &mut Reader<'_, '_>) -> Option<User> {
    let ids = reader.property_choice("ids", &[("single", Ids::Single), ("range", Ids::Range)]);
    let ids = ids.map_or(Ids::Single, |it| it.value);
    let first = reader.argument("`caller`, `root`, a name, or UID and GID")?;
    // Digits in quotes are a number only with a group behind them: a name stands alone.
    let alone = reader.node.entries.iter().filter(|entry| entry.name.is_none()).count() == 1;
    let who = match &first.value {
        Value::Text(text) if alone || value::whole_number(text).is_none() => {
            reader.read(first, value::user_name, "`caller`, `root`, or a name in the rootfs")?
        }
        _ => {
            let uid = reader.number(first, 0..=value::MAX_ID);
            let second = reader.optional_argument();
            if second.is_none() {
                let finding = Finding::new(first.span, "a user by number needs a group as well");
                reader.out.push(finding.label("GID is missing").help("write both: `user 1000 1000`"));
            }
            let gid = second.and_then(|it| reader.number(it, 0..=value::MAX_ID));
            Who::Numeric { uid: u32::try_from(uid?).ok()?, gid: u32::try_from(gid?).ok()? }
        }
    };
    Some(User { who, ids })
}

fn stdin(reader: &mut Reader<'_, '_>) -> Option<Stdin> {
    reader.argument_read("`inherit`, `null` or a path", value::stdin, "`inherit`, `null` or a path on the host")
}

fn report(reader: &mut Reader<'_, '_>) -> Option<ReportTarget> {
    let form = "`stderr`, `stdout`, `none`, `fd:3`, or a path on the host";
    reader.argument_read("a target", value::report_target, form)
}
