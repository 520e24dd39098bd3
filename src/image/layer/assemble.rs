//! Makes the root that several layers make together: directories anew, everything else as one more name of
//! the file in its layer, so that it costs neither bytes nor reading. The layers are not changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::error::{Error, Result};
use crate::image::layer::{Directory, Merged, Node};
use crate::image::tree::Ownership;
use crate::sys::entry;
use crate::sys::file::{self, Access, Errno, FileType, Owner, Time};

/// Where the trees of the layers are.
struct Trees {
    layers: Vec<OwnedFd>,
    ownership: Ownership,
    /// The directory of the last file that was linked: most lie beside each other.
    last: Option<(usize, Box<[u8]>, OwnedFd)>,
}

/// Makes `merged` in the empty directory `root` from the trees at `layers`, the lowest first.
///
/// # Errors
/// What could not be made, with its path.
pub(in crate::image) fn assemble(
    merged: &Merged,
    (root, ownership): (&Path, Ownership),
    layers: &[&Path],
) -> Result<()> {
    let opened: std::result::Result<Vec<OwnedFd>, Errno> =
        layers.iter().map(|path| file::open(path, Access::DirectoryPlace)).collect();
    let layers = opened.map_err(|errno| Error::io("cannot open the tree of a layer", &errno.into()))?;
    let mut trees = Trees { layers, ownership, last: None };
    let top = file::open(root, Access::Directory)
        .map_err(|errno| Error::io(format_args!("cannot open `{}`", root.display()), &errno.into()))?;
    let Node::Directory { directory, children } = &merged.root else { return Ok(()) };
    trees.fill((&top, &mut Vec::new()), children)?;
    trees.settle(&top, directory).map_err(|errno| failed(&[], errno))
}

impl Trees {
    /// Makes `children` in `directory`, whose path is `path`. As deep as [`super::merge`] lets directories lie.
    fn fill(
        &mut self,
        (directory, path): (&OwnedFd, &mut Vec<u8>),
        children: &BTreeMap<Box<[u8]>, Node>,
    ) -> Result<()> {
        for (bytes, node) in children {
            let name = OsStr::from_bytes(bytes);
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(bytes);
            match node {
                Node::File { layer, path: source, .. } => {
                    self.link((*layer, source), (directory, name)).map_err(|errno| failed(path, errno))?;
                }
                Node::Directory { directory: metadata, children } => {
                    let made = file::make_directory_at(directory, name)
                        .and_then(|()| file::open_at(directory, name, Access::Directory))
                        .map_err(|errno| failed(path, errno))?;
                    self.fill((&made, path), children)?;
                    self.settle(&made, metadata).map_err(|errno| failed(path, errno))?;
                }
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn link(&mut self, (layer, source): (usize, &[u8]), (directory, name): (&OwnedFd, &OsStr)) -> file::Result<()> {
        let (above, old) = match source.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&source[..at], &source[at + 1..]),
            None => (&b"."[..], source),
        };
        let known = matches!(&self.last, Some((last, path, _)) if *last == layer && **path == *above);
        if !known {
            let tree = self.layers.get(layer).ok_or(Errno::ENOENT)?;
            let opened = file::open_in_root(tree, OsStr::from_bytes(above), Access::DirectoryPlace)?;
            self.last = Some((layer, above.into(), opened));
        }
        let Some((_, _, parent)) = &self.last else { return Err(Errno::ENOENT) };
        let old = OsStr::from_bytes(old);
        match file::link_at((parent, old), (directory, name)) {
            // ext4 counts to 65,000 names of one file.
            Err(Errno::EMLINK) => self.copy((parent, old), (directory, name)),
            other => other,
        }
    }

    fn copy(&self, (parent, old): (&OwnedFd, &OsStr), (directory, name): (&OwnedFd, &OsStr)) -> file::Result<()> {
        let found = file::stat_at(parent, old)?;
        if found.kind != FileType::Regular {
            return Err(Errno::EMLINK);
        }
        let mut from = std::fs::File::from(file::open_at(parent, old, Access::Read)?);
        let metadata = from.metadata().map_err(|error| errno(&error))?;
        let mut to = std::fs::File::from(file::create_at(directory, name, 0o600)?);
        std::io::copy(&mut from, &mut to).map_err(|error| errno(&error))?;
        use std::os::unix::fs::MetadataExt as _;
        if self.ownership != Ownership::Caller {
            file::set_owner(&to, Owner { uid: metadata.uid(), gid: metadata.gid() })?;
        }
        for name in entry::attribute_names(&from)?.iter().filter(|name| name.starts_with(b"user.")) {
            if let Some(value) = entry::attribute(&from, name)? {
                file::set_attribute(&to, OsStr::from_bytes(name), &value)?;
            }
        }
        file::set_mode(&to, metadata.mode() & 0o1777)?;
        let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
        file::set_time(&to, Time { seconds: metadata.mtime(), nanoseconds })
    }

    fn settle(&self, directory: &OwnedFd, metadata: &Directory) -> file::Result<()> {
        if let Some(owner) = self.ownership.on_disk(metadata.owner) {
            file::set_owner(directory, owner)?;
        }
        for (name, value) in &metadata.attributes {
            match file::set_attribute(directory, OsStr::from_bytes(name), value) {
                // Its layer could not keep it either, and counted it.
                Ok(()) | Err(Errno::EOPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
        file::set_mode(directory, metadata.mode & 0o3777)?;
        metadata.time.map_or(Ok(()), |time| file::set_time(directory, time))
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32))
}

fn failed(path: &[u8], errno: Errno) -> Error {
    Error::io(format_args!("cannot put `/{}` of the layers together", path.escape_ascii()), &errno.into())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::MetadataExt as _;

    use super::{Access, Errno, Ownership, Trees, entry, file};

    /// What a file system does not link once more is there all the same, with all that it is.
    #[test]
    fn a_copy_is_the_file_but_for_its_inode() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("old"), place.path().join("new"));
        std::fs::write(&old, "contents").unwrap();
        let opened = std::fs::File::open(&old).unwrap();
        file::set_mode(&opened, 0o641).unwrap();
        let kept = file::set_attribute(&opened, OsStr::new("user.x"), b"value");
        let time = file::Time { seconds: 1_000_000_000, nanoseconds: 42 };
        file::set_time(&opened, time).unwrap();
        let top = file::open(place.path(), Access::Directory).unwrap();
        let trees = Trees { layers: Vec::new(), ownership: Ownership::Caller, last: None };
        trees.copy((&top, OsStr::new("old")), (&top, OsStr::new("new"))).unwrap();
        let (was, is) = (old.metadata().unwrap(), new.metadata().unwrap());
        assert_eq!((was.mode(), was.mtime(), was.mtime_nsec()), (is.mode(), is.mtime(), is.mtime_nsec()));
        assert_ne!(was.ino(), is.ino());
        assert_eq!(std::fs::read(&new).unwrap(), b"contents");
        let attribute = |path| entry::attribute(std::fs::File::open(path).unwrap(), b"user.x").unwrap();
        // tmpfs keeps none before Linux 6.6.
        let expected = if kept == Err(Errno::EOPNOTSUPP) { None } else { Some(b"value".to_vec()) };
        assert_eq!((attribute(&old), attribute(&new)), (expected.clone(), expected));
    }
}
