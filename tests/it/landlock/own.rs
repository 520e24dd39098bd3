//! The spec's own rules: of each kind that they name only what they list is left.

use crate::harness::{Sbx, Who};
use crate::landlock::python;

/// Runs a line of the shell that prints a word for each thing that worked.
fn worked(who: Who, rules: &str, script: &str) -> String {
    let spec = format!("mounts {{ bind \"src\" \"/src\" access=\"rw\"; tmpfs \"/out\"; }}\nlandlock {{ {rules} }}");
    let sbx = Sbx::new(who).dir("src").dir("out").file("src/old", b"old").spec(&spec);
    let ran = sbx.sh(&format!("exec 2>/dev/null; {script}; true")).run();
    ran.ok().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn writing_is_left_where_it_is_allowed() {
    let script = "touch /out/f && echo touch-out; touch /src/f && echo touch-src; echo x >> /src/old && echo append; \
                  rm -f /src/old && echo remove; mkdir /src/d && echo mkdir; ln -s x /src/l && echo link; \
                  mv /src/old /src/other && echo rename; mv /src/old /out/moved && echo move-out; \
                  truncate -cs 0 /src/old && echo truncate; mkfifo /tmp/p && echo fifo-tmp; cat /src/old; echo; \
                  echo x > /dev/null && echo null; echo 1 > /proc/self/oom_score_adj && echo proc";
    for who in Who::all() {
        assert_eq!(worked(who, "write \"/out\"", script), "touch-out old null proc", "{who:?}");
        assert_eq!(
            worked(who, "read \"/\"", script),
            "touch-out touch-src append remove mkdir link truncate fifo-tmp null proc",
            "{who:?}"
        );
    }
}

/// truncate(2) opens nothing, and a rename could take a file to where it is allowed.
#[test]
fn neither_truncating_nor_moving_gets_around_a_rule() {
    const PROGRAM: &str = r"
import os
def tried(what, *args):
    try: what(*args); return 'done'
    except OSError as e: return os.strerror(e.errno)
print(tried(os.truncate, '/run/sbx-it', 0))
print(tried(os.truncate, '/tmp/in/file', 0))
print(tried(os.rename, '/tmp/in/file', '/tmp/file'))
print(tried(os.link, '/tmp/in/file', '/tmp/file'))
print(tried(os.rename, '/tmp/in/file', '/tmp/in/deep/file'))
print(os.path.getsize('/run/sbx-it'))
";
    let spec = "mounts { file \"/run/sbx-it\" \"long\"; dir \"/tmp/in\" mode=\"0777\"; dir \"/tmp/in/deep\" mode=\"0777\"; }\n\
                landlock { write \"/tmp/in\"; }";
    for who in Who::all() {
        let program = format!("open('/tmp/in/file', 'w').write('x'){PROGRAM}");
        let Some(ran) = python(who, spec, &program) else { return };
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines[..2], ["Permission denied", "done"], "{who:?}");
        assert!(["Permission denied", "Invalid cross-device link"].contains(&lines[2]), "{lines:?}");
        assert!(["Permission denied", "Invalid cross-device link"].contains(&lines[3]), "{lines:?}");
        assert_eq!(lines[4..], ["done", "4"], "{who:?}");
    }
}

#[test]
fn reading_and_executing_are_left_where_they_are_allowed() {
    for who in Who::all() {
        let script = "cat /src/old; ls /src; echo new > /src/new && echo written; cat /etc/passwd && echo etc; \
                      head -c1 /dev/zero | wc -c; cat /proc/self/comm";
        let rules = "read \"/usr\" \"/lib64\" \"/lib\" \"/etc/ld.so.cache\"";
        assert_eq!(worked(who, rules, script), "written 1 cat", "{who:?}");
        let script = "cp /bin/true /out/true && /out/true && echo ran; cp /bin/true /tmp/true && /tmp/true && echo tmp; \
                      cat /src/old && echo; mkdir /out/a && mv /out/true /out/a/ && echo moved";
        assert_eq!(worked(who, "execute \"/usr\" \"/out\"", script), "ran old moved", "{who:?}");
        // What is executed can be read, whatever else can.
        assert_eq!(worked(who, "execute \"/usr\"; read \"/etc\"", "cat /src/old; echo ran"), "ran", "{who:?}");
    }
}

#[test]
fn a_script_is_read_whatever_the_rules_are() {
    for who in Who::all() {
        let spec = "landlock { read \"/usr\" \"/lib\" \"/lib64\" \"/etc/ld.so.cache\"; }\n\
                    script \"cat /etc/passwd || echo refused\"";
        assert_eq!(Sbx::new(who).spec(spec).run().ok(), "refused", "{who:?}");
    }
}

#[test]
fn ports_are_left_that_are_listed() {
    const PROGRAM: &str = r"
import os, socket
def tried(what, *args):
    try: what(*args); return 'done'
    except OSError as e: return os.strerror(e.errno)
def new(): return socket.socket()
a, b = new(), new()
print(tried(a.bind, ('127.0.0.1', 8080))); print(tried(b.bind, ('127.0.0.1', 8081))); print(tried(new().bind, ('127.0.0.1', 0)))
a.listen()
print(tried(new().connect, ('127.0.0.1', 8080))); print(tried(new().connect, ('127.0.0.1', 8081)))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); print(tried(u.bind, ('127.0.0.1', 8081)))
";
    let denied = "Permission denied";
    for who in Who::all() {
        let run = |rules: &str| python(who, &format!("landlock {{ {rules} }}"), PROGRAM);
        let Some(ran) = run("bind 8080; connect 8080") else { return };
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines, ["done", denied, denied, "done", denied, "done"], "{who:?}");
        let ran = run("bind 0 8080 8081; connect 8081").unwrap();
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines, ["done", "done", "done", denied, "Connection refused", "done"], "{who:?}");
        // A rule on paths is none on ports.
        let ran = run("write \"/tmp\"").unwrap();
        let lines: Vec<&str> = ran.ok().lines().collect();
        assert_eq!(lines, ["done", "done", "done", "done", "Connection refused", "done"], "{who:?}");
    }
}

#[test]
fn a_command_that_is_the_first_process_obeys_as_well() {
    for who in Who::all() {
        let spec = "init #false\nlandlock { write \"/run\"; }";
        let ran = Sbx::new(who).spec(spec).sh("echo x > /run/x && cat /run/x; echo x > /tmp/x || echo refused").run();
        assert_eq!(ran.ok(), "x\nrefused", "{who:?}");
    }
}

/// Under `compat` nothing is derived, so rules on ports forbid no mount.
#[test]
fn rules_under_compat_stand_alone() {
    for who in Who::all() {
        let mount = "mount -t tmpfs x /tmp && echo mounted";
        let spec = |rule: &str| format!("profile \"compat\"\ncapabilities \"SYS_ADMIN\"\nlandlock {{ {rule}; }}");
        let ran = Sbx::new(who).spec(&spec("connect 80")).sh(mount).run();
        assert_eq!(ran.ok(), "mounted", "{who:?}");
        assert_eq!(ran.report["isolation"]["weakened"].as_array().unwrap().len(), 0);
        let ran = Sbx::new(who).spec(&spec("write \"/tmp\"")).sh(mount).run();
        assert_ne!(ran.code(), 0, "{ran:?}");
    }
}

#[test]
fn a_path_that_is_not_there_is_a_mistake() {
    for who in Who::all() {
        let ran = Sbx::new(who).spec("landlock {\n  write \"/tmp\" \"/nowhere\"\n}").sh("echo ran").run();
        ran.refused("/nowhere");
        let error = &ran.report["outcome"]["error"];
        assert_eq!((error["errno"].as_str(), error["line"].as_u64()), (Some("ENOENT"), Some(2)), "{error}");
        assert_eq!(error["step"], "landlock-path /nowhere write refer");
        assert!(error["hint"].as_str().unwrap().contains("spelling"), "{error}");
    }
}
