//! One spec, the plan that could come of it and an outcome, for tests of what is
//! said about them. Nothing here was resolved or run.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use sbx::host::{Controller, Preparation, Version};
use sbx::plan::landlock::{InForce, Status};
use sbx::plan::{
    AppliedLimit, Attributes, Capture, CgroupPlan, Content, Counting, Devices, Exec, Filesystem, Group, IdRange,
    Identity, Idmap, Ids, Links, MapWriter, Op, Opener, Plan, Setting, StdinPlan, Step, Tree, Variable, VariableValue,
    Watch, Weakened, Write,
};
use sbx::report::{RootfsMember, Subject};
use sbx::run::{
    CpuUsage, Ended, Interface, IoUsage, Killer, MemoryUsage, Outcome, Output, PidsUsage, Pressure, Refused, Source,
    Timing, Truncated, Usage,
};
use sbx::spec::{Init, Namespace, Syscall};
use sbx::units::{AbsPath, Bytes, MilliCores, Origin, Span, SpecText};

pub(crate) const SPEC: SpecText<'static> = SpecText {
    name: "build.kdl",
    extended: &[],
    text: r#"rootfs "/srv/root"
hostname "ci"
mounts {
    bind "my src" "/src"
    tmpfs "/tmp" size="512M"
}
limits {
    memory "512M"
    pids 256
    cpu 1.5
    wall "5m" grace="5s"
}
secret TOKEN env="CI_TOKEN"
command "make" "check all"
"#,
};

pub(crate) const SECRET: &str = "hunter2";

/// The place of the first `word` in the spec.
pub(crate) fn at(word: &str) -> Origin {
    let start = SPEC.text.find(word).unwrap();
    Origin::Spec(Span { start, end: start + word.len() })
}

pub(crate) fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

pub(crate) fn attributes(write: Write) -> Attributes {
    Attributes { write, devices: Devices::Forbidden, exec: sbx::spec::Exec::Allowed, links: Links::Followed }
}

pub(crate) fn open_tree(tree: u16, source: &str, opener: Opener) -> Op {
    Op::OpenTree { tree: Tree(tree), source: PathBuf::from(source), attributes: attributes(Write::ReadOnly), opener }
}

/// One step of every kind.
pub(crate) fn steps() -> Vec<Step> {
    let tmpfs = Op::Mount {
        filesystem: Filesystem::Tmpfs,
        destination: path("/tmp"),
        options: "size=512M".to_owned(),
        attributes: attributes(Write::ReadWrite),
    };
    let overlay = Op::NewFilesystem {
        tree: Tree(2),
        filesystem: Filesystem::Overlay,
        options: vec![("lowerdir".to_owned(), "/srv/a b".to_owned()), ("userxattr".to_owned(), String::new())],
        attributes: Attributes {
            write: Write::ReadWrite,
            devices: Devices::Allowed,
            exec: sbx::spec::Exec::Forbidden,
            links: Links::Followed,
        },
    };
    let file = |tree, content| Op::NewFile { tree: Tree(tree), mode: 0o644, content };
    let steps = [
        (Op::MapIds, Origin::Default),
        (Op::DieWithParent, Origin::Default),
        (Op::JoinCgroup, at("limits")),
        (Op::UnshareCgroup, Origin::Default),
        (Op::UnshareTime { monotonic: -5, boottime: 3_600_000_000_000 }, Origin::CommandLine),
        (Op::PrivateMounts, Origin::Default),
        (open_tree(0, "/srv/root", Opener::Child), at("rootfs")),
        (open_tree(1, "/home/u/my src", Opener::Parent(Idmap::Inside)), at("bind")),
        (overlay, at("rootfs")),
        (Op::Pivot { tree: Tree(0) }, at("rootfs")),
        (Op::MakeDir { path: path("/src"), mode: 0o755 }, at("bind")),
        (Op::Attach { tree: Tree(1), destination: path("/src") }, at("bind")),
        (tmpfs, at("tmpfs")),
        (file(3, Content::Text("127.0.0.1 localhost\n".to_owned())), Origin::Default),
        (file(4, Content::Secret(PathBuf::from("/home/u/key"))), Origin::CommandLine),
        (Op::Stage { tree: Tree(5), directories: vec!["lower0".to_owned()] }, at("rootfs")),
        (Op::AttachStaged { tree: Tree(0), directory: "lower0".to_owned() }, at("rootfs")),
        (Op::MakeFile { path: path("/dev/null"), mode: 0o666 }, Origin::Default),
        (Op::MakeSymlink { path: path("/dev/fd"), target: "/proc/self/fd".to_owned() }, Origin::Default),
        (Op::Pin { path: path("/src/build.kdl"), write: Write::ReadOnly }, at("bind")),
        (Op::ReadOnly { path: path("/") }, Origin::Default),
        (Op::Hostname { name: "ci".to_owned() }, at("hostname")),
        (Op::LoopbackUp, Origin::Default),
        (Op::Rlimit { resource: sbx::spec::Resource::OpenFiles, value: 64 }, Origin::CommandLine),
        (Op::SetIds, Origin::Default),
        (Op::Capabilities { keep: vec![sbx::spec::Capability { number: 0, name: "CHOWN" }] }, Origin::Default),
        (Op::NoNewPrivileges, Origin::Default),
        (Op::Workdir { path: path("/src") }, Origin::CommandLine),
    ];
    steps.into_iter().map(|(op, origin)| Step { op, origin }).collect()
}

pub(crate) fn plan() -> Plan {
    let setting = |file: &str, value: &str, feature, origin| Setting {
        file: file.to_owned(),
        value: sbx::plan::Value::Text(value.to_owned()),
        feature,
        origin,
    };
    let limit = |name, requested: &str, applied, by: &str| AppliedLimit {
        name,
        requested: requested.to_owned(),
        applied,
        by: by.to_owned(),
    };
    Plan {
        way: None,
        namespaces: vec![Namespace::User, Namespace::Mount, Namespace::Pid, Namespace::Net],
        identity: Identity {
            inside: Ids { uid: 0, gid: 0 },
            outside: Ids { uid: 1000, gid: 1000 },
            uid_map: vec![IdRange { inside: 0, outside: 1000, count: 1 }],
            gid_map: vec![IdRange { inside: 0, outside: 1000, count: 1 }],
            groups: vec![20, 44],
            writer: MapWriter::Child,
        },
        steps: steps(),
        cgroup: Some(CgroupPlan {
            groups: vec![Group {
                version: Version::V2,
                parent: PathBuf::from("/sys/fs/cgroup/user.slice"),
                preparation: Preparation::Enable,
                controllers: vec![Controller::Memory, Controller::Pids],
                settings: vec![
                    setting("memory.max", "536870912", "memory", at("memory")),
                    setting("cpu.max", "150000 100000", "cpu", at("cpu")),
                ],
            }],
        }),
        exec: Exec {
            candidates: ["/usr/local/bin/make", "/usr/bin/make"].map(Into::into).into(),
            argv: ["make", "check all"].map(Into::into).into(),
            env: vec![
                Variable { name: "PATH".to_owned(), value: VariableValue::Plain("/usr/local/bin:/usr/bin".to_owned()) },
                Variable { name: "TOKEN".to_owned(), value: VariableValue::Secret(SECRET.to_owned()) },
            ],
            workdir: path("/src"),
            origin: Origin::CommandLine,
        },
        init: Init::Reaper,
        stdin: StdinPlan::Null,
        streams: Default::default(),
        terminal: None,
        watch: Watch {
            wall: Some(Duration::from_secs(300)),
            grace: Duration::from_secs(5),
            cpu_time: Some(Duration::from_millis(1500)),
            output: Some(Bytes(1 << 20)),
            capture: Capture::Yes,
            counting: Counting::Yes,
            refusals: Counting::Yes,
            cores: Some(MilliCores(1500)),
            disk: None,
        },
        harvest: None,
        landlock: InForce { abi: Some(6), status: Status::Partial },
        limits: vec![limit("memory", "512M", 512 << 20, "memory.max"), limit("pids", "256", 256, "pids.max")],
        weakened: vec![Weakened { feature: "cpuset", why: "controller not delegated".to_owned() }],
        warnings: vec!["the spec is world-writable".to_owned()],
    }
}

/// An outcome in which every figure is known and no two are alike.
pub(crate) fn outcome(ended: Ended, killed_by: Option<Killer>) -> Outcome {
    let started_at = SystemTime::UNIX_EPOCH + Duration::from_micros(1_800_000_000_000_123);
    Outcome {
        ledger: None,
        ended,
        asked: None,
        killed_by,
        timing: Timing {
            started_at,
            finished_at: started_at + Duration::from_millis(1500),
            wall: Duration::from_nanos(1),
            setup: Duration::from_nanos(2),
            teardown: Duration::from_nanos(3),
        },
        usage: usage(),
        interfaces: Some(vec![Interface {
            name: "lo".to_owned(),
            rx_bytes: 39,
            tx_bytes: 40,
            rx_packets: 41,
            tx_packets: 42,
        }]),
        output: Output {
            stdout_bytes: Some(37),
            stderr_bytes: Some(38),
            truncated: Truncated::No,
            stdout: Some(format!("token={SECRET}\n").into_bytes()),
            stderr: Some(b"\xff\x1b[2J".to_vec()),
        },
        refused: Some(vec![
            Refused { number: Syscall::named("mount").unwrap().number.into(), count: 3 },
            Refused { number: 511, count: 1 },
        ]),
        cgroup: Some((Version::V2, "/user.slice/sbx-1".to_owned())),
        leftovers: vec!["/sys/fs/cgroup/sbx-1".to_owned()],
        changes: None,
        failed: Vec::new(),
        unfit: Vec::new(),
        warnings: vec!["a process did not end".to_owned()],
    }
}

fn usage() -> Usage {
    let ns = |n| Some(Duration::from_nanos(n));
    Usage {
        user: ns(4),
        system: ns(5),
        time_source: Some(Source::Cgroup2),
        max_rss_bytes: Some(6),
        page_faults_minor: Some(7),
        page_faults_major: Some(8),
        switches_voluntary: Some(9),
        switches_involuntary: Some(10),
        memory: MemoryUsage {
            peak_bytes: Some(11),
            swap_peak_bytes: Some(12),
            oom_kills: Some(13),
            limit_hits: Some(14),
            source: Some("memory.peak"),
        },
        cpu: CpuUsage { periods: Some(15), throttled_periods: Some(16), throttled: ns(17) },
        pids: PidsUsage { peak: Some(18), denied_forks: Some(19), left_at_exit: Some(20) },
        io: IoUsage { read_bytes: Some(21), write_bytes: Some(22), read_ops: Some(23), write_ops: Some(24) },
        pressure: Pressure {
            cpu_some: ns(25),
            memory_some: ns(26),
            memory_full: ns(27),
            io_some: ns(28),
            io_full: ns(29),
        },
    }
}

pub(crate) fn subject(command: &[std::ffi::OsString]) -> Subject<'_> {
    Subject {
        spec: Some(SPEC),
        sha256: Some("00ff"),
        labels: [("job".to_owned(), "7".to_owned())].into(),
        command,
        rootfs: RootfsMember {
            kind: Some("directory"),
            source: Some("/srv/root"),
            digest: None,
            layers: None,
            writable: Some("no"),
        },
    }
}
