//! Every dangerous call, made inside by a small C program: refused by the filter under
//! `default` and `strict`, and under `none` answered by the kernel, which shows that it
//! was the filter.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use sbx::spec::Syscall;

use crate::harness::{Ran, Sbx, Who, skip};

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;
const FAMILY: i32 = libc::EAFNOSUPPORT;
const PROTOCOL: i32 = libc::EPROTONOSUPPORT;
const ENOLCK: i32 = libc::ENOLCK;

/// Label, call and operands, answer under `default`, answer under `strict`. The label is the call's name, or
/// begins with it and a dot.
const CALLS: &[(&str, &str, i32, i32)] = &[
    ("open.plain", "/tmp/f:0x41:0644", 0, 0),
    // Namespaces and mounts.
    ("clone", "0x10000011", EPERM, EPERM),
    ("clone.mount", "0x20011", EPERM, EPERM),
    ("clone.junk", "0xffffffff10000011", EPERM, EPERM),
    ("clone.plain", "17", 0, 0),
    ("clone3", "", ENOSYS, ENOSYS),
    ("unshare", "0x10000000", EPERM, EPERM),
    ("unshare.time", "0x80", EPERM, EPERM),
    ("unshare.files", "0x400", 0, 0),
    ("setns", "-1:0", EPERM, EPERM),
    ("mount", "/a:/b:/c:0:0", EPERM, EPERM),
    ("umount2", "/proc:0", EPERM, EPERM),
    ("pivot_root", "/:/", EPERM, EPERM),
    ("chroot", "/tmp", EPERM, EPERM),
    ("fsopen", "0:0", EPERM, EPERM),
    ("fsconfig", "-1:0", EPERM, EPERM),
    ("fsmount", "-1:0", EPERM, EPERM),
    ("fspick", "-1:0", EPERM, EPERM),
    ("move_mount", "-1:0", EPERM, EPERM),
    ("open_tree", "-1:0", EPERM, EPERM),
    ("open_tree_attr", "-1:0", EPERM, EPERM),
    ("mount_setattr", "-1:0", EPERM, EPERM),
    ("statmount", "", ENOSYS, ENOSYS),
    ("listmount", "", ENOSYS, ENOSYS),
    ("openat2", "-1:0", ENOSYS, ENOSYS),
    ("open_by_handle_at", "-1:0", EPERM, EPERM),
    ("name_to_handle_at", "-1:0", EPERM, EPERM),
    ("sethostname", "0:0", EPERM, EPERM),
    // The surface that holes were reached through.
    ("io_uring_setup", "1:0", EPERM, EPERM),
    ("io_uring_enter", "-1", EPERM, EPERM),
    ("io_uring_register", "-1", EPERM, EPERM),
    ("bpf", "0:0", EPERM, EPERM),
    ("perf_event_open", "0:0", EPERM, EPERM),
    ("userfaultfd", "1", EPERM, EPERM),
    ("add_key", "0:0:0:0:0", EPERM, EPERM),
    ("request_key", "0:0:0:0", EPERM, EPERM),
    ("keyctl", "0:-3:0", EPERM, EPERM),
    ("vmsplice", "-1:0:0:0", EPERM, EPERM),
    ("fanotify_init", "0:0", EPERM, EPERM),
    ("mbind", "0:0:0:0:0:0", EPERM, EPERM),
    ("set_mempolicy", "0:0:0", EPERM, EPERM),
    ("migrate_pages", "0:0:0:0", EPERM, EPERM),
    ("move_pages", "0:0:0:0:0:0", EPERM, EPERM),
    // What is the machine's.
    ("kexec_load", "0:0:0:0", EPERM, EPERM),
    ("kexec_file_load", "-1:-1:0:0:0", EPERM, EPERM),
    ("init_module", "0:0:0", EPERM, EPERM),
    ("finit_module", "-1:0:0", EPERM, EPERM),
    ("delete_module", "0:0", EPERM, EPERM),
    ("swapon", "0:0", EPERM, EPERM),
    ("swapoff", "0", EPERM, EPERM),
    ("reboot", "0:0:0", EPERM, EPERM),
    ("acct", "0", EPERM, EPERM),
    ("quotactl", "0:0:0:0", EPERM, EPERM),
    ("settimeofday", "0:0", EPERM, EPERM),
    ("clock_settime", "0:0", EPERM, EPERM),
    ("iopl", "3", EPERM, EPERM),
    ("ioperm", "0:1:1", EPERM, EPERM),
    ("modify_ldt", "0:0:0", EPERM, EPERM),
    ("vhangup", "", EPERM, EPERM),
    ("syslog", "3:0:0", EPERM, EPERM),
    ("personality", "0x40000", EPERM, EPERM),
    ("personality.junk", "0xffff000000040000", EPERM, EPERM),
    ("personality.exec", "0x400000", EPERM, EPERM),
    ("personality.ask", "0xffffffff", 0, 0),
    ("uselib", "0", ENOSYS, ENOSYS),
    // Families of sockets.
    ("socket.unix", "1:1:0", 0, 0),
    ("socket.inet", "2:1:0", 0, 0),
    ("socket.inet6", "10:2:0", 0, 0),
    ("socket.route", "16:3:0", 0, FAMILY),
    ("socket.audit", "16:3:9", PROTOCOL, FAMILY),
    ("socket.xfrm", "16:3:6", PROTOCOL, FAMILY),
    ("socket.alg", "38:5:0", FAMILY, FAMILY),
    ("socket.vsock", "40:1:0", FAMILY, FAMILY),
    ("socket.packet", "17:3:0", FAMILY, FAMILY),
    ("socket.rxrpc", "33:2:0", FAMILY, FAMILY),
    ("socket.alg_junk", "0x100000026:5:0", FAMILY, FAMILY),
    ("socketpair.inet", "2:1:0:0", FAMILY, FAMILY),
    // Pushing input into a terminal: CVE-2017-5226, CVE-2019-10063, CVE-2023-28100.
    ("ioctl.tiocsti", "0:0x5412:/x", EPERM, EPERM),
    ("ioctl.tiocsti_junk", "0:0x1234567800005412:/x", EPERM, EPERM),
    ("ioctl.tioclinux", "0:0x541c:/x", EPERM, EPERM),
    ("ioctl.tioclinux_junk", "0:0xffffffff0000541c:/x", EPERM, EPERM),
    ("ioctl.tiocsetd", "0:0x5423:/x", EPERM, EPERM),
    ("ioctl.tcgets", "0:0x5401:/x", libc::ENOTTY, libc::ENOTTY),
    // Programs that run as their owner.
    ("chmod", "/tmp/f:04755", EPERM, EPERM),
    ("chmod.gid", "/tmp/f:02755", EPERM, EPERM),
    ("chmod.junk", "/tmp/f:0xff00000000000800", EPERM, EPERM),
    ("chmod.plain", "/tmp/f:0755", 0, 0),
    ("chmod.sticky", "/tmp/f:01755", 0, 0),
    ("fchmod", "-1:04755", EPERM, EPERM),
    ("fchmodat", "-100:/tmp/f:04755:0", EPERM, EPERM),
    ("fchmodat2", "-100:/tmp/f:02755:0", EPERM, EPERM),
    ("open.suid", "/tmp/g:0x41:04755", EPERM, EPERM),
    ("open.unnamed", "/tmp:0x410001:04755", EPERM, EPERM),
    ("open.existing", "/tmp/f:0:04755", 0, 0),
    ("openat.suid", "-100:/tmp/g:0x41:02755", EPERM, EPERM),
    ("openat.existing", "-100:/tmp/f:0:06755", 0, 0),
    ("creat.suid", "/tmp/g:04755", EPERM, EPERM),
    ("mknod.suid", "/tmp/g:0104755:0", EPERM, EPERM),
    ("mknodat.suid", "-100:/tmp/g:0104755:0", EPERM, EPERM),
    // What `strict` takes beyond that.
    ("flock", "-1:2", libc::EBADF, ENOLCK),
    ("fcntl.setlk", "-1:6:0", libc::EBADF, ENOLCK),
    ("fcntl.getfd", "0:1", 0, 0),
    ("shmget", "0:0:0", libc::EINVAL, ENOSYS),
    ("mq_open", "0:0:0:0", libc::EFAULT, ENOSYS),
    ("splice", "-1:0:-1:0:1:0", libc::EBADF, ENOSYS),
    ("process_vm_readv", "0:0:0:0:0:1", libc::EINVAL, EPERM),
    ("kcmp", "0:0:99:0:0", libc::ESRCH, EPERM),
    ("pidfd_getfd", "-1:0:0", libc::EBADF, EPERM),
    ("ptrace", "0", 0, EPERM),
];

/// Returns the program, compiled once; says so if that cannot be.
pub(crate) fn probe() -> Option<PathBuf> {
    static PROBE: LazyLock<Option<(tempfile::TempDir, PathBuf)>> =
        LazyLock::new(|| compiled("probe", include_str!("probe.c"), &[]));
    let found = PROBE.as_ref().map(|(_, program)| program.clone());
    if found.is_none() {
        skip("no C compiler that links statically: apt-get install build-essential");
    }
    found
}

/// Compiles a program of one file into a directory of its own.
pub(crate) fn compiled(name: &str, text: &str, flags: &[&str]) -> Option<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::Builder::new().prefix("sbx-probe-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (source, program) = (directory.path().join(format!("{name}.c")), directory.path().join(name));
    std::fs::write(&source, text).unwrap();
    let mut compiler = Command::new("cc");
    let compiled = compiler.args(["-O1", "-static"]).args(flags).arg("-o").args([&program, &source]).status();
    compiled.is_ok_and(|status| status.success()).then_some((directory, program))
}

/// Makes these calls inside, each `LABEL:NUMBER:OPERANDS`, and returns what was answered, a line `LABEL ERRNO` each.
pub(crate) fn run(who: Who, spec: &str, calls: &[String]) -> Option<Ran> {
    let probe = probe()?;
    let spec = format!("{spec}\nmounts {{ bind {probe:?} \"/run/probe\"; }}\nstdin \"null\"");
    let words: Vec<&str> = std::iter::once("/run/probe").chain(calls.iter().map(String::as_str)).collect();
    Some(Sbx::new(who).spec(&spec).cmd(&words).run())
}

fn call(label: &str) -> Option<Syscall> {
    Syscall::named(label.split('.').next().unwrap())
}

/// Returns all calls, as the program takes them.
pub(crate) fn every_call() -> Vec<String> {
    let known = CALLS.iter().filter_map(|(label, operands, ..)| Some((label, call(label)?.number, operands)));
    known.map(|(label, number, operands)| format!("{label}:{number}:{operands}")).collect()
}

fn answers(who: Who, spec: &str) -> Option<BTreeMap<String, i32>> {
    let calls = every_call();
    let ran = run(who, spec, &calls)?;
    let answer = |line: &str| {
        let (label, errno) = line.split_once(' ').unwrap();
        (label.to_owned(), errno.parse().unwrap())
    };
    let answers: BTreeMap<String, i32> = ran.ok().lines().map(answer).collect();
    assert_eq!(answers.len(), calls.len(), "{ran:?}");
    Some(answers)
}

#[test]
fn every_dangerous_call_is_answered_by_the_filter() {
    for who in Who::all() {
        let Some(default) = answers(who, "") else { return };
        let (strict, none) = (answers(who, "seccomp \"strict\"").unwrap(), answers(who, "seccomp \"none\"").unwrap());
        let mut wrong = Vec::new();
        let mut shown = 0;
        for (label, _, by_default, by_strict) in CALLS.iter().filter(|(label, ..)| call(label).is_some()) {
            for (profile, expected, got) in
                [("default", by_default, default[*label]), ("strict", by_strict, strict[*label])]
            {
                if *expected != got {
                    wrong.push(format!("{label} under {profile} as {who:?}: {got}, not {expected}"));
                }
            }
            shown += usize::from(*by_default != none[*label] && *by_default != 0);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // The others want a capability, which nobody has inside: the kernel says EPERM as well.
        assert!(shown > 50, "without a filter only {shown} calls are answered otherwise: {none:?}");
        let seen =
            ["io_uring_setup", "userfaultfd", "add_key", "unshare", "clone", "socket.packet", "chmod", "personality"];
        for label in seen {
            assert_ne!(none[label], default[label], "{label}: the kernel refuses it by itself, so this shows nothing");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_other_architectures_of_the_processor_are_closed() {
    for who in Who::all() {
        // getpid, and unshare by the number that it has for x32; 520 is execve of x32 without its bit.
        let calls = ["getpid:0x40000027", "unshare:0x40000110:0x10000000", "execve:520:/bin/true"].map(str::to_owned);
        for spec in ["", "seccomp \"strict\"", "seccomp \"none\" { deny \"mkdir\"; }"] {
            let Some(ran) = run(who, spec, &calls) else { return };
            assert_eq!(ran.ok(), format!("getpid {ENOSYS}\nunshare {ENOSYS}\nexecve {ENOSYS}"), "{spec}");
            let ran = run(who, spec, &["i386:20".to_owned()]).unwrap();
            assert!(ran.stderr.contains("another architecture"), "{ran:?}");
            assert_eq!(
                (ran.kind(), ran.report["outcome"]["signal"].as_str(), ran.stdout.as_str()),
                ("signaled", Some("SIGSYS"), ""),
                "{ran:?}"
            );
        }
    }
}

#[test]
fn rules_of_the_spec_come_before_the_profile() {
    let Some(_) = probe() else { return };
    let number = |name: &str| Syscall::named(name).unwrap().number;
    for who in Who::all() {
        let spec = "seccomp \"default\" {\n\
            allow \"keyctl\"\n\
            deny \"getppid\" errno=\"EXDEV\"\n\
            deny \"dup3\" errno=\"ENOTUNIQ\" { arg 0 ge 10; arg 1 lt 20; arg 2 masked-eq 0xf0 0x10; }\n\
            log \"dup3\" { arg 0 eq 77; }\n\
            deny \"dup3\" errno=\"ENOLINK\"\n\
            }";
        let dup3 = |operands: &str| format!("dup3:{}:{operands}", number("dup3"));
        let calls = [
            format!("keyctl:{}:99", number("keyctl")),
            format!("getppid:{}", number("getppid")),
            dup3("10:19:0x1f"),
            dup3("9:19:0x1f"),
            dup3("10:20:0x1f"),
            dup3("10:19:0x20"),
            dup3("0x100000000:19:0x10"),
            dup3("77:77:0"),
        ];
        let ran = run(who, spec, &calls).unwrap();
        let errno = |line: &str| line.split_once(' ').unwrap().1.parse::<i32>().unwrap();
        let answers: Vec<i32> = ran.ok().lines().map(errno).collect();
        let (deny, other) = (libc::ENOTUNIQ, libc::ENOLINK);
        // The kernel itself answers EOPNOTSUPP to an unknown command of keyctl and EINVAL to dup3 of the same.
        let expected = [libc::EOPNOTSUPP, libc::EXDEV, deny, other, other, other, deny, libc::EINVAL];
        assert_eq!(answers, expected, "{ran:?}");
        assert_eq!(ran.report["isolation"]["seccomp"]["profile"], "default");
        let denied = &ran.report["isolation"]["seccomp"]["denied"];
        assert_eq!(*denied, serde_json::json!([{"syscall": "dup3", "count": 5}, {"syscall": "getppid", "count": 1}]));
    }
}
