//! Reads a seccomp profile in the JSON of the OCI runtime specification (config-linux.md,
//! "Seccomp"), with what Docker and Podman add for their own files. What of it sbx cannot
//! do is an error with its place, never left out.

use std::collections::BTreeMap;

use nix::errno::Errno;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::plan::seccomp::{Action, Policy, Rule, Verdict};
use crate::spec::{Capability, Compare, Condition, SeccompRule, Syscall};
use crate::sys::seccomp::{FLAG_LOG, FLAG_SPEC_ALLOW};

/// What conditions of a profile ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Version and patch level of the kernel.
    pub(super) kernel: (u32, u32),
    pub(super) capabilities: &'a [Capability],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<Architecture>>,
    flags: Option<Vec<String>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Entry>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Architecture {
    architecture: String,
    /// Never opened, whatever a profile says: on the native one there is everything.
    #[serde(rename = "subArchitectures")]
    _sub: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    names: Option<Vec<String>>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u16>,
    errno: Option<String>,
    args: Option<Vec<Argument>>,
    includes: Option<Scope>,
    excludes: Option<Scope>,
    #[serde(rename = "comment")]
    _comment: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Scope {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// The architecture in the words of libseccomp and of Go.
#[cfg(target_arch = "x86_64")]
const NATIVE: (&str, &str) = ("SCMP_ARCH_X86_64", "amd64");
#[cfg(target_arch = "aarch64")]
const NATIVE: (&str, &str) = ("SCMP_ARCH_AARCH64", "arm64");
#[cfg(target_arch = "riscv64")]
const NATIVE: (&str, &str) = ("SCMP_ARCH_RISCV64", "riscv64");

/// What a profile says of each call, and the flags of the filter.
///
/// # Errors
/// What is wrong and where: line and column, or the member as in `syscalls[3].args[0].op`.
pub(super) fn read(text: &str, context: Context<'_>) -> Result<(Policy, u32), String> {
    let profile: Profile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    architecture(&profile)?;
    if profile.listener_path.is_some() || profile.listener_metadata.is_some() {
        return Err("`listenerPath`: no process outside can be asked about calls".to_owned());
    }
    let flags = flags(profile.flags.as_deref().unwrap_or_default())?;
    let errno = (profile.default_errno_ret, profile.default_errno.as_deref());
    let default = action(&profile.default_action, errno).map_err(|why| format!("`defaultAction`: {why}"))?;
    let entries = profile.syscalls.as_deref().unwrap_or_default();
    let mut calls: BTreeMap<u16, Collected> = BTreeMap::new();
    // Looked up some 400 times: one name at a time is compared with all, which takes longer than the rest.
    let known: Known = Syscall::all().map(|call| (call.name, call)).collect();
    let mut newest = 0;
    for (index, entry) in entries.iter().enumerate() {
        let at = |member: &str, why: String| format!("`syscalls[{index}]{member}`: {why}");
        let names = names(entry, &known).map_err(|why| at("", why))?;
        newest = names.iter().map(|call| call.number).max().unwrap_or(0).max(newest);
        let action =
            action(&entry.action, (entry.errno_ret, entry.errno.as_deref())).map_err(|why| at(".action", why))?;
        let rules = rules(entry, action).map_err(|(argument, why)| at(&format!(".args[{argument}]"), why))?;
        if !applies(entry, context).map_err(|why| at("", why))? || action == default {
            continue;
        }
        for call in names {
            let collected = calls.entry(call.number).or_default();
            collected.add(&rules, action).map_err(|why| at("", format!("`{}` {why}", call.name)))?;
        }
    }
    Ok((policy(default, newest, calls), flags))
}

/// What entries say of one call.
#[derive(Debug, Default)]
struct Collected {
    rules: Vec<Rule>,
    whole: Option<Action>,
}

impl Collected {
    /// As in libseccomp: an entry without arguments wins over those with, and the first of them over others.
    /// Podman's profile counts on it.
    fn add(&mut self, rules: &[Rule], action: Action) -> Result<(), String> {
        if rules.is_empty() {
            self.whole.get_or_insert(action);
        }
        self.rules.extend(rules);
        let refused = |rule: &Rule| !rule.action.passes();
        match self.whole {
            // The profile reads as if these were refused, and they would not be.
            Some(whole) if whole.passes() && self.rules.iter().any(refused) => {
                Err("is allowed whatever its arguments are, and refused for some".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn verdict(self, default: Action) -> Verdict {
        match self.whole {
            Some(action) => Verdict { rules: Vec::new(), otherwise: action },
            None => Verdict { rules: self.rules, otherwise: default },
        }
    }
}

/// A call that is newer than every one that the profile names was not there when it was written: ENOSYS, as
/// runc has it, so that programs do without instead of failing.
fn policy(default: Action, newest: u16, calls: BTreeMap<u16, Collected>) -> Policy {
    let unknown = match default {
        Action::Errno(_) => Action::Errno(Errno::ENOSYS as u16),
        other => other,
    };
    let mut policy = Policy::uniform(default);
    policy.otherwise = unknown;
    for verdict in policy.verdicts.iter_mut().skip(usize::from(newest) + 1) {
        verdict.otherwise = unknown;
    }
    for (number, collected) in calls {
        policy.verdicts[usize::from(number)] = collected.verdict(default);
    }
    policy
}

fn architecture(profile: &Profile) -> Result<(), String> {
    let (native, _) = NATIVE;
    let missing = |member: &str| Err(format!("`{member}`: `{native}` is not among them, so nothing would run"));
    match (&profile.architectures, &profile.arch_map) {
        (Some(_), Some(_)) => Err("`architectures` and `archMap` exclude each other".to_owned()),
        (Some(list), None) if !list.is_empty() && !list.iter().any(|it| it == native) => missing("architectures"),
        (None, Some(map)) if !map.is_empty() && !map.iter().any(|it| it.architecture == native) => missing("archMap"),
        _ => Ok(()),
    }
}

fn flags(names: &[String]) -> Result<u32, String> {
    // Without a word about it, as in runc.
    let mut flags = FLAG_SPEC_ALLOW;
    for (index, name) in names.iter().enumerate() {
        flags |= match name.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => FLAG_LOG,
            // The command has one thread when the filter comes.
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" | "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            other => return Err(format!("`flags[{index}]`: `{other}` is not supported")),
        };
    }
    Ok(flags)
}

fn action(name: &str, errno: (Option<u16>, Option<&str>)) -> Result<Action, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => Action::Errno(self::errno(errno)?),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRACE" | "SCMP_ACT_NOTIFY" => {
            return Err(format!("`{name}` needs a process outside that answers, and there is none"));
        }
        other => return Err(format!("unknown action `{other}`")),
    })
}

/// Podman writes the number and the name.
fn errno((number, name): (Option<u16>, Option<&str>)) -> Result<u16, String> {
    let named = match name.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let found = (1..=133u16).find(|number| format!("{:?}", Errno::from_raw((*number).into())) == name);
            Some(found.ok_or_else(|| format!("unknown errno `{name}`"))?)
        }
    };
    match (number, named) {
        (Some(number), Some(named)) if number != named => Err(format!("errno {number} is not {named}")),
        // MAX_ERRNO of the kernel; it cuts what is larger.
        (Some(number), _) if number > 4095 => Err(format!("errno {number} is too large")),
        (number, named) => Ok(number.or(named).unwrap_or(Errno::EPERM as u16)),
    }
}

/// Names that this architecture does not have are passed over: profiles list those of all.
fn names(entry: &Entry, known: &Known) -> Result<Vec<Syscall>, String> {
    let names: Vec<&str> = entry.names.iter().flatten().chain(&entry.name).map(String::as_str).collect();
    if names.is_empty() {
        return Err("it names no system call".to_owned());
    }
    Ok(names.into_iter().filter_map(|name| named(name, known)).collect())
}

type Known = BTreeMap<&'static str, Syscall>;

/// The names of libseccomp, where they are others than those of the kernel's table.
fn named(name: &str, known: &Known) -> Option<Syscall> {
    let other = if name == "newfstatat" { "fstatat" } else { name };
    known.get(name).or_else(|| known.get(other)).copied()
}

/// Returns one rule for all arguments, or, as in runc, one for each where an argument comes twice.
fn rules(entry: &Entry, action: Action) -> Result<Vec<Rule>, (usize, String)> {
    let arguments = entry.args.as_deref().unwrap_or_default();
    let mut conditions = Vec::with_capacity(arguments.len());
    for (index, argument) in arguments.iter().enumerate() {
        conditions.push(condition(argument).map_err(|why| (index, why))?);
    }
    let twice = |condition: &Condition| conditions.iter().filter(|it| it.argument == condition.argument).count() > 1;
    let groups: Vec<&[Condition]> = match conditions.iter().any(twice) {
        true => conditions.chunks(1).collect(),
        false => conditions.chunks(SeccompRule::CONDITIONS).collect(),
    };
    Ok(groups.into_iter().map(|group| Rule::new(group, action)).collect())
}

fn condition(argument: &Argument) -> Result<Condition, String> {
    let Argument { index, value, value_two, ref op } = *argument;
    if index > 5 {
        return Err(format!("a call has no argument {index}"));
    }
    let compare = match op.as_str() {
        "SCMP_CMP_EQ" => Compare::Eq,
        "SCMP_CMP_NE" => Compare::Ne,
        "SCMP_CMP_LT" => Compare::Lt,
        "SCMP_CMP_LE" => Compare::Le,
        "SCMP_CMP_GT" => Compare::Gt,
        "SCMP_CMP_GE" => Compare::Ge,
        "SCMP_CMP_MASKED_EQ" => Compare::MaskedEq { mask: value },
        other => return Err(format!("unknown comparison `{other}`")),
    };
    let value = match compare {
        Compare::MaskedEq { mask } if value_two & !mask != 0 => {
            return Err("`valueTwo` has bits that `value`, the mask, takes away".to_owned());
        }
        Compare::MaskedEq { .. } => value_two,
        _ => value,
    };
    Ok(Condition { argument: index, compare, value })
}

fn applies(entry: &Entry, context: Context<'_>) -> Result<bool, String> {
    let none = Scope::default();
    let (includes, excludes) = (entry.includes.as_ref().unwrap_or(&none), entry.excludes.as_ref().unwrap_or(&none));
    let kept = |name: &String| context.capabilities.iter().any(|it| name.strip_prefix("CAP_") == Some(it.name));
    let native = |name: &String| name == NATIVE.1;
    let new_enough = |text: &Option<String>| match text.as_deref().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => version(text).map(|wanted| Some(context.kernel >= wanted)),
    };
    let (included, excluded) = (new_enough(&includes.min_kernel)?, new_enough(&excludes.min_kernel)?);
    let arches = includes.arches.as_deref().unwrap_or_default();
    Ok(included != Some(false)
        && excluded != Some(true)
        && includes.caps.iter().flatten().all(kept)
        && !excludes.caps.iter().flatten().any(kept)
        && (arches.is_empty() || arches.iter().any(native))
        && !excludes.arches.iter().flatten().any(native))
}

/// Reads the first two numbers of a version of the kernel, as in `4.8` or `6.1.0-18-amd64`.
pub(super) fn version(text: &str) -> Result<(u32, u32), String> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("`{text}` is not a version of the kernel")),
    }
}
