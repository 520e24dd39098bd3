//! Profiles in the JSON of the OCI: those that Docker and Podman ship, as Debian has them,
//! load and do what they say; what sbx cannot do is refused with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use sbx::host::{Caller, Cgroups, Host, Rights};
use sbx::plan::facts::{Base, Facts, LandlockFacts, SeccompFacts};
use sbx::plan::seccomp::{Action, Filter, resolve};
use sbx::spec::{Syscall, parse};

use crate::harness::{Sbx, Who, skip};
use crate::seccomp::bpf::{Data, play};

const DOCKER: (&str, &str) =
    ("golang-github-docker-docker-dev", "/usr/share/gocode/src/github.com/docker/docker/profiles/seccomp/default.json");
const PODMAN: (&str, &str) = ("golang-github-containers-common", "/usr/share/containers/seccomp.json");

/// Returns a file of a Debian package: installed, or out of the archive, because the dependencies of these
/// are two hundred packages.
fn of_debian((package, path): (&str, &str)) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(path) {
        return Some(text);
    }
    let directory = tempfile::tempdir().unwrap();
    let run = |program: &str, words: &[&str]| {
        let ran = Command::new(program).args(words).current_dir(directory.path()).output();
        ran.is_ok_and(|output| output.status.success())
    };
    let fetched = run("apt-get", &["-q", "download", package]);
    let archive = std::fs::read_dir(directory.path()).unwrap().find_map(|entry| Some(entry.ok()?.path()));
    let unpacked =
        archive.filter(|_| fetched).is_some_and(|archive| run("dpkg", &["-x", archive.to_str().unwrap(), "x"]));
    let text = unpacked.then(|| std::fs::read_to_string(directory.path().join("x").join(&path[1..])).unwrap());
    if text.is_none() {
        skip(&format!("no `{path}`: apt-get download {package}"));
    }
    text
}

fn facts(profile: &str) -> Facts {
    let seccomp = SeccompFacts { profile: profile.to_owned(), kernel: "6.1.0-18-amd64\n".to_owned(), missing: None };
    let cgroups = Cgroups { hierarchies: Vec::new(), refusals: Vec::new(), scope: None };
    Facts {
        host: Host { caller: Caller { uid: 1000, gid: 1000, rights: Rights::User }, cgroups },
        base: Base::Scratch,
        answers: BTreeMap::new(),
        above: BTreeMap::new(),
        account: None,
        top: None,
        subordinate: None,
        seccomp,
        families: vec![sbx::sys::net::Family::V4],
        redirection: sbx::plan::facts::Redirection::There,
        landlock: LandlockFacts::Version(7),
        devices: BTreeMap::new(),
        pinned: BTreeSet::new(),
    }
}

fn filter(profile: &str, more: &str) -> Result<Filter, String> {
    let spec = parse::parse(format!("seccomp \"./profile.json\"\n{more}").as_bytes()).unwrap();
    resolve::resolve(&spec, &facts(profile)).map(Option::unwrap).map_err(|error| error.to_string())
}

fn answer(filter: &Filter, name: &str, arguments: [u64; 6]) -> u32 {
    let call = Syscall::named(name).unwrap();
    play(&filter.program, &Data::native(call.number.into(), arguments)).action
}

const ALLOW: u32 = Action::Allow.code();
const EPERM: u32 = Action::Errno(1).code();
const ENOSYS: u32 = Action::Errno(38).code();

#[test]
fn the_profile_of_docker_loads() {
    let Some(text) = of_debian(DOCKER) else { return };
    let plain = filter(&text, "").unwrap();
    let none = [0; 6];
    let first = |value| [value, 0, 0, 0, 0, 0];
    for (name, arguments, expected) in [
        ("read", none, ALLOW),
        ("ptrace", none, ALLOW),
        ("personality", first(8), ALLOW),
        ("personality", first(9), EPERM),
        ("clone", first(0x11), ALLOW),
        ("clone", first(0x1000_0011), EPERM),
        ("clone3", none, ENOSYS),
        ("mount", none, EPERM),
        ("keyctl", none, EPERM),
        ("bpf", none, EPERM),
        ("arch_prctl", none, ALLOW),
        // Made after that profile was.
        ("file_setattr", none, ENOSYS),
    ] {
        assert_eq!(answer(&plain, name, arguments), expected, "{name} {arguments:x?}");
    }
    let able = filter(&text, "capabilities \"SYS_ADMIN\"").unwrap();
    for (name, arguments) in [("mount", none), ("clone", first(0x1000_0011)), ("bpf", none)] {
        assert_eq!(answer(&able, name, arguments), ALLOW, "{name}");
    }
    works(&text);
}

#[test]
fn the_profile_of_podman_loads() {
    let Some(text) = of_debian(PODMAN) else { return };
    let plain = filter(&text, "").unwrap();
    let none = [0; 6];
    for (name, arguments, expected) in [
        ("read", none, ALLOW),
        ("mount", none, ALLOW),
        ("keyctl", none, ALLOW),
        ("userfaultfd", none, EPERM),
        ("socket", [16, 3, 9, 0, 0, 0], Action::Errno(22).code()),
        ("socket", [16, 3, 0, 0, 0, 0], ALLOW),
        ("io_uring_setup", none, ENOSYS),
        ("bpf", none, EPERM),
    ] {
        assert_eq!(answer(&plain, name, arguments), expected, "{name} {arguments:x?}");
    }
    works(&text);
}

/// A shell with a child and a pipe runs under it.
fn works(profile: &str) {
    for who in Who::all() {
        let sbx = Sbx::new(who).spec("seccomp \"./profile.json\"").file("profile.json", profile.as_bytes());
        let ran = sbx.sh("echo a b | wc -w; grep Seccomp: /proc/self/status; ls -l / | wc -l >/dev/null").run();
        assert_eq!(ran.ok(), "2\nSeccomp:\t2");
        assert_eq!(ran.report["isolation"]["seccomp"]["profile"], "./profile.json");
    }
}

fn entry(members: &str) -> String {
    format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{{\"names\": [\"mkdir\"], {members}}}]}}")
}

#[test]
fn entries_of_a_profile_mean_what_libseccomp_makes_of_them() {
    let deny = |members: &str| filter(&entry(&format!("\"action\": \"SCMP_ACT_ERRNO\", {members}")), "").unwrap();
    let args = |list: &str| deny(&format!("\"errnoRet\": 18, \"args\": [{list}]"));
    let argument = |index: u8, op: &str, value: u64, two: u64| {
        format!("{{\"index\": {index}, \"op\": \"SCMP_CMP_{op}\", \"value\": {value}, \"valueTwo\": {two}}}")
    };
    let xdev = Action::Errno(18).code();
    let says = |filter: &Filter, first: u64, second: u64| answer(filter, "mkdir", [first, second, 0, 0, 0, 0]);
    let masked = args(&argument(0, "MASKED_EQ", 0xf0, 0x10));
    assert_eq!((says(&masked, 0x11f, 0), says(&masked, 0x20, 0)), (xdev, ALLOW));
    // Two arguments must both hold; the same one twice is one or the other.
    let both = args(&[argument(0, "GT", 4, 0), argument(1, "LE", 9, 0)].join(","));
    assert_eq!((says(&both, 5, 9), says(&both, 4, 9), says(&both, 5, 10)), (xdev, ALLOW, ALLOW));
    let either = args(&[argument(0, "EQ", 4, 0), argument(0, "EQ", 9, 0)].join(","));
    assert_eq!((says(&either, 4, 0), says(&either, 9, 0), says(&either, 5, 0)), (xdev, xdev, ALLOW));
    assert_eq!(says(&deny("\"args\": []"), 0, 0), EPERM);
    assert_eq!(says(&deny("\"errno\": \"EXDEV\", \"errnoRet\": 18"), 0, 0), xdev);
    // What does not apply is as if it were not there.
    for scope in [
        "\"includes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}",
        "\"includes\": {\"minKernel\": \"6.2\"}",
        "\"includes\": {\"arches\": [\"s390x\"]}",
        "\"excludes\": {\"minKernel\": \"6.1\"}",
        "\"excludes\": {\"arches\": [\"amd64\", \"arm64\", \"riscv64\"]}",
    ] {
        assert_eq!(says(&deny(scope), 0, 0), ALLOW, "{scope}");
    }
    for scope in
        ["\"includes\": {\"minKernel\": \"5.19\"}", "\"excludes\": {\"caps\": [\"CAP_SYS_ADMIN\"]}", "\"includes\": {}"]
    {
        assert_eq!(says(&deny(scope), 0, 0), EPERM, "{scope}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_its_place() {
    let entries = [
        ("\"action\": \"SCMP_ACT_NOTIFY\"", "`syscalls[0].action`: `SCMP_ACT_NOTIFY` needs a process outside"),
        ("\"action\": \"SCMP_ACT_TRACE\"", "`SCMP_ACT_TRACE` needs"),
        ("\"action\": \"SCMP_ACT_MAYBE\"", "unknown action `SCMP_ACT_MAYBE`"),
        ("\"action\": \"SCMP_ACT_ERRNO\", \"errno\": \"EWRONG\"", "unknown errno `EWRONG`"),
        ("\"action\": \"SCMP_ACT_ERRNO\", \"errno\": \"EPERM\", \"errnoRet\": 2", "errno 2 is not 1"),
        ("\"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 5000", "too large"),
        (
            "\"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]",
            "`syscalls[0].args[0]`: a call has no argument 6",
        ),
        (
            "\"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_IN\"}]",
            "unknown comparison `SCMP_CMP_IN`",
        ),
        (
            "\"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"value\": 1, \"valueTwo\": 2, \"op\": \"SCMP_CMP_MASKED_EQ\"}]",
            "bits that `value`, the mask, takes away",
        ),
        ("\"action\": \"SCMP_ACT_LOG\", \"includes\": {\"minKernel\": \"new\"}", "`new` is not a version"),
        ("\"action\": \"SCMP_ACT_LOG\", \"mood\": 1", "unknown field `mood`"),
    ];
    let whole = [
        ("{\"syscalls\": []}", "missing field `defaultAction` at line 1"),
        ("{", "EOF while parsing an object at line 1"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"listenerPath\": \"/run/x\"}", "`listenerPath`"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": [\"SECCOMP_FILTER_FLAG_NEW_LISTENER\"]}", "`flags[0]`"),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_S390X\"]}", "nothing would run"),
        ("{\"defaultAction\": \"SCMP_ACT_ERRNO\"}", "without `execve` no command can be started"),
        (
            "{\"defaultAction\": \"SCMP_ACT_KILL\", \"syscalls\": [{\"names\": [], \"action\": \"SCMP_ACT_ALLOW\"}]}",
            "`syscalls[0]`: it names no system call",
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_LOG\", \"syscalls\": [{\"name\": \"dup\", \"action\": \"SCMP_ACT_ALLOW\"}, \
             {\"name\": \"dup\", \"action\": \"SCMP_ACT_ERRNO\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]}]}",
            "`syscalls[1]`: `dup` is allowed whatever its arguments are, and refused for some",
        ),
    ];
    let entries = entries.map(|(members, words)| (entry(members), words));
    for (text, words) in entries.into_iter().chain(whole.map(|(text, words)| (text.to_owned(), words))) {
        let error = filter(&text, "").expect_err(&text);
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_profile_that_cannot_be_read_is_refused() {
    let missing = Sbx::new(Who::Nobody).spec("seccomp \"./none.json\"").sh("true").run();
    missing.refused("cannot read the seccomp profile");
    let wrong = Sbx::new(Who::Nobody).spec("seccomp \"./a.json\"").file("a.json", b"{}").sh("true").run();
    wrong.refused("missing field `defaultAction`");
}
