//! Reads the files that a spec extends, one after the other. What prevents it is told with the lines that name
//! them; nothing that is no regular file is read, as it could block or never end.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::run::c_text::path_text;
use crate::spec::diagnostic::Finding;
use crate::spec::extend::{self, Extends};
use crate::spec::input::File;
use crate::spec::{carried, relocate};
use crate::sys::entry::{self, Kind};
use crate::sys::{Errno, fd, watch};
use crate::units::{Extended, Span};

/// How many files one spec may extend, each through the one before. More is rather a mistake than a need.
const DEEPEST: usize = 8;
/// The largest text that is a spec.
const MAX_TEXT: usize = 1 << 20;

/// The files that a spec extends.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    /// Their names and texts.
    pub shown: Vec<Extended>,
    bases: Vec<Base>,
    /// Why the next one is not here.
    pub missing: Option<Finding>,
}

#[derive(Debug, Clone)]
struct Base {
    path: PathBuf,
    directory: String,
    bytes: Vec<u8>,
}

impl Chain {
    /// Returns the files in their order.
    pub fn files(&self) -> impl Iterator<Item = File<'_>> {
        let files = self.bases.iter().zip(&self.shown);
        files.map(|(base, shown)| File { text: &base.bytes, start: shown.start, directory: &base.directory })
    }

    /// Returns their absolute paths.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.bases.iter().map(|base| base.path.clone())
    }
}

/// The spec itself.
#[derive(Debug, Clone, Copy)]
pub struct First<'f> {
    /// As the caller gave it.
    pub name: &'f str,
    pub path: &'f Path,
    /// The directory of its relative paths.
    pub base: &'f Path,
    /// Of its text, in bytes.
    pub length: usize,
}

/// Who named a file, and what is known of the files so far.
struct Walk<'t> {
    first: First<'t>,
    chain: Chain,
    /// Of each file so far, the spec first.
    ids: Vec<(u64, u64)>,
    /// The nodes that named them, and the one that names the next.
    named: Vec<Span>,
}

/// Reads what `spec`, the text of `first`, extends.
#[must_use]
pub fn follow(first: First<'_>, spec: &[u8]) -> Chain {
    let Some(mut next) = extend::named(spec) else { return Chain::default() };
    let own = std::fs::metadata(first.path).map(|found| (found.dev(), found.ino()));
    let mut walk = Walk { first, chain: Chain::default(), ids: own.into_iter().collect(), named: Vec::new() };
    let mut start = 0;
    loop {
        next.span = Span { start: next.span.start + start, end: next.span.end + start };
        walk.named.push(next.span);
        if let Err(finding) = walk.read(&next) {
            walk.chain.missing = Some(finding);
            return walk.chain;
        }
        let (Some(base), Some(shown)) = (walk.chain.bases.last(), walk.chain.shown.last()) else { return walk.chain };
        start = shown.start;
        match extend::named(&base.bytes) {
            Some(found) => next = found,
            None => return walk.chain,
        }
    }
}

impl Walk<'_> {
    /// Reads the file that `extends` names and puts it behind the others.
    fn read(&mut self, extends: &Extends) -> Result<(), Finding> {
        if self.chain.bases.len() == DEEPEST {
            return Err(self.refused(extends, &format!("a spec extends at most {DEEPEST} others"), "one too many"));
        }
        let above = self.chain.bases.last().map_or("", |base| base.directory.as_str());
        let seen = relocate::joined(above, &extends.path);
        let path = match (seen.strip_prefix("~/"), std::env::var_os("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => self.first.base.join(&seen),
        };
        let shown = match Path::new(self.first.name).parent() {
            Some(parent) if !seen.starts_with("~/") => parent.join(&seen).components().collect(),
            _ => PathBuf::from(&seen),
        };
        let (id, bytes) = self.bytes(extends, &path)?;
        if self.ids.contains(&id) {
            let message = format!("`{}` extends itself", shown.display());
            return Err(self.refused(extends, &message, "leads back to a file that leads here"));
        }
        if !matches!(carried::carried(&bytes), Ok(None)) {
            let message = format!("`{}` is a script", shown.display());
            return Err(self.refused(extends, &message, "carries a spec for itself"));
        }
        let end = self.chain.shown.last().map_or(self.first.length, |last| last.start + last.text.len());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.chain.shown.push(Extended { name: shown.to_string_lossy().into_owned(), text, start: end + 1 });
        self.chain.bases.push(Base { path, directory: relocate::directory(&seen), bytes });
        self.ids.push(id);
        Ok(())
    }

    /// Returns what the file is, and all of it.
    fn bytes(&self, extends: &Extends, path: &Path) -> Result<((u64, u64), Vec<u8>), Finding> {
        let failed = |errno: Errno| {
            let finding = self.refused(extends, &format!("cannot read `{}`", path.display()), errno.desc());
            match errno {
                Errno::ENOENT if extends.path.contains("${") => {
                    finding.help("parameters are not replaced in `extends`")
                }
                Errno::ENOENT => finding.help("the path begins at the directory of the file that names it"),
                _ => finding,
            }
        };
        let name = path_text(path).map_err(|error| self.refused(extends, &error.to_string(), "not a path"))?;
        // Without waiting for whoever writes to a FIFO, or becoming a terminal's process.
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = watch::own(fd::open(&name, flags, 0).map_err(failed)?);
        let found = entry::details(&file).map_err(failed)?;
        if found.kind != Kind::Regular {
            let message = format!("`{}` is not a regular file", path.display());
            return Err(self.refused(extends, &message, "only a file can be extended"));
        }
        let mut bytes = Vec::new();
        let mut piece = [0u8; 4096];
        while bytes.len() <= MAX_TEXT {
            match fd::read(watch::number(&file), &mut piece) {
                Ok(0) => return Ok(((found.device, found.inode), bytes)),
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(self.refused(extends, &format!("`{}` is larger than 1 MiB", path.display()), "too large for a spec"))
    }

    /// Returns a finding at the node that names the file; the others that led there follow by themselves.
    fn refused(&self, extends: &Extends, message: &str, label: &str) -> Finding {
        Finding::new(extends.span, message).label(label)
    }
}
