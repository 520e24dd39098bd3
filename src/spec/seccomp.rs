//! What a spec says about system calls, as types. Which calls a profile allows is
//! decided by `plan`.

use crate::spec::{HostPath, Syscall};
use crate::units::Spanned;

/// `seccomp PROFILE { allow … ; deny … ; log … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seccomp {
    pub profile: SeccompProfile,
    /// In the order written: the first that matches a call decides, then the profile.
    pub rules: Vec<Spanned<SeccompRule>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeccompProfile {
    Default,
    Strict,
    None,
    /// A profile in the JSON of the OCI runtime specification.
    Oci(HostPath),
}

/// `allow NAME…`, `deny NAME… errno=` or `log NAME…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompRule {
    pub verdict: SeccompVerdict,
    /// Never empty, each at most once.
    pub calls: Vec<Syscall>,
    /// All must hold; at most [`SeccompRule::CONDITIONS`].
    pub conditions: Vec<Condition>,
}

impl SeccompRule {
    /// How many conditions a rule may have: a call has six arguments.
    pub const CONDITIONS: usize = 6;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeccompVerdict {
    Allow,
    /// The call fails with this errno.
    Deny(u16),
    /// The call is let through, and the kernel writes it to its log.
    Log,
}

/// `arg INDEX OP VALUE`: one argument of a call, as the 64-bit word that the kernel gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// 0 to 5.
    pub argument: u8,
    pub compare: Compare,
    pub value: u64,
}

/// The comparisons of the OCI runtime specification, all unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// The bits of `mask` are those of the value.
    MaskedEq {
        mask: u64,
    },
}
