//! Decides the filter of a run: the profile, what `capabilities` widen, and the spec's own
//! rules before it.

use std::borrow::Cow;

use nix::errno::Errno;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::Facts;
use crate::plan::seccomp::assemble::{LIMIT, compile};
use crate::plan::seccomp::builtin::Builtin;
use crate::plan::seccomp::oci::{self, Context};
use crate::plan::seccomp::{Action, Counts, Filter, Policy, Rule, Verdict, names};
use crate::plan::{Weakened, posture};
use crate::spec::{
    Capability, Condition, Feature, HostPath, Seccomp, SeccompProfile, SeccompRule, SeccompVerdict, Spec, Syscall,
};
use crate::sys::seccomp::FLAG_SPEC_ALLOW;
use crate::units::Origin;

/// Decides what a run does with system calls; `None` where there is no filter.
///
/// # Errors
/// A profile that sbx cannot hold, or a filter under which no command could start.
pub fn resolve(spec: &Spec, facts: &Facts) -> Result<Option<Filter>> {
    if facts.seccomp.missing.is_some() {
        return Ok(None);
    }
    let capabilities: Vec<Capability> = spec.capabilities.iter().map(|capability| capability.value).collect();
    let (posture, origin) = posture::of_spec(spec);
    let default = Seccomp { profile: posture.filter(), rules: Vec::new() };
    let (seccomp, origin) = match &spec.seccomp {
        Some(seccomp) => (&seccomp.value, seccomp.origin),
        None => (&default, origin),
    };
    let builtin = match seccomp.profile {
        SeccompProfile::Default => Some(Builtin::Default),
        SeccompProfile::Strict => Some(Builtin::Strict),
        SeccompProfile::None | SeccompProfile::Oci(_) => None,
    };
    let widened = match builtin {
        Some(Builtin::Default) => widened(&capabilities),
        _ => Vec::new(),
    };
    match (builtin, seccomp.rules.is_empty()) {
        (Some(builtin), true) if widened.is_empty() => return Ok(Some(builtin.filter())),
        (None, true) if seccomp.profile == SeccompProfile::None => return Ok(None),
        _ => {}
    }
    let (mut policy, flags) = policy(seccomp, facts, &capabilities).map_err(|error| error.at(origin))?;
    for call in widened {
        policy.verdicts[usize::from(call.number)] = Verdict { rules: Vec::new(), otherwise: Action::Allow };
    }
    for rule in seccomp.rules.iter().rev() {
        policy.put_first(&rule.value);
    }
    startable(&policy, seccomp, origin)?;
    let program = compile(&policy).ok_or_else(|| {
        Error::new(Kind::Spec, format!("the kernel takes a filter of {LIMIT} instructions, and this one has more"))
            .with_hint("give calls fewer conditions")
            .at(origin)
    })?;
    Ok(Some(Filter {
        profile: match (&seccomp.profile, builtin) {
            (SeccompProfile::Oci(HostPath(path)), _) => Cow::Owned(path.clone()),
            (_, Some(builtin)) => Cow::Borrowed(builtin.as_str()),
            (_, None) => Cow::Borrowed("none"),
        },
        rules: seccomp.rules.len(),
        otherwise: policy.otherwise,
        counts: policy.counts(),
        program: Cow::Owned(program),
        flags,
    }))
}

/// Returns what is said of a run that goes without the filter it asks for, by leave of `best-effort`.
#[must_use]
pub fn weakened(spec: &Spec, facts: &Facts) -> Option<Weakened> {
    let unfiltered = Seccomp { profile: SeccompProfile::None, rules: Vec::new() };
    let errno = facts.seccomp.missing?;
    let asked = spec.seccomp.as_ref().is_none_or(|seccomp| seccomp.value != unfiltered);
    asked.then(|| Weakened {
        feature: Feature::Seccomp.as_str(),
        why: format!("the kernel has no filters of system calls ({:?})", Errno::from_raw(errno)),
    })
}

/// Returns the policy of the profile alone.
fn policy(seccomp: &Seccomp, facts: &Facts, capabilities: &[Capability]) -> Result<(Policy, u32)> {
    match &seccomp.profile {
        SeccompProfile::Default => Ok((Builtin::Default.policy(), FLAG_SPEC_ALLOW)),
        SeccompProfile::Strict => Ok((Builtin::Strict.policy(), FLAG_SPEC_ALLOW)),
        SeccompProfile::None => Ok((Policy::uniform(Action::Allow), FLAG_SPEC_ALLOW)),
        SeccompProfile::Oci(HostPath(path)) => {
            let wrong = |why: String| Error::new(Kind::Spec, format!("the seccomp profile `{path}`: {why}"));
            let kernel = oci::version(&facts.seccomp.kernel).map_err(wrong)?;
            oci::read(&facts.seccomp.profile, Context { kernel, capabilities }).map_err(wrong)
        }
    }
}

/// What a capability is for, where the profile would forbid to use it. The kernel asks for the capability as
/// before, and it reaches no farther than the sandbox's user namespace.
fn widened(capabilities: &[Capability]) -> Vec<Syscall> {
    const NAMESPACES: &[&str] = &["clone", "unshare", "statmount", "listmount"];
    let names = capabilities.iter().flat_map(|capability| match capability.name {
        "SYS_ADMIN" => [names::MOUNTS, NAMESPACES],
        "SYS_CHROOT" => [&["chroot"][..], &[]],
        _ => [&[][..], &[]],
    });
    names.flatten().filter_map(|name| Syscall::named(name)).collect()
}

/// Without these the command could not be started, or sbx would not hear why not.
fn startable(policy: &Policy, seccomp: &Seccomp, origin: Origin) -> Result<()> {
    for call in ["execve", "write", "exit_group"].into_iter().filter_map(Syscall::named) {
        let verdict = policy.of(call);
        if verdict.otherwise.passes() {
            continue;
        }
        let own = seccomp.rules.iter().find(|rule| rule.value.calls.contains(&call));
        let error = Error::new(Kind::Spec, format!("without `{}` no command can be started", call.name));
        return Err(match own {
            Some(rule) => error.with_hint(format!("take `{}` out of this rule", call.name)).at(rule.origin),
            None => error.with_hint(format!("put `allow \"{}\"` into the block of `seccomp`", call.name)).at(origin),
        });
    }
    Ok(())
}

impl Rule {
    /// Returns the rule with at most [`SeccompRule::CONDITIONS`] conditions.
    pub(super) fn new(conditions: &[Condition], action: Action) -> Self {
        let mut all = [None; SeccompRule::CONDITIONS];
        for (place, condition) in all.iter_mut().zip(conditions) {
            *place = Some(*condition);
        }
        Self { conditions: all, action }
    }
}

impl Policy {
    /// Has `rule` decide before everything that is there already.
    fn put_first(&mut self, rule: &SeccompRule) {
        let action = match rule.verdict {
            SeccompVerdict::Allow => Action::Allow,
            SeccompVerdict::Deny(errno) => Action::Errno(errno),
            SeccompVerdict::Log => Action::Log,
        };
        for call in &rule.calls {
            let verdict = &mut self.verdicts[usize::from(call.number)];
            match rule.conditions.is_empty() {
                true => *verdict = Verdict { rules: Vec::new(), otherwise: action },
                false => verdict.rules.insert(0, Rule::new(&rule.conditions, action)),
            }
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in Syscall::all().map(|call| self.of(call)) {
            match (verdict.rules.is_empty(), verdict.otherwise.passes()) {
                (false, _) => counts.conditional += 1,
                (true, true) => counts.allow += 1,
                (true, false) => counts.deny += 1,
            }
        }
        counts
    }
}
