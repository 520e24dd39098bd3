//! Walks the writable layer of an overlay beside what lies below it and says what differs.
//! By descriptors, following no link; it reads the contents of a file only where nothing else tells it from the one
//! below.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;

use crate::image::pack::{self, DEPTH, Fault, LeftOut};
use crate::sys::entry::{self, Details, Kind};
use crate::sys::file::{self, Access};
use crate::sys::{Errno, Sys};
use crate::units::shown;

/// The mode of an upper layer when nobody has changed it.
const MADE: u32 = 0o755;

/// How a name differs from what is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Added,
    Modified,
    Deleted,
    /// A directory whose content differs.
    Same,
}

/// One name that differs.
#[derive(Debug)]
pub struct Item<'a> {
    /// Without a slash at the beginning or the end; of the root, empty.
    pub path: &'a [u8],
    pub sort: Sort,
    pub what: What<'a>,
}

/// What there is now.
#[derive(Debug)]
pub enum What<'a> {
    /// Nothing: it is hidden.
    Nothing,
    /// Nothing either, but no whiteout says so: its directory hides all that is below.
    NothingBelow,
    Directory {
        details: Details,
        handle: &'a OwnedFd,
        below: Below,
    },
    /// Anything else, by its name in its directory.
    Other {
        details: Details,
        parent: &'a OwnedFd,
        name: &'a OsStr,
    },
}

/// Whether a directory shows what the layers below have in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    Shown,
    /// There is a directory below, and this one takes its place.
    Hidden,
}

/// Takes what the walk finds, parents first and names in the order of their bytes.
pub trait Sink {
    /// Takes one item.
    ///
    /// # Errors
    /// What ends the walk.
    fn take(&mut self, item: &Item<'_>) -> Result<(), Fault>;
    /// Takes what cannot be said otherwise.
    fn warn(&mut self, warning: String);
}

/// The layers, open.
#[derive(Debug)]
pub struct Layers<'a> {
    pub upper: OwnedFd,
    pub lower: Option<OwnedFd>,
    /// Where they are mounted, as bytes without slashes around.
    pub place: Vec<u8>,
    /// Absolute paths of what is no change as long as it is empty.
    pub made: &'a BTreeSet<String>,
}

/// Walks `layers` into `sink`.
///
/// # Errors
/// What could not be read, and what the sink says.
pub fn walk(layers: Layers<'_>, sink: &mut dyn Sink) -> Result<(), Fault> {
    let Layers { upper, lower, place, made } = layers;
    let mut walk = Walk { path: place, made, sink, pending: Vec::new(), depth: 0 };
    walk.top(&upper, lower.as_ref())?;
    walk.directory(&upper, Beneath { lower, below: Below::Shown })
}

/// What is below a directory.
struct Beneath {
    lower: Option<OwnedFd>,
    below: Below,
}

/// A directory that is said when something in it is.
struct Pending {
    path: Vec<u8>,
    details: Details,
    handle: OwnedFd,
    sort: Sort,
}

struct Walk<'a> {
    path: Vec<u8>,
    made: &'a BTreeSet<String>,
    sink: &'a mut dyn Sink,
    pending: Vec<Pending>,
    depth: usize,
}

impl Walk<'_> {
    fn failed(&self, errno: Errno) -> Fault {
        Fault::Read { path: format!("/{}", shown(&self.path)), errno }
    }

    /// Says the directory that everything lies in, where it is not as it was made for the run.
    fn top(&mut self, upper: &OwnedFd, lower: Option<&OwnedFd>) -> Result<(), Fault> {
        let details = entry::details(upper).map_err(|errno| self.failed(errno))?;
        let own = attributes(upper).map_err(|errno| self.failed(errno))?;
        let below = lower.map_or(Ok(BTreeMap::new()), attributes).map_err(|errno| self.failed(errno))?;
        if details.mode & 0o1777 == MADE && (own.is_empty() || own == below) {
            return Ok(());
        }
        let what = What::Directory { details, handle: upper, below: Below::Shown };
        self.say(&Item { path: &self.path.clone(), sort: Sort::Modified, what })
    }

    fn directory(&mut self, upper: &OwnedFd, beneath: Beneath) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > DEPTH {
            let path = format!("/{}", shown(&self.path));
            return Err(Fault::Refused { path, why: format!("it lies more than {DEPTH} directories deep") });
        }
        let mut names = file::names(upper.as_fd()).map_err(|errno| self.failed(errno))?;
        names.sort();
        if beneath.below == Below::Hidden {
            self.hidden(&names, beneath.lower.as_ref())?;
        }
        let length = self.path.len();
        for name in &names {
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend(name.as_bytes());
            self.name(upper, name, &beneath)?;
            self.path.truncate(length);
        }
        self.depth -= 1;
        Ok(())
    }

    /// Says what a directory that takes the place of another no longer has.
    fn hidden(&mut self, names: &[OsString], lower: Option<&OwnedFd>) -> Result<(), Fault> {
        let Some(lower) = lower else { return Ok(()) };
        let there = list(lower).map_err(|errno| self.failed(errno))?;
        for name in there.into_iter().filter(|name| names.binary_search(name).is_err()) {
            let path = [self.path.as_slice(), b"/", name.as_bytes()].concat();
            self.sink.take(&Item { path: &path, sort: Sort::Deleted, what: What::NothingBelow })?;
        }
        Ok(())
    }

    fn name(&mut self, upper: &OwnedFd, name: &OsStr, beneath: &Beneath) -> Result<(), Fault> {
        let details = entry::details_at(upper, name).map_err(|errno| self.failed(errno))?;
        let under = match &beneath.lower {
            Some(lower) => found(lower, name).map_err(|errno| self.failed(errno))?,
            None => None,
        };
        if details.kind == Kind::Device(0) || self.is_whiteout(upper, name, details)? {
            // Hidden twice is hidden by the directory.
            let what = if beneath.below == Below::Hidden { What::NothingBelow } else { What::Nothing };
            return match under {
                Some(_) => self.say(&Item { path: &self.path.clone(), sort: Sort::Deleted, what }),
                None => Ok(()),
            };
        }
        if let Some(left_out) = LeftOut::of_layer(name.as_bytes(), details.kind) {
            self.sink.warn(left_out.warning(&format!("/{}", shown(&self.path))));
            return Ok(());
        }
        let sort = if under.is_some() { Sort::Modified } else { Sort::Added };
        match details.kind {
            Kind::Directory => self.enter((upper, name), (details, under), beneath),
            _ => {
                if let (Some(under), Some(lower), Below::Shown) = (under, &beneath.lower, beneath.below)
                    && is_same(name, (upper, details), (lower, under)).map_err(|errno| self.failed(errno))?
                {
                    return Ok(());
                }
                let own = details.size == 0 || details.kind == Kind::Symlink;
                if own && under.is_none() && self.is_made() {
                    return Ok(());
                }
                let what = What::Other { details, parent: upper, name };
                self.say(&Item { path: &self.path.clone(), sort, what })
            }
        }
    }

    fn enter(
        &mut self,
        (upper, name): (&OwnedFd, &OsStr),
        (details, under): (Details, Option<Details>),
        beneath: &Beneath,
    ) -> Result<(), Fault> {
        let open = |directory: &OwnedFd, access| file::open_at(directory, name, access);
        let handle = open(upper, Access::Directory).map_err(|errno| self.failed(errno))?;
        let under = under.filter(|under| under.kind == Kind::Directory);
        let lower = match (&under, &beneath.lower) {
            // What is mounted there is no part of the layer.
            (Some(_), Some(lower)) => match open(lower, Access::DirectoryPlace) {
                Err(Errno::EXDEV) => None,
                other => Some(other.map_err(|errno| self.failed(errno))?),
            },
            _ => None,
        };
        let mark = entry::attribute(&handle, b"user.overlay.opaque").map_err(|errno| self.failed(errno))?;
        let opaque = mark.as_deref() == Some(b"y") || beneath.below == Below::Hidden;
        let below = if under.is_some() && opaque { Below::Hidden } else { Below::Shown };
        let looks = |details: Details| (details.mode & 0o1777, details.uid, details.gid);
        let sort = match (under, &lower) {
            (None, _) => Sort::Added,
            (Some(under), Some(lower)) if !opaque && looks(under) == looks(details) => {
                let same = attributes(lower).and_then(|below| Ok(below == attributes(&handle)?));
                if same.map_err(|errno| self.failed(errno))? { Sort::Same } else { Sort::Modified }
            }
            (Some(under), None) if !opaque && looks(under) == looks(details) => Sort::Same,
            (Some(_), _) => Sort::Modified,
        };
        let waits = sort == Sort::Same || (sort == Sort::Added && self.is_made());
        let depth = self.pending.len();
        let inner = handle.try_clone().map_err(|_| self.failed(Errno::EMFILE))?;
        if waits {
            self.pending.push(Pending { path: self.path.clone(), details, handle, sort });
        } else {
            let what = What::Directory { details, handle: &handle, below };
            self.say(&Item { path: &self.path.clone(), sort, what })?;
        }
        self.directory(&inner, Beneath { lower, below })?;
        self.pending.truncate(depth);
        Ok(())
    }

    /// Says an item, after the directories around it.
    fn say(&mut self, item: &Item<'_>) -> Result<(), Fault> {
        for Pending { path, details, handle, sort } in self.pending.drain(..) {
            let what = What::Directory { details, handle: &handle, below: Below::Shown };
            self.sink.take(&Item { path: &path, sort, what })?;
        }
        self.sink.take(item)
    }

    fn is_made(&self) -> bool {
        std::str::from_utf8(&self.path).is_ok_and(|path| self.made.contains(&format!("/{path}")))
    }

    /// The other form of a whiteout (overlayfs of Linux 6.7): an empty file that is marked.
    fn is_whiteout(&self, upper: &OwnedFd, name: &OsStr, details: Details) -> Result<bool, Fault> {
        if details.kind != Kind::Regular || details.size > 0 {
            return Ok(false);
        }
        let opened = file::open_at(upper, name, Access::Read).map_err(|errno| self.failed(errno))?;
        let mark = entry::attribute(&opened, b"user.overlay.whiteout").map_err(|errno| self.failed(errno))?;
        Ok(mark.is_some())
    }
}

fn found(directory: &OwnedFd, name: &OsStr) -> Sys<Option<Details>> {
    match entry::details_at(directory, name) {
        Ok(details) => Ok(Some(details)),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Returns whether a file is what it is below: overlayfs copies one as soon as it is opened to be written. One with
/// more names than one is said, because the other may be new.
fn is_same(name: &OsStr, upper: (&OwnedFd, Details), lower: (&OwnedFd, Details)) -> Sys<bool> {
    let looks = |Details { kind, mode, uid, gid, size, modified, fraction, .. }: Details| {
        (kind, mode, uid, gid, size, modified, fraction)
    };
    if upper.1.kind != Kind::Regular || upper.1.links > 1 || looks(upper.1) != looks(lower.1) {
        return Ok(false);
    }
    let open = |directory| file::open_at(directory, name, Access::Read);
    let (own, below) = match (open(upper.0), open(lower.0)) {
        // What cannot be compared counts as changed.
        (Err(Errno::EACCES), _) | (_, Err(Errno::EACCES)) => return Ok(false),
        (own, below) => (own?, below?),
    };
    Ok(kept(&own)? == kept(&below)? && same_contents(&File::from(own), &File::from(below))?)
}

fn same_contents(one: &File, other: &File) -> Sys<bool> {
    const PIECE: usize = 64 << 10;
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    loop {
        let count = one.read_at(&mut left, at).map_err(errno)?;
        match other.read_exact_at(&mut right[..count], at) {
            Ok(()) if left[..count] != right[..count] => return Ok(false),
            Ok(()) if count == 0 => return Ok(true),
            Ok(()) => at += u64::try_from(count).unwrap_or(u64::MAX),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(errno(error)),
        }
    }
}

/// Returns the attributes that a layer keeps of a directory, which need not be open but as a place.
fn attributes(directory: &OwnedFd) -> Sys<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let here = match file::open_at(directory, OsStr::new("."), Access::Directory) {
        // A stranger's below: the command has not seen them either.
        Err(Errno::EACCES) => return Ok(BTreeMap::new()),
        other => other?,
    };
    kept(&here)
}

/// Returns those of an open file.
fn kept(here: &OwnedFd) -> Sys<BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    let mut names = entry::attribute_names(here)?;
    names.retain(|name| pack::is_kept(name));
    names.into_iter().map(|name| Ok((name.clone(), entry::attribute(here, &name)?))).collect()
}

/// The directory was opened as a place only.
fn list(directory: &OwnedFd) -> Sys<Vec<OsString>> {
    let here = file::open_at(directory, OsStr::new("."), Access::Directory)?;
    let mut names: Vec<OsString> =
        file::names(here.as_fd())?.into_iter().map(|name| OsString::from_vec(name.into_vec())).collect();
    names.sort();
    Ok(names)
}
