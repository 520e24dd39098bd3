//! Specs on machines that are only data, with whatever answers about their files: a plan or a
//! reason, and what holds for every plan: nothing of the host after the pivot, no writable
//! path that the spec does not give, a fresh `/dev`, masks, no capability unless asked.
#![no_main]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use sbx::host::{Host, subordinate};
use sbx::plan::facts::{
    Account, Base, Facts, FileKind, Invocation, LandlockFacts, Question, Search, SeccompFacts, Standing, Stream,
    Subordinate,
};
use sbx::plan::posture::{self, Deed, Proc};
use sbx::plan::{Devices, Filesystem, Op, Plan, Step, Tree, Write, ground, resolve, show};
use sbx::report::{plan_json, text::Colour, text::text};
use sbx::spec::{Access, Mount, Namespace, Spec, Who, parse::parse};
use sbx::units::{AbsPath, SpecText};
use sbx_fuzz::words::Words;
use sbx_fuzz::{budget, text as tame};

#[path = "../../tests/it/machines.rs"]
#[expect(dead_code, reason = "the tests have more use for it")]
mod machines;

/// A secret that the caller has and nobody may see.
const SECRET: &str = "hunter2-in-no-plan";

// The first bytes choose the machine and the answers; the rest is a spec, or choices for one.
fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((choices, rest)) = bytes.split_first_chunk::<6>() else { return Corpus::Reject };
    let words;
    let written = match choices[0] & 0x80 {
        0 => rest,
        _ => match Unstructured::new(rest).arbitrary::<Words>() {
            Ok(Words(made)) => {
                words = made;
                words.as_bytes()
            }
            Err(_) => return Corpus::Reject,
        },
    };
    let (Ok(spec), Ok(written)) = (parse(written), std::str::from_utf8(written)) else { return Corpus::Reject };
    let machine = Machine::of(*choices, &spec);
    budget::within(50, || match resolve::resolve(&spec, &machine.facts, &machine.invocation) {
        Ok(plan) => {
            let again = resolve::resolve(&spec, &machine.facts, &machine.invocation);
            assert_eq!(again.as_ref(), Ok(&plan), "one spec, two plans");
            shown(&plan, written);
            Held { plan: &plan, spec: &spec, machine: &machine }.all();
        }
        Err(error) => {
            let drawn = text(&error, Some(SpecText::new("a\u{1b}.kdl", written)), Colour::Plain);
            tame::is_tame(&drawn);
            assert!(!drawn.contains(SECRET), "{drawn}");
        }
    });
    Corpus::Keep
});

struct Machine {
    facts: Facts,
    invocation: Invocation,
}

impl Machine {
    fn of(choices: [u8; 6], spec: &Spec) -> Self {
        let host = match choices[0] & 3 {
            0 => machines::rootless_v2(),
            1 | 2 => machines::root_hybrid(),
            _ => machines::no_cgroups(),
        };
        let stream = if choices[1] & 1 == 0 { Stream::Unknown(9) } else { terminal() };
        let invocation = Invocation {
            base: PathBuf::from("/home/u/project"),
            home: (choices[1] & 2 == 0).then(|| PathBuf::from("/home/u")),
            volumes: PathBuf::from("/home/u/.cache/sbx/volumes"),
            variables: [("TERM", "xterm"), ("CI_TOKEN", SECRET)].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            arguments: if choices[1] & 4 == 0 { Vec::new() } else { vec!["word".into(), "-x".into()] },
            streams: [stream; 3],
            ..Invocation::default()
        };
        let base = machines::base(spec);
        let answers = ground::survey(spec, &base, &invocation).into_iter().map(|it| (it.clone(), answer(&it, choices)));
        let standing = |it: Question| (it.clone(), above(&it, &host, choices));
        let facts = Facts {
            answers: answers.collect(),
            above: ground::deep(spec, &base, &invocation).into_iter().map(standing).collect(),
            top: top(&host, choices[4]),
            account: spec.user.as_ref().and_then(|user| match &user.value.who {
                Who::Name(name) if choices[1] & 8 == 0 => Some(Account {
                    name: name.clone(),
                    uid: 33,
                    gid: u32::from(choices[2]),
                    home: "/var/www".to_owned(),
                    groups: if choices[2] & 1 == 0 { Vec::new() } else { vec![44, u32::from(choices[2]) << 9] },
                }),
                _ => None,
            }),
            seccomp: SeccompFacts {
                profile: "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}".to_owned(),
                kernel: "6.1.0".to_owned(),
                missing: None,
            },
            families: vec![sbx::sys::net::Family::V4],
            redirection: sbx::plan::facts::Redirection::There,
            landlock: match choices[1] >> 5 {
                0 => LandlockFacts::Missing(38),
                version => LandlockFacts::Version(version.into()),
            },
            subordinate: (choices[1] & 16 == 0).then(|| range(choices[3])),
            devices: spec.limits.io.iter().map(|io| (invocation.absolute(&io.value.device), (8, 0))).collect(),
            pinned: std::collections::BTreeSet::new(),
            host,
            base,
        };
        Self { facts, invocation }
    }
}

fn terminal() -> Stream {
    use sbx::sys::file::{FileType, Stat};
    let owner = sbx::sys::file::Owner { uid: 0, gid: 5 };
    let kind = FileType::Character { major: 136 };
    Stream::Terminal(Stat { kind, device: 1, inode: 3, size: 0, mode: 0o620, owner })
}

/// As the reader of /etc/subuid gives it.
fn range(choice: u8) -> Subordinate {
    let text = ["1000:100000:65536", "1000:4294967294:2", "1000:1:4294967295", "1000:0:1"][usize::from(choice % 4)];
    let found = subordinate::ranges(text, None, 1000);
    let found = found.first().expect("it is a range");
    Subordinate { first_uid: found.start, uids: found.count, first_gid: found.start, gids: found.count }
}

/// A number that depends on the path and the choice alone.
fn hash(question: &Question, choice: u8) -> u8 {
    let bytes: Vec<u8> = match question {
        Question::Host(path) => path.to_string_lossy().bytes().collect(),
        Question::Image(path) => path.as_str().bytes().chain(*b"i").collect(),
    };
    let mixed =
        bytes.iter().fold(u32::from(choice) | 0x100, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (mixed >> 13) as u8
}

fn answer(question: &Question, choices: [u8; 6]) -> FileKind {
    match hash(question, choices[4]) % 16 {
        _ if choices[4] == 0 => FileKind::Directory,
        0..7 => FileKind::Directory,
        7..11 => FileKind::File,
        11..15 => FileKind::Missing,
        _ => FileKind::Unknown(13),
    }
}

fn above(question: &Question, host: &Host, choices: [u8; 6]) -> Vec<Standing> {
    let path = match question {
        Question::Host(path) => path.to_string_lossy().into_owned(),
        Question::Image(path) => path.as_str().to_owned(),
    };
    let ends = path.match_indices('/').map(|(at, _)| &path[..at]).filter(|path| !path.is_empty());
    let number = hash(question, choices[5]);
    let there = usize::from(number % 5);
    let owner = [0, host.caller.uid, 33, 65_534][usize::from(number >> 6)];
    let search = if number & 0x20 == 0 { Search::Allowed } else { Search::Denied };
    let mode = if number & 0x10 == 0 { 0o755 } else { 0o700 };
    let standing = |path| Standing { path, mode, uid: owner, gid: owner, search };
    ends.filter_map(|path| AbsPath::new(path).ok()).take(there).map(standing).collect()
}

fn top(host: &Host, number: u8) -> Option<Standing> {
    let owner = [0, host.caller.uid, 33, 65_534][usize::from(number >> 6)];
    let search = if number & 4 == 0 { Search::Allowed } else { Search::Denied };
    let mode = if number & 8 == 0 { 0o755 } else { 0o700 };
    (number & 3 == 3).then(|| Standing { path: AbsPath::root(), mode, uid: owner, gid: owner, search })
}

fn shown(plan: &Plan, written: &str) {
    let secret_is_written = written.contains(SECRET);
    let drawn = show::show(plan, SpecText::new("a\u{1b}.kdl", written));
    tame::is_tame(&drawn);
    let line = plan_json::to_line(plan, SpecText::new("spec.kdl", written)).expect("a plan has a JSON");
    let json: serde_json::Value = serde_json::from_slice(&line).expect("the JSON can be read");
    assert!(json.is_object());
    for text in [drawn, String::from_utf8(line).expect("the JSON is UTF-8"), format!("{plan:?}")] {
        // A variable that is passed on by name is no secret.
        let passed = plan.exec.env.iter().any(|variable| format!("{:?}", variable.value).contains(SECRET));
        assert!(secret_is_written || passed || !text.contains(SECRET), "the plan shows a secret: {text}");
    }
}

struct Held<'a> {
    plan: &'a Plan,
    spec: &'a Spec,
    machine: &'a Machine,
}

impl Held<'_> {
    fn all(&self) {
        self.identity();
        self.privileges();
        self.confinement();
        self.trees();
        if self.plan.namespaces.contains(&Namespace::Mount) {
            self.order();
            self.sources();
            self.devices();
            self.masks();
            self.file_systems();
        }
    }

    fn ops(&self) -> impl DoubleEndedIterator<Item = &Op> + Clone {
        self.plan.steps.iter().map(|step| &step.op)
    }

    fn at(&self, wanted: impl Fn(&Op) -> bool) -> Option<usize> {
        self.ops().position(wanted)
    }

    fn count(&self, wanted: impl Fn(&Op) -> bool) -> usize {
        self.ops().filter(|op| wanted(op)).count()
    }

    /// Never root outside, by no number that is mapped either.
    fn identity(&self) {
        let identity = &self.plan.identity;
        assert!(identity.outside.uid != 0 && identity.outside.gid != 0, "{identity:?}");
        for map in [&identity.uid_map, &identity.gid_map] {
            for range in map {
                assert!(range.count > 0, "{range:?}");
                assert!(range.inside.checked_add(range.count - 1).is_some(), "{range:?}");
                assert!(range.outside.checked_add(range.count - 1).is_some(), "{range:?}");
                // Only a file of the machine's root can name 0 for a user.
                assert!(range.outside != 0 || self.machine.facts.subordinate.is_some_and(|ids| ids.first_uid == 0));
            }
            let mut inside: Vec<_> = map.iter().map(|range| (range.inside, range.count)).collect();
            inside.sort_unstable();
            assert!(inside.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{map:?} overlaps");
        }
    }

    fn privileges(&self) {
        let kept = |op: &Op| matches!(op, Op::Capabilities { .. });
        assert_eq!(self.count(kept), 1, "capabilities are dropped once");
        let asked: Vec<_> = self.spec.capabilities.iter().map(|capability| capability.value).collect();
        let Some(Op::Capabilities { keep }) = self.ops().find(|op| kept(op)) else { unreachable!() };
        assert_eq!(*keep, asked);
        assert_eq!(self.count(|op| matches!(op, Op::NoNewPrivileges)), 1);
        assert_eq!(self.count(|op| matches!(op, Op::DieWithParent)), 1);
        let dropped = self.at(kept);
        assert!(dropped < self.at(|op| matches!(op, Op::NoNewPrivileges)));
        let mounts =
            |op: &&Op| matches!(op, Op::Attach { .. } | Op::Mount { .. } | Op::MakeDir { .. } | Op::ReadOnly { .. });
        let last = self.ops().enumerate().filter(|(_, op)| mounts(op)).map(|(index, _)| index).last();
        assert!(last < dropped, "something is mounted without the right to");
    }

    /// The filter is the last step, Landlock comes before it, and a profile that has both is not without.
    fn confinement(&self) {
        let (posture, _) = posture::of_spec(self.spec);
        let filter = self.at(|op| matches!(op, Op::Seccomp { .. }));
        assert!(filter.is_none_or(|at| at + 1 == self.plan.steps.len()), "something comes after the filter");
        let none = posture.filter() == sbx::spec::SeccompProfile::None;
        let written = self.spec.seccomp.is_some();
        assert!(filter.is_some() || written || none, "no filter, and nobody said so");
        let privileges = self.at(|op| matches!(op, Op::NoNewPrivileges));
        for (index, op) in self.ops().enumerate() {
            assert!(!matches!(op, Op::Landlock { .. }) || Some(index) > privileges, "Landlock needs no_new_privs");
        }
        let landlock = self.count(|op| matches!(op, Op::Landlock { .. })) > 0;
        let leave = self.spec.landlock.is_some() || posture.landlock == posture::Layer::None;
        let mounts = self.plan.namespaces.contains(&Namespace::Mount);
        let weakened = self.plan.weakened.iter().any(|weak| weak.feature == "landlock");
        assert!(landlock || leave || weakened || !mounts, "no Landlock, and nobody said so");
    }

    /// Every tree is made before it is used, and used once.
    fn trees(&self) {
        let (mut made, mut used) = (BTreeSet::<Tree>::new(), BTreeSet::<Tree>::new());
        for op in self.ops() {
            if let Some(tree) = op.tree() {
                assert!(made.insert(tree), "{tree:?} is made twice");
            }
            if let Op::Stage { tree, .. }
            | Op::AttachStaged { tree, .. }
            | Op::Pivot { tree }
            | Op::Attach { tree, .. } = op
            {
                assert!(made.contains(tree), "{tree:?} is used before it is made");
                assert!(used.insert(*tree), "{tree:?} is used twice");
            }
        }
    }

    /// The host is opened before the pivot and gone after it.
    fn order(&self) {
        assert_eq!(self.count(|op| matches!(op, Op::Pivot { .. })), 1);
        let pivot = self.at(|op| matches!(op, Op::Pivot { .. })).expect("it was counted");
        for (index, Step { op, .. }) in self.plan.steps.iter().enumerate() {
            match op {
                Op::OpenTree { .. }
                | Op::NewFilesystem { .. }
                | Op::NewFile { .. }
                | Op::Stage { .. }
                | Op::AttachStaged { .. }
                | Op::MakeStaged { .. } => assert!(index < pivot, "{op:?} after the pivot"),
                Op::Attach { destination: path, .. }
                | Op::Mount { destination: path, .. }
                | Op::MakeDir { path, .. }
                | Op::MakeFile { path, .. }
                | Op::MakeSymlink { path, .. }
                | Op::ReadOnly { path } => {
                    assert!(index > pivot, "{op:?} while the host is there");
                    let path = path.as_str();
                    assert!(path.starts_with('/') && path.split('/').all(|part| part != ".." && part != "."), "{path}");
                }
                _ => {}
            }
            if let Op::MakeStaged { directory, .. } = op {
                let layer = directory.starts_with("upper") || directory.starts_with("kept/upper/");
                assert!(layer && directory.split('/').all(|part| part != ".."), "{directory}");
            }
        }
    }

    /// Nothing of the host is opened that neither the spec nor sbx itself names, and written only what the spec gives.
    fn sources(&self) {
        let invocation = &self.machine.invocation;
        let (mut read, mut written, mut asked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for mount in &self.spec.mounts {
            let (named, path) = match &mount.value {
                Mount::Bind(bind) if bind.access == Access::ReadWrite => {
                    (&mut written, invocation.absolute(&bind.source))
                }
                Mount::Bind(bind) => (&mut read, invocation.absolute(&bind.source)),
                Mount::Overlay { lower, .. } => (&mut read, invocation.absolute(lower)),
                Mount::Volume { name, .. } => (&mut written, invocation.volumes.join(name)),
                Mount::Device { path } => (&mut asked, PathBuf::from(path.as_str())),
                _ => continue,
            };
            named.insert(path);
        }
        let upper = self.spec.rootfs.as_ref().and_then(|rootfs| rootfs.value.upper.as_ref());
        written.extend(upper.map(|upper| invocation.absolute(&upper.value)));
        match &self.machine.facts.base {
            Base::Image(image) => read.extend([image.clone()]),
            Base::Host(entries) => read.extend(entries.iter().map(|entry| PathBuf::from(entry.path.as_str()))),
            Base::Scratch => {}
        }
        let own = ["null", "zero", "full", "random", "urandom", "tty"].map(|name| Path::new("/dev").join(name));
        for op in self.ops() {
            let Op::OpenTree { source, attributes, .. } = op else { continue };
            let allowed = match (attributes.devices, attributes.write) {
                (Devices::Allowed, _) => own.contains(source),
                (Devices::Required, _) => asked.contains(source),
                (Devices::Forbidden, Write::ReadWrite) => {
                    let shared = source == Path::new("/proc") && !self.plan.namespaces.contains(&Namespace::Pid);
                    written.contains(source) || shared
                }
                (Devices::Forbidden, Write::ReadOnly) => read.contains(source),
            };
            assert!(allowed, "{op:?} is asked for by nobody");
        }
    }

    fn left_to_sbx(&self, path: &str) -> bool {
        ground::base_mounts(self.spec).iter().any(|base| base.as_str() == path)
    }

    /// `/dev` is sbx's own tmpfs, and nothing was there before that stays in sight.
    fn devices(&self) {
        if !self.left_to_sbx("/dev") {
            return;
        }
        let fresh = self.at(|op| {
            matches!(op, Op::Mount { filesystem: Filesystem::Tmpfs, destination, .. } if destination.as_str() == "/dev")
        });
        let fresh = fresh.expect("a fresh /dev");
        for (index, op) in self.ops().enumerate() {
            let (Op::MakeFile { path, .. } | Op::MakeSymlink { path, .. } | Op::Attach { destination: path, .. }) = op
            else {
                continue;
            };
            assert!(index > fresh || !path.as_str().starts_with("/dev/"), "{op:?} before the fresh /dev");
        }
    }

    fn masks(&self) {
        let (posture, _) = posture::of_spec(self.spec);
        if self.left_to_sbx("/proc") {
            let attached =
                self.at(|op| matches!(op, Op::Attach { destination, .. } if destination.as_str() == "/proc"));
            assert!(attached.is_some(), "no /proc");
            for path in posture::MASKED_FILES.iter().chain(&posture::MASKED_DIRECTORIES) {
                let hidden =
                    self.at(|op| matches!(op, Op::Posture(Deed::Hide { path: at, .. }) if at.as_str() == *path));
                assert_eq!(hidden.is_some(), posture.proc == Proc::Masked, "{path}");
                assert!(hidden.is_none() || hidden > attached, "{path} is hidden before it is there");
            }
            let frozen = self.at(|op| matches!(op, Op::Posture(Deed::Freeze { path }) if path.as_str() == "/proc/sys"));
            assert_eq!(frozen.is_some(), posture.proc == Proc::Masked, "/proc/sys");
        }
        if !matches!(self.machine.facts.base, Base::Host(_)) {
            return;
        }
        for path in ground::MASKED {
            if ground::exists(self.machine.facts.host_kind(Path::new(path))) {
                let covered = self.count(|op| match op {
                    Op::Attach { destination, .. } | Op::Mount { destination, .. } => destination.as_str() == path,
                    _ => false,
                });
                assert!(covered > 0, "{path} is in sight");
            }
        }
    }

    /// No file system without a bound, and no option that a path of the spec smuggled in.
    fn file_systems(&self) {
        for op in self.ops() {
            let Op::Mount { filesystem, options, .. } = op else { continue };
            let keys: Vec<&str> =
                options.split(',').map(|option| option.split('=').next().unwrap_or_default()).collect();
            match filesystem {
                Filesystem::Tmpfs => {
                    assert!(keys.contains(&"size"), "{op:?} has no bound");
                    assert!(keys.iter().all(|key| ["mode", "size", "nr_inodes"].contains(key)), "{op:?}");
                }
                Filesystem::Overlay => assert_eq!(keys, ["lowerdir", "upperdir", "workdir", "userxattr"], "{op:?}"),
                Filesystem::Devpts => assert!(keys.contains(&"newinstance"), "{op:?}"),
                Filesystem::Proc => panic!("{op:?} is mounted when the host is gone"),
            }
        }
        for op in self.ops() {
            if let Op::NewFilesystem { filesystem: Filesystem::Tmpfs, options, .. } = op {
                assert!(options.iter().any(|(key, _)| key == "size"), "{op:?} has no bound");
            }
        }
    }
}
