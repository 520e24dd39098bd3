//! Trees that are whole and yet perhaps not on the disk: their note has the boot in which they were made, and in
//! that boot the kernel shows what was written. They count in a later one only if, before it, they were written
//! back and marked as such. Nothing waits for the disk here but who has nothing else to do.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::Result;
use crate::image::Extractor;
use crate::image::store::boot::{MARK, boot};
use crate::image::store::layers::boot_of;
use crate::image::store::{Store, failed};
use crate::sys::file::{self, Access, Errno};

/// The word by which sbx is asked to write a store back.
const SETTLE: &str = "settle-store";

impl Store {
    /// Has what was kept written back, by a process of its own for which nobody waits: a run does not take longer
    /// because of the disk.
    ///
    /// # Errors
    /// Where there can be no such process: what [`Store::settle`] says.
    pub(in crate::image) fn settle_later(&self) -> Result<()> {
        let Extractor::Program(program) = self.extractor() else { return self.settle() };
        let mut command = Command::new(program);
        command.arg(SETTLE).arg("--store").arg(self.root()).env_clear().current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Whoever stops the run from a terminal does not mean this.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_or_else(|_| self.settle(), |_| Ok(()))
    }

    /// Writes back all trees of this boot that are not known to be on the disk, and marks them.
    ///
    /// # Errors
    /// A store that cannot be read, or not be written back.
    pub fn settle(&self) -> Result<()> {
        let now = boot();
        let mut places = Vec::new();
        for section in ["layers", "roots"] {
            for name in self.list(section)? {
                let place = self.root().join(section).join(name);
                let note = std::fs::read(place.join("skipped")).unwrap_or_default();
                if !place.join(MARK).exists() && boot_of(&note).is_some_and(|made| made == now) {
                    // By descriptor: another tree may get the name meanwhile, and would get the mark.
                    let opened = file::open(&place, Access::Directory);
                    places.extend(opened.map(|directory| (place, directory)));
                }
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        let root = self.root();
        let written = file::open(root, Access::Directory).and_then(file::sync_file_system);
        written.map_err(|errno| failed("write back", root, &errno.into()))?;
        for (place, directory) in places {
            // Whoever takes a tree away empties its note first, and then wants to find nothing new in it.
            let note = std::fs::read(place.join("skipped")).unwrap_or_default();
            if boot_of(&note).is_none() {
                continue;
            }
            match file::create_at(&directory, OsStr::new(MARK), 0o600) {
                // Another process was faster, or has taken the tree away.
                Ok(_) | Err(Errno::EEXIST | Errno::ENOENT) => {}
                Err(errno) => return Err(failed("mark", &place, &errno.into())),
            }
        }
        Ok(())
    }
}
