//! The directories of a tree in the making: the way to the parent of a member, and
//! what each directory gets at the end. It never leaves the root of the tree.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::rc::Rc;

use crate::error::{Error, Kind, Result};
use crate::image::Skipped;
use crate::image::members::Member;
use crate::image::place::{Ownership, PATH, Tree, relative};
use crate::sys::file::{self, Access, Errno, Owner, Time};

/// As many links as the kernel follows, path_resolution(7).
const LINKS: usize = 40;

/// What a tree remembers of its directories.
#[derive(Default)]
pub(super) struct Directories {
    /// The parent of the last member: most archives stay in a directory for a while.
    pub(super) last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What directories get at the end, by inode: until then, members still have to get in.
    pub(super) pending: HashMap<u64, Pending>,
}

pub(super) struct Pending {
    /// From the root, as the archive spelt it.
    name: Vec<u8>,
    mode: u32,
    owner: Owner,
    time: Option<Time>,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Tree {
    /// Gives all directories what the archive says they have, and writes the tree back.
    ///
    /// # Errors
    /// A directory that cannot be changed.
    pub(super) fn finish(mut self) -> Result<Skipped> {
        // Those that even their owner may not pass come last, the deepest first.
        let mut closed = Vec::new();
        for (inode, pending) in std::mem::take(&mut self.directories.pending) {
            if pending.mode & 0o100 == 0 && self.ownership == Ownership::Caller {
                let directory = self.open_again(inode, &pending)?;
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
        file::sync_file_system(&*self.root).map_err(|errno| self.failed("write back", b"", errno))?;
        Ok(self.skipped)
    }

    fn open_again(&self, inode: u64, pending: &Pending) -> Result<OwnedFd> {
        let name = if pending.name.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(&pending.name) };
        let directory = file::open_in_root(&*self.root, name, Access::Directory)
            .map_err(|errno| self.failed("open", &pending.name, errno))?;
        match file::stat(&directory) {
            Ok(stat) if stat.inode == inode => Ok(directory),
            Ok(_) => Err(bad(format!("a later link hides the directory `{}`", pending.name.escape_ascii()))),
            Err(errno) => Err(self.failed("look at", &pending.name, errno)),
        }
    }

    fn settle(&mut self, inode: u64, pending: &Pending) -> Result<()> {
        let directory = self.open_again(inode, pending)?;
        self.attributes(&directory, &pending.attributes, &pending.name)?;
        let owned = match self.ownership {
            Ownership::Archive => file::set_owner(&directory, pending.owner),
            Ownership::Caller => Ok(()),
        };
        owned
            .and_then(|()| file::set_mode(&directory, pending.mode))
            .and_then(|()| pending.time.map_or(Ok(()), |time| file::set_time(&directory, time)))
            .map_err(|errno| self.failed("change the attributes of", &pending.name, errno))
    }

    /// Returns the directory at `above`, made where it is missing.
    pub(super) fn parent(&mut self, above: &[&[u8]]) -> Result<Rc<OwnedFd>> {
        let key = above.join(&b'/');
        if let Some((last, parent)) = &self.directories.last
            && *last == key
        {
            return Ok(Rc::clone(parent));
        }
        let parent = match file::open_in_root(&*self.root, &relative(above), Access::DirectoryPlace) {
            Ok(parent) => Rc::new(parent),
            Err(Errno::ENOENT) => self.make_parents(above)?,
            Err(errno) => return Err(self.failed("open", &key, errno)),
        };
        self.directories.last = Some((key, Rc::clone(&parent)));
        Ok(parent)
    }

    /// Walks to `above` one name at a time, following links as inside the root and making
    /// what is missing, at the end of a dangling link too.
    fn make_parents(&mut self, above: &[&[u8]]) -> Result<Rc<OwnedFd>> {
        let mut ahead: Vec<Vec<u8>> = above.iter().rev().map(|part| part.to_vec()).collect();
        let mut behind = vec![Rc::clone(&self.root)];
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == b".." {
                names.pop();
                behind.truncate(behind.len().saturating_sub(1).max(1));
                continue;
            }
            let here = behind.last().map_or_else(|| Rc::clone(&self.root), Rc::clone);
            let name = OsStr::from_bytes(&part);
            match file::make_directory_at(&*here, name) {
                Ok(()) => self.count_one()?,
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.failed("create", &above.join(&b'/'), errno)),
            }
            match file::read_link_at(&*here, name) {
                Ok(target) => {
                    links += 1;
                    let target = target.into_vec();
                    if links > LINKS || ahead.len() + target.len() > PATH {
                        return Err(bad(format!(
                            "the links on the way to `{}` do not end",
                            above.join(&b'/').escape_ascii()
                        )));
                    }
                    if target.starts_with(b"/") {
                        names.clear();
                        behind.truncate(1);
                    }
                    let inner = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
                    ahead.extend(inner.rev().map(<[u8]>::to_vec));
                }
                Err(_) => {
                    let next = file::open_at(&*here, name, Access::DirectoryPlace)
                        .map_err(|errno| self.failed("open", &above.join(&b'/'), errno))?;
                    let next = Rc::new(next);
                    names.push(part);
                    self.remember_made(&names.join(&b'/'), &next)?;
                    behind.push(next);
                }
            }
        }
        Ok(behind.pop().unwrap_or_else(|| Rc::clone(&self.root)))
    }

    /// Notes the defaults of a directory that the archive has not described.
    pub(super) fn remember_made(&mut self, name: &[u8], directory: &Rc<OwnedFd>) -> Result<()> {
        let stat = file::stat(&**directory).map_err(|errno| self.failed("look at", name, errno))?;
        let owner = Owner { uid: 0, gid: 0 };
        self.directories.pending.entry(stat.inode).or_insert_with(|| Pending {
            name: name.to_vec(),
            mode: 0o755,
            owner,
            time: None,
            attributes: Vec::new(),
        });
        Ok(())
    }

    /// Notes what the archive says of a directory; the last word counts.
    pub(super) fn remember_member(&mut self, name: Vec<u8>, directory: &Rc<OwnedFd>, member: &Member) -> Result<()> {
        let stat = file::stat(&**directory).map_err(|errno| self.failed("look at", &name, errno))?;
        // The set-group-ID bit of a directory gives no right, it hands the group down.
        let mode = member.mode & 0o3777;
        self.skipped.set_id += u64::from(mode != member.mode);
        let (owner, time, attributes) = (member.owner, Some(member.time), member.attributes.clone());
        self.directories.pending.insert(stat.inode, Pending { name, mode, owner, time, attributes });
        Ok(())
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
