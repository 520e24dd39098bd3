//! The changes of a root as a layer of the OCI image specification (layer.md): what is new, and
//! whiteouts for what is gone. What the walk finds becomes members, nothing else.

use std::io::Write;

use crate::image::pack::Fault;
use crate::image::pack::archive::Archive;
use crate::run::harvest::record::Record;
use crate::run::harvest::upper::{Below, Item, Sink, What};

/// A layer that is being written.
#[derive(Debug)]
pub struct Layer<'a, W: Write> {
    pub archive: Archive<W>,
    pub record: &'a mut Record,
}

impl<W: Write> Sink for Layer<'_, W> {
    fn take(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        self.record.counts.add(item.sort);
        match &item.what {
            What::NothingBelow => Ok(()),
            What::Nothing => {
                let start = item.path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
                let (above, name) = item.path.split_at(start);
                self.archive.marker(&[above, b".wh.", name].concat())
            }
            What::Directory { details, handle, below } => {
                self.archive.directory(item.path, *details, handle)?;
                match below {
                    Below::Hidden => self.archive.marker(&[item.path, b"/.wh..wh..opq"].concat()),
                    Below::Shown => Ok(()),
                }
            }
            What::Other { details, parent, name } => self.archive.other(item.path, *details, (parent, name)),
        }
    }

    fn warn(&mut self, warning: String) {
        self.record.warn(&warning);
    }
}
