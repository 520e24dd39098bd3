//! The plan of every spec on three machines that are only data: what would happen
//! there, or why not. No privileges, no kernel, milliseconds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sbx::error::Error;
use sbx::host::{Caller, Cgroups, Controller, Hierarchy, Host, Preparation, Refusal, Rights, Version};
use sbx::plan::facts::{
    Account, Base, Facts, FileKind, HostEntry, Invocation, LandlockFacts, Pinned, Question, Search, SeccompFacts,
    Standing, Subordinate,
};
use sbx::plan::{Plan, Write, ground, resolve, show};
use sbx::spec::parse::parse;
use sbx::spec::{Access, Mount, RootfsSource, Spec, Who};
use sbx::units::AbsPath;

fn refusal(controllers: &[Controller], why: &str, hint: &str) -> Refusal {
    Refusal { controllers: controllers.to_vec(), why: why.to_owned(), errno: None, hint: hint.to_owned() }
}

/// An unprivileged user in a delegated group of a v2 machine, without `cpuset` and `io`.
fn rootless_v2() -> Host {
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
fn root_hybrid() -> Host {
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
fn no_cgroups() -> Host {
    let all = refusal(&Controller::ALL, "no cgroup file system is mounted", "mount one on `/sys/fs/cgroup`");
    let cgroups = Cgroups { hierarchies: Vec::new(), refusals: vec![all], scope: None };
    Host { caller: Caller { uid: 1000, gid: 1000, rights: Rights::User }, cgroups }
}

fn base(spec: &Spec) -> Base {
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

fn plan(spec: &Spec, host: &Host) -> Result<Plan, Error> {
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
        account: spec.user.as_ref().and_then(|user| match &user.value.who {
            Who::Name(name) => Some(Account { name: name.clone(), uid: 33, gid: 33, home: "/var/www".to_owned() }),
            _ => None,
        }),
        seccomp: SeccompFacts::default(),
        landlock: LandlockFacts::Version(7),
        subordinate: Some(Subordinate { first_uid: 100_000, uids: 65_536, first_gid: 100_000, gids: 65_536 }),
        devices: spec.limits.io.iter().map(|io| (invocation.absolute(&io.value.device), (8, 0))).collect(),
        pinned: pinned(spec),
    };
    resolve::resolve(spec, &facts, &invocation)
}

#[test]
fn every_spec_has_a_plan_or_a_reason_on_every_machine() {
    let machines = [("rootless v2", rootless_v2()), ("root v1 hybrid", root_hybrid()), ("no cgroups", no_cgroups())];
    for path in crate::spec::specs("specs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let spec = parse(text.as_bytes()).unwrap();
        let mut shown = String::new();
        for (machine, host) in &machines {
            shown.extend(["== ", machine, "\n"]);
            match plan(&spec, host) {
                Ok(plan) => shown.push_str(&show::show(&plan, name, &text)),
                Err(error) => {
                    shown.push_str(&sbx::report::text::text(
                        &error,
                        Some(sbx::report::SpecText { name, text: &text }),
                        sbx::report::text::Colour::Plain,
                    ));
                }
            }
        }
        assert!(!shown.contains("hunter2"), "{name}: the plan shows a secret");
        crate::spec::with_snapshots(|| {
            insta::assert_snapshot!(format!("plan_{}", name.trim_end_matches(".kdl")), shown)
        });
    }
}

#[test]
fn two_resolutions_of_one_spec_are_the_same() {
    let text = std::fs::read("specs/build.kdl").unwrap();
    let spec = parse(&text).unwrap();
    assert_eq!(plan(&spec, &root_hybrid()).unwrap(), plan(&spec, &root_hybrid()).unwrap());
}

/// The limits of the report, `name requested applied by`.
fn limits(spec: &str, host: &Host) -> Vec<String> {
    let spec = parse(spec.as_bytes()).unwrap();
    let plan = plan(&spec, host).unwrap();
    plan.limits.iter().map(|it| format!("{} {} {} {}", it.name, it.requested, it.applied, it.by)).collect()
}

#[test]
fn each_limit_that_is_asked_for_is_listed_with_what_holds_it() {
    let spec = "limits {
        memory \"512M\" swap=\"64M\"; cpu 1.5 weight=50; cpuset \"0-1\"; pids 9; hugetlb \"2M\" \"64M\"
        io \"/dev/sda\" read=\"10MB/s\" write=\"5M/s\" read-iops=100 write-iops=50; wall \"90s\" grace=\"500ms\"; cpu-time \"1500ms\"
        output \"1M\"; disk \"2G\" inodes=1000; open-files 64; core 0; locked-memory \"max\"; stack \"8M\"
    }
    command \"x\"";
    let own = [
        "wall 1m30s 90000000000 sbx",
        "wall.grace 500ms 500000000 sbx",
        "cpu-time 1s500ms 1500000000 sbx",
        "output 1M 1048576 sbx",
        "disk 2G 2147483648 tmpfs size of /tmp",
        "disk.inodes 1000 1000 tmpfs nr_inodes of /tmp",
        "open-files 64 64 rlimit",
        "core 0 0 rlimit",
        "stack 8M 8388608 rlimit",
        "locked-memory max 18446744073709551615 rlimit",
    ];
    let v1 = [
        "memory 512M 536870912 memory.limit_in_bytes",
        "memory.swap 64M 67108864 memory.memsw.limit_in_bytes",
        "cpu 1.5 1500 cpu.cfs_quota_us",
        "cpu.weight 50 50 cpu.shares",
        "cpuset 0-1 2 cpuset.cpus",
        "pids 9 9 pids.max",
        "hugetlb 2M 64M 67108864 hugetlb.2MB.max",
        "io.read /dev/sda 10M/s 10485760 blkio.throttle.read_bps_device",
        "io.write /dev/sda 5M/s 5242880 blkio.throttle.write_bps_device",
        "io.read-iops /dev/sda 100 100 blkio.throttle.read_iops_device",
        "io.write-iops /dev/sda 50 50 blkio.throttle.write_iops_device",
    ];
    assert_eq!(limits(spec, &root_hybrid()), [&v1[..], &own].concat());
    let spec = "limits { memory \"1G\" high=\"900M\"; cpu \"150%\"; pids 1; }\nrootfs scratch";
    let v2 = [
        "memory 1G 1073741824 memory.max",
        "memory.high 900M 943718400 memory.high",
        "cpu 1.5 1500 cpu.max",
        "pids 1 1 pids.max",
    ];
    assert_eq!(limits(&format!("{spec}\ncommand \"x\""), &rootless_v2()), v2);
}
