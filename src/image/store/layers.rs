//! The trees that are whole: one of each layer, and the roots that were put together of several.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};
use crate::image::Skipped;
use crate::image::digest::Digest;
use crate::image::store::{Store, failed};
use crate::image::tree::Ownership;

/// What a tree is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Name<'a> {
    /// The digest of the layer's tar, its "diff id".
    Layer(&'a Digest),
    /// The "chain id" of several layers, config.md of the OCI image specification.
    Root(&'a Digest),
}

/// A tree that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::image) struct Kept {
    pub(in crate::image) root: PathBuf,
    pub(in crate::image) skipped: Skipped,
    /// Hard links to files of layers below.
    pub(in crate::image) below: u64,
}

impl Kept {
    /// Returns the path of the list of the layer.
    pub(in crate::image) fn list(&self) -> PathBuf {
        self.root.with_file_name("list")
    }
}

impl Store {
    /// Returns the tree of `name` if it is there.
    ///
    /// # Errors
    /// One that is damaged, or a store that others can write to.
    pub(in crate::image) fn find(&self, name: Name<'_>, ownership: Ownership) -> Result<Option<Kept>> {
        let path = self.place_of(name, ownership);
        let list = path.join("skipped");
        let text = match std::fs::read_to_string(&list) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| failed("read", &list, &error))?,
        };
        self.check()?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(devices)), Some(Ok(set_id)), Some(Ok(attributes)), Some(Ok(below)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(Error::new(Kind::Host, format!("`{}` is damaged", list.display()))
                .with_hint(format!("remove `{}`", path.display())));
        };
        Ok(Some(Kept { root: path.join("rootfs"), skipped: Skipped { devices, set_id, attributes }, below }))
    }

    /// Gives the directory `made`, in which the tree is `rootfs`, its name. The caller has had the file system
    /// written back. Another run may have been faster: then that one stays.
    ///
    /// # Errors
    /// A file that cannot be written or renamed.
    pub(in crate::image) fn keep(
        &self,
        made: &Path,
        (name, ownership): (Name<'_>, Ownership),
        (skipped, below): (&Skipped, u64),
    ) -> Result<()> {
        let list = made.join("skipped");
        let text = format!("{} {} {} {below}\n", skipped.devices, skipped.set_id, skipped.attributes);
        let written = std::fs::write(&list, text).and_then(|()| File::open(&list)?.sync_all());
        written.map_err(|error| failed("write", &list, &error))?;
        let place = self.place_of(name, ownership);
        match std::fs::rename(made, &place) {
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
            other => other.map_err(|error| failed("rename to", &place, &error))?,
        }
        let above = place.parent().unwrap_or(&self.root);
        File::open(above).and_then(|above| above.sync_all()).map_err(|error| failed("write back", above, &error))
    }

    fn place_of(&self, name: Name<'_>, ownership: Ownership) -> PathBuf {
        let flavour = match ownership {
            Ownership::Archive => "owned",
            Ownership::Caller => "squashed",
        };
        let (section, digest) = match name {
            Name::Layer(digest) => ("layers", digest),
            Name::Root(digest) => ("roots", digest),
        };
        self.root.join(section).join(format!("{}.{flavour}", digest.hex()))
    }
}
