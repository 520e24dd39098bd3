//! What placing has to say of the bytes of an archive, in order, for whoever hashes them and writes the list of the
//! tree. It is gathered piece by piece and does nothing by itself.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::image::layer::Entry;
use crate::image::unfinished::{Leave, Unfinished};

/// One remark.
#[derive(Debug)]
pub(super) enum Note {
    /// The contents that come next, up to an entry, are still to be written to this file.
    File(Unfinished, Leave),
    /// Bytes of the present piece are contents of a file.
    Contents(Range<usize>),
    /// So many zeros are, which are not in the archive.
    Hole(u64),
    /// What the list gets. The digest of a regular file is not known here: it is that of all contents since the last
    /// such file.
    Entry(Entry),
}

/// The notes on the present piece, for several who write.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Rc<RefCell<Vec<Note>>>);

impl Ledger {
    pub(super) fn add(&self, note: Note) {
        self.0.borrow_mut().push(note);
    }

    /// Returns all notes and begins anew.
    pub(super) fn take(&self) -> Vec<Note> {
        self.0.take()
    }
}
