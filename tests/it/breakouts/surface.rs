//! Class F: the code of the kernel that holes were reached through. One program in C makes
//! each call; under `seccomp "none"` what stands behind the filter has to hold.

use sbx::spec::Syscall;

use super::python;
use crate::harness::{Sbx, Who, skip};
use crate::seccomp::probe;

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;
const FAMILY: i32 = libc::EAFNOSUPPORT;
const PROTOCOL: i32 = libc::EPROTONOSUPPORT;

/// A call with its operands, and the answers of `default` and of `strict`.
type Row = (&'static str, &'static str, i32, i32);

/// Makes the calls under both profiles, as the command is and as root inside.
fn refused(rows: &[Row]) {
    for who in Who::all() {
        for user in ["", "user \"root\"\n", "profile \"strict\"\n", "init #false\n"] {
            for (filter, strict) in [("seccomp \"default\"", 0), ("seccomp \"strict\"", 1)] {
                let Some(answers) = answers(who, &format!("{user}{filter}"), rows) else { return };
                for ((name, operands, default, by_strict), got) in rows.iter().zip(answers) {
                    let wanted = [default, by_strict][strict];
                    assert_eq!(got, *wanted, "{who:?} {user}{filter}: {name} {operands}");
                }
            }
        }
    }
}

/// Makes the calls without a filter: none may succeed.
fn refused_by_the_kernel_too(rows: &[Row]) {
    for who in Who::all() {
        for user in ["", "user \"root\"\n", "landlock none\nuser \"root\"\n"] {
            let Some(answers) = answers(who, &format!("{user}seccomp \"none\""), rows) else { return };
            for ((name, operands, ..), got) in rows.iter().zip(answers) {
                assert_ne!(got, 0, "{who:?} {user}: {name} {operands} succeeded");
            }
        }
    }
}

fn answers(who: Who, spec: &str, rows: &[Row]) -> Option<Vec<i32>> {
    let call = |(name, operands, ..): &Row| format!("{name}:{}:{operands}", Syscall::named(name).unwrap().number);
    let calls: Vec<String> = rows.iter().map(call).collect();
    let ran = probe::run(who, spec, &calls)?;
    let answers: Vec<i32> = ran.ok().lines().map(|line| line.split_once(' ').unwrap().1.parse().unwrap()).collect();
    assert_eq!(answers.len(), rows.len(), "{ran:?}");
    Some(answers)
}

/// Copy Fail: AF_ALG and splice wrote into the page cache of files that are shared read-only. Docker's first fix
/// left socketcall(2) of the other architecture open.
#[test]
fn cve_2026_31431_no_af_alg() {
    refused(&[
        ("socket", "38:5:0", FAMILY, FAMILY),
        ("socket", "38:0x80805:0", FAMILY, FAMILY),
        ("socket", "0xffffffff00000026:5:0", FAMILY, FAMILY),
        ("socketpair", "38:5:0:0", FAMILY, FAMILY),
    ]);
    #[cfg(target_arch = "x86_64")]
    for who in Who::all() {
        // 102 is socketcall of i386.
        let Some(ran) = probe::run(who, "", &["i386:102".to_owned()]) else { return };
        assert_eq!(ran.report["outcome"]["signal"], "SIGSYS", "{ran:?}");
    }
}

/// Dirty Frag and Fragnesia: ESP of xfrm, which wants CAP_NET_ADMIN in a namespace of one's own, and AF_RXRPC.
#[test]
fn cve_2026_43284_cve_2026_43500_cve_2026_46300_no_ipsec_and_no_rxrpc() {
    refused(&[
        ("socket", "33:2:0", FAMILY, FAMILY),
        ("socket", "33:2:10", FAMILY, FAMILY),
        ("socket", "15:3:2", FAMILY, FAMILY),
        ("socket", "16:3:6", PROTOCOL, FAMILY),
        ("socket", "16:2:6", PROTOCOL, FAMILY),
    ]);
    let own = [("unshare", "0x50000000", EPERM, EPERM), ("clone", "0x50000011", EPERM, EPERM)];
    refused(&own);
    refused_by_the_kernel_too(&own);
}

/// Holes that want a capability over a network or a mount, which the owner of a new user namespace has:
/// the fragments of IPv6, fsconfig(2), nf_tables.
#[test]
fn cve_2026_53362_cve_2022_0185_cve_2024_1086_no_namespace_of_ones_own() {
    let namespaces = [
        ("unshare", "0x10000000", EPERM, EPERM),
        ("unshare", "0x7e020000", EPERM, EPERM),
        ("unshare", "0xffffffff10000000", EPERM, EPERM),
        ("clone", "0x10000011", EPERM, EPERM),
        ("clone", "0x7c020011", EPERM, EPERM),
        ("clone3", "0:0", ENOSYS, ENOSYS),
        ("setns", "-1:0x10000000", EPERM, EPERM),
        ("fsopen", "/tmpfs:0", EPERM, EPERM),
        ("fsconfig", "0:0:0:0:0", EPERM, EPERM),
        ("socket", "16:3:12", PROTOCOL, FAMILY),
        ("socket", "17:3:0", FAMILY, FAMILY),
        ("socket", "2:3:255", EPERM, EPERM),
    ];
    refused(&namespaces[..11]);
    // A raw socket wants a capability: this is the kernel's own word. Those of netlink do not, and can do nothing.
    let privileged: Vec<Row> = namespaces.into_iter().filter(|row| row.1 != "16:3:12").collect();
    refused_by_the_kernel_too(&privileged);
}

/// GameOver(lay) and its elders: a set-id file or one with capabilities is copied up by an overlay of one's own.
#[test]
fn cve_2023_0386_cve_2023_2640_cve_2021_3493_cve_2015_1328_no_overlay_of_ones_own() {
    let overlays = [
        ("mount", "/overlay:/tmp:/overlay:0:0", EPERM, EPERM),
        ("mount", "/tmpfs:/tmp:/tmpfs:0:0", EPERM, EPERM),
        ("fsopen", "/overlay:0", EPERM, EPERM),
        ("move_mount", "-1:0:-1:0:0", EPERM, EPERM),
        ("open_tree", "-100:/tmp:1", EPERM, EPERM),
    ];
    refused(&overlays);
    refused_by_the_kernel_too(&overlays);
    // The overlay that sbx makes: of this user's attributes, without set-id, without what an image may steer.
    for who in Who::all() {
        let script = "grep ' overlay ' /proc/self/mountinfo; cat /o/f";
        let sbx = Sbx::new(who).dir("src").file("src/f", b"lower").spec("mounts { overlay \"/o\" lower=\"src\"; }");
        let ran = sbx.sh(script).run();
        let line = ran.ok().lines().next().unwrap_or_default();
        assert!(line.contains("nosuid") && line.contains("userxattr"), "{who:?} {ran:?}");
        assert!(!line.contains("metacopy=on") && !line.contains("redirect_dir=on"), "{who:?} {ran:?}");
    }
}

/// Dirty Pipe is the kernel's to fix. What it did is tried: a pipe's flag makes a write land in a file's page cache.
#[test]
fn cve_2022_0847_a_pipe_does_not_write_what_is_read_only() {
    const PROGRAM: &str = r"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
r, w = os.pipe()
for _ in range(16): os.write(w, b'p' * 4096)
for _ in range(16): os.read(r, 4096)
f = os.open('/src/f', os.O_RDONLY)
offset = ctypes.c_long(0)
if libc.splice(f, ctypes.byref(offset), w, None, 1, 0) < 0: print(os.strerror(ctypes.get_errno()))
else: os.write(w, b'dirty'); print('spliced')
print(open('/src/f').read())
";
    for who in Who::all() {
        for (filter, said) in [("default", "spliced"), ("strict", "Function not implemented")] {
            let spec = format!("seccomp \"{filter}\"\nmounts {{ bind \"src\" \"/src\"; }}");
            let sbx = Sbx::new(who).dir("src").file("src/f", b"untouched").spec(&spec);
            let Some(sbx) = python(sbx, PROGRAM) else { return };
            assert_eq!(sbx.run().ok(), format!("{said}\nuntouched"), "{who:?}");
            assert_eq!(sbx.read("src/f"), "untouched");
        }
    }
}

/// What is left out whole, because each was the way to several holes: io_uring, bpf, perf, userfaultfd, keyrings,
/// handles of files (the first escape from Docker, by open_by_handle_at), segments, sockets of hypervisors.
#[test]
fn what_holes_were_reached_through_is_not_reached() {
    refused(&[
        ("io_uring_setup", "1:0", EPERM, EPERM),
        ("io_uring_enter", "-1:0:0:0:0:0", EPERM, EPERM),
        ("io_uring_register", "-1:0:0:0", EPERM, EPERM),
        ("bpf", "0:0:0", EPERM, EPERM),
        ("perf_event_open", "0:0:-1:-1:0", EPERM, EPERM),
        ("userfaultfd", "0", EPERM, EPERM),
        ("userfaultfd", "1", EPERM, EPERM),
        ("add_key", "/user:/name:/text:5:-3", EPERM, EPERM),
        ("request_key", "/user:/name:0:-3", EPERM, EPERM),
        ("keyctl", "0:-3:0", EPERM, EPERM),
        ("name_to_handle_at", "-100:/etc:0:0:0", EPERM, EPERM),
        ("open_by_handle_at", "-100:0:0", EPERM, EPERM),
        ("personality", "0x40000", EPERM, EPERM),
        ("modify_ldt", "1:0:0", EPERM, EPERM),
        ("vmsplice", "-1:0:0:0", EPERM, EPERM),
        ("fanotify_init", "0:0", EPERM, EPERM),
        ("mbind", "0:0:0:0:0:0", EPERM, EPERM),
        ("init_module", "0:0:0", EPERM, EPERM),
        ("kexec_load", "0:0:0:0", EPERM, EPERM),
        ("syslog", "3:0:0", EPERM, EPERM),
        ("uselib", "/lib", ENOSYS, ENOSYS),
        ("socket", "40:1:0", FAMILY, FAMILY),
        ("socket", "16:3:9", PROTOCOL, FAMILY),
        ("socket", "44:3:0", FAMILY, FAMILY),
        ("socket", "30:2:0", FAMILY, FAMILY),
        ("socket", "21:5:0", FAMILY, FAMILY),
        ("socket", "29:3:1", FAMILY, FAMILY),
    ]);
    for who in Who::all() {
        let devices = "for f in /dev/userfaultfd /dev/kvm /dev/fuse /dev/net/tun /dev/vsock /dev/mem /dev/kmsg /dev/uinput \
                       /sys/kernel /proc/kcore; do head -c 1 $f >/dev/null 2>&1 && echo $f; done; echo seen";
        assert_eq!(Sbx::new(who).sh(devices).run().ok(), "seen", "{who:?}");
    }
    let uring = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    if uring.trim() != "0" {
        skip("io_uring is off on this host, so the filter is not seen to be what refuses it");
    }
}
