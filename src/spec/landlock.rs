//! What a spec says about Landlock, as types. What follows from the mounts is decided
//! by `plan`.

use crate::units::{AbsPath, Spanned};

/// `landlock none`, or `landlock { read … ; write … ; execute … ; connect … ; bind … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landlock {
    /// No rules at all.
    None,
    /// One for each path or port, in the order written; never empty.
    Rules(Vec<Spanned<LandlockRule>>),
}

/// What the command may still do, of a kind that is forbidden everywhere else once one rule is about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LandlockRule {
    Read(AbsPath),
    Write(AbsPath),
    Execute(AbsPath),
    /// A TCP port.
    Connect(u16),
    /// A TCP port; 0 stands for any that the kernel chooses.
    Bind(u16),
}

impl LandlockRule {
    /// Returns the word of the language.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write(_) => "write",
            Self::Execute(_) => "execute",
            Self::Connect(_) => "connect",
            Self::Bind(_) => "bind",
        }
    }
}
