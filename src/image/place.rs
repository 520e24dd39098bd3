//! Puts the members of an archive into a directory, each by the descriptor of its
//! parent, resolved as if that directory were `/`. Nothing outside of it is ever touched,
//! whatever links the archive plants, and no member is written through one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::image::layer::{Attributes, Entry, File, FileKind, What, Whiteout, whiteout};
use crate::image::ledger::{Ledger, Note};
use crate::image::members::{Member, MemberKind, Members};
use crate::image::pieces::Pieces;
use crate::image::shown::Shown;
use crate::image::tree::{Directories, PATH, Target, Tree, Whiteouts, relative};
use crate::image::{Bounds, Skipped};
use crate::sys::file::{self, Access, Errno, FileType};

/// Where one member goes.
pub(super) struct Spot<'a> {
    pub(super) parent: &'a OwnedFd,
    pub(super) name: &'a OsStr,
    /// From the root, for messages.
    pub(super) full: Vec<u8>,
    /// Of the parent.
    depth: usize,
}

impl Tree {
    /// Returns the tree of an empty directory; what is in it is noted in `ledger`.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub(super) fn new(target: Target, ledger: Ledger, whiteouts: Whiteouts, bounds: Bounds) -> Result<Self> {
        let Target { root, shown, ownership } = target;
        let mut tree = Self {
            shown: Arc::new(Shown(shown)),
            root: Rc::new(root),
            ownership,
            whiteouts,
            below: 0,
            ledger,
            bounds,
            directories: Directories::default(),
            made: 0,
            written: 0,
            skipped: Skipped::default(),
        };
        tree.remember_made((b"", 0), &Rc::clone(&tree.root))?;
        Ok(tree)
    }

    /// Places one member, whose contents `members` gives.
    ///
    /// # Errors
    /// What is wrong with the member, or why it could not be written.
    pub(super) fn place(&mut self, member: Member, members: &mut Members<&mut Pieces<'_>>) -> Result<()> {
        self.count_one()?;
        let parts = parts(&member.name)?;
        self.skipped.attributes += member.other_attributes;
        let Some((name, above)) = parts.split_last() else {
            return self.root_member(&member);
        };
        if self.whiteouts == Whiteouts::Hide
            && let Some(whiteout) = whiteout(above, name)?
        {
            return self.hide(above, whiteout);
        }
        if member.kind == MemberKind::Device {
            // Over `/dev` lies the sandbox's own.
            self.skipped.devices += u64::from(above.first() != Some(&&b"dev"[..]));
            return Ok(());
        }
        let parent = self.parent(above)?;
        let spot = Spot {
            parent: &parent.handle,
            name: OsStr::from_bytes(name),
            full: parts.join(&b'/'),
            depth: parent.depth,
        };
        match member.kind {
            MemberKind::Directory => self.directory(&spot, &member),
            MemberKind::Hardlink => self.hardlink(&spot, &member),
            MemberKind::Regular => self.regular(&spot, &member, members),
            MemberKind::Symlink | MemberKind::Fifo | MemberKind::Device => self.node(&spot, &member),
        }
    }

    /// Notes what is hidden of the layers below; in the tree of this layer nothing marks it.
    fn hide(&mut self, above: &[&[u8]], whiteout: Whiteout<'_>) -> Result<()> {
        let (path, what) = match whiteout {
            Whiteout::Ignored => return Ok(()),
            Whiteout::Opaque => (above.join(&b'/'), What::Opaque),
            Whiteout::Hides(name) => ([above, &[name]].concat().join(&b'/'), What::Hidden),
        };
        self.note(path, what);
        Ok(())
    }

    /// Adds to the list of the tree.
    pub(super) fn note(&mut self, path: Vec<u8>, what: What) {
        self.ledger.add(Note::Entry(Entry { path, what }));
    }

    /// Takes the attributes of the root itself, which can be nothing but a directory (CVE-2021-29136).
    fn root_member(&mut self, member: &Member) -> Result<()> {
        if member.kind != MemberKind::Directory {
            return Err(bad("it holds a root that is not a directory"));
        }
        let root = Rc::clone(&self.root);
        let kept = self.attributes(&*root, &member.attributes, b"")?;
        self.remember_member((Vec::new(), 0), &root, (member, kept))
    }

    fn directory(&mut self, spot: &Spot<'_>, member: &Member) -> Result<()> {
        let made = match file::make_directory_at(spot.parent, spot.name) {
            Err(Errno::EEXIST) if self.is_directory(spot)? => Ok(()),
            Err(Errno::EEXIST) => {
                self.clear(spot)?;
                file::make_directory_at(spot.parent, spot.name)
            }
            other => other,
        };
        made.map_err(|errno| self.shown.failed("create", &spot.full, errno))?;
        let directory = file::open_at(spot.parent, spot.name, Access::Directory)
            .map_err(|errno| self.shown.failed("open", &spot.full, errno))?;
        let kept = self.attributes(&directory, &member.attributes, &spot.full)?;
        self.remember_member((spot.full.clone(), spot.depth + 1), &directory, (member, kept))
    }

    /// Makes a symbolic link or a FIFO.
    fn node(&mut self, spot: &Spot<'_>, member: &Member) -> Result<()> {
        self.skipped.attributes += u64::try_from(member.attributes.len()).unwrap_or(u64::MAX);
        let target = OsStr::from_bytes(&member.link);
        if member.kind == MemberKind::Symlink && (member.link.is_empty() || member.link.contains(&0)) {
            return Err(bad(format!("the link `{}` leads nowhere", spot.full.escape_ascii())));
        }
        let make = || match member.kind {
            MemberKind::Symlink => file::make_symlink_at(spot.parent, spot.name, target),
            _ => file::make_fifo_at(spot.parent, spot.name),
        };
        let made = match make() {
            Err(Errno::EEXIST) => {
                self.clear(spot)?;
                make()
            }
            other => other,
        };
        made.map_err(|errno| self.shown.failed("create", &spot.full, errno))?;
        if let Some(owner) = self.ownership.on_disk(member.owner) {
            file::set_owner_at(spot.parent, spot.name, owner)
                .map_err(|errno| self.shown.not_given(&spot.full, member.owner, errno))?;
        }
        let kind = match member.kind {
            MemberKind::Symlink => FileKind::Symlink { target: member.link.clone() },
            _ => FileKind::Fifo,
        };
        self.note(spot.full.clone(), of_member(member, kind, Vec::new()));
        let settled = match member.kind {
            MemberKind::Fifo => file::set_mode_at(spot.parent, spot.name, self.without_set_id(member.mode)),
            _ => Ok(()),
        };
        settled
            .and_then(|()| file::set_time_at(spot.parent, spot.name, member.time))
            .map_err(|errno| self.shown.failed("change the attributes of", &spot.full, errno))
    }

    /// Links to a member that came before. That of a layer can be in a layer below, which is not here: then the
    /// list alone has it.
    fn hardlink(&mut self, spot: &Spot<'_>, member: &Member) -> Result<()> {
        let wrong = |why: &str| {
            let (name, link) = (spot.full.escape_ascii(), member.link.escape_ascii());
            bad(format!("`{name}` is a hard link to `{link}`, {why}"))
        };
        let parts = parts(&member.link)?;
        let Some((name, above)) = parts.split_last() else {
            return Err(wrong("which is the root"));
        };
        let name = OsStr::from_bytes(name);
        let target = What::Link { target: parts.join(&b'/') };
        let parent = file::open_in_root(&*self.root, &relative(above), Access::DirectoryPlace);
        let found = parent.and_then(|parent| file::stat_at(&parent, name).map(|old| (parent, old)));
        let (parent, old) = match found {
            Ok(found) => found,
            Err(_) if self.whiteouts == Whiteouts::Hide => {
                if file::stat_at(spot.parent, spot.name).is_ok() {
                    self.clear(spot)?;
                }
                self.below += 1;
                self.note(spot.full.clone(), target);
                return Ok(());
            }
            Err(_) => return Err(wrong("which is not in the archive before it")),
        };
        if old.kind == FileType::Directory {
            return Err(wrong("which is a directory"));
        }
        self.note(spot.full.clone(), target);
        match file::stat_at(spot.parent, spot.name) {
            // A link to itself: removing the old name first would lose the file.
            Ok(new) if (new.device, new.inode) == (old.device, old.inode) => return Ok(()),
            Ok(_) => self.clear(spot)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(self.shown.failed("look at", &spot.full, errno)),
        }
        file::link_at((&parent, name), (spot.parent, spot.name))
            .map_err(|errno| self.shown.failed("create", &spot.full, errno))
    }

    /// Removes what an earlier member left in the way.
    pub(super) fn clear(&mut self, spot: &Spot<'_>) -> Result<()> {
        self.directories.last = None;
        let old =
            file::stat_at(spot.parent, spot.name).map_err(|errno| self.shown.failed("look at", &spot.full, errno))?;
        let removed = match old.kind {
            FileType::Directory => file::remove_directory_at(spot.parent, spot.name),
            _ => file::unlink_at(spot.parent, spot.name),
        };
        match removed {
            Err(Errno::ENOTEMPTY) => {
                Err(bad(format!("`{}` replaces a directory that an earlier member filled", spot.full.escape_ascii())))
            }
            Err(errno) => Err(self.shown.failed("replace", &spot.full, errno)),
            Ok(()) => {
                self.directories.pending.remove(&old.inode);
                Ok(())
            }
        }
    }

    fn is_directory(&self, spot: &Spot<'_>) -> Result<bool> {
        let found = file::stat_at(spot.parent, spot.name);
        found
            .map(|stat| stat.kind == FileType::Directory)
            .map_err(|errno| self.shown.failed("look at", &spot.full, errno))
    }

    /// Counts something made against the bound.
    pub(super) fn count_one(&mut self) -> Result<()> {
        self.made += 1;
        match self.made > self.bounds.entries {
            true => Err(bad(format!("it holds more than {} members", self.bounds.entries))),
            false => Ok(()),
        }
    }

    /// Keeps the attributes on an open file or directory; returns those that were.
    pub(super) fn attributes(
        &mut self,
        target: impl AsFd,
        attributes: &[(Vec<u8>, Vec<u8>)],
        full: &[u8],
    ) -> Result<Attributes> {
        let mut kept = Attributes::new();
        for (name, value) in attributes {
            match file::set_attribute(&target, OsStr::from_bytes(name), value) {
                Ok(()) => kept.push((name.clone(), value.clone())),
                // tmpfs keeps none before Linux 6.6; the count says so.
                Err(Errno::EOPNOTSUPP) => self.skipped.attributes += 1,
                Err(errno) => return Err(self.shown.failed("keep an attribute of", full, errno)),
            }
        }
        Ok(kept)
    }

    pub(super) fn without_set_id(&mut self, mode: u32) -> u32 {
        self.skipped.set_id += u64::from(mode & 0o6000 != 0);
        mode & 0o1777
    }
}

pub(super) fn of_member(member: &Member, kind: FileKind, attributes: Attributes) -> What {
    let Member { mode, owner, time, .. } = *member;
    What::File(File { kind, mode, owner, time, attributes })
}

/// Splits a name as GNU tar does: a leading `/` counts for nothing, and `..` is refused.
fn parts(name: &[u8]) -> Result<Vec<&[u8]>> {
    let refused = |why: &str| {
        let start = &name[..name.len().min(200)];
        bad(format!("the name `{}` {why}", start.escape_ascii()))
    };
    if name.len() >= PATH {
        return Err(refused("is longer than 4095 bytes"));
    }
    if name.contains(&0) {
        return Err(refused("holds a NUL character"));
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    match parts.contains(&&b".."[..]) {
        true => Err(refused("holds `..`")),
        false => Ok(parts),
    }
}

pub(super) fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
