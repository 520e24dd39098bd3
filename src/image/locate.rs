//! Ties the verbs together: what was asked for is looked at, and an archive becomes a
//! directory of the store, once. A digest that does not match lets nothing into the store.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use crate::error::{self, Error, Result};
use crate::image::remember::{self, Digest, Stamp};
use crate::image::store::{Kept, Store};
use crate::image::tree::Ownership;
use crate::image::{Asked, Image, Kind, Progress, Skipped, Source, extract};
use crate::sys::file::{self, Access, effective_uid};

/// Returns the directory to mount for `source`. An archive is extracted into the store when
/// it is not there (a directory needs none, so it is not looked up then); meanwhile `progress` is called every 256 KiB or so.
///
/// `wanted_digest`, 64 lower-case hexadecimal digits, is the SHA-256 that the archive must
/// have. Many calls for one file, in any number of processes, extract it once.
///
/// # Errors
/// A source that is not there, not readable or of the wrong kind; an archive that is damaged,
/// hostile, or not the one that is wanted; a store that is full or not the caller's own.
pub fn locate<'a>(
    asked: impl Into<Asked<'a>>,
    wanted_digest: Option<&str>,
    store: impl FnOnce() -> Result<Store>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    if let Some(digest) = wanted_digest {
        remember::check_digest(digest)?;
    }
    let Asked { source, held } = asked.into();
    let (Source::Path(path) | Source::Directory(path) | Source::Tar(path)) = source;
    let held = held.map(|held| PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())));
    let at = held.as_deref().unwrap_or(path);
    let found = std::fs::metadata(at).map_err(|error| {
        let failed = Error::io(format_args!("cannot look at the rootfs `{}`", path.display()), &error);
        match error.kind() {
            ErrorKind::NotFound => failed.with_hint("a relative path begins at the directory of the spec"),
            _ => failed,
        }
    })?;
    let wrong = |what: &str, hint: &str| {
        Err(Error::new(error::Kind::Spec, format!("the rootfs `{}` {what}", path.display())).with_hint(hint))
    };
    match source {
        Source::Path(_) | Source::Directory(_) if found.is_dir() => {
            directory(path, wanted_digest).map(|image| Image { held, ..image })
        }
        Source::Path(_) | Source::Tar(_) if found.is_file() => archive((path, at), wanted_digest, &store()?, progress),
        Source::Tar(_) if found.is_dir() => {
            wrong("is a directory, not an archive", "leave `tar:` out, or write `dir:`")
        }
        Source::Directory(_) => wrong("is not a directory", "leave `dir:` out, or name a directory"),
        _ if found.file_type().is_block_device() => wrong("is a block device", "mount it and name the directory"),
        _ => wrong("is neither a directory nor an archive", "name a directory or a tar"),
    }
}

fn directory(path: &Path, wanted_digest: Option<&str>) -> Result<Image> {
    if wanted_digest.is_some() {
        let message = format!("the rootfs `{}` is a directory, and only archives can be pinned", path.display());
        return Err(Error::new(error::Kind::Spec, message).with_hint("pack it with tar, or remove `digest`"));
    }
    let (root, source) = (path.to_owned(), path.to_owned());
    Ok(Image { kind: Kind::Directory, root, source, digest: None, skipped: Skipped::default(), held: None })
}

fn archive(
    (path, at): (&Path, &Path),
    wanted_digest: Option<&str>,
    store: &Store,
    progress: &mut dyn FnMut(Progress),
) -> Result<Image> {
    // Without blocking: since it was looked at, a FIFO may have taken the place of the file.
    let file = file::open(at, Access::Read).map(File::from);
    let file = file.map_err(|errno| about(path, Error::io("cannot be opened", &errno.into())))?;
    let request = Request { path, file: &file, stamp: Stamp::of(&file, path)?, wanted: wanted_digest, store };
    let ownership = ownership()?;
    let (digest, kept) = match request.known(ownership)? {
        Some(known) => known,
        None => {
            store.prepare()?;
            let _lock = store.lock(&request.stamp.name())?;
            match request.known(ownership)? {
                Some(known) => known,
                None => request.read(ownership, progress)?,
            }
        }
    };
    let Kept { root, skipped } = kept;
    Ok(Image { kind: Kind::Tar, root, source: path.to_owned(), digest: Some(digest), skipped, held: None })
}

struct Request<'a> {
    path: &'a Path,
    file: &'a File,
    stamp: Stamp,
    wanted: Option<&'a str>,
    store: &'a Store,
}

impl Request<'_> {
    /// Returns the tree of a file that was read before and has not changed since.
    fn known(&self, ownership: Ownership) -> Result<Option<(String, Kept)>> {
        let Digest::Known(digest) = remember::recall(self.store, &self.stamp)? else {
            return Ok(None);
        };
        self.compare(&digest)?;
        Ok(self.store.find(&digest, ownership)?.map(|kept| (digest, kept)))
    }

    /// Reads the whole file: only to hash it where its tree seems to be there, else to extract it.
    fn read(&self, ownership: Ownership, progress: &mut dyn FnMut(Progress)) -> Result<(String, Kept)> {
        let likely = match (self.wanted, remember::recall(self.store, &self.stamp)?) {
            (Some(wanted), _) => Some(wanted.to_owned()),
            (None, Digest::Known(digest) | Digest::Likely(digest)) => Some(digest),
            (None, Digest::Unknown) => None,
        };
        if let Some(likely) = likely
            && self.store.find(&likely, ownership)?.is_some()
        {
            let read_at = remember::now();
            let digest = extract::verify((self.file, self.stamp.size()), progress);
            let digest = digest.map_err(|error| about(self.path, error))?;
            self.settle(&digest, read_at)?;
            if let Some(kept) = self.store.find(&digest, ownership)? {
                return Ok((digest, kept));
            }
            self.rewind()?;
        }
        // What cannot be removed is told by `collect` when it is asked for; it does not stop this run.
        drop(self.store.collect()?);
        self.extract(ownership, progress)
    }

    fn extract(&self, ownership: Ownership, progress: &mut dyn FnMut(Progress)) -> Result<(String, Kept)> {
        let read_at = remember::now();
        let temporary = self.store.temporary()?;
        let target = (temporary.rootfs(), ownership);
        let extracted =
            extract::extract((self.file, self.stamp.size()), (&target.0, target.1), self.store.bounds(), progress);
        let kept = extracted.map_err(|error| about(self.path, error)).and_then(|(digest, skipped)| {
            self.settle(&digest, read_at)?;
            Ok((digest, skipped))
        });
        let (digest, skipped) = match kept {
            Ok(kept) => kept,
            Err(error) => {
                // The first failure is the one to tell; what stays behind is a leftover.
                drop(temporary.discard());
                return Err(error);
            }
        };
        self.store.keep(temporary, (&digest, ownership), &skipped)?;
        match self.store.find(&digest, ownership)? {
            Some(kept) => Ok((digest, kept)),
            None => Err(Error::new(error::Kind::Bug, format!("`{}` vanished from the store", self.path.display()))),
        }
    }

    /// Checks that the bytes read are those of the file as it was opened, and those wanted.
    fn settle(&self, digest: &str, read_at: std::time::Duration) -> Result<()> {
        if Stamp::of(self.file, self.path)? != self.stamp {
            return Err(about(self.path, Error::new(error::Kind::Io, "changed while it was read")));
        }
        self.compare(digest)?;
        remember::note(self.store, &self.stamp, (digest, read_at))
    }

    fn compare(&self, digest: &str) -> Result<()> {
        match self.wanted {
            Some(wanted) if wanted != digest => {
                let message = format!("has the digest `sha256:{digest}`, but `sha256:{wanted}` is wanted");
                let hint = "get the archive that was pinned, or pin this one if you trust it";
                Err(about(self.path, Error::new(error::Kind::Image, message).with_hint(hint)))
            }
            _ => Ok(()),
        }
    }

    fn rewind(&self) -> Result<()> {
        use std::io::Seek as _;
        let mut file = self.file;
        file.rewind().map_err(|error| about(self.path, Error::io("cannot be read again", &error)))
    }
}

/// Root keeps the owners of the archive, if its user namespace knows them; others cannot.
fn ownership() -> Result<Ownership> {
    const ENOUGH: u64 = 65_535;
    if effective_uid() != 0 {
        return Ok(Ownership::Caller);
    }
    for path in ["/proc/self/uid_map", "/proc/self/gid_map"] {
        let map =
            std::fs::read_to_string(path).map_err(|error| Error::io(format_args!("cannot read `{path}`"), &error))?;
        let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        if counts.sum::<u64>() < ENOUGH {
            return Ok(Ownership::Caller);
        }
    }
    Ok(Ownership::Archive)
}

fn about(path: &Path, error: Error) -> Error {
    Error { message: format!("the archive `{}`: {}", path.display(), error.message), ..error }
}
