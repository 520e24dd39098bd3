//! A directory with a store, an archive and a canary, and archives byte by byte: no
//! library would write the ones that are wanted here.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sbx::error::Result;
use sha2::Digest as _;

use sbx::image::{Bounds, Image, Source, Step, Store, locate};

/// Everything about a tree that an escape could change.
pub(crate) type Census = BTreeMap<PathBuf, String>;

pub(crate) struct Arena {
    pub(crate) directory: tempfile::TempDir,
    before: Census,
}

impl Arena {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("sbx-image-").tempdir().unwrap();
        let canary = directory.path().join("canary");
        std::fs::DirBuilder::new().mode(0o755).create(&canary).unwrap();
        std::fs::write(canary.join("file"), "untouched").unwrap();
        std::fs::write(canary.join("passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        std::fs::create_dir(canary.join("deep")).unwrap();
        let before = outside(&canary);
        Self { directory, before }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> Store {
        Store::new(self.path("store"))
    }

    /// Writes an archive file.
    pub(crate) fn archive(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Locates an archive of these bytes, and checks that only the store has changed.
    pub(crate) fn locate(&self, bytes: &[u8]) -> Result<Image> {
        self.locate_bounded(bytes, Bounds::default())
    }

    pub(crate) fn locate_bounded(&self, bytes: &[u8], bounds: Bounds) -> Result<Image> {
        let path = self.archive("archive", bytes);
        let image = locate(Source::Tar(&path), None, || Ok(self.store().with_bounds(bounds)), &mut |_| {});
        self.check_canary();
        if image.is_err() {
            assert_eq!(self.left_in("tmp"), Vec::<String>::new(), "a failed extraction left something");
        }
        image
    }

    /// Returns the message of the error that these bytes lead to.
    pub(crate) fn refused(&self, bytes: &[u8]) -> String {
        let kept = self.left_in("layers");
        let error = self.locate(bytes).expect_err("the archive was accepted");
        assert!(error.to_string().contains("archive"), "no file name in: {error}");
        assert_eq!(self.left_in("layers"), kept, "a refused archive came into the store");
        error.to_string()
    }

    pub(crate) fn check_canary(&self) {
        assert_eq!(outside(&self.path("canary")), self.before, "something outside of the store changed");
    }

    /// Returns the sorted names in a directory of the store.
    pub(crate) fn left_in(&self, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("store").join(name)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // Trees of the tests hold directories that their owner may not enter.
        open_all(&self.path("store"));
    }
}

fn open_all(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        drop(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)));
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            open_all(&entry.path());
        }
    }
}

/// Returns what could show an escape: the canary, and the files that archives aim at.
fn outside(canary: &Path) -> Census {
    let mut census = census(canary);
    for path in ["/etc/passwd", "/etc/shadow", "/etc/hostname"] {
        if let Ok(found) = std::fs::symlink_metadata(path) {
            let line = format!("{} {} {} {}", found.ino(), found.nlink(), found.mode(), found.mtime_nsec());
            census.insert(path.into(), line);
        }
    }
    census
}

/// Returns one line for each file below `root`: type, mode, links, times, contents.
pub(crate) fn census(root: &Path) -> Census {
    let mut census = Census::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let found = std::fs::symlink_metadata(&path).unwrap();
        let contents = match found.file_type() {
            kind if kind.is_dir() => {
                left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            }
            kind if kind.is_symlink() => std::fs::read_link(&path).unwrap().display().to_string(),
            kind if kind.is_file() => {
                let data = std::fs::read(&path).unwrap();
                format!("{:x?} {}", sha2::Sha256::digest(&data), data[..data.len().min(32)].escape_ascii())
            }
            _ => String::new(),
        };
        let line = format!("{:o} {} {}.{} {contents}", found.mode(), found.nlink(), found.mtime(), found.mtime_nsec());
        census.insert(path.strip_prefix(root).unwrap().to_owned(), line);
    }
    census
}

/// What is written into the header of one member.
pub(crate) struct Entry<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) data: &'a [u8],
    /// Where it is not the length of the data.
    pub(crate) size: Option<u64>,
}

impl<'a> Entry<'a> {
    pub(crate) fn new(kind: u8, name: &'a str) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        Self { kind, name: name.as_bytes(), link: b"", mode, data: b"", size: None }
    }

    pub(crate) fn link(mut self, link: &'a str) -> Self {
        self.link = link.as_bytes();
        self
    }

    pub(crate) fn data(mut self, data: &'a [u8]) -> Self {
        self.data = data;
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    pub(crate) fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, long) in [(b'L', self.name), (b'K', self.link)] {
            if long.len() > 100 {
                bytes.extend(Entry::new(kind, "././@LongLink").data(&[long, b"\0"].concat()).bytes());
            }
        }
        let (name, link) = (&self.name[..self.name.len().min(100)], &self.link[..self.link.len().min(100)]);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(self.kind));
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(self.mode);
        header.set_uid(12);
        header.set_gid(34);
        header.set_mtime(1_000_000_000);
        header.set_size(self.size.unwrap_or(self.data.len() as u64));
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(self.data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

pub(crate) fn dir(name: &str) -> Vec<u8> {
    Entry::new(b'5', name).bytes()
}

pub(crate) fn file(name: &str, data: &str) -> Vec<u8> {
    Entry::new(b'0', name).data(data.as_bytes()).bytes()
}

pub(crate) fn symlink(name: &str, target: &str) -> Vec<u8> {
    Entry::new(b'2', name).link(target).bytes()
}

pub(crate) fn hardlink(name: &str, target: &str) -> Vec<u8> {
    Entry::new(b'1', name).link(target).bytes()
}

/// Returns a PAX header of these records.
pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        data.extend_from_slice(format!("{length} {key}=").as_bytes());
        data.extend_from_slice(value);
        data.push(b'\n');
    }
    Entry::new(b'x', "PaxHeaders/x").data(&data).bytes()
}

/// Returns the archive of these members, with the end mark.
pub(crate) fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// Returns an archive with something of every kind, that anyone may extract.
pub(crate) fn sample() -> Vec<u8> {
    let noise: Vec<u8> = (0u32..6000).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    tar(&[
        dir("./"),
        dir("./etc/"),
        file("./etc/os-release", "NAME=test\n"),
        symlink("./bin", "usr/bin"),
        dir("./usr/"),
        dir("./usr/bin/"),
        Entry::new(b'0', "./usr/bin/tool").mode(0o755).data(&noise).bytes(),
        hardlink("./usr/bin/other", "./usr/bin/tool"),
        Entry::new(b'6', "./fifo").mode(0o640).bytes(),
        Entry::new(b'5', "./closed/").mode(0o000).bytes(),
        file("./closed/inner", "x"),
    ])
}

/// Runs a program and returns whether it is there and went well.
pub(crate) fn run(directory: &Path, program: &str, arguments: &[&str]) -> bool {
    let status = std::process::Command::new(program).args(arguments).current_dir(directory).status();
    match status {
        Ok(status) => {
            assert!(status.success(), "{program} {arguments:?}: {status}");
            true
        }
        Err(error) => {
            skip(&format!("{program} cannot be run: {error}"));
            false
        }
    }
}

/// Says loudly that something was not tried.
pub(crate) fn skip(reason: &str) {
    crate::skip(reason);
}

pub(crate) fn is_root() -> bool {
    sbx::sys::file::effective_uid() == 0
}

pub(crate) fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Returns the steps that a call of `locate` went through.
pub(crate) fn steps(path: &Path, digest: Option<&str>, store: &Store) -> (Result<Image>, Vec<Step>) {
    let mut steps = Vec::new();
    let image = locate(Source::Path(path), digest, || Ok(store.clone()), &mut |progress| {
        assert!(progress.read <= progress.total, "{progress:?}");
        if steps.last() != Some(&progress.step) {
            steps.push(progress.step);
        }
    });
    (image, steps)
}
