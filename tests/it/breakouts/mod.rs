//! The escapes and flaws of others, one test each, named after its CVE or its class: from
//! hostile images and commands, as root and as nobody, with what must not change on the
//! host looked at before and after. SECURITY.md has the table.

mod archives;
mod cgroups;
mod credentials;
mod handles;
mod holders;
mod ipc;
mod layers;
mod paths;
mod surface;
mod swaps;
mod terminal;

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::harness::{Sbx, Who, skip};

/// What must not change: every name below a directory with its kind, owner, mode, number, content and links.
pub(crate) struct Canary {
    place: PathBuf,
    before: BTreeMap<PathBuf, (String, Vec<u8>)>,
}

impl Canary {
    /// Remembers `place` and all below it.
    pub(crate) fn of(place: &Path) -> Self {
        Self { place: place.to_owned(), before: seen(place) }
    }

    /// Fails if anything was made, removed or changed.
    #[track_caller]
    pub(crate) fn check(&self, what: &str) {
        let now = seen(&self.place);
        let changed = now.iter().filter(|(path, facts)| self.before.get(*path) != Some(*facts));
        let changed: Vec<_> = changed.map(|(path, (text, _))| (path, text)).collect();
        assert!(changed.is_empty(), "{what}: the canary changed: {changed:?}");
        assert_eq!(now.len(), self.before.len(), "{what}: something of the canary is gone");
    }
}

fn seen(place: &Path) -> BTreeMap<PathBuf, (String, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![place.to_owned()];
    while let Some(path) = open.pop() {
        let facts = std::fs::symlink_metadata(&path).unwrap();
        let kind = facts.file_type();
        let content = match (kind.is_file(), kind.is_symlink()) {
            (true, _) => std::fs::read(&path).unwrap(),
            (_, true) => std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        if kind.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let text =
            format!("{:o} {}:{} inode {} links {}", facts.mode(), facts.uid(), facts.gid(), facts.ino(), facts.nlink());
        found.insert(path, (text, content));
    }
    found
}

/// Returns a run with a directory `canary` for it, and `img`, an image that the caller owns: empty but for the
/// directories of the base and `bin`, where `BIN` is to be mounted.
pub(crate) fn hostile(who: Who) -> Sbx {
    let mut sbx = Sbx::new(who).dir("canary").dir("canary/x").dir("canary/bin").dir("src").dir("img");
    for name in ["ptmx", "fd", "null", "x/file"] {
        sbx = sbx.file(&format!("canary/{name}"), b"untouched\n");
    }
    for name in ["bin", "proc", "dev", "tmp", "run", "etc", "work", "bad"] {
        sbx = sbx.dir(&format!("img/{name}"));
    }
    sbx.file("src/f", b"source\n")
}

/// The programs of an image that is made by [`hostile`].
pub(crate) const BIN: &str = "bind \"%/root/bin\" \"/bin\"";

/// Puts a link in the place of whatever is at `name` in the directory of the run.
pub(crate) fn plant(sbx: &Sbx, name: &str, target: &str) {
    clear(sbx, name);
    symlink(target, sbx.path(name)).unwrap();
}

/// Takes away what is at `name` in the directory of the run.
pub(crate) fn clear(sbx: &Sbx, name: &str) {
    let path = sbx.path(name);
    match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Returns the program of `attack.c`, made once; says so where there is no compiler.
pub(crate) fn attack() -> Option<PathBuf> {
    static MADE: LazyLock<Option<(tempfile::TempDir, PathBuf)>> = LazyLock::new(|| {
        let directory = tempfile::Builder::new().prefix("sbx-attack-").tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let (source, program) = (directory.path().join("attack.c"), directory.path().join("attack"));
        std::fs::write(&source, include_str!("attack.c")).unwrap();
        let made = Command::new("cc").args(["-O1", "-static", "-o"]).args([&program, &source]).status();
        made.is_ok_and(|status| status.success()).then_some((directory, program))
    });
    let found = MADE.as_ref().map(|(_, program)| program.clone());
    if found.is_none() {
        skip("no C compiler that links statically: apt-get install build-essential");
    }
    found
}

/// Has `sbx` run a program of Python; says so where there is none.
fn python(sbx: Sbx, program: &str) -> Option<Sbx> {
    if !Path::new("/usr/bin/python3").exists() {
        skip("no python3: apt-get install python3");
        return None;
    }
    Some(sbx.cmd(&["python3", "-c", program]))
}
