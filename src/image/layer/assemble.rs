//! Makes the root that several layers make together: directories anew, everything else as one more name of
//! the file in its layer, so that it costs neither bytes nor reading. The layers are not changed.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::image::layer::{Children, Directory, Merged, Node};
use crate::image::tree::Ownership;
use crate::sys::file::{self, Access, Errno, FileType, Owner, Time};
use crate::sys::{entry, thread};

/// How deep a root may be that several threads make: each has a directory open for each of those that it is in.
const SHALLOW: usize = 100;

/// Makes `merged` in the empty directory `root` from the trees at `layers`, the lowest first.
///
/// # Errors
/// What could not be made, with its path.
pub(in crate::image) fn assemble(
    merged: Merged,
    (root, ownership): (&Path, Ownership),
    layers: &[&Path],
) -> Result<()> {
    let opened: std::result::Result<Vec<OwnedFd>, Errno> =
        layers.iter().map(|path| file::open(path, Access::DirectoryPlace)).collect();
    let layers = opened.map_err(|errno| Error::io("cannot open the tree of a layer", &errno.into()))?;
    let top = file::open(root, Access::Directory)
        .map_err(|errno| Error::io(format_args!("cannot open `{}`", root.display()), &errno.into()))?;
    let threads = match is_shallow(&merged.root, SHALLOW) {
        true => std::thread::available_parallelism().map_or(1, usize::from),
        false => 1,
    };
    let Node::Directory(root) = merged.root else { return Ok(()) };
    let (metadata, children) = *root;
    let work = Arc::new(Work { trees: Trees { layers, ownership }, state: Mutex::default(), changed: Condvar::new() });
    work.fill((Place { opened: top, path: Vec::new(), metadata, above: None }, children), &mut None)?;
    let crew = work.clone();
    thread::share(threads, move || crew.all());
    work.state().failed.take().map_or(Ok(()), Err)
}

fn is_shallow(node: &Node, depth: usize) -> bool {
    match node {
        Node::Directory(directory) => depth > 0 && directory.1.values().all(|child| is_shallow(child, depth - 1)),
        Node::File { .. } => true,
    }
}

/// What the threads share.
struct Work {
    trees: Trees,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Directories that are not made yet; the last comes first, so that few are open.
    tasks: Vec<Task>,
    /// How many are being made.
    busy: usize,
    failed: Option<Error>,
}

/// A directory that is to be made.
struct Task {
    above: Arc<Place>,
    name: Box<[u8]>,
    metadata: Directory,
    children: Children,
}

/// A directory that is being filled. It gets what it has to have when nobody is in it any more.
struct Place {
    opened: OwnedFd,
    path: Vec<u8>,
    metadata: Directory,
    above: Option<Arc<Place>>,
}

/// The directory of the last file that was linked, by layer and path: most lie beside each other.
type Last = Option<(u32, Box<[u8]>, OwnedFd)>;

impl Work {
    /// Makes directories until there are none left, or one has failed.
    fn all(&self) {
        let mut last = None;
        while let Some(task) = self.next() {
            let made = self.directory(task, &mut last);
            let mut state = self.state();
            state.busy -= 1;
            if let Err(error) = made {
                state.failed.get_or_insert(error);
            }
            self.changed.notify_all();
        }
    }

    /// Waits for a directory that is to be made.
    fn next(&self) -> Option<Task> {
        let nothing = |state: &mut State| state.failed.is_none() && state.tasks.is_empty() && state.busy > 0;
        let waited = self.changed.wait_while(self.state(), nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.failed.is_some() {
            return None;
        }
        let task = state.tasks.pop()?;
        state.busy += 1;
        Some(task)
    }

    fn directory(&self, Task { above, name, metadata, children }: Task, last: &mut Last) -> Result<()> {
        let path = below(&above.path, &name);
        let name = OsStr::from_bytes(&name);
        let opened = file::make_directory_at(&above.opened, name)
            .and_then(|()| file::open_at(&above.opened, name, Access::Directory))
            .map_err(|errno| failed(&path, errno))?;
        self.fill((Place { opened, path, metadata, above: Some(above) }, children), last)
    }

    /// Makes what is in a directory, but leaves the directories in it to whoever is free.
    fn fill(&self, (place, children): (Place, Children), last: &mut Last) -> Result<()> {
        let place = Arc::new(place);
        let (mut tasks, mut files) = (Vec::new(), Vec::new());
        for (name, node) in children {
            match node {
                Node::Directory(directory) => {
                    let (metadata, children) = *directory;
                    tasks.push(Task { above: place.clone(), name, metadata, children });
                }
                Node::File { layer, path, .. } => files.push((name, layer, path)),
            }
        }
        if !tasks.is_empty() {
            self.state().tasks.append(&mut tasks);
            self.changed.notify_all();
        }
        for (name, layer, source) in &files {
            let path = || below(&place.path, name);
            let linked = match source {
                Some(source) => self.trees.link((*layer, source), (&place.opened, name), last),
                None => self.trees.link((*layer, &path()), (&place.opened, name), last),
            };
            linked.map_err(|errno| failed(&path(), errno))?;
        }
        self.leave(place)
    }

    /// Settles the directory if nobody is in it any more, and then those above.
    fn leave(&self, mut place: Arc<Place>) -> Result<()> {
        while let Some(Place { opened, path, metadata, above }) = Arc::into_inner(place) {
            self.trees.settle(&opened, &metadata).map_err(|errno| failed(&path, errno))?;
            match above {
                Some(above) => place = above,
                None => break,
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the trees of the layers are.
struct Trees {
    layers: Vec<OwnedFd>,
    ownership: Ownership,
}

impl Trees {
    fn link(
        &self,
        (layer, source): (u32, &[u8]),
        (directory, name): (&OwnedFd, &[u8]),
        last: &mut Last,
    ) -> file::Result<()> {
        let (above, old) = match source.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&source[..at], &source[at + 1..]),
            None => (&b"."[..], source),
        };
        let known = matches!(&*last, Some((last, path, _)) if *last == layer && **path == *above);
        if !known {
            let number = usize::try_from(layer).map_err(|_| Errno::ENOENT)?;
            let tree = self.layers.get(number).ok_or(Errno::ENOENT)?;
            let opened = file::open_in_root(tree, OsStr::from_bytes(above), Access::DirectoryPlace)?;
            *last = Some((layer, above.into(), opened));
        }
        let Some((_, _, parent)) = &*last else { return Err(Errno::ENOENT) };
        let (old, name) = (OsStr::from_bytes(old), OsStr::from_bytes(name));
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

fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, name].join(&b'/') }
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
        let trees = Trees { layers: Vec::new(), ownership: Ownership::Caller };
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
