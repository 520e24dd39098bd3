//! What Landlock holds where nothing else does, without a word in the spec. Each is tried
//! a second time under `landlock none`, which shows that it was Landlock.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::harness::{Sbx, Who};
use crate::landlock::{in_force, newest, python};

const OFF: &str = "landlock none\n";

#[test]
fn a_plain_run_is_held_and_says_so() {
    if !newest() {
        return;
    }
    for who in Who::all() {
        let ran = Sbx::new(who).sh("true").run();
        ran.ok();
        assert_eq!(in_force(&ran), (Some(7), "full".to_owned()));
        assert_eq!(ran.report["isolation"]["weakened"].as_array().unwrap().len(), 0);
        let ran = Sbx::new(who).spec(OFF).sh("true").run();
        ran.ok();
        assert_eq!(in_force(&ran), (None, "none".to_owned()));
        assert_eq!(ran.report["isolation"]["weakened"][0]["feature"], "landlock");
    }
}

/// A standard stream is a file of the host: what the caller opened to read can otherwise be opened to write.
#[test]
fn a_stream_can_be_opened_again_only_for_what_it_is() {
    for who in Who::all() {
        let caught = "chmod 666 mine out; \"$@\" <mine >>out";
        let run = |spec: &str, script: &str| {
            let sbx = Sbx::new(who).spec(spec).file("mine", b"first\n").file("out", b"").through(caught).sh(script);
            let ran = sbx.run();
            (ran.code(), sbx.read("mine"), sbx.read("out"), ran.stderr)
        };
        let harmless = "cat /dev/stdin; echo second >> /dev/stdout; cat < /proc/self/fd/0";
        for spec in ["", OFF] {
            let (code, _, out, stderr) = run(spec, harmless);
            assert_eq!((code, out.as_str()), (0, "first\nsecond\nfirst\n"), "{who:?} {spec}: {stderr}");
        }
        let harm = "echo overwritten 1<> /proc/self/fd/0 >&0 || echo overwritten > /proc/self/fd/0";
        let (code, mine, _, stderr) = run("", harm);
        assert_ne!(code, 0, "{stderr}");
        assert_eq!(mine, "first\n", "{who:?}: {stderr}");
        assert!(stderr.contains("Permission denied"), "{stderr}");
        let (_, mine, ..) = run(OFF, harm);
        assert_eq!(mine, "overwritten\n", "{who:?}: without Landlock it can be written");
    }
}

/// A directory of the host that somebody hands in leads nowhere: CVE-2024-21626 and its kind.
#[test]
fn a_directory_of_the_host_that_is_handed_in_leads_nowhere() {
    const INSIDE: &str = r"
import array, os, socket
with socket.socket(socket.AF_UNIX) as s:
    s.connect('/src/door')
    _, [(_, _, data)], _, _ = s.recvmsg(1, socket.CMSG_LEN(4))
fd = array.array('i', data)[0]
def tried(what):
    try: return what() or 'done'
    except OSError as e: return os.strerror(e.errno)
print(tried(lambda: os.read(os.open('secret', os.O_RDONLY, dir_fd=fd), 6).decode()))
print(tried(lambda: os.listdir(os.open('.', os.O_RDONLY, dir_fd=fd))[0] and 'listed'))
print(tried(lambda: os.mkdir('made', dir_fd=fd)))
";
    const OUTSIDE: &str = "python3 -c \"
import os, socket, sys, threading
s = socket.socket(socket.AF_UNIX)
s.bind('src/door'); os.chmod('src/door', 0o777); s.listen()
def hand():
    socket.send_fds(s.accept()[0], [b'x'], [os.open('out', os.O_RDONLY)])
threading.Thread(target=hand, daemon=True).start()
import subprocess
sys.exit(subprocess.run(sys.argv[1:]).returncode)
\" \"$@\"";
    for who in Who::all() {
        for (spec, expected) in
            [("", "Permission denied\nPermission denied\nPermission denied"), (OFF, "hidden\nlisted\ndone")]
        {
            let sbx = Sbx::new(who).dir("src").dir("out").file("out/secret", b"hidden");
            std::fs::set_permissions(sbx.path("out"), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            let spec = format!("{spec}mounts {{ bind \"src\" \"/src\"; }}");
            let ran = sbx.spec(&spec).through(OUTSIDE).cmd(&["python3", "-c", INSIDE]).run();
            assert_eq!(ran.ok(), expected, "{who:?} {spec}");
        }
    }
}

/// Every other device, such as the `/dev/null` that a mask is, is read and nothing else.
#[test]
fn devices_take_commands_in_dev_only() {
    const PROGRAM: &str = r"
import fcntl, os, termios
def tried(path):
    try: return fcntl.ioctl(os.open(path, os.O_RDONLY), termios.FIONREAD, b'1234') and 'done'
    except OSError as e: return os.strerror(e.errno)
print(tried('/dev/null')); print(tried('/etc/shadow'))
try: os.mknod('/tmp/node', 0o020600, 0); print('made')
except OSError as e: print(os.strerror(e.errno))
";
    for who in Who::all() {
        let Some(ran) = python(who, "", PROGRAM) else { return };
        let none = "Inappropriate ioctl for device";
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines, [none, "Permission denied", "Permission denied"], "{who:?}");
        let ran = python(who, "capabilities \"MKNOD\"", PROGRAM).unwrap();
        assert_eq!(ran.ok().lines().last(), Some("made"), "{who:?}");
        let ran = python(who, OFF, PROGRAM).unwrap();
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines, [none, none, "made"], "{who:?}");
    }
}

/// Without a pid namespace the command sees, and could signal, all that is of its user.
#[test]
fn signals_stay_within_the_sandbox() {
    for who in Who::all() {
        for namespaces in ["", "namespaces \"user\" \"mount\" \"net\" \"ipc\" \"uts\" \"cgroup\"\n"] {
            let script = "sleep 60 & kill $! && kill -0 $PPID && echo reached || echo refused";
            let refused = Sbx::new(who).spec(namespaces).sh(script).run();
            assert_eq!(refused.ok(), "refused", "{who:?} {namespaces}");
            let reached = Sbx::new(who).spec(&format!("{OFF}{namespaces}")).sh(script).run();
            assert_eq!(reached.ok(), "reached", "{who:?} {namespaces}");
        }
    }
}

/// CVE-2020-15257: an abstract socket belongs to the network namespace, which `network "host"` shares.
#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    for who in Who::all() {
        let name = format!("sbx-it-{}-{who:?}", std::process::id());
        let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let program = format!(
            "import os, socket\n\
             own = socket.socket(socket.AF_UNIX); own.bind('\\0own{name}'); own.listen()\n\
             socket.socket(socket.AF_UNIX).connect('\\0own{name}')\n\
             try: socket.socket(socket.AF_UNIX).connect('\\0{name}'); print('reached')\n\
             except OSError as e: print(os.strerror(e.errno))"
        );
        let Some(ran) = python(who, "network \"host\"", &program) else { return };
        assert_eq!(ran.ok(), "Operation not permitted", "{who:?}");
        let ran = python(who, &format!("{OFF}network \"host\""), &program).unwrap();
        assert_eq!(ran.ok(), "reached", "{who:?}");
    }
}

/// What mounts give stays whole: files move between directories, and places that are hidden or out of reach harm nobody.
#[test]
fn what_the_mounts_give_is_not_taken() {
    const EVERYWHERE: &str = "for d in /tmp /run /dev/shm /out /t /o; do mkdir $d/a $d/b && echo x > $d/a/f && \
        mv $d/a/f $d/b/g && ln $d/b/g $d/a/h && : > $d/a/h && cp /bin/true $d/a/t && rm -r $d/a $d/b || exit 1; done; \
        /t/../bin/true && cp /bin/true /t/ && /t/true && echo 5 > /proc/self/oom_score_adj && echo whole > /note";
    for who in Who::all() {
        let spec = "mounts {\n\
            tmpfs \"/hidden/below\"\n\
            bind \"src\" \"/hidden\"\n\
            bind \"out\" \"/out\" access=\"rw\"\n\
            bind \"mine\" \"/mine\" access=\"rw\"\n\
            tmpfs \"/t\"\n\
            overlay \"/o\" lower=\"src\"\n\
            file \"/note\" \"text\"\n\
            }";
        for more in ["", "limits { open-files 16; }\n", OFF] {
            let sbx = Sbx::new(who).dir("src").dir("out").file("mine", b"old").spec(&format!("{more}{spec}"));
            let ran = sbx.sh(&format!("{EVERYWHERE}; cat /note; echo new > /mine && cat /mine")).run();
            assert_eq!(ran.ok(), "whole\nnew", "{who:?} {more}: {ran:?}");
        }
    }
}

#[test]
fn who_may_mount_is_not_kept_from_it() {
    let mount = "mount -t tmpfs x /tmp && echo mounted > /tmp/x && cat /tmp/x";
    for who in Who::all() {
        let ran = Sbx::new(who).spec("capabilities \"SYS_ADMIN\"").sh(mount).run();
        assert_eq!(ran.ok(), "mounted", "{who:?}");
        if newest() {
            assert_eq!(in_force(&ran), (Some(7), "partial".to_owned()));
        }
        let weakened = &ran.report["isolation"]["weakened"][0];
        assert_eq!(weakened["feature"], "landlock");
        assert!(weakened["why"].as_str().unwrap().contains("SYS_ADMIN"), "{weakened}");
        // Rules of the spec's own are kept, and with them nothing can be mounted.
        let own = "capabilities \"SYS_ADMIN\"\nlandlock { write \"/tmp\"; }";
        let ran = Sbx::new(who).spec(own).sh(mount).run();
        assert_ne!(ran.code(), 0, "{ran:?}");
        assert_eq!(ran.report["isolation"]["weakened"].as_array().unwrap().len(), 0);
    }
}
