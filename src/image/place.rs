//! Puts the members of an archive into a directory, each by the descriptor of its
//! parent, resolved as if that directory were `/`. Nothing outside of it is ever touched,
//! whatever links the archive plants, and no member is written through one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::rc::Rc;

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind, Result};
use crate::image::layer::{Attributes, DEPTH, Entry, File, FileKind, What, Whiteout, Writer, whiteout};
use crate::image::members::{Member, MemberKind, Members};
use crate::image::tree::{Directories, PATH, Target, Tree, Whiteouts, relative};
use crate::image::{Bounds, Skipped};
use crate::sys::file::{self, Access, Errno, FileType, Owner};

/// Where one member goes.
struct Spot<'a> {
    parent: &'a OwnedFd,
    name: &'a OsStr,
    /// From the root, for messages.
    full: Vec<u8>,
}

impl Tree {
    /// Returns the tree of the empty directory `path`.
    ///
    /// # Errors
    /// A directory that cannot be opened.
    pub(super) fn new(target: Target, whiteouts: Whiteouts, bounds: Bounds) -> Result<Self> {
        let Target { root, list, shown, ownership } = target;
        let mut tree = Self {
            path: shown,
            root: Rc::new(root),
            ownership,
            whiteouts,
            below: 0,
            list: Writer::new(std::io::BufWriter::new(list)),
            bounds,
            directories: Directories::default(),
            made: 0,
            written: 0,
            skipped: Skipped::default(),
        };
        tree.remember_made(b"", &Rc::clone(&tree.root))?;
        Ok(tree)
    }

    /// Places one member, whose contents `members` gives.
    ///
    /// # Errors
    /// What is wrong with the member, or why it could not be written.
    pub(super) fn place(&mut self, member: Member, members: &mut Members<impl std::io::Read>) -> Result<()> {
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
        let spot = Spot { parent: &parent, name: OsStr::from_bytes(name), full: parts.join(&b'/') };
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
        self.note(path, what)
    }

    /// Adds to the list of the tree.
    pub(super) fn note(&mut self, path: Vec<u8>, what: What) -> Result<()> {
        let written = self.list.add(&Entry { path, what });
        written.map_err(|error| self.failed_io("cannot write the list of the layer".to_owned(), &error))
    }

    /// Takes the attributes of the root itself, which can be nothing but a directory (CVE-2021-29136).
    fn root_member(&mut self, member: &Member) -> Result<()> {
        if member.kind != MemberKind::Directory {
            return Err(bad("it holds a root that is not a directory"));
        }
        let root = Rc::clone(&self.root);
        let kept = self.attributes(&*root, &member.attributes, b"")?;
        self.remember_member(Vec::new(), &root, (member, kept))
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
        made.map_err(|errno| self.failed("create", &spot.full, errno))?;
        let directory = file::open_at(spot.parent, spot.name, Access::Directory)
            .map_err(|errno| self.failed("open", &spot.full, errno))?;
        let kept = self.attributes(&directory, &member.attributes, &spot.full)?;
        self.remember_member(spot.full.clone(), &directory, (member, kept))
    }

    fn regular(&mut self, spot: &Spot<'_>, member: &Member, members: &mut Members<impl std::io::Read>) -> Result<()> {
        self.written = self.written.saturating_add(member.size);
        if self.written > self.bounds.unpacked {
            return Err(bad(format!("it unpacks to more than {} bytes", self.bounds.unpacked)));
        }
        let mode = self.without_set_id(member.mode);
        let made = match file::create_at(spot.parent, spot.name, mode) {
            Err(Errno::EEXIST) => {
                self.clear(spot)?;
                file::create_at(spot.parent, spot.name, mode)
            }
            other => other,
        };
        let target = std::fs::File::from(made.map_err(|errno| self.failed("create", &spot.full, errno))?);
        let sha256 = self.contents(&target, spot, member, members)?;
        let kind = FileKind::Regular { size: member.size, sha256 };
        let kept = self.attributes(&target, &member.attributes, &spot.full)?;
        self.note(spot.full.clone(), of_member(member, kind, kept))?;
        let failed = |errno| self.failed("change the attributes of", &spot.full, errno);
        // Most new files have them already, and asking costs a tenth of changing.
        let now = file::stat(&target).map_err(failed)?;
        if let Some(owner) = self.ownership.on_disk(member.owner).filter(|owner| now.owner != *owner) {
            file::set_owner(&target, owner).map_err(|errno| self.not_given(&spot.full, member.owner, errno))?;
        }
        let moded = if now.mode == mode { Ok(()) } else { file::set_mode(&target, mode) };
        moded.and_then(|()| file::set_time(&target, member.time)).map_err(failed)
    }

    fn contents(
        &self,
        target: &std::fs::File,
        spot: &Spot<'_>,
        member: &Member,
        members: &mut Members<impl std::io::Read>,
    ) -> Result<[u8; 32]> {
        use std::os::unix::fs::FileExt as _;
        const PIECE: u64 = 128 << 10;
        let failed =
            |error: &std::io::Error| self.failed_io(format!("cannot write `{}`", self.shown(&spot.full)), error);
        let mut buffer = Vec::new();
        let mut hash = Sha256::new();
        let mut at = 0;
        for extent in member.extents.iter().filter(|extent| extent.length > 0) {
            hash_zeros(&mut hash, extent.offset.saturating_sub(at));
            let mut left = extent.length;
            at = extent.offset;
            while left > 0 {
                let count = left.min(PIECE);
                buffer.resize(usize::try_from(count).unwrap_or_default(), 0);
                members.fill(&mut buffer)?;
                hash.update(&buffer);
                target.write_all_at(&buffer, at).map_err(|error| failed(&error))?;
                (at, left) = (at + count, left - count);
            }
        }
        // A hole at the end is not written by anything; GNU tar marks it with an empty piece.
        if at != member.size {
            hash_zeros(&mut hash, member.size.saturating_sub(at));
            target.set_len(member.size).map_err(|error| failed(&error))?;
        }
        Ok(hash.finalize().into())
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
        made.map_err(|errno| self.failed("create", &spot.full, errno))?;
        if let Some(owner) = self.ownership.on_disk(member.owner) {
            file::set_owner_at(spot.parent, spot.name, owner)
                .map_err(|errno| self.not_given(&spot.full, member.owner, errno))?;
        }
        let kind = match member.kind {
            MemberKind::Symlink => FileKind::Symlink { target: member.link.clone() },
            _ => FileKind::Fifo,
        };
        self.note(spot.full.clone(), of_member(member, kind, Vec::new()))?;
        let settled = match member.kind {
            MemberKind::Fifo => file::set_mode_at(spot.parent, spot.name, self.without_set_id(member.mode)),
            _ => Ok(()),
        };
        settled
            .and_then(|()| file::set_time_at(spot.parent, spot.name, member.time))
            .map_err(|errno| self.failed("change the attributes of", &spot.full, errno))
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
                return self.note(spot.full.clone(), target);
            }
            Err(_) => return Err(wrong("which is not in the archive before it")),
        };
        if old.kind == FileType::Directory {
            return Err(wrong("which is a directory"));
        }
        self.note(spot.full.clone(), target)?;
        match file::stat_at(spot.parent, spot.name) {
            // A link to itself: removing the old name first would lose the file.
            Ok(new) if (new.device, new.inode) == (old.device, old.inode) => return Ok(()),
            Ok(_) => self.clear(spot)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(self.failed("look at", &spot.full, errno)),
        }
        file::link_at((&parent, name), (spot.parent, spot.name))
            .map_err(|errno| self.failed("create", &spot.full, errno))
    }

    /// Removes what an earlier member left in the way.
    fn clear(&mut self, spot: &Spot<'_>) -> Result<()> {
        self.directories.last = None;
        let old = file::stat_at(spot.parent, spot.name).map_err(|errno| self.failed("look at", &spot.full, errno))?;
        let removed = match old.kind {
            FileType::Directory => file::remove_directory_at(spot.parent, spot.name),
            _ => file::unlink_at(spot.parent, spot.name),
        };
        match removed {
            Err(Errno::ENOTEMPTY) => {
                Err(bad(format!("`{}` replaces a directory that an earlier member filled", spot.full.escape_ascii())))
            }
            Err(errno) => Err(self.failed("replace", &spot.full, errno)),
            Ok(()) => {
                self.directories.pending.remove(&old.inode);
                Ok(())
            }
        }
    }

    fn is_directory(&self, spot: &Spot<'_>) -> Result<bool> {
        let found = file::stat_at(spot.parent, spot.name);
        found.map(|stat| stat.kind == FileType::Directory).map_err(|errno| self.failed("look at", &spot.full, errno))
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
    fn attributes(&mut self, target: impl AsFd, attributes: &[(Vec<u8>, Vec<u8>)], full: &[u8]) -> Result<Attributes> {
        let mut kept = Attributes::new();
        for (name, value) in attributes {
            match file::set_attribute(&target, OsStr::from_bytes(name), value) {
                Ok(()) => kept.push((name.clone(), value.clone())),
                // tmpfs keeps none before Linux 6.6; the count says so.
                Err(Errno::EOPNOTSUPP) => self.skipped.attributes += 1,
                Err(errno) => return Err(self.failed("keep an attribute of", full, errno)),
            }
        }
        Ok(kept)
    }

    /// Returns the error of a step on `full`; whose fault it is follows from `errno`.
    pub(super) fn failed(&self, what: &str, full: &[u8], errno: Errno) -> Error {
        let error = self.failed_io(format!("cannot {what} `{}`", self.shown(full)), &errno.into());
        match errno {
            Errno::ELOOP | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ENOENT | Errno::EISDIR | Errno::EEXIST => {
                error.with_kind(Kind::Image)
            }
            _ => error,
        }
    }

    /// Returns the error of a change of owner.
    pub(super) fn not_given(&self, full: &[u8], owner: Owner, errno: Errno) -> Error {
        let error = self.failed("change the owner of", full, errno);
        match errno {
            Errno::EINVAL => error.with_hint(format!(
                "the user namespace that sbx runs in has no {}:{}: run sbx outside of it",
                owner.uid, owner.gid
            )),
            _ => error,
        }
    }

    fn failed_io(&self, what: String, error: &std::io::Error) -> Error {
        let failed = Error::io(what, error);
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                failed.with_hint("free some space, or set SBX_STORE to a directory that has more")
            }
            _ => failed,
        }
    }

    fn shown(&self, full: &[u8]) -> String {
        const ENOUGH: usize = 300;
        let end = if full.len() > ENOUGH { "…" } else { "" };
        let start = OsStr::from_bytes(&full[..full.len().min(ENOUGH)]);
        format!("{}{end}", self.path.join(start).display())
    }

    fn without_set_id(&mut self, mode: u32) -> u32 {
        self.skipped.set_id += u64::from(mode & 0o6000 != 0);
        mode & 0o1777
    }
}

fn of_member(member: &Member, kind: FileKind, attributes: Attributes) -> What {
    let Member { mode, owner, time, .. } = *member;
    What::File(File { kind, mode, owner, time, attributes })
}

/// Hashes a hole, which reads as zeros.
fn hash_zeros(hash: &mut Sha256, mut count: u64) {
    const ZEROS: [u8; 4096] = [0; 4096];
    while count > 0 {
        let piece = count.min(4096);
        hash.update(&ZEROS[..usize::try_from(piece).unwrap_or_default()]);
        count -= piece;
    }
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
        false if parts.len() > DEPTH + 1 => Err(refused(&format!("lies deeper than {DEPTH} directories"))),
        false => Ok(parts),
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
