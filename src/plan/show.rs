//! The plan as text for people: one operation a line with what asked for it. The
//! words of an operation here are its words in errors and reports. Shows no secret.

use std::ffi::OsString;
use std::fmt;

use crate::host::{Preparation, Version};
use crate::plan::identity::OWN;
use crate::plan::{
    Attributes, Capture, Content, Devices, Exec, Filesystem, Group, IdRange, Identity, Idmap, Ids, Links, MapWriter,
    Op, Opener, Plan, StdinPlan, Tree, Variable, VariableValue, Watch, Write, show_network,
};
use crate::spec;
use crate::units::{Origin, SpecText, Word, duration, visible};

/// Beyond this many characters a line does not push the origins of all others to the right.
const COLUMN_MAX: usize = 72;

/// Returns the whole plan, one fact a line, with a final newline. `spec` is for `build.kdl:14` at the end of a line.
#[must_use]
pub fn show(plan: &Plan, spec: SpecText<'_>) -> String {
    let mut rows = head(plan);
    rows.extend(plan.cgroup.iter().flat_map(|cgroup| &cgroup.groups).flat_map(group));
    let rules = plan.way.iter().flat_map(show_network::rows);
    rows.extend(rules.map(|it| (format!("{} {}", it.word, Word(&it.value)), Some(it.origin))));
    rows.extend(plan.steps.iter().map(|step| (with_tree(&step.op), Some(step.origin))));
    rows.extend(tail(plan).into_iter().map(|row| (row, None)));
    let length = |row: &(String, Option<Origin>)| row.0.chars().count();
    let width = rows.iter().filter(|row| row.1.is_some()).map(length).filter(|it| *it <= COLUMN_MAX).max();
    let width = width.unwrap_or(COLUMN_MAX);
    let mut shown = String::with_capacity(rows.len() * 64);
    for (words, origin) in rows {
        match origin {
            Some(origin) => shown.extend([format!("{words:<width$}  "), place(origin, spec)]),
            None => shown.push_str(&words),
        }
        shown.push('\n');
    }
    shown
}

/// Returns what asked for something: `build.kdl:14`, `command line` or `default`.
#[must_use]
pub fn place(origin: Origin, spec: SpecText<'_>) -> String {
    match origin {
        Origin::Spec(span) => {
            let (name, (line, _)) = spec.place(span);
            format!("{}:{line}", Word(name))
        }
        Origin::CommandLine => "command line".to_owned(),
        Origin::Image => "image".to_owned(),
        Origin::Default => "default".to_owned(),
    }
}

impl Op {
    /// Returns the word for what is done, without its object.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MapIds => "map-ids",
            Self::SetIds => "set-ids",
            Self::DieWithParent => "die-with-parent",
            Self::PrivateMounts => "private-mounts",
            Self::BareRoot => "bare-root",
            Self::SealMounts => "seal-mounts",
            Self::OpenTree { .. } => "open-tree",
            Self::NewFilesystem { .. } => "new-filesystem",
            Self::NewFile { .. } => "new-file",
            Self::HandOver { .. } => "hand-over",
            Self::Stage { .. } => "stage",
            Self::AttachStaged { .. } => "attach-staged",
            Self::MakeStaged { .. } => "make-staged",
            Self::Pivot { .. } => "pivot",
            Self::Attach { .. } => "attach",
            Self::Mount { .. } => "mount",
            Self::MakeDir { .. } => "make-dir",
            Self::MakeFile { .. } => "make-file",
            Self::MakeSymlink { .. } => "make-symlink",
            Self::OpenTerminal => "open-terminal",
            Self::ReadOnly { .. } => "read-only",
            Self::Pin { .. } => "pin",
            Self::JoinCgroup => "join-cgroup",
            Self::Posture(deed) => deed.kind(),
            Self::UnshareCgroup => "unshare-cgroup",
            Self::UnshareTime { .. } => "unshare-time",
            Self::Hostname { .. } => "hostname",
            Self::LoopbackUp => "loopback-up",
            Self::Way(deed) => deed.kind(),
            Self::Rlimit { .. } => "rlimit",
            Self::LockMounts { .. } => "lock-mounts",
            Self::Capabilities { .. } => "capabilities",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::Landlock { act } => act.kind(),
            Self::Seccomp { .. } => "seccomp",
            Self::Workdir { .. } => "workdir",
        }
    }
}

impl fmt::Display for Op {
    /// Writes the kind and what it is done to: `open-tree /srv/root ro nosuid nodev`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        match self {
            Self::OpenTree { source, attributes, opener, .. } => {
                write!(f, " {} {attributes}{opener}", Word(&source.to_string_lossy()))
            }
            Self::NewFilesystem { filesystem, options, attributes, .. } => {
                write!(f, " {filesystem}")?;
                for (key, value) in options {
                    match value.as_str() {
                        "" => write!(f, " {}", Word(key))?,
                        value => write!(f, " {}", Word(&format!("{key}={value}")))?,
                    }
                }
                write!(f, " {attributes}")
            }
            Self::Attach { destination: path, .. } | Self::ReadOnly { path } | Self::Workdir { path } => {
                write!(f, " {}", Word(path.as_str()))
            }
            Self::Pin { path, write } => {
                let why = match write {
                    Write::ReadOnly => "ro, because sbx reads it",
                    Write::ReadWrite => "rw, because sbx reads what is below it",
                };
                write!(f, " {} {why}", Word(path.as_str()))
            }
            Self::Posture(deed) => deed.fmt(f),
            Self::Mount { filesystem, destination, options, attributes } => {
                write!(f, " {filesystem} {}", Word(destination.as_str()))?;
                if !options.is_empty() {
                    write!(f, " {}", Word(options))?;
                }
                write!(f, " {attributes}")
            }
            Self::MakeDir { path, mode } => write!(f, " {} {mode:04o}", Word(path.as_str())),
            Self::MakeFile { path, mode } => write!(f, " {} {mode:04o}", Word(path.as_str())),
            Self::NewFile { mode, content, .. } => write!(f, " {mode:04o} {content}"),
            Self::HandOver { trees } => trees.iter().try_for_each(|tree| write!(f, " {}", tree.0)),
            Self::Stage { directories, .. } => write!(f, " {}", directories.join(" ")),
            Self::AttachStaged { directory, .. } => write!(f, " {}", Word(directory)),
            Self::MakeStaged { directory, mode } => write!(f, " {} {mode:04o}", Word(directory)),
            Self::MakeSymlink { path, target } => write!(f, " {} -> {}", Word(path.as_str()), Word(target)),
            Self::UnshareTime { monotonic, boottime } => {
                write!(f, " monotonic={monotonic}ns boottime={boottime}ns")
            }
            Self::Hostname { name } => write!(f, " {}", Word(name)),
            Self::Way(deed) => deed.fmt(f),
            Self::Rlimit { resource, value } => write!(f, " {} {value}", resource.as_str()),
            Self::LockMounts { namespaces } => namespaces.iter().try_for_each(|kind| write!(f, " {}", kind.as_str())),
            Self::Capabilities { keep } if keep.is_empty() => f.write_str(" none"),
            Self::Capabilities { keep } => keep.iter().try_for_each(|capability| write!(f, " {}", capability.name)),
            Self::Landlock { act } => write!(f, " {act}"),
            Self::Seccomp { filter } => write!(f, " {filter}"),
            Self::MapIds
            | Self::SetIds
            | Self::DieWithParent
            | Self::PrivateMounts
            | Self::BareRoot
            | Self::SealMounts
            | Self::Pivot { .. }
            | Self::OpenTerminal
            | Self::JoinCgroup
            | Self::UnshareCgroup
            | Self::LoopbackUp
            | Self::NoNewPrivileges => Ok(()),
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Attributes {
    /// Returns the flags by their names in mount(8).
    pub fn flags(&self) -> impl Iterator<Item = &'static str> + use<> {
        let write = self.write.as_str();
        let exec = match self.exec {
            spec::Exec::Forbidden => Some("noexec"),
            spec::Exec::Allowed => None,
        };
        let links = match self.links {
            Links::Refused => Some("nosymfollow"),
            Links::Followed => None,
        };
        let flags = match self.devices {
            Devices::Forbidden => [Some(write), Some("nosuid"), Some("nodev"), exec, links],
            Devices::Allowed | Devices::Required => [Some("dev"), None, None, None, None],
        };
        flags.into_iter().flatten()
    }
}

impl fmt::Display for Attributes {
    /// Writes the flags: `ro nosuid nodev noexec`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.flags().collect::<Vec<_>>().join(" "))
    }
}

impl Idmap {
    /// Returns the word for how owners look; `None` where they look as they are.
    #[must_use]
    pub fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Inside => Some("inside"),
            Self::Caller => Some("caller"),
        }
    }
}

impl fmt::Display for Opener {
    /// Writes nothing for the child, which opens most sources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child => Ok(()),
            Self::Parent(idmap) => {
                f.write_str(" opener=parent")?;
                idmap.as_str().map_or(Ok(()), |idmap| write!(f, " idmap={idmap}"))
            }
        }
    }
}

impl fmt::Display for Content {
    /// Writes how much it is, never what it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty"),
            Self::Text(text) => write!(f, "bytes={}", text.len()),
            Self::Secret(_) => f.write_str("secret"),
        }
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl fmt::Display for IdRange {
    /// Writes one line of user_namespaces(7).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, outside(self.outside), self.count)
    }
}

/// A plan that is only shown has no process that runs it.
fn outside(id: u32) -> String {
    if id == OWN { format!("{OWN}+pid") } else { id.to_string() }
}

impl fmt::Display for Variable {
    /// Writes `NAME=value`, a secret value as `…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            VariableValue::Plain(value) => write!(f, "{}", Word(&format!("{}={value}", self.name))),
            VariableValue::Secret(_) => write!(f, "{}", Word(&format!("{}=…", self.name))),
        }
    }
}

impl MapWriter {
    /// Returns the word for who writes the maps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Child => "child",
            Self::Parent => "parent",
            Self::Helpers => "helpers",
        }
    }
}

/// The words of a step and, where there is one, the tree that links it to others.
fn with_tree(op: &Op) -> String {
    match op {
        Op::OpenTree { tree: Tree(n), .. } | Op::NewFilesystem { tree: Tree(n), .. } => format!("{op} as #{n}"),
        Op::Pivot { tree: Tree(n) } | Op::Attach { tree: Tree(n), .. } => format!("{op} from #{n}"),
        _ => op.to_string(),
    }
}

fn head(plan: &Plan) -> Vec<(String, Option<Origin>)> {
    let namespaces: Vec<_> = plan.namespaces.iter().map(|namespace| namespace.as_str()).collect();
    let Identity { inside, outside: ids, uid_map, gid_map, groups, writer } = &plan.identity;
    let mut rows = vec![
        match namespaces.as_slice() {
            [] => "namespaces none".to_owned(),
            names => format!("namespaces {}", names.join(" ")),
        },
        {
            let [uid, gid] = [ids.uid, ids.gid].map(outside);
            format!("identity inside={inside} outside={uid}:{gid} maps-by={}", writer.as_str())
        },
    ];
    rows.extend(uid_map.iter().map(|range| format!("uid-map {range}")));
    rows.extend(gid_map.iter().map(|range| format!("gid-map {range}")));
    if !groups.is_empty() {
        rows.push(groups.iter().fold("groups".to_owned(), |row, gid| format!("{row} {gid}")));
    }
    rows.into_iter().map(|row| (row, None)).collect()
}

fn group(group: &Group) -> impl Iterator<Item = (String, Option<Origin>)> {
    let version = match group.version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    };
    let preparation = match group.preparation {
        Preparation::Ready => "",
        Preparation::Enable => " prepare=enable",
        Preparation::MakeThenEnable => " prepare=make,enable",
        Preparation::MoveSelfThenEnable => " prepare=move-self,enable",
    };
    let parent = group.parent.to_string_lossy();
    let row = format!("cgroup {version} below {}{preparation}", Word(&parent));
    let settings = group.settings.iter();
    let writes = settings.map(|it| (format!("cgroup {} = {}", it.file, Word(it.value.as_str())), Some(it.origin)));
    std::iter::once((row, None)).chain(writes)
}

fn tail(plan: &Plan) -> Vec<String> {
    let Exec { candidates, argv, env, .. } = &plan.exec;
    let line = |head: &str, words: &[OsString]| {
        words.iter().fold(head.to_owned(), |line, word| format!("{line} {}", Word(&word.to_string_lossy())))
    };
    let mut rows = vec![line("exec", argv)];
    if candidates.as_slice() != argv.get(..1).unwrap_or_default() {
        rows.push(line("candidates", candidates));
    }
    rows.extend(env.iter().map(|variable| format!("env {variable}")));
    rows.push(match &plan.stdin {
        StdinPlan::Inherit => "stdin inherit".to_owned(),
        StdinPlan::Null => "stdin null".to_owned(),
        StdinPlan::File(path, _) => format!("stdin {}", Word(&path.to_string_lossy())),
    });
    if let Some(terminal) = plan.terminal {
        rows.push(terminal.streams().fold("terminal".to_owned(), |row, name| format!("{row} {name}")));
    }
    rows.push(match plan.init {
        spec::Init::Reaper => "init reaper".to_owned(),
        spec::Init::Command => "init command".to_owned(),
    });
    rows.extend(watch(&plan.watch));
    rows.extend(plan.weakened.iter().map(|it| format!("weakened {}: {}", it.feature, visible(&it.why))));
    rows.extend(plan.warnings.iter().map(|warning| format!("warning: {}", visible(warning))));
    rows
}

fn watch(watch: &Watch) -> impl Iterator<Item = String> {
    let wall = watch.wall.map(|wall| format!("watch wall {} grace {}", duration(wall), duration(watch.grace)));
    let cpu_time = watch.cpu_time.map(|time| format!("watch cpu-time {}", duration(time)));
    let output = watch.output.map(|size| format!("watch output {size}"));
    let capture = match watch.capture {
        Capture::No => None,
        Capture::Yes => Some("watch capture".to_owned()),
    };
    [wall, cpu_time, output, capture].into_iter().flatten()
}
