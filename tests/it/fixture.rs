//! What the runs of the binary share: the binary where everybody can reach it, and a small
//! root file system made of Debian's static busybox, as a directory and packed.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{NOBODY, Who, skip};

const BUSYBOX: &str = "/bin/busybox";

const APPLETS: [&str; 30] = [
    "sh", "cat", "echo", "ls", "id", "stat", "touch", "mkdir", "rm", "dd", "sleep", "true", "false", "env", "mount",
    "grep", "hostname", "pwd", "chown", "chmod", "test", "readlink", "kill", "wc", "head", "ps", "umask", "nc", "sort",
    "setsid",
];

/// Returns the directory of the fixtures, made by the first that asks. It is locked as long as this process lives.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: LazyLock<(PathBuf, File)> = LazyLock::new(make);
    &DIRECTORY.0
}

/// Returns the directory of those fixtures that belong to `who`.
pub(crate) fn of(who: Who) -> PathBuf {
    directory().join(who.uid().to_string())
}

/// Returns the program where every identity of the tests can start it.
pub(crate) fn binary() -> PathBuf {
    directory().join("sbx")
}

/// Returns whether there is a root file system; says so if not.
pub(crate) fn has_rootfs() -> bool {
    let there = Path::new(BUSYBOX).exists();
    if !there {
        skip("no /bin/busybox: apt-get install busybox-static");
    }
    there
}

/// The name holds what the fixture was made of, so it is made again when that changes and shared otherwise.
fn make() -> (PathBuf, File) {
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_sbx")).unwrap();
    let uid = nix::unistd::geteuid();
    let name = format!("sbx-it-{uid}-{:x}-{:x}", binary.mtime_nsec(), binary.ino());
    let (all, place) = (std::env::temp_dir(), std::env::temp_dir().join(name));
    loop {
        if let Ok(lock) = File::open(&place) {
            assert_eq!(lock.metadata().unwrap().uid(), uid.as_raw(), "somebody else made {place:?}");
            lock.lock_shared().unwrap();
            // Unless whoever removes what is stale had it.
            if place.exists() {
                return (place, lock);
            }
        }
        let made = tempfile::Builder::new().prefix("sbx-it-new-").tempdir_in(&all).unwrap();
        fill(made.path());
        remove_stale(&all, &format!("sbx-it-{uid}-"));
        // Another process of the tests may have been faster.
        std::fs::rename(made.path(), &place).ok();
    }
}

fn fill(made: &Path) {
    std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_sbx"), made.join("sbx")).unwrap();
    if Path::new(BUSYBOX).exists() {
        let uid = nix::unistd::geteuid();
        let own = made.join(uid.to_string());
        rootfs(&own);
        if uid.is_root() {
            let other = made.join(NOBODY.to_string());
            run("cp", &["-a", &own.display().to_string(), &other.display().to_string()]);
            run("chown", &["-R", "-h", &format!("{NOBODY}:{NOBODY}"), &other.display().to_string()]);
        }
    }
}

/// Removes the fixtures of older builds that no tests run on: each has the size of the program.
fn remove_stale(all: &Path, stale: &str) {
    for entry in std::fs::read_dir(all).unwrap().filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(stale)
            && let Ok(unused) = File::open(entry.path())
            && unused.try_lock().is_ok()
        {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn rootfs(place: &Path) {
    let root = place.join("root");
    for name in ["bin", "etc", "home", "proc", "dev", "tmp", "run", "var", "work"] {
        std::fs::create_dir_all(root.join(name)).unwrap();
        std::fs::set_permissions(root.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\nann:x:1001:\n").unwrap();
    std::fs::write(root.join("etc/canary"), "untouched\n").unwrap();
    for (name, pack) in [("tar", "--no-auto-compress"), ("tar.gz", "--gzip"), ("tar.zst", "--zstd"), ("tar.xz", "--xz")]
    {
        let (archive, root) = (place.join(format!("root.{name}")), root.display());
        run("tar", &["-C", &root.to_string(), pack, "-cf", &archive.display().to_string(), "."]);
    }
}

fn run(program: &str, words: &[&str]) {
    assert!(Command::new(program).args(words).status().unwrap().success(), "{program} {words:?}");
}
