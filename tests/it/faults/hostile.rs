//! What a command or an image that means harm tries, and what a caller leaves open.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::faults::{PATIENCE, SBX, assert_refused, end, home, is_root, sbx, skip, spec, text, wait};

/// An image with one static program, the test's own `sbx`, and whatever `links` says.
fn image(home: &TempDir, links: &[(&str, &str)]) -> PathBuf {
    let root = home.path().join("root");
    for name in ["bin", "proc", "dev", "tmp", "run"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::copy(SBX, root.join("bin/sbx")).unwrap();
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    root
}

#[test]
fn without_a_user_namespace_root_becomes_another() {
    if !is_root() {
        return skip("only root can do without a user namespace");
    }
    let home = home();
    let spec = spec(&home, "namespaces \"mount\" \"pid\"\nnetwork \"host\"\n");
    let probe = "id -u; id -g; grep CapEff /proc/self/status; test -w /proc/sys/kernel/core_pattern && echo escape";
    let output = end(&mut sbx(&spec, &["/bin/sh", "-c", probe]));
    assert_eq!(text(&output.stdout), "1878982656\n1878982656\nCapEff:\t0000000000000000\n", "{}", text(&output.stderr));
}

#[test]
fn a_capability_over_the_host_is_refused() {
    let home = home();
    let spec = spec(&home, "namespaces \"mount\" \"pid\"\nnetwork \"host\"\ncapabilities \"SYS_ADMIN\"\n");
    let root = nix::unistd::geteuid().is_root();
    let words = if root { "one over the host" } else { "only root can make namespaces" };
    assert_refused(&end(&mut sbx(&spec, &["/bin/true"])), 125, words);
}

#[test]
fn a_kept_capability_is_kept_and_alone() {
    let home = home();
    let spec = spec(&home, "capabilities \"SYS_ADMIN\"\n");
    let output = end(&mut sbx(&spec, &["/bin/sh", "-c", "grep Cap /proc/self/status | cut -f2 | sort -u"]));
    assert_eq!(text(&output.stdout), "0000000000200000\n", "{}", text(&output.stderr));
}

/// CVE-2024-21626 of runc: a link of the image to a descriptor that leads out.
#[test]
fn a_link_to_an_inherited_directory_leads_nowhere() {
    let home = home();
    let canary = home.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o777)).unwrap();
    let up = format!("/proc/self/fd/7/../../..{}", canary.display());
    image(&home, &[("straight", "/proc/self/fd/7"), ("around", &up)]);
    for place in ["/straight/made/sub", "/around/made/sub"] {
        for kind in [format!("dir \"{place}\""), format!("file \"{place}\" \"x\""), format!("tmpfs \"{place}\"")] {
            let spec = spec(&home, &format!("rootfs \"dir:root\"\nmounts {{ {kind} }}\n"));
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "exec 7<\"$1\"; exec \"$2\" run --report none \"$3\" -- /bin/sbx --version", "sh"]);
            let output = end(shell.arg(&canary).arg(SBX).arg(&spec).stdin(Stdio::null()));
            assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{kind}: {}", text(&output.stderr));
        }
    }
}

#[test]
fn a_directory_is_no_standard_stream() {
    let home = home();
    let plain = spec(&home, "rootfs \"host\"\n");
    let mut inherited = sbx(&plain, &["/bin/true"]);
    assert_refused(&end(inherited.stdin(File::open("/").unwrap())), 125, "is a directory");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "exec \"$1\" run --report none \"$2\" -- /bin/true 7</ >&7", "sh", SBX]).arg(&plain);
    assert_refused(&end(shell.stdin(Stdio::null())), 125, "is a directory");
    let named = spec(&home, "rootfs \"host\"\nstdin \"/\"\n");
    assert_refused(&end(&mut sbx(&named, &["/bin/true"])), 125, "is a directory");
}

#[test]
fn sbx_with_a_set_id_bit_refuses() {
    if !is_root() {
        return skip("only root can give a program to root");
    }
    let home = home();
    let copy = home.path().join("sbx");
    fs::copy(SBX, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).unwrap();
    let spec = spec(&home, "rootfs \"host\"\n");
    let mut caller = Command::new("setpriv");
    caller.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy).arg("run").arg(&spec);
    assert_refused(&end(caller.args(["--", "/bin/true"]).stdin(Stdio::null())), 125, "set-id");
}

/// What is mounted on a device inside stays inside, though the host's `/dev` is shared.
#[test]
fn a_mount_on_a_device_does_not_reach_the_host() {
    if !is_root() {
        return skip("only root opens the devices from outside");
    }
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\ncapabilities \"SYS_ADMIN\"\n");
    let inside = "echo evil >/tmp/evil && mount --bind /tmp/evil /dev/null && echo mounted && sleep 1";
    let script = "mount --make-rshared / && { \"$1\" run --report none \"$2\" -- /bin/sh -c \"$3\" & } && sleep 0.7 && \
                  head -c 4 /dev/null; wait";
    let mut private = Command::new("unshare");
    private.args(["-m", "--propagation", "slave", "/bin/sh", "-c", script, "sh", SBX]).arg(&spec).arg(inside);
    let output = end(private.stdin(Stdio::null()));
    assert_eq!(text(&output.stdout), "mounted\n", "{}", text(&output.stderr));
}

fn has_children(child: &Child) -> bool {
    let path = format!("/proc/{0}/task/{0}/children", child.id());
    fs::read_to_string(path).is_ok_and(|children| !children.trim().is_empty())
}

#[test]
fn a_reader_that_does_not_read_does_not_stop_the_clock() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\nlimits { wall \"500ms\"; output \"1G\" }\n");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut run = sbx(&spec, &["yes"]);
    let child = run.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    drop(run);
    assert_eq!(wait(child).status.code(), Some(124));
    drop(reader);
}

/// Both streams lead to one pipe that nobody reads: a write that blocks would stop the clocks, and the
/// sandbox would outlive its limit. sbx's own last words may wait for the reader, the sandbox may not.
#[test]
fn one_pipe_for_both_streams_does_not_stop_the_clock() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\nlimits { wall \"500ms\"; output \"1G\" }\n");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut run = sbx(&spec, &["/bin/sh", "-c", "yes & yes >&2"]);
    let child = run.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(run);
    std::thread::sleep(Duration::from_millis(400));
    let start = Instant::now();
    while has_children(&child) {
        assert!(start.elapsed() < PATIENCE, "the sandbox outlives its limit");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(reader);
    assert_eq!(wait(child).status.code(), Some(124));
}

/// The writing end of a captured stream is passed to somebody outside, who keeps it: its end never comes.
#[test]
fn a_stream_that_was_passed_out_does_not_hold_the_run() {
    let home = home();
    let meeting = home.path().join("meeting");
    fs::create_dir(&meeting).unwrap();
    fs::set_permissions(&meeting, fs::Permissions::from_mode(0o777)).unwrap();
    let python = Path::new("/usr/bin/python3");
    if !python.exists() {
        return skip("/usr/bin/python3, which passes the descriptor, is not installed");
    }
    let spec = spec(&home, "rootfs \"host\"\nmounts { bind \"meeting\" \"/meeting\" access=\"rw\" }\n");
    let keep = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n\
                import os;os.chmod(sys.argv[1],0o777)\nc,_=s.accept()\nf=socket.recv_fds(c,9,1)\ntime.sleep(600)\n";
    let path = meeting.join("s");
    let mut keeper = Command::new(python).args(["-c", keep]).arg(&path).stdin(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !path.exists() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pass = "import socket\ns=socket.socket(socket.AF_UNIX)\ns.connect('/meeting/s')\n\
                socket.send_fds(s,[b'x'],[1])\nprint('done',flush=True)\n";
    let mut run = Command::new(SBX);
    run.args(["run", "--capture", "--report", "stdout"]).arg(&spec).args(["--", "/usr/bin/python3", "-c", pass]);
    let output = end(run.stdin(Stdio::null()));
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(r#""stdout":"done\n""#), "{}", text(&output.stdout));
}

/// A stream of signals with a lower number than SIGCHLD must not hide the end of the command.
#[test]
fn signals_from_inside_do_not_keep_the_init_from_reaping() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\n");
    let storm = "for i in 1 2 3; do setsid sh -c 'trap \"\" HUP; while :; do kill -HUP 1; done' & done; sleep 0.2; \
                 trap '' HUP; exit 7";
    let output = end(&mut sbx(&spec, &["/bin/sh", "-c", storm]));
    assert!(matches!(output.status.code(), Some(7 | 129)), "{:?} {}", output.status, text(&output.stderr));
}

/// CVE-2024-42472 of flatpak: what an earlier run left in a directory that it could write to leads nowhere.
#[test]
fn links_that_a_command_left_are_not_followed() {
    let home = home();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let secret = home.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "untouched").unwrap();
    symlink("../secret", out.join("cache")).unwrap();
    symlink("../secret/file", out.join("input")).unwrap();
    symlink("../secret/file", out.join("report")).unwrap();
    fs::hard_link(secret.join("file"), out.join("second")).unwrap();
    nix::unistd::mkfifo(&out.join("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    let rest = [
        "mounts { bind \"out\" \"/out\" access=\"rw\"; bind \"out/cache\" \"/cache\" access=\"rw\" }\n",
        "mounts { bind \"out\" \"/out\" access=\"rw\" }\nstdin \"out/input\"\n",
    ];
    for rest in rest {
        let spec = spec(&home, &format!("rootfs \"host\"\n{rest}"));
        let output = end(&mut sbx(&spec, &["/bin/sh", "-c", "cat; cat /cache/*"]));
        assert_refused(&output, 125, "ELOOP");
        assert_eq!(text(&output.stdout), "", "{rest}");
    }
    let plain = "rootfs \"host\"\nmounts { bind \"out\" \"/out\" access=\"rw\" }\n";
    for (name, errno) in [("report", "ELOOP"), ("second", "EMLINK"), ("fifo", "ENXIO")] {
        let spec = spec(&home, &format!("{plain}report \"out/{name}\"\n"));
        let mut run = Command::new(SBX);
        let output = end(run.arg("run").arg(&spec).args(["--", "/bin/true"]).stdin(Stdio::null()));
        assert_refused(&output, 125, errno);
        assert_eq!(fs::read_to_string(secret.join("file")).unwrap(), "untouched", "{name}");
    }
    let spec = spec(&home, &format!("{plain}report \"out/new.json\"\n"));
    let mut run = Command::new(SBX);
    let output = end(run.arg("run").arg(&spec).args(["--", "/bin/true"]).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(fs::read_to_string(out.join("new.json")).unwrap().contains("sbx.report/1"));
}

/// What is in the sandbox cannot look into its init, stop it or end it.
#[test]
fn the_init_is_out_of_reach() {
    let home = home();
    let spec = spec(&home, "rootfs \"host\"\nuser \"root\"\n");
    let probe = "for f in mem environ maps fd/3; do cat /proc/1/$f 2>/dev/null && echo \"read $f\"; done; \
                 ls /proc/1/fd /proc/1/cwd/ /proc/1/root/ 2>/dev/null; tr -d '\\0' < /proc/1/cmdline; \
                 kill -KILL 1; kill -STOP 1; echo alive";
    let output = end(sbx(&spec, &["/bin/sh", "-c", probe]).env("CALLERS_SECRET", "hunter2"));
    assert_eq!(text(&output.stdout), "alive\n", "{}", text(&output.stderr));
}
