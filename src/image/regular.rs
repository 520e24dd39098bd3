//! Puts one regular file of an archive into a tree: its bytes go from the piece that they came in to the file
//! at once, and are only noted to be hashed. Nothing is placed here but files.

use std::sync::Arc;

use crate::error::Result;
use crate::image::layer::{Contents, FileKind};
use crate::image::ledger::Note;
use crate::image::members::{Member, Members};
use crate::image::pieces::{Pace, Pieces};
use crate::image::place::{Spot, bad, of_member};
use crate::image::tree::Tree;
use crate::image::unfinished::{Leave, Unfinished};
use crate::sys::file::{self, Errno};

/// What is smaller is better written where it is made: its time of change is set once then, not twice.
const LARGE: u64 = 16 << 10;

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
        let file = std::fs::File::from(made.map_err(|errno| self.shown.failed("create", &spot.full, errno))?);
        let kept = self.attributes(&file, &member.attributes, &spot.full)?;
        let unfinished = Unfinished {
            file,
            full: spot.full.clone(),
            shown: Arc::clone(&self.shown),
            mode,
            owner: (member.owner, self.ownership.on_disk(member.owner)),
            time: member.time,
            size: member.size,
            at: 0,
            end: 0,
        };
        // Making files is what takes longest, and whoever hashes the contents has time left.
        let is_behind = members.input().pace == Pace::Behind;
        let leave = if member.size >= LARGE || is_behind { Leave::get() } else { None };
        let own = match leave {
            Some(leave) => {
                self.ledger.add(Note::File(unfinished, leave));
                None
            }
            None => Some(unfinished),
        };
        self.contents(own, member, members)?;
        // Its digest follows from the contents that were noted before it.
        let kind = FileKind::Regular { size: member.size, contents: Contents::Blake3([0; 32]) };
        self.note(spot.full.clone(), of_member(member, kind, kept));
        Ok(())
    }

    /// Notes the contents of a file, and writes them to `own`.
    fn contents(
        &self,
        mut own: Option<Unfinished>,
        member: &Member,
        members: &mut Members<&mut Pieces<'_>>,
    ) -> Result<()> {
        let hole = |count, own: &mut Option<Unfinished>| {
            if count > 0 {
                self.ledger.add(Note::Hole(count));
                own.iter_mut().for_each(|own| own.skip(count));
            }
        };
        let mut at = 0;
        for extent in member.extents.iter().filter(|extent| extent.length > 0) {
            hole(extent.offset.saturating_sub(at), &mut own);
            let mut left = extent.length;
            at = extent.offset;
            while left > 0 {
                let bytes = members.some(left)?;
                own.iter_mut().try_for_each(|own| own.write(bytes))?;
                let taken = bytes.len();
                members.took(taken).keep(taken);
                let count = u64::try_from(taken).unwrap_or(left);
                (at, left) = (at + count, left - count);
            }
        }
        hole(member.size.saturating_sub(at), &mut own);
        own.map_or(Ok(()), Unfinished::finish)
    }
}
