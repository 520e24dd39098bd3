//! What a run does with each system call, as data, and the program that tells the
//! kernel so. It installs nothing.

pub mod assemble;
pub mod builtin;
mod names;
mod oci;
pub mod refusal;
pub mod resolve;
mod show;

use std::borrow::Cow;

use crate::spec::{Condition, SeccompRule, Syscall};
use crate::sys::seccomp::Instruction;

/// A filter, decided and compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// `default`, `strict`, `none` or the path of a profile, as written.
    pub profile: Cow<'static, str>,
    /// How many rules of the spec stand before the profile.
    pub rules: usize,
    pub otherwise: Action,
    pub counts: Counts,
    /// At most 4096 instructions (`BPF_MAXINSNS`).
    pub program: Cow<'static, [Instruction]>,
    /// The SECCOMP_FILTER_FLAG_* of seccomp(2).
    pub flags: u32,
}

impl Filter {
    /// Returns whether no key of the caller can be reached through it: sbx's own profiles say no to keyctl(2).
    #[must_use]
    pub fn closes_keyrings(&self) -> bool {
        self.rules == 0 && matches!(self.profile.as_ref(), "default" | "strict")
    }
}

/// What happens to the calls that sbx knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Let through whatever their arguments are.
    pub allow: u16,
    /// It depends on their arguments.
    pub conditional: u16,
    /// Never let through.
    pub deny: u16,
}

/// What the kernel does with a call, seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Allow,
    /// Lets it through and writes it to the kernel's log.
    Log,
    /// The call fails with this errno.
    Errno(u16),
    /// SIGSYS for the thread that called.
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    /// Returns the SECCOMP_RET_* of `linux/seccomp.h`.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Log => 0x7ffc_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Trap => 0x0003_0000,
            Self::KillThread => 0,
            Self::KillProcess => 0x8000_0000,
        }
    }

    /// Returns whether the call is done.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

/// Some calls and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// All must hold; with none the rule takes every call. No `Some` follows a `None`.
    pub conditions: [Option<Condition>; SeccompRule::CONDITIONS],
    pub action: Action,
}

/// What becomes of one call: the first rule that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub rules: Vec<Rule>,
    pub otherwise: Action,
}

/// What becomes of all calls. Calls of a foreign architecture kill the process, and numbers from
/// [`Syscall::NUMBERS`] on, those of x32 among them, answer ENOSYS, whatever the policy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By number; [`Syscall::NUMBERS`] of them.
    pub verdicts: Vec<Verdict>,
    /// Of calls that have no name: they are newer than sbx.
    pub otherwise: Action,
}

impl Policy {
    /// Returns the policy that does the same to all calls.
    #[must_use]
    pub fn uniform(action: Action) -> Self {
        let verdict = Verdict { rules: Vec::new(), otherwise: action };
        Self { verdicts: vec![verdict; Syscall::NUMBERS], otherwise: action }
    }

    /// Returns the verdict on a call.
    #[must_use]
    pub fn of(&self, call: Syscall) -> &Verdict {
        &self.verdicts[usize::from(call.number)]
    }
}
