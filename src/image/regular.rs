//! Puts one regular file of an archive into a tree: its bytes go from the piece that they came in to the file
//! at once, and are only noted to be hashed. Nothing is placed here but files.

use crate::error::Result;
use crate::image::layer::FileKind;
use crate::image::ledger::Note;
use crate::image::members::{Member, Members};
use crate::image::pieces::Pieces;
use crate::image::place::{Spot, bad, of_member, unwritten};
use crate::image::tree::Tree;
use crate::sys::file::{self, Errno};

impl Tree {
    /// Makes the file, over whatever earlier member stands there.
    ///
    /// # Errors
    /// A file that is too large for the bounds, an archive that ends before the file does, or why it could not be
    /// written.
    pub(super) fn regular(
        &mut self,
        spot: &Spot<'_>,
        member: &Member,
        members: &mut Members<&mut Pieces<'_>>,
    ) -> Result<()> {
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
        self.contents(&target, spot, member, members)?;
        let kept = self.attributes(&target, &member.attributes, &spot.full)?;
        // Its digest follows from the contents that were noted before it.
        let kind = FileKind::Regular { size: member.size, sha256: [0; 32] };
        self.note(spot.full.clone(), of_member(member, kind, kept));
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
        members: &mut Members<&mut Pieces<'_>>,
    ) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let failed = |error: &std::io::Error| unwritten(format!("cannot write `{}`", self.shown(&spot.full)), error);
        let mut at = 0;
        for extent in member.extents.iter().filter(|extent| extent.length > 0) {
            self.hole(extent.offset.saturating_sub(at));
            let mut left = extent.length;
            at = extent.offset;
            while left > 0 {
                let bytes = members.some(left)?;
                target.write_all_at(bytes, at).map_err(|error| failed(&error))?;
                let taken = bytes.len();
                members.took(taken).keep(taken);
                let count = u64::try_from(taken).unwrap_or(left);
                (at, left) = (at + count, left - count);
            }
        }
        // A hole at the end is not written by anything; GNU tar marks it with an empty piece.
        if at != member.size {
            self.hole(member.size.saturating_sub(at));
            target.set_len(member.size).map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    fn hole(&self, count: u64) {
        if count > 0 {
            self.ledger.add(Note::Hole(count));
        }
    }
}
