//! Compares a tree with what is written of it: a layer with its list, a root with the trees of its layers. Every
//! file of a layer is read. Nothing is changed, and no link of the tree is followed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::image::layer::{self, Attributes, Children, Contents, Described, Directory, Entry, FileKind, Node};
use crate::image::mend::each;
use crate::image::tree::Ownership;
use crate::sys::entry;
use crate::sys::file::{self, Access, Errno, Owner, Time};

/// What is wrong in a tree: where, from its root, and what.
pub(super) type Fault = (String, String);

/// As many of one tree as a person reads.
const ENOUGH: usize = 100;

/// Compares the tree of a layer with its list.
///
/// # Errors
/// A tree that cannot be read. Those of the list.
pub(super) fn layer(
    root: &Path,
    ownership: Ownership,
    list: impl Iterator<Item = Result<Entry>>,
) -> Result<Vec<Fault>> {
    let mut files = Vec::new();
    let merged = layer::alone(list.map(|entry| {
        let (step, file) = entry?.part();
        files.push(file);
        Ok(step)
    }))?;
    compare((root, ownership), &merged.root, Truth::List(files))
}

/// Compares a root with the lists and trees of its layers, the lowest first.
///
/// # Errors
/// A tree that cannot be read. Those of the lists.
pub(super) fn root<L: Iterator<Item = Result<Entry>>>(
    root: &Path,
    ownership: Ownership,
    layers: Vec<(L, OwnedFd)>,
) -> Result<Vec<Fault>> {
    let (lists, trees): (Vec<_>, Vec<_>) = layers.into_iter().unzip();
    let merged = layer::merge(lists.into_iter().map(|list| Ok(layer::steps(list))))?;
    compare((root, ownership), &merged.root, Truth::Trees(trees))
}

fn compare((path, ownership): (&Path, Ownership), node: &Node, truth: Truth) -> Result<Vec<Fault>> {
    let top = match file::open(path, Access::Directory) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::from([("/".to_owned(), "is missing".to_owned())])),
        other => other.map_err(|errno| unread(path.display(), errno))?,
    };
    let mut check = Check { path: Vec::new(), ownership, truth, faults: Vec::new() };
    if let Node::Directory(directory) = node {
        check.directory(&top, &directory.0)?;
        check.children(&top, &directory.1)?;
    }
    Ok(check.faults)
}

/// What a tree is compared with.
enum Truth {
    /// What each entry of the list says of a file.
    List(Vec<Option<layer::File>>),
    Trees(Vec<OwnedFd>),
}

/// What attributes mean that are not expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    MayBe,
    AreWrong,
}

struct Check {
    path: Vec<u8>,
    ownership: Ownership,
    truth: Truth,
    faults: Vec<Fault>,
}

impl Check {
    /// As deep as [`layer::merge`] lets directories lie.
    fn children(&mut self, directory: &OwnedFd, expected: &Children) -> Result<()> {
        let names = file::names(directory.as_fd()).map_err(|errno| self.unread(errno))?;
        let found: BTreeSet<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        for name in found.iter().filter(|name| !expected.contains_key(**name)) {
            self.at(name, |check| {
                check.fault("is not in the list");
                Ok(())
            })?;
        }
        for (name, node) in expected {
            if self.faults.len() >= ENOUGH {
                return Ok(());
            }
            let there = found.contains(&**name);
            self.at(name, |check| match there {
                true => check.node((directory, OsStr::from_bytes(name)), node),
                false => {
                    check.fault("is missing");
                    Ok(())
                }
            })?;
        }
        Ok(())
    }

    fn at(&mut self, name: &[u8], run: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let length = self.path.len();
        self.path.push(b'/');
        self.path.extend_from_slice(name);
        let done = run(self);
        self.path.truncate(length);
        done
    }

    fn node(&mut self, spot: (&OwnedFd, &OsStr), node: &Node) -> Result<()> {
        let found = file::stat_at(spot.0, spot.1).map_err(|errno| self.unread(errno))?;
        match node {
            Node::Directory(expected) => {
                if found.kind != file::FileType::Directory {
                    self.fault("is not a directory");
                    return Ok(());
                }
                let opened = file::open_at(spot.0, spot.1, Access::Directory).map_err(|errno| self.unread(errno))?;
                self.directory(&opened, &expected.0)?;
                self.children(&opened, &expected.1)
            }
            Node::File { layer, entry, path, .. } => {
                match &self.truth {
                    Truth::List(files) => match number(*entry).and_then(|entry| files.get(entry)?.clone()) {
                        Some(file) => self.file(spot, &file),
                        None => Ok(()),
                    },
                    Truth::Trees(trees) => {
                        let stands = self.path.strip_prefix(b"/").unwrap_or(&self.path);
                        let path = path.as_deref().unwrap_or(stands);
                        // What cannot be found in the layer is not the same.
                        let tree = number(*layer).and_then(|layer| trees.get(layer));
                        if !tree.is_some_and(|tree| is_same((tree, path), spot).unwrap_or(false)) {
                            self.fault("is not the file of its layer");
                        }
                        Ok(())
                    }
                }
            }
        }
    }

    fn directory(&mut self, opened: &OwnedFd, expected: &Directory) -> Result<()> {
        // Where the list says nothing of the root, nobody has set it.
        if self.path.is_empty() && expected.described == Described::No {
            return Ok(());
        }
        let found = self.metadata(opened)?;
        // The group may be one that the caller is not in, where the store's own directory hands it down.
        let kept = if self.ownership == Ownership::Caller { 0o5777 } else { 0o7777 };
        self.mode(found.mode() & kept, expected.mode & 0o3777 & kept);
        self.owner(&found, (expected.owner.uid, expected.owner.gid));
        if let Some(time) = expected.time {
            self.time(&found, time);
        }
        // One that the archive has twice may have those of both.
        self.attributes(opened, &expected.attributes, Others::MayBe)
    }

    fn file(&mut self, (parent, name): (&OwnedFd, &OsStr), expected: &layer::File) -> Result<()> {
        let place = file::open_at(parent, name, Access::Place).map_err(|errno| self.unread(errno))?;
        let found = self.metadata(&place)?;
        self.owner(&found, (expected.owner.uid, expected.owner.gid));
        self.time(&found, expected.time);
        let kind = found.file_type();
        match &expected.kind {
            FileKind::Symlink { target } => {
                let leads = if kind.is_symlink() { file::read_link_at(parent, name).ok() } else { None };
                match leads {
                    None => self.fault("is not a symbolic link"),
                    Some(leads) if leads.as_bytes() != target.as_slice() => {
                        self.fault(&format!("leads to `{}`", leads.as_bytes().escape_ascii()));
                    }
                    Some(_) => {}
                }
                return Ok(());
            }
            FileKind::Fifo if std::os::unix::fs::FileTypeExt::is_fifo(&kind) => {}
            FileKind::Fifo => self.fault("is not a FIFO"),
            FileKind::Regular { .. } if !kind.is_file() => self.fault("is not a regular file"),
            FileKind::Regular { size, .. } if *size != found.len() => {
                self.fault(&format!("has {} bytes, not {size}", found.len()));
            }
            FileKind::Regular { contents, .. } => {
                let opened = file::open_at(parent, name, Access::Read).map_err(|errno| self.unread(errno))?;
                self.attributes(&opened, &expected.attributes, Others::AreWrong)?;
                let read = digest_of(File::from(opened), contents);
                let read = read.map_err(|error| Error::io(format_args!("cannot read `{}`", self.shown()), &error))?;
                if read != *contents {
                    self.fault(&format!("its contents have the digest `{read}`"));
                }
            }
        }
        self.mode(found.mode() & 0o7777, expected.mode & 0o1777);
        Ok(())
    }

    fn mode(&mut self, found: u32, expected: u32) {
        if found != expected {
            self.fault(&format!("has the mode {found:04o}, not {expected:04o}"));
        }
    }

    fn owner(&mut self, found: &Metadata, (uid, gid): (u32, u32)) {
        let wanted = self.ownership.on_disk(Owner { uid, gid });
        if let Some(Owner { uid, gid }) = wanted.filter(|it| (found.uid(), found.gid()) != (it.uid, it.gid)) {
            self.fault(&format!("belongs to {}:{}, not to {uid}:{gid}", found.uid(), found.gid()));
        }
    }

    fn time(&mut self, found: &Metadata, expected: Time) {
        // What no file system cuts; some keep whole seconds only.
        let kept = (0..i64::from(i32::MAX)).contains(&expected.seconds);
        let fraction = found.mtime_nsec() == 0 || found.mtime_nsec() == i64::from(expected.nanoseconds);
        if kept && (found.mtime() != expected.seconds || !fraction) {
            let (is, was) = ((found.mtime(), found.mtime_nsec()), (expected.seconds, expected.nanoseconds));
            self.fault(&format!("has the time {}.{:09}, not {}.{:09}", is.0, is.1, was.0, was.1));
        }
    }

    fn attributes(&mut self, opened: &OwnedFd, expected: &Attributes, others: Others) -> Result<()> {
        let names = entry::attribute_names(opened).map_err(|errno| self.unread(errno))?;
        let mut found = BTreeMap::new();
        for name in names.into_iter().filter(|name| name.starts_with(b"user.")) {
            let value = entry::attribute(opened, &name).map_err(|errno| self.unread(errno))?;
            found.insert(name, value.unwrap_or_default());
        }
        for (name, value) in expected {
            match found.remove(name) {
                Some(is) if is == *value => {}
                Some(_) => self.fault(&format!("has another value of the attribute `{}`", name.escape_ascii())),
                None => self.fault(&format!("has lost the attribute `{}`", name.escape_ascii())),
            }
        }
        for name in found.into_keys().filter(|_| others == Others::AreWrong) {
            self.fault(&format!("has the attribute `{}`, which is not in the list", name.escape_ascii()));
        }
        Ok(())
    }

    fn metadata(&self, opened: &OwnedFd) -> Result<Metadata> {
        let found = opened.try_clone().and_then(|opened| File::from(opened).metadata());
        found.map_err(|error| Error::io(format_args!("cannot look at `{}`", self.shown()), &error))
    }

    fn fault(&mut self, reason: &str) {
        let path = if self.path.is_empty() { "/".to_owned() } else { self.shown() };
        self.faults.push((path, reason.to_owned()));
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    fn unread(&self, errno: Errno) -> Error {
        unread(self.shown(), errno)
    }
}

fn number(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Returns whether a file of a root is that of its layer: by its inode, or by its contents where it had so many
/// names that it was copied.
fn is_same((tree, path): (&OwnedFd, &[u8]), spot: (&OwnedFd, &OsStr)) -> std::io::Result<bool> {
    let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], OsStr::from_bytes(&path[at + 1..])),
        None => (&b"."[..], OsStr::from_bytes(path)),
    };
    let parent = file::open_in_root(tree, OsStr::from_bytes(above), Access::DirectoryPlace)?;
    let (own, found) = (file::stat_at(&parent, name)?, file::stat_at(spot.0, spot.1)?);
    if (own.device, own.inode) == (found.device, found.inode) {
        return Ok(true);
    }
    if (own.kind, own.size) != (found.kind, found.size) || found.kind != file::FileType::Regular {
        return Ok(false);
    }
    let digest = |(parent, name): (&OwnedFd, &OsStr)| {
        let opened = File::from(file::open_at(parent, name, Access::Read)?);
        let found = opened.metadata()?;
        let looks = (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec());
        Ok::<_, std::io::Error>((digest_of(opened, &Contents::Blake3([0; 32]))?, looks))
    };
    Ok(digest((&parent, name))? == digest(spot)?)
}

/// Returns the digest of a file by the function that `like` is of.
fn digest_of(file: File, like: &Contents) -> std::io::Result<Contents> {
    Ok(match like {
        Contents::Blake3(_) => {
            let mut hash = blake3::Hasher::new();
            each(file, &mut |bytes| {
                hash.update(bytes);
            })?;
            Contents::Blake3(*hash.finalize().as_bytes())
        }
        Contents::Sha256(_) => {
            let mut hash = Sha256::new();
            each(file, &mut |bytes| hash.update(bytes))?;
            Contents::Sha256(hash.finalize().into())
        }
    })
}

fn unread(what: impl std::fmt::Display, errno: Errno) -> Error {
    Error::io(format_args!("cannot read `{what}` of the store"), &errno.into())
}
