//! A directory in memory: what is fuzzed gets one directory of it, and beside that lies a
//! canary that must never change.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Everything about a tree that an escape could change.
type Census = BTreeMap<PathBuf, String>;

/// The directory of this process. Its name is known to no input: what aims at the canary
/// does so through [`Arena::canary`], relative links, or a descriptor.
#[derive(Debug)]
pub struct Arena {
    home: PathBuf,
    canary: File,
    before: Census,
}

impl Arena {
    /// Returns a new arena.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let all = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let home = all.join(format!("sbx-fuzz-{name}-{}", std::process::id()));
        remove(&home);
        std::fs::create_dir(&home).expect("the arena can be made");
        let canary = home.join("canary");
        std::fs::create_dir_all(canary.join("deep")).expect("the canary can be made");
        for file in ["file", "passwd", "deep/file"] {
            std::fs::write(canary.join(file), "root:x:0:0::/:/bin/sh\n").expect("the canary can be written");
        }
        let canary = File::open(canary).expect("the canary can be opened");
        let mut arena = Self { home, canary, before: Census::new() };
        arena.before = arena.census();
        arena
    }

    /// Returns the canary.
    #[must_use]
    pub fn canary(&self) -> PathBuf {
        self.home.join("canary")
    }

    /// Returns the canary by its magic link (proc_pid_fd(5)).
    #[must_use]
    pub fn descriptor(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.canary.as_raw_fd()))
    }

    /// Returns the directory for what is fuzzed, new and empty.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn fresh(&self) -> PathBuf {
        let root = self.home.join("root");
        remove(&root);
        std::fs::create_dir(&root).expect("the root can be made");
        root
    }

    /// Checks that nothing beside the directory for what is fuzzed has changed.
    ///
    /// # Panics
    /// Where something has.
    pub fn check(&self) {
        assert_eq!(self.census(), self.before, "something outside of the root changed");
    }

    /// One line for each file but those below `root`: type, mode, owner, links, times, contents.
    fn census(&self) -> Census {
        let mut census = Census::new();
        let mut left = vec![self.home.clone()];
        while let Some(path) = left.pop() {
            let found = std::fs::symlink_metadata(&path).expect("the canary can be looked at");
            let contents = match found.file_type() {
                kind if kind.is_dir() => {
                    let entries = std::fs::read_dir(&path).expect("the canary can be listed");
                    left.extend(entries.map(|entry| entry.expect("the canary can be listed").path()));
                    String::new()
                }
                kind if kind.is_file() => {
                    std::fs::read(&path).expect("the canary can be read").escape_ascii().to_string()
                }
                _ => "neither a file nor a directory".to_owned(),
            };
            // The directory above the canary changes whenever the root is made.
            let times = match path == self.home {
                true => String::new(),
                false => format!("{} {}.{}", found.nlink(), found.mtime(), found.mtime_nsec()),
            };
            let line = format!("{:o} {}:{} {times} {contents}", found.mode(), found.uid(), found.gid());
            left.retain(|path| *path != self.home.join("root"));
            census.insert(path, line);
        }
        census
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        remove(&self.home);
    }
}

/// Removes a tree, also one whose directories their owner may not enter.
fn remove(path: &Path) {
    if std::fs::remove_dir_all(path).is_err() && path.exists() {
        open_all(path);
        std::fs::remove_dir_all(path).expect("the arena can be removed");
    }
}

fn open_all(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        std::fs::set_permissions(path, Permissions::from_mode(0o700)).expect("the arena is ours");
        for entry in std::fs::read_dir(path).expect("the arena can be listed").flatten() {
            open_all(&entry.path());
        }
    }
}
