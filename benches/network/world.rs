//! Two network namespaces with a pair of interfaces between them: this process moves into the one, the server is in
//! the other. Both are gone with this process.

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
        process::unshare(libc::CLONE_NEWNET.unsigned_abs().into()).unwrap();
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
            assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
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

impl Drop for World {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
