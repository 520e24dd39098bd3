//! Class G: what reaches across the border of a sandbox without a file: sockets, locks, shared memory,
//! keys, signals, and the sockets of programs that act for others.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use super::python;
use crate::harness::{Running, Sbx, Who};

/// containerd-shim listened on an abstract socket, which is the network namespace's, and `network "host"` shares that.
#[test]
fn cve_2020_15257_no_abstract_socket_of_the_host() {
    for who in Who::all() {
        let name = format!("sbx-breakout-{}-{who:?}", std::process::id());
        let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let program = format!(
            "import os, socket\n\
             for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET:\n  \
             try: socket.socket(socket.AF_UNIX, kind).connect('\\0{name}'); print('reached')\n  \
             except OSError as e: print(os.strerror(e.errno))"
        );
        for (spec, first) in [
            ("", "Connection refused"),
            ("landlock none", "Connection refused"),
            ("network \"host\"", "Operation not permitted"),
            ("network \"host\"\nprofile \"strict\"", "Operation not permitted"),
            ("network \"host\"\nseccomp \"none\"", "Operation not permitted"),
        ] {
            let Some(sbx) = python(Sbx::new(who).spec(spec), &program) else { return };
            let ran = sbx.run();
            assert_eq!(ran.ok().lines().next(), Some(first), "{who:?} {spec}");
            assert!(!ran.stdout.contains("reached"), "{who:?} {spec}: {ran:?}");
        }
    }
}

/// Starts a run that says `ready` and stays until told.
fn holder<'a>(sbx: &'a Sbx) -> Running<'a> {
    let running = sbx.start();
    running.await_output("ready");
    running
}

/// A lock on a file that two sandboxes may only read says one bit: isolate(1) names it. `strict` has none.
#[test]
fn locks_speak_between_runs_by_default_and_not_under_strict() {
    const TRY: &str = r"
import fcntl, os, struct
f = os.open('/s/f', os.O_RDONLY)
lock = struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 0, 0, 0)
for name, deed in [('flock', lambda: fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)), ('setlk', lambda: fcntl.fcntl(f, 6, lock)),
                   ('ofd', lambda: fcntl.fcntl(f, 37, lock)), ('lease', lambda: fcntl.fcntl(f, 1024, fcntl.F_RDLCK)),
                   ('notify', lambda: fcntl.fcntl(os.open('/s', os.O_RDONLY), 1026, 1))]:
    try: deed(); print(name, 'done')
    except OSError as e: print(name, os.strerror(e.errno))
";
    for who in Who::all() {
        let first =
            Sbx::new(who).dir("s").file("s/f", b"").spec("mounts { bind \"s\" \"/s\"; }\nlimits { wall \"20s\"; }");
        let shared = first.path("s").display().to_string();
        let hold = "import fcntl, time; f = open('/s/f'); fcntl.flock(f, fcntl.LOCK_EX); print('ready', flush=True); time.sleep(60)";
        let Some(first) = python(first, hold) else { return };
        let held = holder(&first);
        let other = |profile: &str| {
            let spec = format!("profile \"{profile}\"\nmounts {{ bind \"{shared}\" \"/s\"; }}");
            python(Sbx::new(who).spec(&spec), TRY).unwrap().run()
        };
        let (default, strict) = (other("default"), other("strict"));
        held.murder();
        assert!(default.ok().starts_with("flock Resource temporarily unavailable\nsetlk done\n"), "{default:?}");
        let none = "No locks available";
        let names = ["flock", "setlk", "ofd", "lease", "notify"];
        let expected: Vec<String> = names.iter().map(|name| format!("{name} {none}")).collect();
        assert_eq!(strict.ok(), expected.join("\n"), "{who:?}");
    }
}

/// isolate 2.6: `/dev/shm` was shared between boxes; and so would be System V memory and message queues without a
/// namespace.
#[test]
fn isolate_2_6_two_runs_share_no_memory() {
    const MAKE: &str = r"
import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
open('/dev/shm/box', 'w').write('x'); open('/tmp/box', 'w').write('x'); open('/run/box', 'w').write('x')
print(libc.shmget(0x5b5, 4096, 0o1666) >= 0, libc.msgget(0x5b5, 0o1666) >= 0, libc.semget(0x5b5, 1, 0o1666) >= 0)
print('ready', flush=True); time.sleep(60)
";
    const FIND: &str = r"
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print([os.path.exists(d + '/box') for d in ('/dev/shm', '/tmp', '/run', '/dev/mqueue')])
print(libc.shmget(0x5b5, 0, 0), libc.msgget(0x5b5, 0), libc.semget(0x5b5, 0, 0))
";
    for who in Who::all() {
        let Some(first) = python(Sbx::new(who).spec("limits { wall \"20s\"; }"), MAKE) else { return };
        let held = holder(&first);
        let found = python(Sbx::new(who), FIND).unwrap().run();
        assert!(first.read(".stdout").starts_with("True True True"), "{}", first.read(".stdout"));
        held.murder();
        assert_eq!(found.ok(), "[False, False, False, False]\n-1 -1 -1", "{who:?}");
        assert!(!std::path::Path::new("/dev/shm/box").exists());
    }
}

#[test]
fn no_process_of_the_host_hears_a_signal_or_is_traced() {
    const TRY: &str = r"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Piece(ctypes.Structure): _fields_ = [('at', ctypes.c_void_p), ('size', ctypes.c_size_t)]
piece = ctypes.byref(Piece(0, 1))
for word in sys.argv[1:]:
    pid = int(word)
    calls = [lambda: libc.kill(pid, 0), lambda: libc.kill(pid, 9), lambda: libc.ptrace(16, pid, 0, 0),
             lambda: libc.process_vm_readv(pid, piece, 1, piece, 1, 0), lambda: libc.syscall(434, pid, 0)]
    for call in calls:
        print('reached' if call() >= 0 else ctypes.get_errno())
";
    for who in Who::all() {
        let own = std::process::id().to_string();
        for spec in ["", "user \"root\"", "seccomp \"none\"\nlandlock none\nuser \"root\"", "init #false"] {
            let Some(sbx) = python(Sbx::new(who).spec(spec), TRY) else { return };
            // Those above pid_max of the sandbox are nobody there, whoever they are outside.
            let sbx = sbx.cmd(&["python3", "-c", TRY, &own]);
            let ran = sbx.run();
            let inside: Vec<&str> = ran.ok().lines().collect();
            assert_eq!(inside, ["3"; 5], "{who:?} {spec}: ESRCH is wanted: {ran:?}");
        }
    }
}

/// Keys belong to users, and to namespaces of users: two runs of one caller have none in common.
#[test]
fn keys_do_not_pass_from_one_run_to_another() {
    // keyctl(KEYCTL_SEARCH = 10, KEY_SPEC_USER_KEYRING = -4, …); add_key is 248, keyctl 250.
    const MAKE: &str = "my ($t, $n, $x) = ('user', 'sbxpass', 'word'); print syscall(248, $t, $n, $x, 4, -4) > 0 ? 'made' : 'none'; \
        $| = 1; print \" ready\n\"; sleep 60";
    const FIND: &str = "my ($t, $n) = ('user', 'sbxpass'); for $ring (-4, -5, -3) { print syscall(250, 10, $ring, $t, $n, 0) > 0 ? 'found' : 'none', ' ' }";
    for who in Who::all() {
        for spec in ["", "profile \"compat\"", "profile \"compat\"\nuser 7 7"] {
            let first = Sbx::new(who).spec(&format!("{spec}\nlimits {{ wall \"20s\"; }}")).cmd(&["perl", "-e", MAKE]);
            let held = holder(&first);
            let found = Sbx::new(who).spec(spec).cmd(&["perl", "-e", FIND]).run();
            let made = first.read(".stdout");
            held.murder();
            assert_eq!(made, if spec.is_empty() { "none ready\n" } else { "made ready\n" }, "{who:?} {spec}");
            assert_eq!(found.ok(), "none none none ", "{who:?} {spec}");
        }
    }
}

/// Whoever reaches one of these sockets is outside, however small the sandbox is: the spec is obeyed, aloud.
#[test]
fn sockets_of_programs_that_act_for_others_are_warned_of() {
    let known = [
        "/var/run/docker.sock",
        "/run/docker.sock",
        "/run/user/1000/podman/podman.sock",
        "/run/user/1000/bus",
        "/run/dbus/system_bus_socket",
        "/tmp/.X11-unix",
        "/run/user/1000/wayland-0",
        "/run/user/1000/pipewire-0",
        "/run/user/1000",
        "/tmp/ssh-XXXXabc/agent.4711",
        "~/.gnupg/S.gpg-agent",
        "/run",
        "/",
    ];
    let harmless =
        ["/usr/share", "/run/user/1000/project/bus", "/srv/docker.sock.d", "/home/ann/wayland", "out", "/tmp/x"];
    for who in Who::all() {
        let bind = |path: &str| format!("hostname \"h\"\nmounts {{\nbind \"{path}\" \"/x\" optional=#true\n}}\n");
        for path in known {
            let checked = Sbx::new(who).spec(&bind(path)).verb(&["check"]).run();
            assert_eq!((checked.code(), checked.stdout.as_str()), (0, ""), "{checked:?}");
            let said = format!("spec.kdl:3: `{path}` leads to ");
            assert!(checked.stderr.starts_with("sbx: warning: ") && checked.stderr.contains(&said), "{checked:?}");
        }
        for path in harmless {
            let checked = Sbx::new(who).spec(&bind(path)).verb(&["check"]).run();
            assert_eq!((checked.code(), checked.stderr.as_str()), (0, ""), "{path}");
        }
        // In a run too: in words and in the report.
        let sbx =
            Sbx::new(who).dir("run").file("run/docker.sock", b"").spec("mounts { bind \"run/docker.sock\" \"/x\"; }");
        let ran = sbx.sh("true").run();
        ran.ok();
        assert!(ran.stderr.contains("warning: `run/docker.sock` leads to Docker"), "{ran:?}");
        assert_eq!(ran.report["warnings"].as_array().map(Vec::len), Some(1), "{}", ran.report);
    }
}
