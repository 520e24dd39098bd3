//! Three machines that are only data, and the plan of a spec on each: no privileges, no
//! kernel, milliseconds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sbx::error::Error;
use sbx::host::{Caller, Cgroups, Controller, Hierarchy, Host, Preparation, Refusal, Rights, Version};
use sbx::plan::facts::{
    Account, Base, Facts, FileKind, HostEntry, Invocation, LandlockFacts, Pinned, Question, Search, SeccompFacts,
    Standing, Subordinate,
};
use sbx::plan::{Plan, Write, ground, resolve};
use sbx::spec::{Access, Mount, RootfsSource, Spec, Who};
use sbx::units::AbsPath;

fn refusal(controllers: &[Controller], why: &str, hint: &str) -> Refusal {
    Refusal { controllers: controllers.to_vec(), why: why.to_owned(), errno: None, hint: hint.to_owned() }
}

/// An unprivileged user in a delegated group of a v2 machine, without `cpuset` and `io`.
pub(crate) fn rootless_v2() -> Host {
    let hierarchy = Hierarchy {
        version: Version::V2,
        controllers: vec![Controller::Memory, Controller::Cpu, Controller::Pids],
        parent: PathBuf::from("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice"),
        preparation: Preparation::Enable,
    };
    let missing = [Controller::Cpuset, Controller::Io, Controller::Hugetlb];
    let cgroups = Cgroups {
        hierarchies: vec![hierarchy],
        refusals: vec![refusal(&missing, "the controller is not delegated", "set `Delegate=yes` on `user@.service`")],
        scope: None,
    };
    Host { caller: Caller { uid: 1000, gid: 1000, rights: Rights::User }, cgroups }
}

/// The root of a machine with v1 controllers beside a v2 tree that has `hugetlb` only.
pub(crate) fn root_hybrid() -> Host {
    let v1 = |directory: &str, controllers: &[Controller]| Hierarchy {
        version: Version::V1,
        controllers: controllers.to_vec(),
        parent: Path::new("/sys/fs/cgroup").join(directory),
        preparation: Preparation::Ready,
    };
    let mut hierarchies = vec![
        v1("memory", &[Controller::Memory]),
        v1("cpu,cpuacct", &[Controller::Cpu, Controller::Cpuacct]),
        v1("cpuset", &[Controller::Cpuset]),
        v1("pids", &[Controller::Pids]),
        v1("blkio", &[Controller::Io]),
    ];
    hierarchies.push(Hierarchy {
        version: Version::V2,
        controllers: vec![Controller::Hugetlb],
        parent: PathBuf::from("/sys/fs/cgroup/unified"),
        preparation: Preparation::Enable,
    });
    let cgroups = Cgroups { hierarchies, refusals: Vec::new(), scope: None };
    Host { caller: Caller { uid: 0, gid: 0, rights: Rights::Root }, cgroups }
}

/// An unprivileged user of a machine, or a container, without any cgroup file system.
pub(crate) fn no_cgroups() -> Host {
    let all = refusal(&Controller::ALL, "no cgroup file system is mounted", "mount one on `/sys/fs/cgroup`");
    let cgroups = Cgroups { hierarchies: Vec::new(), refusals: vec![all], scope: None };
    Host { caller: Caller { uid: 1000, gid: 1000, rights: Rights::User }, cgroups }
}

pub(crate) fn base(spec: &Spec) -> Base {
    let inside = |path: &str| AbsPath::new(path).unwrap();
    match spec.rootfs.as_ref().map(|rootfs| &rootfs.value.source) {
        None | Some(RootfsSource::Host) => Base::Host(vec![
            HostEntry { path: inside("/usr"), link: None },
            HostEntry { path: inside("/bin"), link: Some("usr/bin".to_owned()) },
            HostEntry { path: inside("/lib"), link: Some("usr/lib".to_owned()) },
            HostEntry { path: inside("/etc"), link: None },
        ]),
        Some(RootfsSource::Scratch) => Base::Scratch,
        Some(_) => Base::Image(PathBuf::from("/home/u/.cache/sbx/images/0123")),
    }
}

/// What there is on the machines: the sources that the specs name, and the usual directories.
fn answer(question: &Question) -> FileKind {
    let (path, directories): (&str, &[&str]) = match question {
        Question::Host(path) => (path.to_str().unwrap(), &["/etc", "/etc/ssl/private", "/usr", "/var"]),
        Question::Image(path) => (path.as_str(), &["/", "/dev", "/etc", "/proc", "/run", "/tmp", "/usr", "/opt"]),
    };
    let files = ["/etc/shadow", "/bin/busybox", "/dev/fuse", "/proc/keys"];
    let project = path.starts_with("/home/u/");
    match path {
        _ if directories.contains(&path) => FileKind::Directory,
        _ if files.contains(&path) || project && path.contains('.') => FileKind::File,
        _ if project => FileKind::Directory,
        _ => FileKind::Missing,
    }
}

/// The usual directories are root's, those of an image the caller's.
fn above(question: &Question, host: &Host) -> Vec<Standing> {
    let image = matches!(question, Question::Image(_));
    let path = match question {
        Question::Host(path) => path.to_str().unwrap(),
        Question::Image(path) => path.as_str(),
    };
    let ends = path.match_indices('/').map(|(at, _)| &path[..at]).filter(|path| !path.is_empty());
    let owner = if image { host.caller.uid } else { 0 };
    let standing = |path| Standing { path, mode: 0o755, uid: owner, gid: owner, search: Search::Allowed };
    let question = |path: &AbsPath| match image {
        true => Question::Image(path.clone()),
        false => Question::Host(PathBuf::from(path.as_str())),
    };
    let there = |path: &AbsPath| answer(&question(path)) == FileKind::Directory;
    ends.map(|path| AbsPath::new(path).unwrap()).filter(there).map(standing).collect()
}

/// The spec lies in the project's own directory, and so in every mount that gives that away.
fn pinned(spec: &Spec) -> BTreeSet<Pinned> {
    let given = |mount: &Mount| match mount {
        Mount::Bind(bind) => bind.access == Access::ReadWrite && bind.source.0 == ".",
        _ => false,
    };
    let numbers = (0..spec.mounts.len()).filter(|number| given(&spec.mounts[*number].value));
    numbers.map(|mount| Pinned { mount, path: PathBuf::from("spec.kdl"), write: Write::ReadOnly }).collect()
}

pub(crate) fn plan(spec: &Spec, host: &Host) -> Result<Plan, Error> {
    let invocation = Invocation {
        base: PathBuf::from("/home/u/project"),
        home: Some(PathBuf::from("/home/u")),
        volumes: PathBuf::from("/home/u/.cache/sbx/volumes"),
        variables: [("TERM", "xterm"), ("CI_TOKEN", "hunter2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        arguments: Vec::new(),
        ..Invocation::default()
    };
    let base = base(spec);
    let questions = ground::survey(spec, &base, &invocation);
    let facts = Facts {
        host: host.clone(),
        answers: questions.into_iter().map(|question| (question.clone(), answer(&question))).collect(),
        above: ground::deep(spec, &base, &invocation).into_iter().map(|it| (it.clone(), above(&it, host))).collect(),
        base,
        top: None,
        account: spec.user.as_ref().and_then(|user| match &user.value.who {
            Who::Name(name) => {
                Some(Account { name: name.clone(), uid: 33, gid: 33, home: "/var/www".to_owned(), groups: Vec::new() })
            }
            _ => None,
        }),
        seccomp: SeccompFacts::default(),
        families: vec![sbx::sys::net::Family::V4],
        redirection: sbx::plan::facts::Redirection::There,
        landlock: LandlockFacts::Version(7),
        subordinate: Some(Subordinate { first_uid: 100_000, uids: 65_536, first_gid: 100_000, gids: 65_536 }),
        devices: spec.limits.io.iter().map(|io| (invocation.absolute(&io.value.device), (8, 0))).collect(),
        pinned: pinned(spec),
    };
    resolve::resolve(spec, &facts, &invocation)
}
