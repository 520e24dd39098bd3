//! The security posture of a run as a whole: what `profile` decides where no node of the spec
//! does. The table here is the whole difference between the profiles.

use std::fmt;

use crate::plan::facts::Inputs;
use crate::plan::steps::Steps;
use crate::plan::{Op, Step, ground};
use crate::spec::{Namespace, Profile, Resource, SeccompProfile, Spec};
use crate::units::{AbsPath, Origin};

/// What one profile means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posture {
    pub seccomp: Filter,
    pub landlock: Layer,
    pub proc: Proc,
    pub user_namespaces: UserNamespaces,
    pub core: Core,
    pub oom: Oom,
}

/// What `seccomp` is where the spec does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Default,
    Strict,
    None,
}

/// What `landlock` is where the spec does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// What follows from the mounts.
    Derived,
    /// None: whoever is held by Landlock can mount nothing, in no namespace (landlock(7)).
    None,
}

/// How much of procfs the command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proc {
    /// All but what tells of the host or of the kernel's inside.
    Masked,
    /// Processes only, and no other's (`subset=pid`, `hidepid=invisible` of proc(5)).
    Processes,
    Whole,
}

/// Whether the command may make user namespaces, in which it would have every capability over code of the
/// kernel that few have read (the class of CVE-2022-0185).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNamespaces {
    Forbidden,
    Allowed,
}

/// What `limits { core }` is where the spec does not say: a core may be handed to a program of the host
/// (core(5), `core_pattern`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    None,
    Callers,
}

/// One thing that a posture asks for; all but the first two are of the process, not of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Covers what is at a path of `/proc`, if anything is.
    Hide { path: AbsPath, cover: Cover },
    /// Makes what is at a path read-only, by a mount of its own, if anything is there.
    Freeze { path: AbsPath },
    /// Forbids new user namespaces below this one, but for so many that sbx makes itself.
    NoUserNamespaces { besides: u8 },
    /// Has the kernel end what runs inside before others when the host's memory is full.
    OomScore { adjustment: u16 },
    /// Leaves the caller's session keyring for a new and empty one.
    NewKeyring,
}

/// What is seen instead of something that is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    EmptyDirectory,
    /// `/dev/null`.
    Null,
    /// `/proc/kmsg`, which only the host's root may open, where `/dev` is not sbx's own.
    Closed,
}

impl Deed {
    /// Returns the word of the plan for it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hide { .. } => "hide",
            Self::Freeze { .. } => "freeze",
            Self::NoUserNamespaces { .. } => "no-user-namespaces",
            Self::OomScore { .. } => "oom-score",
            Self::NewKeyring => "new-keyring",
        }
    }
}

impl fmt::Display for Deed {
    /// Writes what stands after the word, with a space before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hide { path, .. } | Self::Freeze { path } => write!(f, " {path}"),
            Self::OomScore { adjustment } => write!(f, " {adjustment}"),
            Self::NoUserNamespaces { besides: 1.. } => f.write_str(" besides sbx's own"),
            Self::NoUserNamespaces { .. } | Self::NewKeyring => Ok(()),
        }
    }
}

/// Who the kernel ends when the host's memory is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oom {
    /// What runs inside, before others.
    First,
    Callers,
}

/// Files of procfs that any user may read, and that tell of the host (GHSA-6fw5-f8r9-fgfm for `interrupts`). What
/// only root may read is closed already: no id inside is the host's root.
pub const MASKED_FILES: [&str; 3] = ["/proc/interrupts", "/proc/kallsyms", "/proc/keys"];

/// Directories of procfs likewise; not every machine has them.
pub const MASKED_DIRECTORIES: [&str; 3] = ["/proc/acpi", "/proc/asound", "/proc/scsi"];

/// How much sooner than others the kernel ends what runs inside when the host's memory is full
/// (proc_pid_oom_score_adj(5), of 1000).
pub const OOM_SCORE: u16 = 500;

/// Returns what `profile` means.
#[must_use]
pub const fn of(profile: Profile) -> Posture {
    match profile {
        Profile::Default => Posture {
            seccomp: Filter::Default,
            landlock: Layer::Derived,
            proc: Proc::Masked,
            user_namespaces: UserNamespaces::Forbidden,
            core: Core::None,
            oom: Oom::First,
        },
        Profile::Strict => Posture {
            seccomp: Filter::Strict,
            landlock: Layer::Derived,
            proc: Proc::Processes,
            user_namespaces: UserNamespaces::Forbidden,
            core: Core::None,
            oom: Oom::First,
        },
        Profile::Compat => Posture {
            seccomp: Filter::None,
            landlock: Layer::None,
            proc: Proc::Whole,
            user_namespaces: UserNamespaces::Allowed,
            core: Core::Callers,
            oom: Oom::Callers,
        },
    }
}

/// Returns the posture of a spec, and what asked for it.
#[must_use]
pub fn of_spec(spec: &Spec) -> (Posture, Origin) {
    spec.profile.as_ref().map_or((of(Profile::Default), Origin::Default), |profile| (of(profile.value), profile.origin))
}

impl Posture {
    /// Returns the rows of the table that the README shows: what, and how this posture has it.
    #[must_use]
    pub fn rows(self) -> [(&'static str, &'static str); 6] {
        [
            (
                "system calls, unless `seccomp` says otherwise",
                match self.seccomp {
                    Filter::Default => "`seccomp default`",
                    Filter::Strict => "`seccomp strict`",
                    Filter::None => "`seccomp none`",
                },
            ),
            (
                "files, unless `landlock` says otherwise",
                match self.landlock {
                    Layer::Derived => "the mounts, and Landlock behind them",
                    Layer::None => "the mounts",
                },
            ),
            (
                "`/proc`",
                match self.proc {
                    Proc::Masked => "what tells of the host is masked, `/proc/sys` is read-only",
                    Proc::Processes => "the sandbox's processes only, each user its own",
                    Proc::Whole => "whole, so that a sandbox inside can make its own",
                },
            ),
            (
                "new user namespaces",
                match self.user_namespaces {
                    UserNamespaces::Forbidden => "none",
                    UserNamespaces::Allowed => "as the kernel allows",
                },
            ),
            (
                "core dumps, unless `limits { core }` says otherwise",
                match self.core {
                    Core::None => "none",
                    Core::Callers => "the caller's limit",
                },
            ),
            (
                "when the host's memory is full",
                match self.oom {
                    Oom::First => "the sandbox is ended first",
                    Oom::Callers => "as the caller",
                },
            ),
        ]
    }

    /// Returns the filter that stands where the spec has none.
    #[must_use]
    pub fn filter(self) -> SeccompProfile {
        match self.seccomp {
            Filter::Default => SeccompProfile::Default,
            Filter::Strict => SeccompProfile::Strict,
            Filter::None => SeccompProfile::None,
        }
    }

    /// Returns the options of a new procfs.
    #[must_use]
    pub fn proc_options(self) -> &'static [(&'static str, &'static str)] {
        match self.proc {
            Proc::Processes => &[("subset", "pid"), ("hidepid", "invisible")],
            Proc::Masked | Proc::Whole => &[],
        }
    }
}

/// Before the ids change: from then on the kernel no longer takes this process for the owner of its own files
/// in procfs. The maker of a user namespace may set its limits before any id is mapped (`set_permissions()` of
/// kernel/ucount.c asks for a capability only), while the host's `/proc` is still there.
#[must_use]
pub fn opening(inputs: Inputs<'_>) -> Vec<Step> {
    let (posture, origin) = of_spec(inputs.spec);
    let mut steps = Vec::with_capacity(12);
    if posture.oom == Oom::First {
        steps.push(Step { op: Op::Posture(Deed::OomScore { adjustment: OOM_SCORE }), origin });
    }
    let core = inputs.spec.limits.rlimits.iter().any(|limit| limit.value.resource == Resource::Core);
    if posture.core == Core::None && !core {
        steps.push(Step { op: Op::Rlimit { resource: Resource::Core, value: 0 }, origin });
    }
    let own = inputs.namespaces.contains(&Namespace::User);
    if own && posture.user_namespaces == UserNamespaces::Forbidden {
        // All that are made below the one with the locks count as those of its maker, too (ucounts of the kernel).
        let besides = u8::from(inputs.over_mounts().is_some());
        steps.push(Step { op: Op::Posture(Deed::NoUserNamespaces { besides }), origin });
    }
    steps
}

/// Covers in the sandbox's own `/proc` what the posture hides; `/dev` is filled by now. A whole one stays without any
/// mount over it, or the kernel would let no sandbox inside make another (mount_too_revealing() of fs/namespace.c).
pub fn proc(spec: &Spec, steps: &mut Steps) {
    let (posture, origin) = of_spec(spec);
    let path = |text: &str| AbsPath::new(text).unwrap_or_else(|_| AbsPath::root());
    if posture.proc == Proc::Masked {
        let own_devices = ground::base_mounts(spec).iter().any(|path| path.as_str() == "/dev");
        let cover = if own_devices { Cover::Null } else { Cover::Closed };
        for file in MASKED_FILES {
            steps.inside(Op::Posture(Deed::Hide { path: path(file), cover }), origin);
        }
        for directory in MASKED_DIRECTORIES {
            steps.inside(Op::Posture(Deed::Hide { path: path(directory), cover: Cover::EmptyDirectory }), origin);
        }
        steps.inside(Op::Posture(Deed::Freeze { path: path("/proc/sys") }), origin);
    }
}
