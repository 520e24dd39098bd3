//! What lies under each path of the sandbox while the mounts are made one after the
//! other: sbx's own file system, the image, or a directory of the host.

use std::path::PathBuf;

use crate::plan::facts::{Base, FileKind, Invocation, Question};
use crate::spec::{Access, Bind, Mount, Spec};
use crate::units::{AbsPath, Spanned};

/// The paths that the base fills, in the order in which it does.
pub const BASE_MOUNTS: [&str; 4] = ["/proc", "/dev", "/tmp", "/run"];

/// What of the host's `/etc` is nobody's business, where it exists.
pub const MASKED: [&str; 9] = [
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/ssl/private",
    "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections",
];

/// What a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ground {
    /// A file system of sbx: whatever is missing can be made.
    Own,
    /// A procfs: it has what the host's has, and nothing can be made there.
    Kernel,
    /// The image: what is missing can be made if its root is layered.
    Image,
    /// A system directory of the host, or a link in the root directory to one: likewise.
    System,
    /// A directory of the host that the spec names: nothing is ever made there.
    Bound(PathBuf),
    /// A copy-on-write view of a directory of the host, or a volume: it has what is there, and what is missing
    /// can be made.
    View(PathBuf),
}

/// The mounts so far, the latest last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds(Vec<(AbsPath, Ground)>);

impl Grounds {
    /// Returns what `base` alone gives, before the mounts of [`BASE_MOUNTS`].
    #[must_use]
    pub fn new(base: &Base) -> Self {
        let mut grounds =
            vec![(AbsPath::root(), if matches!(base, Base::Image(_)) { Ground::Image } else { Ground::Own })];
        if let Base::Host(entries) = base {
            let real = |path: &AbsPath| entries.iter().any(|entry| entry.link.is_none() && path.is_within(&entry.path));
            let leads_in =
                |link: &str| AbsPath::new(&format!("/{}", link.trim_start_matches('/'))).is_ok_and(|to| real(&to));
            let system = entries.iter().filter(|entry| entry.link.as_deref().is_none_or(leads_in));
            grounds.extend(system.map(|entry| (entry.path.clone(), Ground::System)));
        }
        Self(grounds)
    }

    /// Records one of [`BASE_MOUNTS`].
    pub fn cover_base(&mut self, destination: AbsPath) {
        let ground = if destination.as_str() == "/proc" { Ground::Kernel } else { Ground::Own };
        self.cover(destination, ground);
    }

    /// Records a mount.
    pub fn cover(&mut self, destination: AbsPath, ground: Ground) {
        self.0.push((destination, ground));
    }

    /// Returns what `path` lies on and where that begins.
    #[must_use]
    pub fn under(&self, path: &AbsPath) -> (&AbsPath, &Ground) {
        static ROOT: std::sync::LazyLock<AbsPath> = std::sync::LazyLock::new(AbsPath::root);
        let found = self.0.iter().rev().find(|(place, _)| path.is_within(place));
        found.map_or((&ROOT, &Ground::Own), |(place, ground)| (place, ground))
    }

    /// Returns under which question [`crate::plan::facts::Facts::above`] has the directories above `path`.
    #[must_use]
    pub fn above(&self, path: &AbsPath) -> Option<Question> {
        match self.under(path).1 {
            Ground::Image | Ground::System => self.question(path),
            Ground::Own | Ground::Kernel | Ground::Bound(_) | Ground::View(_) => None,
        }
    }

    /// Returns what has to be known about `path`, if anything has.
    #[must_use]
    pub fn question(&self, path: &AbsPath) -> Option<Question> {
        let (place, ground) = self.under(path);
        match ground {
            Ground::Own => None,
            Ground::Image => Some(Question::Image(path.clone())),
            Ground::System | Ground::Kernel => Some(Question::Host(PathBuf::from(path.as_str()))),
            Ground::Bound(source) | Ground::View(source) => {
                let rest = path.as_str().strip_prefix(place.as_str()).unwrap_or_default().trim_start_matches('/');
                Some(Question::Host(if rest.is_empty() { source.clone() } else { source.join(rest) }))
            }
        }
    }
}

/// Returns what a mount of the spec puts at its destination.
#[must_use]
pub fn ground_of(mount: &Mount, invocation: &Invocation) -> Option<Ground> {
    match mount {
        Mount::Bind(bind) => Some(Ground::Bound(invocation.absolute(&bind.source))),
        Mount::Overlay { lower, .. } => Some(Ground::View(invocation.absolute(lower))),
        Mount::Volume { name, .. } => Some(Ground::View(invocation.volumes.join(name))),
        Mount::Tmpfs { .. } | Mount::Mask { .. } => Some(Ground::Own),
        Mount::File { .. } | Mount::Dir { .. } | Mount::Symlink { .. } | Mount::Device { .. } => None,
    }
}

/// Returns the base mounts that the spec leaves to sbx: one that it fills itself is not made twice.
#[must_use]
pub fn base_mounts(spec: &Spec) -> Vec<AbsPath> {
    let filled = |path: &AbsPath| {
        spec.mounts.iter().any(|mount| {
            mount.value.destination() == path
                && matches!(
                    mount.value,
                    Mount::Tmpfs { .. } | Mount::Volume { .. } | Mount::Bind(Bind { access: Access::ReadWrite, .. })
                )
        })
    };
    BASE_MOUNTS.iter().filter_map(|path| AbsPath::new(path).ok()).filter(|path| !filled(path)).collect()
}

/// Returns everything that [`crate::plan::resolve::resolve`] will have to know, each once.
#[must_use]
pub fn survey(spec: &Spec, base: &Base, invocation: &Invocation) -> Vec<Question> {
    let mut grounds = Grounds::new(base);
    let mut questions = Vec::new();
    for path in base_mounts(spec) {
        questions.extend(grounds.question(&path));
        grounds.cover_base(path);
    }
    for Spanned { value: mount, .. } in &spec.mounts {
        questions.extend(grounds.question(mount.destination()));
        match mount {
            Mount::Bind(bind) => questions.push(Question::Host(invocation.absolute(&bind.source))),
            Mount::Overlay { lower, .. } => questions.push(Question::Host(invocation.absolute(lower))),
            Mount::Device { path } => questions.push(Question::Host(PathBuf::from(path.as_str()))),
            _ => {}
        }
        if let Some(ground) = ground_of(mount, invocation) {
            grounds.cover(mount.destination().clone(), ground);
        }
    }
    for secret in &spec.secrets {
        if let crate::spec::Secret::File { destination, .. } = &secret.value {
            questions.extend(grounds.question(destination));
        }
    }
    questions.extend(
        MASKED.iter().map(|path| Question::Host(PathBuf::from(path))).filter(|_| matches!(base, Base::Host(_))),
    );
    questions.sort();
    questions.dedup();
    questions
}

/// Returns the destinations for which the directories above have to be known: those that lie deep enough in
/// the host's system or in the image.
#[must_use]
pub fn deep(spec: &Spec, base: &Base, invocation: &Invocation) -> Vec<Question> {
    let mut grounds = Grounds::new(base);
    base_mounts(spec).into_iter().for_each(|path| grounds.cover_base(path));
    let mut deep = Vec::new();
    let mut look = |grounds: &Grounds, path: &AbsPath| {
        let is_deep = path.as_str().matches('/').count() > 1;
        deep.extend(grounds.above(path).filter(|_| is_deep));
    };
    for Spanned { value: mount, .. } in &spec.mounts {
        look(&grounds, mount.destination());
        if let Some(ground) = ground_of(mount, invocation) {
            grounds.cover(mount.destination().clone(), ground);
        }
    }
    for secret in &spec.secrets {
        if let crate::spec::Secret::File { destination, .. } = &secret.value {
            look(&grounds, destination);
        }
    }
    deep.sort();
    deep.dedup();
    deep
}

/// Returns whether something exists, given the answer about it.
#[must_use]
pub fn exists(kind: FileKind) -> bool {
    matches!(kind, FileKind::Directory | FileKind::File)
}
