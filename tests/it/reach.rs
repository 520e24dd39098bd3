//! What a command cannot reach though it has rights: the mounts of its spec with a capability
//! over them, its init with the same user id, the time after its run without a pid namespace.

use std::path::Path;
use std::time::Duration;

use crate::harness::{Sbx, Who, skip};

/// The mounts of H1: a read-only directory, a read-only file, and a mask over the file in the directory.
const MOUNTS: &str =
    "mounts { bind \"d\" \"/m\"; bind \"d/f\" \"/n\"; mask \"/m/f\"; bind \"rw\" \"/w\" access=rw; }\n";

fn capable(who: Who, rest: &str) -> Sbx {
    let sbx = Sbx::new(who).dir("d").file("d/f", b"hidden\n").dir("rw");
    sbx.spec(&format!("{MOUNTS}capabilities SYS_ADMIN DAC_OVERRIDE\nseccomp none\n{rest}"))
}

fn variants(who: Who) -> Vec<&'static str> {
    let range = (who == Who::Root).then_some("user root ids=range");
    ["", "user root", "user 1000 1000", "init #false", "network host", "namespaces user mount net"]
        .into_iter()
        .chain(range)
        .collect()
}

#[test]
fn no_capability_undoes_a_mount() {
    let attacks = [
        "mount -o remount,bind,rw /n",
        "mount -o remount,bind,rw /m",
        "mount -o remount,bind,rw,nosuid,nodev /",
        "mount -o remount,bind,rw /usr",
        "mount -o remount,bind,exec,suid,dev /tmp",
        "mount -o remount,bind,suid /w",
        "mount -o remount,bind,dev /w",
        "umount /m/f",
        "umount -l /m/f",
        "umount /n",
        "umount /etc/shadow",
        "umount -l /proc/sys /etc/shadow",
        "umount -l /dev",
        "mount --bind /m /mnt && cat /mnt/f",
        "mount --bind /etc /mnt && cat /mnt/shadow",
        "mount --move /n /tmp/x",
        "unshare -U true",
        "unshare -m umount /m/f",
        "unshare -Um umount /m/f",
        "mount -t proc proc /tmp/p",
        "mount -t sysfs sys /tmp/p",
        "mount -t cgroup2 none /tmp/p",
        "mount -t cgroup -o memory none /tmp/p",
    ];
    let script: String =
        attacks.iter().map(|attack| format!("({attack}) >/dev/null 2>&1 && echo '{attack}'\n")).collect();
    let script = format!("mkdir -p /tmp/p; touch /tmp/x\n{script}echo end; wc -c < /m/f; cat /n; touch /n 2>&1");
    for who in Who::all() {
        for rest in variants(who) {
            let sbx = capable(who, rest).sh(&script);
            let ran = sbx.run();
            assert!(ran.stdout.starts_with("end\n0\nhidden\n"), "{who:?} {rest}: {ran:?}");
            assert!(ran.stdout.contains("Read-only file system"), "{who:?} {rest}: {ran:?}");
            assert_eq!(sbx.read("d/f"), "hidden\n");
        }
    }
}

#[test]
fn what_the_capability_is_for_still_works() {
    let script = "set -e; mkdir /tmp/t /tmp/m\nmount -t tmpfs none /tmp/t; echo own > /tmp/t/x; cat /tmp/t/x\n\
                  mkdir /tmp/t/u /tmp/t/k; mount -t overlay -o lowerdir=/w,upperdir=/tmp/t/u,workdir=/tmp/t/k,userxattr \
                  none /tmp/m; echo > /tmp/m/y; ls /tmp/m; umount /tmp/m\nmount --bind /w /tmp/m; umount /tmp/m; umount /tmp/t\n\
                  hostname changed; hostname\nunshare -m true; unshare -u true; echo done";
    for who in Who::all() {
        for rest in ["", "user root", "user 1000 1000", "init #false", "network host"] {
            let sbx = capable(who, rest).sh(script);
            assert_eq!(sbx.run().ok(), "own\ny\nchanged\ndone", "{who:?} {rest}");
            assert_eq!(std::fs::read_dir(sbx.path("rw")).unwrap().count(), 0);
        }
    }
}

#[test]
fn who_the_command_is_does_not_change() {
    let probe = "id -u; id -g; stat -c %u /w /tmp; touch /w/x; stat -c %u /w/x; grep Cap /proc/self/status | cut -f2 | \
                 sort -u; cat /proc/self/uid_map | tr -s ' '; hostname; cat /sys/x /proc/net/dev \
                 2>/dev/null | grep -c lo: ";
    for who in Who::all() {
        for user in ["", "user root", "user 1000 1001"] {
            let run = |keep: &str| {
                let sbx = Sbx::new(who).dir("d").file("d/f", b"").dir("rw");
                sbx.spec(&format!("{MOUNTS}{user}\nseccomp none\n{keep}")).sh(probe).run()
            };
            let (plain, capable) = (run(""), run("capabilities SYS_ADMIN NET_ADMIN"));
            let words = |text: &str| -> Vec<String> {
                let line = |line: &&str| !line.starts_with("0000") && !line.starts_with(' ');
                text.lines().filter(line).map(str::to_owned).collect()
            };
            assert_eq!(words(plain.ok()), words(capable.ok()), "{who:?} {user}");
            assert!(capable.stdout.contains("\n0000000000201000\n"), "{capable:?}");
        }
        let sbx = Sbx::new(who)
            .spec(
                "capabilities SYS_ADMIN NET_ADMIN
seccomp none",
            )
            .sh("ip link set lo down 2>&1 && ip link set lo up && echo mine");
        if Path::new("/usr/sbin/ip").exists() || Path::new("/sbin/ip").exists() {
            assert_eq!(sbx.run().ok(), "mine");
        } else {
            skip("no ip(8)");
        }
    }
}

#[test]
fn the_plan_says_that_mounts_are_locked() {
    let shown = |spec: &str| Sbx::new(Who::Nobody).spec(spec).verb(&["plan"]).cmd(&["true"]).run().stdout;
    assert!(shown("capabilities SYS_ADMIN").contains("\nlock-mounts"));
    assert!(!shown("capabilities NET_ADMIN").contains("lock-mounts"));
    assert!(!shown("").contains("lock-mounts"));
    let hidden = Sbx::new(Who::Nobody).spec("mounts { tmpfs \"/proc\"; }\ncapabilities SYS_ADMIN").cmd(&["true"]).run();
    hidden.refused("lock the mounts");
}

/// What `kill` of a busybox or a shell sends to pid 1 is not sbx's word.
#[test]
fn no_signal_from_inside_moves_the_init() {
    let storm = "for s in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 34 50 64; do \
                 kill -$s 1; done; sleep 0.1; echo alive; exit 5";
    for who in Who::all() {
        for rest in ["", "user root", "landlock none", "landlock none\nseccomp none\nuser root"] {
            let ran = Sbx::new(who).spec(rest).sh(storm).run();
            assert_eq!((ran.code(), ran.stdout.as_str()), (5, "alive\n"), "{who:?} {rest}: {ran:?}");
        }
        let sbx = Sbx::new(who).sh("trap 'echo term; exit 9' TERM; echo ready; while :; do sleep 0.01; done");
        let running = sbx.start();
        running.await_output("ready");
        running.signal(nix::sys::signal::Signal::SIGTERM);
        let ran = running.wait();
        assert_eq!((ran.code(), ran.stdout.as_str()), (9, "ready\nterm\n"), "a signal from outside is passed on");
    }
}

/// prlimit(2) asks for the same user ids only, and the init has them: no limit may hurt it.
#[test]
fn limits_that_a_command_sets_on_its_init_change_nothing() {
    let prlimit = "prlimit --pid 1 --cpu=0: --nofile=0 --as=0 --data=0 --stack=0 --fsize=0 --nproc=0 --sigpending=0 \
                   --core=0 --memlock=0 --rss=0";
    if !Path::new("/usr/bin/prlimit").exists() {
        skip("no prlimit(1)");
        return;
    }
    let orphans =
        "for i in 1 2 3; do setsid sleep 100 & done; i=0; while [ $i -lt 300 ]; do (true &) ; i=$((i+1)); done";
    for who in Who::all() {
        for spec in ["", "namespaces user mount net", "network host\nnamespaces user mount"] {
            let init = if spec.is_empty() { "1" } else { "$PPID" };
            let prlimit = prlimit.replace("--pid 1", &format!("--pid {init}"));
            let ran = Sbx::new(who)
                .spec(&format!("{spec}\nlandlock none"))
                .sh(&format!("{prlimit} || echo no; {orphans}; sleep 1.2; exit 6"))
                .run();
            assert_eq!((ran.code(), ran.kind(), ran.stdout.as_str()), (6, "exited", ""), "{who:?} {spec}: {ran:?}");
        }
        // The kernel itself ends who is over its hard limit: the sandbox goes with its init, all of it.
        let ran = Sbx::new(who).sh("prlimit --pid 1 --cpu=0:0; setsid sleep 100 & (true &); sleep 5").run();
        assert!([(0, "exited"), (137, "signaled")].contains(&(ran.code(), ran.kind())), "{ran:?}");
        let sbx = Sbx::new(who).spec("limits { wall \"300ms\"; }").sh(&format!("{prlimit}; sleep 60"));
        let ran = sbx.run();
        assert_eq!((ran.code(), ran.kind()), (124, "wall_timeout"), "{ran:?}");
    }
}

/// Without a pid namespace the init can be killed: then the command goes too, with all that it started.
#[test]
fn who_kills_the_init_dies_with_it() {
    let script = "(setsid sh -c 'sleep 0.5; echo > /w/orphan' &) ; kill -9 $PPID; sleep 0.5; echo > /w/alive";
    for who in Who::all() {
        for spec in ["namespaces user mount", "namespaces user mount uts ipc"] {
            let sbx = Sbx::new(who)
                .dir("rw")
                .spec(&format!("network host\nlandlock none\n{spec}\nmounts {{ bind \"rw\" \"/w\" access=rw; }}"));
            let sbx = sbx.sh(script);
            let ran = sbx.run();
            assert_eq!((ran.code(), ran.kind()), (137, "signaled"), "{who:?} {spec}: {ran:?}");
            std::thread::sleep(Duration::from_millis(700));
            assert_eq!(std::fs::read_dir(sbx.path("rw")).unwrap().count(), 0, "{who:?} {spec}: something lived on");
        }
        let sbx = Sbx::new(who)
            .dir("rw")
            .spec("network host\nnamespaces user mount\ninit #false\nmounts { bind \"rw\" \"/w\" access=rw; }");
        let sbx = sbx.sh("(setsid sh -c 'sleep 0.3; echo > /w/orphan' &) ; exit 3");
        assert_eq!(sbx.run().code(), 3);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(std::fs::read_dir(sbx.path("rw")).unwrap().count(), 0, "{who:?}: an orphan lived on");
    }
}

#[test]
fn who_asks_to_be_traced_is_let_go() {
    let program = "import ctypes, os, signal\n\
        signal.signal(signal.SIGUSR1, lambda *_: None)\n\
        assert ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) == 0\n\
        os.kill(os.getpid(), signal.SIGUSR1)\n\
        os._exit(7)";
    if !Path::new("/usr/bin/python3").exists() {
        return skip("no python3: apt-get install python3");
    }
    for who in Who::all() {
        let run = Sbx::new(who).spec("limits { wall \"20s\"; }\n").cmd(&["python3", "-c", program]).run();
        assert_eq!(run.code(), 7, "{who:?}: {}", run.stderr);
    }
}
