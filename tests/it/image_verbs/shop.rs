//! A store, and an image of three layers in every form, made by umoci and skopeo, for one caller.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fixture;
use crate::harness::{Who, skip};

/// What the command of the image prints.
pub(super) const SAID: &str = "of the second layer\n";

/// Sets an attribute of a file, or takes it away.
const ATTRIBUTE: &str = r#"attribute() { python3 -c 'import os, sys
_, file, name, *value = sys.argv
os.setxattr(file, name, value[0].encode()) if value else os.removexattr(file, name)' "$@"; }"#;

pub(super) struct Shop {
    place: tempfile::TempDir,
    who: Who,
    /// Lends the caller subordinate ids and becomes the caller, in a mount namespace of its own.
    lender: Option<String>,
}

/// What sbx said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) status: i32,
}

impl Shop {
    /// Returns a shop, or says which program is missing.
    pub(super) fn new(who: Who) -> Option<Self> {
        for (program, package) in [
            ("/usr/bin/skopeo", "skopeo"),
            ("/usr/bin/umoci", "umoci"),
            ("/usr/bin/python3", "python3"),
            ("/bin/busybox", "busybox-static"),
        ] {
            if !Path::new(program).exists() {
                skip(&format!("no {program}, so there is no image: apt-get install {package}"));
                return None;
            }
        }
        let place = tempfile::Builder::new().prefix("sbx-verbs-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let shop = Self { place, who, lender: None };
        shop.image();
        std::fs::create_dir(shop.path("own")).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(shop.path("own"), Some(who.uid()), Some(who.gid())).unwrap();
        }
        Some(shop)
    }

    /// Gives the caller, who is not root, the 65536 ids from 100000 on. Only root can.
    pub(super) fn lend(mut self) -> Option<Self> {
        if Who::root().is_none() || !Path::new("/usr/bin/newuidmap").exists() {
            skip("no root or no newuidmap: apt-get install uidmap");
            return None;
        }
        let (sub, uid, gid) = (self.text("sub"), self.who.uid(), self.who.gid());
        std::fs::write(&sub, format!("{uid}:100000:65536\n")).unwrap();
        self.lender = Some(format!(
            "mount --bind {sub} /etc/subuid && mount --bind {sub} /etc/subgid && \
             exec setpriv --reuid {uid} --regid {gid} --clear-groups \"$@\""
        ));
        Some(self)
    }

    /// Layers with whiteouts, links within and below, a closed file, a set-id file, a FIFO.
    fn image(&self) {
        self.script(
            r#"
            set -e; umask 022; cd "$1"; mkdir -p 1/bin 1/etc 2/etc 2/d 3/e
            cp /bin/busybox 1/bin/busybox; chmod 4755 1/bin/busybox; echo gone > 1/etc/gone; echo kept > 1/etc/kept
            ln 1/etc/kept 1/etc/again; ln -s kept 1/etc/link; echo closed > 1/etc/closed; chmod 0 1/etc/closed
            echo of the second layer > 2/d/two; touch 2/etc/.wh.gone; echo 3 > 3/e/three; mkfifo 3/e/fifo
            attribute 1/etc/kept user.kept 1; attribute 1/etc user.kept 1
            umoci init --layout lay; umoci new --image lay:a
            for n in 1 2 3; do tar --format=posix --xattrs -C $n -cf $n.tar .; umoci raw add-layer --image lay:a $n.tar; done
            umoci config --image lay:a --config.env A=b --config.cmd /bin/busybox --config.cmd cat --config.cmd /d/two
            skopeo copy -q oci:lay:a oci-archive:oci.tar:a; skopeo copy -q oci:lay:a docker-archive:docker.tar:x/y:z
            cp 1.tar root.tar; chmod -R a+rX lay *.tar
            "#,
            &[&self.text("")],
        );
    }

    /// Runs a shell script as root, or as what root is in a user namespace: it reads what it has closed.
    pub(super) fn script(&self, script: &str, words: &[&str]) {
        let script = format!("{ATTRIBUTE}\n{script}");
        let argv: &[&str] =
            if nix::unistd::geteuid().is_root() { &["sh"] } else { &["unshare", "--map-root-user", "sh"] };
        let done = Command::new(argv[0]).args(&argv[1..]).args(["-c", &script, "sh"]).args(words).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The store of the caller.
    pub(super) fn store(&self, name: &str) -> PathBuf {
        self.path("own/store").join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = match &self.lender {
            None => Command::new(fixture::binary()),
            Some(script) => {
                let mut command = Command::new("/usr/bin/unshare");
                command.args(["-m", "sh", "-c", script, "sh"]).arg(fixture::binary());
                command
            }
        };
        command.args(words).env_clear().env("PATH", "/usr/bin:/bin").env("SBX_STORE", self.store(""));
        command.env("HOME", self.path("own")).current_dir(self.place.path()).stdin(Stdio::null());
        if nix::unistd::geteuid().is_root() && self.who.uid() != 0 && self.lender.is_none() {
            command.uid(self.who.uid()).gid(self.who.gid());
        }
        command
    }

    pub(super) fn sbx(&self, words: &[&str]) -> Said {
        let done = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { out: text(done.stdout), err: text(done.stderr), status: done.status.code().unwrap_or(-1) }
    }

    /// Runs a verb of `sbx image` that has to succeed.
    pub(super) fn image_verb(&self, words: &[&str]) -> String {
        let said = self.sbx(&[&["image"], words].concat());
        assert_eq!((said.status, said.err.as_str()), (0, ""), "{words:?}: {said:?}");
        said.out
    }

    pub(super) fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.image_verb(&[words, &["--json"]].concat())).unwrap()
    }

    /// Runs the image of `source`.
    pub(super) fn run(&self, source: &str) -> Said {
        let spec = self.spec(source);
        self.sbx(&["run", "--report", "none", &spec])
    }

    /// Runs the image as long as its standard input is open.
    pub(super) fn linger(&self, source: &str) -> Child {
        let spec = self.spec(source);
        let mut command = self.command(&["run", "--report", "none", &spec, "--", "/bin/busybox", "cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn spec(&self, source: &str) -> String {
        let path = self.path("image.kdl");
        std::fs::write(&path, format!("rootfs {source:?}\n")).unwrap();
        path.display().to_string()
    }

    /// Returns the files of the store that are no tree's and no lock, from its top.
    pub(super) fn files(&self) -> Vec<String> {
        let script = r#"cd "$1" 2>/dev/null || exit 0; find . -path '*/rootfs' -prune -o -type f ! -name '*.lock' -print | sort"#;
        let done = Command::new("sh").args(["-c", script, "sh"]).arg(self.store("")).output().unwrap();
        String::from_utf8(done.stdout).unwrap().lines().map(|line| line[2..].to_owned()).collect()
    }

    /// Keeps the store as it is, to be brought back.
    pub(super) fn save(&self) {
        self.script("rm -rf \"$1\"; cp -a \"$2\" \"$1\"", &[&self.text("saved"), &self.text("own/store")]);
    }

    pub(super) fn restore(&self) {
        // The process that writes a store back may put a mark into it meanwhile, but not for long.
        let script = "until rm -rf \"$1\" 2>/dev/null; do sleep 0.05; done; cp -a \"$2\" \"$1\"";
        self.script(script, &[&self.text("own/store"), &self.text("saved")]);
    }
}
