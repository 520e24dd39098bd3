//! What happened, for other programs: the only types that are serialised. Their
//! names are the names of the JSON, their comments become its schema. No I/O, and
//! no figure that nobody measured: what is not known is `null`.

pub mod build;
pub mod cases;
pub mod diff;
pub mod doctor;
pub mod exit;
pub mod explain;
pub mod figures;
pub mod hints;
pub mod hints_landlock;
pub mod hints_start;
pub mod images;
mod line;
pub mod plan_json;
pub mod schema;
pub mod secrets;
pub mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;

use serde::Serialize;

use crate::report::figures::{Changes, ContextSwitches, Cpu, Io, Memory, Network, Output, Pids, Pressure, Time};
use crate::units::SpecText;

/// The name and the version of the format, the value of `schema`.
pub const SCHEMA_NAME: &str = "sbx.report/1";

/// What was asked, as far as the caller of sbx knows it without a plan.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// The spec, where the run has one.
    pub spec: Option<SpecText<'a>>,
    /// Lower-case hexadecimal SHA-256 of the text of the spec.
    pub sha256: Option<&'a str>,
    pub labels: BTreeMap<String, String>,
    /// The words after `--`; the plan's argument vector wins over it.
    pub command: &'a [OsString],
    pub rootfs: RootfsMember<'a>,
}

/// What one run of sbx did. The authority is `outcome`: a command can return any
/// exit code. Readers ignore members that they do not know. A figure that is not
/// known is null.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Report<'a> {
    /// Name and version of this format: `sbx.report/1`.
    pub schema: &'static str,
    /// Version of sbx.
    pub sbx: &'static str,
    pub spec: SpecMember<'a>,
    /// Argument vector of the command, with U+FFFD for what is not UTF-8; null when none was known yet.
    pub command: Option<Vec<Cow<'a, str>>>,
    /// Working directory of the command inside the sandbox.
    pub workdir: Option<&'a str>,
    pub rootfs: RootfsMember<'a>,
    pub outcome: OutcomeMember<'a>,
    pub time: Time,
    pub cpu: Cpu,
    pub memory: Memory,
    pub pids: Pids,
    pub io: Io,
    pub context_switches: ContextSwitches,
    pub pressure: Pressure,
    pub network: Network<'a>,
    pub output: Output<'a>,
    pub changes: Changes<'a>,
    pub isolation: Isolation<'a>,
    /// Paths on the host that could not be removed after the run.
    pub leftovers: &'a [String],
    /// What a person should know although the run went on, one line each.
    pub warnings: Vec<&'a str>,
}

/// The spec that was run.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Spec"))]
pub struct SpecMember<'a> {
    /// Path of the file as given by the caller.
    pub path: Option<&'a str>,
    /// SHA-256 of the text, 64 lower-case hexadecimal digits.
    pub sha256: Option<&'a str>,
    /// Labels given by the caller, passed through.
    pub labels: &'a BTreeMap<String, String>,
}

/// The root file system that was run.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Rootfs"))]
pub struct RootfsMember<'a> {
    /// `host`, `scratch`, `directory`, `tar`, `oci`; null when it was not looked at yet.
    pub kind: Option<&'a str>,
    /// The source as written in the spec.
    pub source: Option<&'a str>,
    /// Digest of the content, as in `sha256:…`.
    pub digest: Option<&'a str>,
    /// Number of layers.
    pub layers: Option<u32>,
    /// `no`, `ephemeral` or `persist`.
    pub writable: Option<&'a str>,
}

/// How the run ended. It comes from cgroup events, timers and waitid(2), never
/// from an exit code.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Outcome"))]
pub struct OutcomeMember<'a> {
    pub kind: OutcomeKind,
    /// Exit code of the command, 0 to 255; null unless `kind` is `exited`.
    pub exit_code: Option<u8>,
    /// Name of a signal: the one that ended the command when `kind` is `signaled`,
    /// the one that sbx was sent when it is `canceled`; null otherwise.
    pub signal: Option<Cow<'static, str>>,
    /// Whether the kernel says that the command dumped core.
    pub core_dumped: bool,
    /// Who ended the command; null when it ended by itself.
    pub killed_by: Option<KilledBy>,
    /// The same in one line for a person; null after a plain exit.
    pub reason: Option<String>,
    /// Why the command could not be run; null when it was.
    pub error: Option<ErrorMember<'a>>,
    /// All mistakes of a wrong spec in the order of the file, the first of which is `error`; else empty.
    pub mistakes: Vec<ErrorMember<'a>>,
}

/// What ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum OutcomeKind {
    /// The command returned `exit_code`.
    Exited,
    /// The command was ended by `signal`.
    Signaled,
    /// The limit `wall` ended the run.
    WallTimeout,
    /// The limit `cpu-time` ended the run.
    CpuTimeout,
    /// The limit `memory` ended the run.
    OutOfMemory,
    /// The limit `output` ended the run.
    OutputLimit,
    /// sbx was told by `signal` to end the run.
    Canceled,
    /// The sandbox could not be built, or the spec was wrong; nothing ran.
    SetupFailed,
    /// The sandbox was built and the command was not found in it.
    NotFound,
    /// The sandbox was built and the command cannot be executed in it.
    NotExecutable,
}

/// Who ended the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum KilledBy {
    /// The kernel, as at the memory limit.
    Kernel,
    /// sbx, because of a limit.
    Sbx,
    /// Whoever sent sbx or the command a signal.
    Caller,
}

/// Why the command could not be run.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Error"))]
pub struct ErrorMember<'a> {
    /// Who has to act: `usage` and `spec` the caller, `host` the owner of the machine,
    /// `image` whoever made it, `setup` look at the step, `io` a file, `bug` the authors of sbx.
    pub kind: &'static str,
    /// The step of the plan that failed, in the words of `sbx plan`.
    pub step: Option<Cow<'a, str>>,
    /// Name of the errno(3) that the kernel answered, as in `EPERM`.
    pub errno: Option<String>,
    /// What failed, as a fragment without the errno.
    pub message: Cow<'a, str>,
    /// The one thing to change.
    pub hint: Option<Cow<'a, str>>,
    /// The spec file that asked for it; null when a flag or a default did.
    pub file: Option<&'a str>,
    /// Line in `file`, counted from 1.
    pub line: Option<usize>,
    /// Column in `line`, in characters, counted from 1.
    pub column: Option<usize>,
}

/// What held the command, as planned; after `setup_failed` the step of the error
/// says how far it got. Null members: there was no plan.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Isolation<'a> {
    /// Kinds of namespaces(7) that were new.
    pub namespaces: Option<Vec<&'static str>>,
    pub cgroup: Cgroup<'a>,
    pub seccomp: Seccomp<'a>,
    pub landlock: Landlock,
    /// Capabilities that the command kept, without `CAP_`; null when sbx did not drop any.
    pub capabilities: Option<Vec<&'static str>>,
    /// Whether the command could gain privileges by executing a set-id file: true means not.
    pub no_new_privileges: Option<bool>,
    pub user: User,
    /// What was asked for and what held it, in the order written.
    pub limits: Vec<Limit<'a>>,
    /// What was asked for and was not in force, by leave of `best-effort`.
    pub weakened: Vec<WeakenedMember<'a>>,
}

/// The control group of the run; null members: it had none.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Cgroup<'a> {
    /// Version of the hierarchy: 1 or 2.
    pub version: Option<u8>,
    /// Path below the mount of the hierarchy.
    pub path: Option<&'a str>,
}

/// The filter of system calls.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Seccomp<'a> {
    /// Name of the profile in force, `default`, `strict` or the path of a file; `none` when no filter was.
    pub profile: &'a str,
    /// Calls that the filter refused, the most frequent first; empty when there was none, null when they were not
    /// counted. What answers ENOSYS is not there, as on an older kernel, and not counted.
    pub denied: Option<Vec<DeniedCall>>,
}

/// One system call that the filter refused.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DeniedCall {
    /// Name of the system call, or `#` and its number if sbx does not know it.
    pub syscall: Cow<'static, str>,
    /// How many times.
    pub count: u64,
}

/// The rules of landlock(7).
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Landlock {
    /// Version of the kernel's interface that was used; null when no rules were in force.
    pub abi: Option<u32>,
    /// `none`, `partial` or `full`.
    pub status: &'static str,
}

/// The user and the group of the command.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct User {
    /// User id and group id inside the sandbox.
    pub inside: Option<[u32; 2]>,
    /// User id and group id on the host.
    pub outside: Option<[u32; 2]>,
}

/// One limit.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limit<'a> {
    /// The word of the spec; that of a property follows after a dot: `memory`, `memory.high`.
    pub name: &'a str,
    /// As written in the spec.
    pub requested: &'a str,
    /// In the unit of the mechanism: bytes, bytes a second, processes, thousandths of a core, nanoseconds.
    pub applied: u64,
    /// The file of the kernel or the part of sbx that held it, as in `memory.max`.
    pub by: &'a str,
}

/// One feature that was not in force.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "Weakened"))]
pub struct WeakenedMember<'a> {
    /// The word of the spec, as in `cpuset`.
    pub feature: &'a str,
    /// What stood in the way.
    pub why: &'a str,
}

impl Report<'_> {
    /// Returns the report as one line of JSON with a final newline.
    ///
    /// # Errors
    /// None that these types can cause; the writer of JSON has errors for others.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        line::line(self)
    }
}
