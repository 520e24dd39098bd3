//! The plan as JSON, for `sbx plan --json`: the same facts as its text, under the
//! same words. Shows no secret and no content of a file.

use std::ffi::OsString;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::host::{Preparation, Version};
use crate::plan::landlock::{Act, Right, Rights};
use crate::plan::network;
use crate::plan::posture::Deed;
use crate::plan::{
    Attributes, Capture, Content, Exec, Filesystem, Group, IdRange, Ids, Op, Opener, Plan, StdinPlan, Step, Tree,
    Variable, VariableValue,
};
use crate::plan::{show_network, way};
use crate::report::line;
use crate::spec;
use crate::sys::net::Family;
use crate::units::{Origin, SpecText};

/// The name and the version of the format, the value of `schema`.
pub const PLAN_SCHEMA_NAME: &str = "sbx.plan/1";

/// What asked for something.
#[derive(Debug, Clone, Serialize)]
pub struct OriginMember<'a> {
    /// `spec`, `command line` or `default`; the other members are null but for `spec`.
    pub from: &'static str,
    pub file: Option<&'a str>,
    /// Counted from 1.
    pub line: Option<usize>,
    /// In characters, counted from 1.
    pub column: Option<usize>,
}

/// One operation: its word, its own members, and what asked for it.
#[derive(Debug, Clone, Serialize)]
pub struct StepMember<'a> {
    pub op: &'static str,
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    pub origin: OriginMember<'a>,
}

/// Returns the plan as one line of JSON with a final newline.
///
/// # Errors
/// None that a plan can cause; the writer of JSON has errors for others.
pub fn to_line(plan: &Plan, spec: SpecText<'_>) -> Result<Vec<u8>, serde_json::Error> {
    line::line(&Document::new(plan, spec))
}

/// The whole plan; the members are those of [`Plan`].
#[derive(Debug, Serialize)]
struct Document<'a> {
    schema: &'static str,
    namespaces: Vec<&'static str>,
    identity: Value,
    cgroup: Vec<Value>,
    network: Value,
    steps: Vec<StepMember<'a>>,
    exec: Value,
    init: &'static str,
    stdin: Value,
    terminal: Option<Vec<&'static str>>,
    watch: Value,
    limits: Vec<Value>,
    weakened: Vec<Value>,
    warnings: &'a [String],
}

impl<'a> Document<'a> {
    fn new(plan: &'a Plan, spec: SpecText<'a>) -> Self {
        let identity = &plan.identity;
        let groups = plan.cgroup.iter().flat_map(|cgroup| &cgroup.groups);
        Self {
            schema: PLAN_SCHEMA_NAME,
            namespaces: plan.namespaces.iter().map(|namespace| namespace.as_str()).collect(),
            identity: json!({
                "inside": ids(identity.inside), "outside": ids(identity.outside),
                "uid_map": ranges(&identity.uid_map), "gid_map": ranges(&identity.gid_map),
                "groups": identity.groups,
                "maps_by": identity.writer.as_str(),
            }),
            network: plan.way.as_ref().map_or(Value::Null, |it| rules(it, spec)),
            cgroup: groups.map(|it| group(it, spec)).collect(),
            steps: plan.steps.iter().map(|it| step(it, spec)).collect(),
            exec: exec(&plan.exec),
            init: match plan.init {
                spec::Init::Reaper => "reaper",
                spec::Init::Command => "command",
            },
            stdin: match &plan.stdin {
                StdinPlan::Inherit => json!({"kind": "inherit"}),
                StdinPlan::Null => json!({"kind": "null"}),
                StdinPlan::File(path, _) => json!({"kind": "file", "path": path.to_string_lossy()}),
            },
            terminal: plan.terminal.map(|terminal| terminal.streams().collect()),
            watch: watch(plan),
            limits: plan
                .limits
                .iter()
                .map(|it| json!({"name": it.name, "requested": it.requested, "applied": it.applied, "by": it.by}))
                .collect(),
            weakened: plan.weakened.iter().map(|it| json!({"feature": it.feature, "why": it.why})).collect(),
            warnings: &plan.warnings,
        }
    }
}

fn origin(origin: Origin, spec: SpecText<'_>) -> OriginMember<'_> {
    let (from, at) = match origin {
        Origin::Spec(span) => ("spec", Some(spec.place(span))),
        Origin::CommandLine => ("command line", None),
        Origin::Image => ("image", None),
        Origin::Default => ("default", None),
    };
    OriginMember {
        from,
        file: at.map(|(file, _)| file),
        line: at.map(|(_, (line, _))| line),
        column: at.map(|(_, (_, column))| column),
    }
}

fn step<'a>(step: &Step, spec: SpecText<'a>) -> StepMember<'a> {
    let fields = match fields(&step.op) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    StepMember { op: step.op.kind(), fields, origin: origin(step.origin, spec) }
}

fn fields(op: &Op) -> Value {
    match op {
        Op::OpenTree { tree: Tree(tree), source, attributes, opener } => json!({
            "tree": tree, "source": source.to_string_lossy(), "attributes": flags(attributes), "opener": match opener {
                Opener::Child => "child",
                Opener::Parent(_) => "parent",
            }, "idmap": match opener {
                Opener::Child => None,
                Opener::Parent(idmap) => idmap.as_str(),
            },
        }),
        Op::NewFilesystem { tree: Tree(tree), filesystem, options, attributes } => json!({
            "tree": tree, "filesystem": Filesystem::as_str(*filesystem), "options": options, "attributes": flags(attributes),
        }),
        Op::Pivot { tree: Tree(tree) } => json!({"tree": tree}),
        Op::Attach { tree: Tree(tree), destination } => json!({"tree": tree, "destination": destination.as_str()}),
        Op::Mount { filesystem, destination, options, attributes } => json!({
            "filesystem": Filesystem::as_str(*filesystem), "destination": destination.as_str(), "options": options,
            "attributes": flags(attributes),
        }),
        Op::MakeDir { path, mode } => json!({"path": path.as_str(), "mode": format!("{mode:04o}")}),
        Op::MakeFile { path, mode } => json!({"path": path.as_str(), "mode": format!("{mode:04o}")}),
        Op::NewFile { tree: Tree(tree), mode, content } => json!({
            "tree": tree, "mode": format!("{mode:04o}"), "content": match content {
                Content::Empty => "empty",
                Content::Text(_) => "text",
                Content::Secret(_) => "secret",
            }, "bytes": match content {
                Content::Empty => Some(0),
                Content::Text(text) => Some(text.len()),
                Content::Secret(_) => None,
            },
        }),
        Op::Stage { tree: Tree(tree), directories } => json!({"tree": tree, "directories": directories}),
        Op::MakeStaged { directory, mode } => json!({"directory": directory, "mode": format!("{mode:04o}")}),
        Op::HandOver { trees } => json!({"trees": trees.iter().map(|tree| tree.0).collect::<Vec<_>>()}),
        Op::AttachStaged { tree: Tree(tree), directory } => json!({"tree": tree, "directory": directory}),
        Op::MakeSymlink { path, target } => json!({"path": path.as_str(), "target": target}),
        Op::ReadOnly { path } | Op::Workdir { path } | Op::Posture(Deed::Hide { path, .. } | Deed::Freeze { path }) => {
            json!({"path": path.as_str()})
        }
        Op::Pin { path, write } => json!({"path": path.as_str(), "write": write.as_str()}),
        Op::Posture(Deed::NoUserNamespaces { besides }) => json!({"besides": besides}),
        Op::Posture(Deed::OomScore { adjustment }) => json!({"adjustment": adjustment}),
        Op::UnshareTime { monotonic, boottime } => json!({"monotonic_ns": monotonic, "boottime_ns": boottime}),
        Op::Hostname { name } => json!({"name": name}),
        Op::Rlimit { resource, value } => json!({"resource": resource.as_str(), "value": value}),
        Op::Landlock { act } => landlock(act),
        Op::Seccomp { filter } => json!({
            "profile": filter.profile, "rules": filter.rules, "allow": filter.counts.allow,
            "conditional": filter.counts.conditional, "deny": filter.counts.deny,
            "otherwise": filter.otherwise.to_string(), "instructions": filter.program.len(),
        }),
        Op::LockMounts { namespaces } => {
            json!({"namespaces": namespaces.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()})
        }
        Op::Capabilities { keep } => json!({"keep": keep.iter().map(|it| it.name).collect::<Vec<_>>()}),
        Op::Way(deed) => out(deed),
        Op::MapIds
        | Op::SetIds
        | Op::DieWithParent
        | Op::PrivateMounts
        | Op::BareRoot
        | Op::SealMounts
        | Op::OpenTerminal
        | Op::JoinCgroup
        | Op::UnshareCgroup
        | Op::Posture(Deed::NewKeyring)
        | Op::LoopbackUp
        | Op::NoNewPrivileges => Value::Null,
    }
}

fn out(deed: &way::Deed) -> Value {
    let words = |families: &[Family]| families.iter().map(|it| way::word(*it)).collect::<Vec<_>>();
    match deed {
        way::Deed::AnyAddress { families } => {
            json!({"routes": families.iter().map(|it| way::everything(*it)).collect::<Vec<_>>()})
        }
        way::Deed::Intercept { host, besides } => json!({
            "host": host.iter().map(way::ports).collect::<Vec<_>>(), "besides": besides.iter().map(way::block).collect::<Vec<_>>()}),
        way::Deed::OpenInlets { families, doors, published } => json!({
            "families": words(families), "published": published.as_str(), "ports": match doors {
                way::Doors::One => Value::Null,
                way::Doors::Each(ports) => json!(ports),
            },
        }),
        way::Deed::SilencePings { families } => json!({"families": words(families)}),
        way::Deed::JoinBridge { name, address } => json!({"name": name, "address": address.as_ref().map(way::block)}),
        way::Deed::AllowPings => Value::Null,
    }
}

fn rules(of: &network::Way, spec: SpecText<'_>) -> Value {
    let rules = show_network::rows(of).into_iter();
    let rules = rules.map(|it| json!({"rule": it.word, "value": it.value, "origin": origin(it.origin, spec)}));
    json!({"mode": of.mode, "rules": rules.collect::<Vec<_>>()})
}

fn landlock(act: &Act) -> Value {
    let words = |rights: Rights| rights.iter().map(Right::as_str).collect::<Vec<_>>();
    match act {
        Act::Handle(rights) | Act::Streams(rights) => json!({"rights": words(*rights)}),
        Act::Path(path, rights) => json!({"path": path.as_str(), "rights": words(*rights)}),
        Act::Port(port, rights) => json!({"port": port, "rights": words(*rights)}),
    }
}

fn flags(attributes: &Attributes) -> Vec<&'static str> {
    attributes.flags().collect()
}

fn ids(ids: Ids) -> [u32; 2] {
    [ids.uid, ids.gid]
}

fn ranges(ranges: &[IdRange]) -> Vec<[u32; 3]> {
    ranges.iter().map(|range| [range.inside, range.outside, range.count]).collect()
}

fn group(group: &Group, spec: SpecText<'_>) -> Value {
    json!({
        "version": match group.version {
            Version::V1 => 1,
            Version::V2 => 2,
        },
        "parent": group.parent.to_string_lossy(),
        "preparation": match group.preparation {
            Preparation::Ready => "ready",
            Preparation::Enable => "enable",
            Preparation::MakeThenEnable => "make-then-enable",
            Preparation::MoveSelfThenEnable => "move-self-then-enable",
        },
        "settings": group.settings.iter().map(|it| json!({
            "file": it.file, "value": it.value.as_str(), "feature": it.feature, "origin": origin(it.origin, spec),
        })).collect::<Vec<_>>(),
    })
}

fn exec(exec: &Exec) -> Value {
    let Exec { candidates, argv, env, workdir, origin: _ } = exec;
    let env: Vec<_> = env
        .iter()
        .map(|Variable { name, value }| match value {
            VariableValue::Plain(value) => json!({"name": name, "value": value, "secret": false}),
            VariableValue::Secret(_) => json!({"name": name, "value": null, "secret": true}),
        })
        .collect();
    let text = |words: &[OsString]| words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let (argv, candidates) = (text(argv), text(candidates));
    json!({"argv": argv, "candidates": candidates, "env": env, "workdir": workdir.as_str()})
}

fn watch(plan: &Plan) -> Value {
    let watch = &plan.watch;
    let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).ok();
    json!({
        "wall_ns": watch.wall.and_then(ns), "grace_ns": ns(watch.grace), "cpu_time_ns": watch.cpu_time.and_then(ns),
        "output_bytes": watch.output.map(|size| size.0), "capture": matches!(watch.capture, Capture::Yes),
    })
}
