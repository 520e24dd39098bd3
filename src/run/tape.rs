//! A plan, frozen: everything that the child needs, made ready before the clone, so
//! that it only has to play it. All allocation of a run's set-up ends here.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::path::Path;

use crate::error::{Error, Result};
use crate::plan::{Attributes, IdRange, MapWriter, Op, Opener, Plan, Step, Tree, Write};
use crate::run::anchor::Exposed;
use crate::run::c_text::{path_text, text};
use crate::run::filter::Filter;
use crate::run::frozen::{content_bytes, map_lines, offsets, variable};
use crate::run::landlock::{self, Ruleset};
use crate::run::numbers::{Dress, attribute_bits, mount_flags, name, namespace_flags, resource_number};
use crate::run::pty::{Look, Stdio};
use crate::run::{fail, posture, way};
use crate::spec::{Init, Namespace};
use crate::sys::file::Stat;
use crate::sys::process::{self, Memory, Pid, Pointers};
use crate::sys::{Fd, memory, start};

/// The stack of the process that becomes the command.
const STACK: usize = 32 << 10;

/// What the child plays. The numbers of `acts` are those of the plan's steps.
#[derive(Debug)]
pub struct Tape {
    pub acts: Vec<Act>,
    /// The descriptors of the trees, by number; those opened by the parent are there already.
    pub trees: Vec<Option<Fd>>,
    pub start: Start,
    /// What the child must not carry: the caller's arguments and environment.
    pub caller: Option<memory::Strings>,
    pub ties: Ties,
    /// The descriptors above standard error that the child needs, in ascending order. The others go before
    /// anything of the image is looked at: a link to `/proc/self/fd/N` would lead out (CVE-2024-21626).
    pub kept: Vec<Fd>,
    /// The step that fails instead of being done: a test of a debug build.
    pub failing: Option<usize>,
}

/// What connects the child with the parent.
#[derive(Debug)]
pub struct Ties {
    /// The child's end of the connection: here it hears that the parent has done its part, and says what went
    /// wrong and how the command ended. The parent's end is not kept, so that the parent's death is seen.
    pub status: Fd,
    /// The `tasks` files of the run's v1 groups.
    pub tasks: Vec<Fd>,
    /// What the kernel sends to the child when the parent dies.
    pub death_signal: i32,
    /// The command's end of the sandbox's terminal, once that is made.
    pub terminal: Option<Fd>,
    /// Whether the command may start only when the parent says that it has what counts the traffic.
    pub counted: bool,
}

/// How the command starts.
#[derive(Debug)]
pub struct Start {
    pub candidates: Vec<CString>,
    pub argv: Pointers,
    pub env: Pointers,
    /// What becomes descriptors 0, 1 and 2.
    pub stdio: [Stdio; 3],
    /// Signals that sbx found ignored, whose default action comes back.
    pub ignored: Vec<i32>,
    pub init: Init,
    pub memory: Memory,
    pub stack: Box<[MaybeUninit<u8>]>,
    /// Whether the first process is pid 1 of its own namespace, which takes all others with it.
    pub pid_namespace: PidNamespace,
    /// The file system whose size is limited.
    pub bounded: Option<CString>,
    /// What the command's system calls go through.
    pub filter: Option<Filter>,
    /// What the command obeys.
    pub rulesets: Vec<Ruleset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidNamespace {
    New,
    /// That of sbx, whose number this is.
    Host {
        sbx: Pid,
    },
}

/// One step, ready to be played.
#[derive(Debug)]
pub enum Act {
    /// Done by another process: by the parent already, or by the one that becomes the command.
    Nothing,
    WriteMaps {
        uid_map: CString,
        gid_map: CString,
    },
    AwaitMaps,
    SetIds {
        uid: u32,
        gid: u32,
        groups: Vec<u32>,
    },
    /// The same from the host's root, without a user namespace.
    LeaveRoot {
        uid: u32,
        gid: u32,
    },
    DieWithParent,
    PrivateMounts,
    BareRoot,
    SealMounts,
    OpenTree {
        tree: usize,
        /// A directory that the command may write to: `source` is below it and walked without links.
        below: Option<CString>,
        source: CString,
        dress: Dress,
    },
    NewFilesystem {
        tree: usize,
        name: &'static CStr,
        options: Vec<(CString, CString)>,
        attributes: u64,
    },
    NewFile {
        tree: usize,
        mode: u32,
        content: Vec<u8>,
    },
    HandOver(Vec<Tree>),
    Stage {
        tree: usize,
        directories: Vec<CString>,
    },
    AttachStaged {
        tree: usize,
        directory: CString,
    },
    /// `name` below `parent` on the stage.
    MakeStaged {
        parent: CString,
        name: CString,
        mode: u32,
    },
    Pivot {
        tree: usize,
    },
    Attach {
        tree: usize,
        destination: CString,
    },
    Mount {
        name: &'static CStr,
        destination: CString,
        flags: u64,
        options: CString,
    },
    MakeDir {
        path: CString,
        mode: u32,
    },
    MakeFile {
        path: CString,
        mode: u32,
    },
    MakeSymlink {
        path: CString,
        target: CString,
    },
    OpenTerminal {
        look: Look,
    },
    ReadOnly {
        path: CString,
    },
    Pin {
        path: CString,
        write: Write,
    },
    JoinCgroup,
    Posture(posture::Act),
    UnshareCgroup,
    UnshareTime {
        offsets: CString,
    },
    Hostname {
        name: CString,
    },
    LoopbackUp,
    Way(way::Act),
    Rlimit {
        resource: u32,
        value: u64,
    },
    LockMounts {
        /// CLONE_NEW* of the namespaces that come with those of users and mounts.
        flags: u64,
        /// Each id as itself.
        maps: [CString; 2],
    },
    Capabilities {
        keep: u64,
    },
    NoNewPrivileges,
    Workdir {
        path: CString,
    },
}

/// What the parent has opened for the child.
#[derive(Debug)]
pub struct Opened {
    pub trees: Vec<Option<Fd>>,
    pub stdio: [Stdio; 3],
    pub look: Option<Look>,
    pub ties: Ties,
    pub ignored: Vec<i32>,
    /// The address on the bridge.
    pub address: Option<(Ipv4Addr, u8)>,
    /// What the standard streams are, where they are not sbx's own.
    pub streams: [Option<Stat>; 3],
}

fn kept(opened: &Opened) -> Vec<Fd> {
    let ties = &opened.ties;
    let mut kept: Vec<Fd> = opened.trees.iter().filter_map(|fd| *fd).collect();
    kept.extend(opened.stdio.iter().filter_map(|stdio| if let Stdio::Opened(fd) = stdio { Some(*fd) } else { None }));
    kept.push(ties.status);
    kept.extend(&ties.tasks);
    kept.sort_by_key(|fd| fd.0);
    kept
}

/// Freezes `plan`.
///
/// # Errors
/// Text with a NUL character, which no path or argument can have; a secret file that cannot be read.
pub fn freeze(plan: &Plan, exposed: &Exposed, opened: Opened) -> Result<Tape> {
    let kept = kept(&opened);
    let around = Around { exposed, look: opened.look, address: opened.address };
    let freeze_step = |step: &Step| freeze_step(plan, &step.op, &around).map_err(|error| error.at(step.origin));
    let new_time = plan.steps.iter().any(|step| matches!(step.op, Op::UnshareTime { .. }));
    let start = Start {
        candidates: plan.exec.candidates.iter().map(|path| path_text(path.as_ref())).collect::<Result<_>>()?,
        argv: Pointers::new(plan.exec.argv.iter().map(|word| path_text(word.as_ref())).collect::<Result<_>>()?),
        env: Pointers::new(plan.exec.env.iter().map(variable).collect::<Result<_>>()?),
        stdio: opened.stdio,
        ignored: opened.ignored,
        init: plan.init,
        // A child that shares memory stays in the old time namespace until it execs, and on older kernels beyond.
        memory: if new_time { Memory::Copied } else { Memory::Shared },
        stack: Box::new_uninit_slice(STACK),
        pid_namespace: match plan.namespaces.contains(&Namespace::Pid) {
            true => PidNamespace::New,
            false => PidNamespace::Host { sbx: process::own_pid() },
        },
        filter: Filter::of(plan),
        rulesets: landlock::freeze(plan, &opened.streams)?,
        bounded: plan.watch.disk.as_ref().map(|path| text(path.as_str())).transpose()?,
    };
    Ok(Tape {
        kept,
        acts: plan.steps.iter().map(freeze_step).collect::<Result<_>>()?,
        trees: opened.trees,
        start,
        caller: memory::caller_strings(start::argument_count()),
        ties: opened.ties,
        failing: fail::step(),
    })
}

/// What was found out for the run.
struct Around<'a> {
    exposed: &'a Exposed,
    look: Option<Look>,
    address: Option<(Ipv4Addr, u8)>,
}

fn freeze_step(plan: &Plan, op: &Op, Around { exposed, look, address }: &Around<'_>) -> Result<Act> {
    Ok(match op {
        Op::MapIds => freeze_maps(plan)?,
        Op::SetIds => {
            let (uid, gid) = (plan.identity.inside.uid, plan.identity.inside.gid);
            match plan.identity.writer {
                MapWriter::Nobody => Act::LeaveRoot { uid, gid },
                _ => Act::SetIds { uid, gid, groups: plan.identity.groups.clone() },
            }
        }
        Op::DieWithParent => Act::DieWithParent,
        Op::PrivateMounts => Act::PrivateMounts,
        Op::BareRoot => Act::BareRoot,
        Op::SealMounts => Act::SealMounts,
        Op::OpenTree { opener: Opener::Parent(_), .. } => Act::Nothing,
        Op::OpenTree { tree, source, attributes, opener: Opener::Child } => {
            freeze_source((*tree, source), *attributes, exposed)?
        }
        Op::NewFilesystem { tree, filesystem, options, attributes } => Act::NewFilesystem {
            tree: usize::from(tree.0),
            name: name(*filesystem),
            options: options.iter().map(|(key, value)| Ok((text(key)?, text(value)?))).collect::<Result<_>>()?,
            attributes: attribute_bits(*attributes),
        },
        Op::NewFile { tree, mode, content } => {
            Act::NewFile { tree: usize::from(tree.0), mode: *mode, content: content_bytes(content, exposed)? }
        }
        Op::HandOver { trees } => Act::HandOver(trees.clone()),
        Op::Stage { tree, directories } => Act::Stage {
            tree: usize::from(tree.0),
            directories: directories.iter().map(|name| text(name)).collect::<Result<_>>()?,
        },
        Op::AttachStaged { tree, directory } => {
            Act::AttachStaged { tree: usize::from(tree.0), directory: text(directory)? }
        }
        Op::MakeStaged { directory, mode } => {
            let (parent, name) = directory.rsplit_once('/').unwrap_or((".", directory));
            Act::MakeStaged { parent: text(parent)?, name: text(name)?, mode: *mode }
        }
        Op::Pivot { tree } => Act::Pivot { tree: usize::from(tree.0) },
        Op::Attach { tree, destination } => {
            Act::Attach { tree: usize::from(tree.0), destination: text(destination.as_str())? }
        }
        Op::Mount { filesystem, destination, options, attributes } => Act::Mount {
            name: name(*filesystem),
            destination: text(destination.as_str())?,
            flags: mount_flags(*attributes),
            options: text(options)?,
        },
        Op::MakeDir { path, mode } => Act::MakeDir { path: text(path.as_str())?, mode: *mode },
        Op::MakeFile { path, mode } => Act::MakeFile { path: text(path.as_str())?, mode: *mode },
        Op::MakeSymlink { path, target } => Act::MakeSymlink { path: text(path.as_str())?, target: text(target)? },
        Op::OpenTerminal => look.map_or(Act::Nothing, |look| Act::OpenTerminal { look }),
        Op::ReadOnly { path } => Act::ReadOnly { path: text(path.as_str())? },
        Op::Pin { path, write } => Act::Pin { path: text(path.as_str())?, write: *write },
        Op::JoinCgroup => Act::JoinCgroup,
        Op::Posture(deed) => Act::Posture(posture::freeze(deed)?),
        Op::UnshareCgroup => Act::UnshareCgroup,
        Op::UnshareTime { monotonic, boottime } => Act::UnshareTime { offsets: offsets(*monotonic, *boottime)? },
        Op::Hostname { name } => Act::Hostname { name: text(name)? },
        Op::LoopbackUp => Act::LoopbackUp,
        Op::Way(deed) => way::freeze(plan, deed, *address)?.map_or(Act::Nothing, Act::Way),
        Op::Rlimit { resource, value } => Act::Rlimit { resource: resource_number(*resource), value: *value },
        Op::LockMounts { namespaces } => freeze_locks(plan, namespaces)?,
        Op::Capabilities { keep } => {
            Act::Capabilities { keep: keep.iter().fold(0, |mask, capability| mask | 1 << capability.number) }
        }
        Op::NoNewPrivileges => Act::NoNewPrivileges,
        // By the process that becomes the command, once nothing but that is left to do.
        Op::Landlock { .. } | Op::Seccomp { .. } => Act::Nothing,
        Op::Workdir { path } => Act::Workdir { path: text(path.as_str())? },
    })
}

fn freeze_source((tree, source): (Tree, &Path), attributes: Attributes, exposed: &Exposed) -> Result<Act> {
    let anchored = exposed
        .anchor(source)
        .map_err(|errno| Error::io(format_args!("cannot open the source `{}`", source.display()), &errno.into()))?;
    let (below, source) = match &anchored {
        Some(anchored) => (Some(path_text(&anchored.base)?), path_text(&anchored.rest)?),
        None => (None, path_text(source)?),
    };
    Ok(Act::OpenTree { tree: usize::from(tree.0), below, source, dress: Dress::of(attributes) })
}

fn freeze_locks(plan: &Plan, namespaces: &[Namespace]) -> Result<Act> {
    let same = |ranges: &[IdRange]| {
        let ranges: Vec<_> = ranges.iter().map(|range| IdRange { outside: range.inside, ..*range }).collect();
        map_lines(&ranges)
    };
    let maps = [same(&plan.identity.uid_map)?, same(&plan.identity.gid_map)?];
    Ok(Act::LockMounts { flags: namespace_flags(namespaces), maps })
}

fn freeze_maps(plan: &Plan) -> Result<Act> {
    Ok(match plan.identity.writer {
        MapWriter::Nobody => Act::Nothing,
        MapWriter::Child => {
            Act::WriteMaps { uid_map: map_lines(&plan.identity.uid_map)?, gid_map: map_lines(&plan.identity.gid_map)? }
        }
        MapWriter::Parent | MapWriter::Helpers => Act::AwaitMaps,
    })
}
