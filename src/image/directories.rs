//! The directories of a tree in the making: the way to the parent of a member, and
//! what each directory gets at the end. It never leaves the root of the tree.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::rc::Rc;

use crate::error::{Error, Kind, Result};
use crate::image::Skipped;
use crate::image::layer::{Attributes, DEPTH, Described, Directory, What};
use crate::image::members::Member;
use crate::image::tree::{Ownership, PATH, Parent, Pending, Tree, relative};
use crate::sys::file::{self, Access, Errno, Owner, Stat};

/// Bytes of memory for the names of directories; half a million of 256 bytes.
const NAMES: usize = 128 << 20;
/// As many links as the kernel follows, path_resolution(7).
const LINKS: usize = 40;

impl Tree {
    /// Gives all directories what the archive says they have, and returns what was left out and how many hard links
    /// lead to layers below.
    ///
    /// # Errors
    /// A directory that cannot be changed.
    pub(super) fn finish(mut self) -> Result<(Skipped, u64)> {
        // Those that even their owner may not pass come last, the deepest first.
        let mut closed = Vec::new();
        for (inode, pending) in std::mem::take(&mut self.directories.pending) {
            if pending.mode & 0o100 == 0 && self.ownership == Ownership::Caller {
                let (directory, _) = self.open_again(inode, &pending)?;
                let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
                let real = std::fs::read_link(&link)
                    .map_err(|error| Error::io(format_args!("cannot read `{link}`"), &error))?;
                closed.push((real.components().count(), inode, pending));
            } else {
                self.settle(inode, &pending)?;
            }
        }
        closed.sort_by_key(|(depth, ..)| Reverse(*depth));
        for (_, inode, pending) in &closed {
            self.settle(*inode, pending)?;
        }
        Ok((self.skipped, self.below))
    }

    fn open_again(&self, inode: u64, pending: &Pending) -> Result<(OwnedFd, Stat)> {
        let name = if pending.name.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(&pending.name) };
        let directory = file::open_in_root(&*self.root, name, Access::Directory)
            .map_err(|errno| self.shown.failed("open", &pending.name, errno))?;
        match file::stat(&directory) {
            Ok(stat) if stat.inode == inode => Ok((directory, stat)),
            Ok(_) => Err(bad(format!("a later link hides the directory `{}`", pending.name.escape_ascii()))),
            Err(errno) => Err(self.shown.failed("look at", &pending.name, errno)),
        }
    }

    fn settle(&self, inode: u64, pending: &Pending) -> Result<()> {
        let (directory, now) = self.open_again(inode, pending)?;
        let failed = |errno| self.shown.failed("change the attributes of", &pending.name, errno);
        // Before it is given away: the set-group-ID bit is only for a group that one is in, chmod(2).
        if now.mode != pending.mode {
            file::set_mode(&directory, pending.mode).map_err(failed)?;
        }
        if let Some(owner) = self.ownership.on_disk(pending.owner).filter(|owner| now.owner != *owner) {
            file::set_owner(&directory, owner)
                .map_err(|errno| self.shown.not_given(&pending.name, pending.owner, errno))?;
        }
        pending.time.map_or(Ok(()), |time| file::set_time(&directory, time)).map_err(failed)
    }

    /// Returns the directory at `above`, made where it is missing.
    pub(super) fn parent(&mut self, above: &[&[u8]]) -> Result<Parent> {
        let key = above.join(&b'/');
        if let Some((last, parent)) = &self.directories.last
            && *last == key
        {
            return Ok(parent.clone());
        }
        let parent = match file::open_in_root(&*self.root, &relative(above), Access::DirectoryPlace) {
            Ok(parent) => {
                let pending = self.directories.pending.get(&self.inode(&key, &parent)?);
                Parent { depth: pending.map_or(above.len(), |it| it.depth), handle: Rc::new(parent) }
            }
            Err(Errno::ENOENT) => self.make_parents(above)?,
            Err(errno) => return Err(self.shown.failed("open", &key, errno)),
        };
        self.directories.last = Some((key, parent.clone()));
        Ok(parent)
    }

    /// Walks to `above` one name at a time, following links as inside the root and making
    /// what is missing, at the end of a dangling link too.
    pub(super) fn make_parents(&mut self, above: &[&[u8]]) -> Result<Parent> {
        let mut ahead: Vec<Vec<u8>> = above.iter().rev().map(|part| part.to_vec()).collect();
        let mut here = Rc::clone(&self.root);
        // Where `here` is: directories only, no links.
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == b".." {
                names.pop();
                here = self.reopen(&names)?;
                continue;
            }
            let name = OsStr::from_bytes(&part);
            match file::make_directory_at(&*here, name) {
                Ok(()) => self.count_one()?,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.shown.failed("create", &above.join(&b'/'), errno)),
            }
            if let Ok(target) = file::read_link_at(&*here, name) {
                links += 1;
                let target = target.into_vec();
                if links > LINKS || ahead.len() + target.len() > PATH {
                    let name = above.join(&b'/');
                    return Err(bad(format!("the links on the way to `{}` do not end", name.escape_ascii())));
                }
                if target.starts_with(b"/") {
                    names.clear();
                    here = Rc::clone(&self.root);
                }
                let inner = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
                ahead.extend(inner.rev().map(<[u8]>::to_vec));
                continue;
            }
            let next = file::open_at(&*here, name, Access::DirectoryPlace);
            here = Rc::new(next.map_err(|errno| self.shown.failed("open", &above.join(&b'/'), errno))?);
            names.push(part);
            self.remember_made((&names.join(&b'/'), names.len()), &here)?;
        }
        Ok(Parent { handle: here, depth: names.len() })
    }

    fn reopen(&self, names: &[Vec<u8>]) -> Result<Rc<OwnedFd>> {
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let found = file::open_in_root(&*self.root, &relative(&names), Access::DirectoryPlace);
        found.map(Rc::new).map_err(|errno| self.shown.failed("open", &names.join(&b'/'), errno))
    }

    /// Notes the defaults of a directory that the archive has not described.
    pub(super) fn remember_made(&mut self, (name, depth): (&[u8], usize), directory: &OwnedFd) -> Result<()> {
        let inode = self.inode(name, directory)?;
        if self.directories.pending.contains_key(&inode) {
            return Ok(());
        }
        let owner = Owner { uid: 0, gid: 0 };
        let directory = Directory { described: Described::No, mode: 0o755, owner, time: None, attributes: Vec::new() };
        self.note(name.to_vec(), What::Directory(directory));
        self.remember(inode, Pending { name: name.to_vec(), depth, mode: 0o755, owner, time: None })
    }

    /// Notes what the archive says of a directory; the last word counts.
    pub(super) fn remember_member(
        &mut self,
        (name, depth): (Vec<u8>, usize),
        place: &OwnedFd,
        (member, attributes): (&Member, Attributes),
    ) -> Result<()> {
        // The set-group-ID bit of a directory gives no right, it hands the group down.
        let mode = member.mode & 0o3777;
        self.skipped.set_id += u64::from(mode != member.mode);
        let inode = self.inode(&name, place)?;
        let (owner, time) = (member.owner, Some(member.time));
        let directory = Directory { described: Described::Yes, mode, owner, time, attributes };
        self.note(name.clone(), What::Directory(directory));
        self.remember(inode, Pending { name, depth, mode, owner, time })
    }

    fn remember(&mut self, inode: u64, pending: Pending) -> Result<()> {
        if pending.depth > DEPTH {
            return Err(too_deep(&pending.name));
        }
        self.directories.held += pending.name.len();
        if self.directories.held > NAMES {
            return Err(bad(format!("the names of its directories take more than {NAMES} bytes")));
        }
        self.directories.pending.insert(inode, pending);
        Ok(())
    }

    fn inode(&self, name: &[u8], directory: &OwnedFd) -> Result<u64> {
        file::stat(directory).map(|stat| stat.inode).map_err(|errno| self.shown.failed("look at", name, errno))
    }
}

/// It could be run, and neither be checked nor put on other layers.
fn too_deep(name: &[u8]) -> Error {
    const ENOUGH: usize = 100;
    let end = if name.len() > ENOUGH { "…" } else { "" };
    let start = name[..name.len().min(ENOUGH)].escape_ascii();
    bad(format!("the directory `{start}{end}` lies deeper than {DEPTH} directories"))
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
