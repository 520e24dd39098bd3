//! Two network namespaces with a pair of interfaces between them: this process moves into the one, the server is in
//! the other. Both are gone with this process, and nothing of the host's own network is touched.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sbx::sys::process;

/// The overflow id.
const NOBODY: u32 = 65534;

pub(crate) struct World {
    server: Child,
    pub(crate) place: tempfile::TempDir,
}

impl World {
    /// Moves there and starts the server.
    pub(crate) fn new() -> Self {
        process::unshare((libc::CLONE_NEWNET | libc::CLONE_NEWNS).unsigned_abs().into()).unwrap();
        root("mount --make-rprivate /");
        open_tun();
        // Connections end faster than their ports are free again.
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535").unwrap();
        std::fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1").unwrap();
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let own = std::env::current_exe().unwrap();
        // The pair, made before there is anybody to move it to, is moved by the server's own shell.
        let server = Command::new("unshare")
            .args([
                "--net",
                "sh",
                "-c",
                "while ! ip addr add 203.0.113.2/24 dev there 2>/dev/null; do sleep 0.01; done; \
                   ip link set lo up; ip link set there up; exec \"$0\" server 203.0.113.2:5201",
            ])
            .arg(own)
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        for line in [
            "ip link set lo up".to_owned(),
            format!("ip link add here type veth peer name there netns {}", server.id()),
            "ip addr add 203.0.113.1/24 dev here".to_owned(),
            "ip link set here up".to_owned(),
            // pasta takes the interface of the default route.
            "ip route add default via 203.0.113.2".to_owned(),
        ] {
            root(&line);
        }
        while std::net::TcpStream::connect(super::SERVER).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { server, place }
    }

    /// Returns a command that runs as nobody.
    pub(crate) fn nobody(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).uid(NOBODY).gid(NOBODY).env("HOME", self.place.path());
        command.stdin(Stdio::null()).stderr(Stdio::null()).current_dir(self.place.path());
        command
    }
}

/// Does something as root.
fn root(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
}

/// Gives everybody /dev/net/tun, as udev does; where the node is root's alone, pasta and slirp4netns have nothing to
/// work with.
fn open_tun() {
    let mode = std::fs::metadata("/dev/net/tun").map(|tun| tun.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o006 != 0o006) {
        root("mount -t tmpfs -o mode=755 tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
