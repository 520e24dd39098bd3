//! The table of hints names the very switch.

use nix::errno::Errno;
use sbx::error::Kind;
use sbx::plan::{Filesystem, Idmap, Op, Opener, Tree, Write};
use sbx::report::hints::{Act, advice};
use sbx::run::ParentCall;
use sbx::spec;

use crate::example::{attributes, open_tree, path};

fn new(filesystem: Filesystem) -> Op {
    Op::NewFilesystem { tree: Tree(0), filesystem, options: Vec::new(), attributes: attributes(Write::ReadOnly) }
}

fn mount(filesystem: Filesystem) -> Op {
    let attributes = attributes(Write::ReadOnly);
    Op::Mount { filesystem, destination: path("/"), options: String::new(), attributes }
}

fn open(opener: Opener) -> Op {
    open_tree(0, "/a", opener)
}

/// The word that the reader needs, and who has to act.
#[track_caller]
fn says(act: Act<'_>, errno: Errno, kind: Kind, word: &str) {
    let advice = advice(act, errno).unwrap();
    assert!(advice.hint.contains(word), "{act:?} {errno:?}: {}", advice.hint);
    assert_eq!(advice.kind, kind, "{act:?} {errno:?}");
    assert!(!advice.hint.ends_with('.') && !advice.hint.contains("  "), "{}", advice.hint);
}

#[test]
fn the_switch_that_forbids_namespaces_is_named() {
    let clone = Act::Parent(ParentCall::Clone);
    for word in
        ["kernel.unprivileged_userns_clone", "kernel.apparmor_restrict_unprivileged_userns", "seccomp=unconfined"]
    {
        says(clone, Errno::EPERM, Kind::Host, word);
    }
    says(clone, Errno::ENOSPC, Kind::Host, "user.max_user_namespaces");
    says(clone, Errno::EUSERS, Kind::Host, "user.max_user_namespaces");
    says(clone, Errno::EINVAL, Kind::Host, "CONFIG_USER_NS");
    says(clone, Errno::ENOSYS, Kind::Host, "clone3");
    says(clone, Errno::EAGAIN, Kind::Host, "pids.max");
    says(clone, Errno::ENOMEM, Kind::Host, "memory.max");
    says(clone, Errno::EBUSY, Kind::Host, "cgroup");
    says(Act::Parent(ParentCall::Fork), Errno::EAGAIN, Kind::Host, "RLIMIT_NPROC");
    for act in [Act::Parent(ParentCall::MapIds), Act::Op(&Op::MapIds), Act::Op(&Op::LoopbackUp)] {
        says(act, Errno::EPERM, Kind::Host, "kernel.apparmor_restrict_unprivileged_userns=0");
        says(act, Errno::EPERM, Kind::Host, "{ userns, }");
    }
    says(Act::Op(&Op::MapIds), Errno::ENOENT, Kind::Host, "uidmap");
}

#[test]
fn mounts_that_the_kernel_refuses() {
    for op in [new(Filesystem::Tmpfs), mount(Filesystem::Proc), open(Opener::Child)] {
        says(Act::Op(&op), Errno::ENOSPC, Kind::Host, "fs.mount-max");
    }
    for proc in [new(Filesystem::Proc), mount(Filesystem::Proc)] {
        says(Act::Op(&proc), Errno::EPERM, Kind::Host, "systempaths=unconfined");
    }
    let overlay = new(Filesystem::Overlay);
    says(Act::Op(&overlay), Errno::ENODEV, Kind::Host, "modprobe overlay");
    says(Act::Op(&overlay), Errno::EINVAL, Kind::Host, "extended attributes");
    says(Act::Op(&overlay), Errno::ELOOP, Kind::Host, "overlap");
    says(Act::Op(&new(Filesystem::Devpts)), Errno::ENODEV, Kind::Host, "built without");
    let mapped = open(Opener::Parent(Idmap::Inside));
    says(Act::Op(&mapped), Errno::EINVAL, Kind::Host, "map ids");
    says(Act::Op(&open(Opener::Child)), Errno::EINVAL, Kind::Spec, "cloned");
}

#[test]
fn paths_that_are_not_there_or_not_what_they_should_be() {
    let path = path("/");
    let attach = Op::Attach { tree: Tree(0), destination: path.clone() };
    says(Act::Op(&open(Opener::Child)), Errno::ENOENT, Kind::Spec, "optional=#true");
    says(Act::Op(&attach), Errno::ENOENT, Kind::Spec, "destination does not exist");
    says(Act::Op(&attach), Errno::ENOTDIR, Kind::Spec, "meets a file");
    says(Act::Op(&attach), Errno::ELOOP, Kind::Spec, "symbolic link");
    says(Act::Op(&mount(Filesystem::Tmpfs)), Errno::ENOENT, Kind::Spec, "destination does not exist");
    let dir = Op::MakeDir { path: path.clone(), mode: 0o755 };
    says(Act::Op(&dir), Errno::ENOTDIR, Kind::Spec, "where a directory is due");
    says(Act::Op(&dir), Errno::EROFS, Kind::Spec, "writable=");
    says(Act::Op(&dir), Errno::ENOSPC, Kind::Spec, "`size`");
    says(Act::Op(&Op::Workdir { path }), Errno::ENOENT, Kind::Spec, "`workdir`");
    says(Act::Op(&Op::SetIds), Errno::EINVAL, Kind::Spec, "ids=\"range\"");
    says(Act::Op(&Op::UnshareTime { monotonic: 0, boottime: 0 }), Errno::ERANGE, Kind::Spec, "below zero");
    let time = Op::UnshareTime { monotonic: 0, boottime: 0 };
    says(Act::Op(&time), Errno::EPERM, Kind::Host, "add `user` to `namespaces`");
    for op in [&time, &Op::MapIds] {
        says(Act::Op(op), Errno::EACCES, Kind::Host, "readable");
    }
    let rlimit = Op::Rlimit { resource: spec::Resource::Core, value: 1 };
    says(Act::Op(&rlimit), Errno::EPERM, Kind::Host, "ulimit -H");
    says(Act::Op(&Op::JoinCgroup), Errno::EACCES, Kind::Host, "delegated");
}

#[test]
fn commands_that_do_not_start() {
    for (errno, word) in [
        (Errno::ENOENT, "interpreter"),
        (Errno::EACCES, "chmod +x"),
        (Errno::ENOEXEC, "#!"),
        (Errno::ENOEXEC, "processor"),
        (Errno::E2BIG, "too long"),
        (Errno::ETXTBSY, "open for writing"),
        (Errno::ELOOP, "symbolic links"),
    ] {
        says(Act::Exec, errno, Kind::Spec, word);
    }
}

#[test]
fn what_is_not_known_has_no_hint() {
    assert_eq!(advice(Act::Exec, Errno::EXDEV), None);
    assert_eq!(advice(Act::Op(&Op::NoNewPrivileges), Errno::EPERM), None);
    says(Act::Op(&Op::NoNewPrivileges), Errno::EMFILE, Kind::Host, "ulimit -n");
    says(Act::Exec, Errno::ENFILE, Kind::Host, "fs.file-max");
}
