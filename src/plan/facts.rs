//! What a plan needs to know of this call and of the rootfs, gathered by others before.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::plan::{Capture, Identity, Write};
use crate::spec::{Capability, HostPath, Namespace, Spec};
use crate::sys::file::Stat;
use crate::sys::net::Family;
use crate::units::{AbsPath, Spanned};

/// What this call of sbx adds to the spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Invocation {
    /// The directory of the spec: the base of relative host paths.
    pub base: PathBuf,
    pub home: Option<PathBuf>,
    /// The directory in which the named volumes live.
    pub volumes: PathBuf,
    /// The caller's environment, as far as the spec names it.
    pub variables: BTreeMap<String, String>,
    /// Names of variables that are set and not valid UTF-8.
    pub not_text: BTreeSet<String>,
    /// What follows `--`: replaces the command, or becomes the arguments of a script.
    pub arguments: Vec<OsString>,
    pub manner: Manner,
    pub capture: Capture,
    pub accounting: Accounting,
    pub streams: Streams,
    /// The process id of sbx, which no other run has while this one lives; 0 for a plan that is only shown.
    pub process: u32,
    /// The files of the host that decided this run, absolute: the spec and what it extends.
    pub trusted: Vec<PathBuf>,
}

/// What the arguments of a call are to a command of the spec; to a script they are always its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// Another command: `sbx run SPEC -- COMMAND…`.
    #[default]
    Replace,
    /// More arguments: `sbx FILE ARGUMENT…`.
    Follow,
}

/// Whether figures are wanted that only a cgroup has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accounting {
    #[default]
    NotWanted,
    /// Where a cgroup can be had without asking anybody.
    IfAvailable,
}

/// What the caller's standard input, output and error are.
pub type Streams = [Stream; 3];

/// What one of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Terminal(Stat),
    Other(Stat),
    /// The errno of looking.
    Unknown(i32),
}

impl Default for Stream {
    /// Nobody has looked: there is none.
    fn default() -> Self {
        Self::Unknown(libc::EBADF)
    }
}

impl Invocation {
    /// Returns the absolute path on the host that `path` of the spec names.
    #[must_use]
    pub fn absolute(&self, path: &HostPath) -> PathBuf {
        let joined = match (path.0.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => self.base.join(&path.0),
        };
        // Without the `.` of `bind "."`, which a person would see in plans and messages.
        joined.components().collect()
    }
}

/// Something that a plan has to know about a path before it can decide.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What this path of the host is, links followed.
    Host(PathBuf),
    /// What this path is inside the image, links followed inside it.
    Image(AbsPath),
}

/// The answer to a [`Question`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Directory,
    /// Anything else that exists.
    File,
    Missing,
    /// Not known: the errno of looking.
    Unknown(i32),
}

/// A directory that is there, above something that has to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Where it lies in the host's tree or the image's, without any link on the way.
    pub path: AbsPath,
    pub mode: u32,
    /// On disk.
    pub uid: u32,
    pub gid: u32,
    /// Whether somebody without rights over its owner may look up names in it.
    pub search: Search,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    Allowed,
    Denied,
}

/// What the rootfs is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The host's system directories, each a directory or a link to one.
    Host(Vec<HostEntry>),
    Scratch,
    /// A directory with a whole tree in it.
    Image(PathBuf),
}

/// A name in the host's root directory that belongs to the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    pub path: AbsPath,
    /// The target, where it is a symbolic link.
    pub link: Option<String>,
}

/// One line of the rootfs's `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
    /// Of the image's own `/etc/group`, in ascending order; none where there is no room for them inside.
    pub groups: Vec<u32>,
}

/// One range of `/etc/subuid` and one of `/etc/subgid` that belong to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subordinate {
    pub first_uid: u32,
    pub uids: u32,
    pub first_gid: u32,
    pub gids: u32,
}

/// What a filter of system calls depends on; looked up only where the spec makes it matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeccompFacts {
    /// The text of the profile that the spec names.
    pub profile: String,
    /// The kernel's release, as in `6.1.0-18-amd64`.
    pub kernel: String,
    /// The errno with which the kernel says that it has no filters, where `best-effort` allows to do without.
    pub missing: Option<i32>,
}

/// Whether the kernel can lead what goes to any port to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirection {
    /// nf_tables with TPROXY; taken for granted until a run is told otherwise, because to ask costs a network.
    There,
    /// The errno with which the kernel says that it has not.
    Missing(i32),
}

impl Redirection {
    /// Returns what an errno of the kernel says of it: without the protocol, the family, the table or the expression
    /// there is none, and anything else is another trouble.
    #[must_use]
    pub fn of(errno: i32) -> Self {
        match errno {
            libc::ENOENT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT => Self::Missing(errno),
            _ => Self::There,
        }
    }
}

/// Whether the kernel has Landlock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LandlockFacts {
    /// The version of its interface.
    Version(u32),
    /// The errno with which the kernel says that it has none.
    Missing(i32),
    /// Nothing depends on it.
    NotAsked,
}

/// A name on the way to what sbx reads, in a directory that the command may write to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pinned {
    /// Which of the spec's mounts gives the directory away.
    pub mount: usize,
    /// Below its source; empty where that is the file itself.
    pub path: PathBuf,
    /// A directory stays writable: only its name is what counts.
    pub write: Write,
}

/// Everything that was looked up for one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub host: Host,
    pub base: Base,
    pub answers: BTreeMap<Question, FileKind>,
    /// The directories above each destination that [`crate::plan::ground::deep`] names, from the top down.
    pub above: BTreeMap<Question, Vec<Standing>>,
    /// The directory that becomes `/`, where the rootfs is one.
    pub top: Option<Standing>,
    /// The account that `user NAME` names, if the spec does.
    pub account: Option<Account>,
    /// Only where `ids="range"` asks for it.
    pub subordinate: Option<Subordinate>,
    pub seccomp: SeccompFacts,
    pub landlock: LandlockFacts,
    /// What the kernel speaks, where the command is let out; at least one.
    pub families: Vec<Family>,
    /// Where the command is let out.
    pub redirection: Redirection,
    /// `MAJOR:MINOR` of the devices that `limits.io` names, by path.
    pub devices: BTreeMap<PathBuf, (u32, u32)>,
    /// By mount, a directory before what is below it.
    pub pinned: BTreeSet<Pinned>,
}

/// All that a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    pub spec: &'a Spec,
    pub facts: &'a Facts,
    pub invocation: &'a Invocation,
    pub namespaces: &'a [Namespace],
    pub identity: &'a Identity,
}

impl<'a> Inputs<'a> {
    /// Returns the capability with which the command could take off masks and make writable what is read-only.
    #[must_use]
    pub fn over_mounts(self) -> Option<&'a Spanned<Capability>> {
        let mut kept = self.spec.capabilities.iter();
        kept.find(|capability| capability.value.name == "SYS_ADMIN" && self.namespaces.contains(&Namespace::Mount))
    }
}

impl Facts {
    /// Returns the answer about a path of the host.
    #[must_use]
    pub fn host_kind(&self, path: &Path) -> FileKind {
        self.answers.get(&Question::Host(path.to_owned())).copied().unwrap_or(FileKind::Missing)
    }

    /// Returns the answer to `question`.
    #[must_use]
    pub fn kind(&self, question: &Question) -> FileKind {
        self.answers.get(question).copied().unwrap_or(FileKind::Missing)
    }
}
