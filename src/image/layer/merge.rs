//! Several layers become one root: which entry of which layer stands at each path in the end. Pure; nothing is
//! opened, and a path leads through the links of the layers as it would inside the finished root.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::image::layer::{Described, Directory, Entry, FileKind, What};
use crate::sys::file::Owner;

/// As many links as the kernel follows, path_resolution(7).
const LINKS: usize = 40;

/// How deep directories may lie in one another: each is open while those in it are made.
pub(in crate::image) const DEPTH: usize = 512;

/// The root that several layers make together.
#[derive(Debug)]
pub(in crate::image) struct Merged {
    pub(in crate::image) root: Node,
    below: Below,
    /// What the hard links of the layer that is being laid lead to in those below, where it hides that behind them.
    before: BTreeMap<Vec<u8>, Node>,
}

/// Where a hard link may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// All layers are here.
    Here,
    /// The layers below are not here, and what leads there is in no tree.
    Elsewhere,
}

/// What stands at one path.
#[derive(Debug, Clone)]
pub(in crate::image) enum Node {
    Directory {
        directory: Directory,
        children: BTreeMap<Box<[u8]>, Node>,
    },
    /// Anything else: where it is to be had from.
    File {
        layer: usize,
        /// Which entry of that layer's list says what it is.
        entry: usize,
        /// The path in that layer's tree.
        path: Box<[u8]>,
        /// Where a symbolic link leads.
        target: Option<Box<[u8]>>,
    },
}

/// Returns the root of `layers`, the lowest first.
///
/// # Errors
/// A layer that does not fit those below: a hard link to nothing, a way through links that does not end.
pub(in crate::image) fn merge(layers: impl IntoIterator<Item = Result<Vec<Entry>>>) -> Result<Merged> {
    let mut merged = Merged::default();
    for (number, entries) in layers.into_iter().enumerate() {
        merged.lay(number, entries?)?;
    }
    Ok(merged)
}

/// Returns what lies in the tree of one layer.
///
/// # Errors
/// A way through links that does not end.
pub(in crate::image) fn alone(entries: &[Entry]) -> Result<Merged> {
    let mut merged = Merged { below: Below::Elsewhere, ..Merged::default() };
    for (at, entry) in entries.iter().enumerate() {
        merged.add((0, at), entry.clone())?;
    }
    Ok(merged)
}

impl Node {
    fn empty() -> Self {
        let owner = Owner { uid: 0, gid: 0 };
        let directory = Directory { described: Described::No, mode: 0o755, owner, time: None, attributes: Vec::new() };
        Self::Directory { directory, children: BTreeMap::new() }
    }
}

impl Default for Merged {
    /// No layers yet.
    fn default() -> Self {
        Self { root: Node::empty(), below: Below::Here, before: BTreeMap::new() }
    }
}

impl Merged {
    /// Lays the layer `number` over those before it.
    ///
    /// # Errors
    /// A layer that does not fit; then nothing of the whole is of use.
    pub(in crate::image) fn lay(&mut self, number: usize, entries: Vec<Entry>) -> Result<()> {
        self.before.clear();
        // What is hidden is hidden of the layers below only, wherever in the archive it stands.
        if entries.iter().any(|entry| matches!(entry.what, What::Hidden | What::Opaque)) {
            entries.iter().try_for_each(|entry| self.hide(entry)).map_err(|error| in_layer(number, error))?;
        }
        for (at, entry) in entries.into_iter().enumerate() {
            self.add((number, at), entry).map_err(|error| in_layer(number, error))?;
        }
        Ok(())
    }

    /// Hides what `entry` hides, or keeps what it leads to before an entry behind it does.
    fn hide(&mut self, entry: &Entry) -> Result<()> {
        let whole = match &entry.what {
            What::Opaque => true,
            What::Hidden => false,
            What::Link { target } => return self.keep(target),
            What::Directory(_) | What::File(_) => return Ok(()),
        };
        let (parent, name) = split(&entry.path);
        // A directory that is not there has nothing to hide.
        let Some(parent) = self.resolve(parent, Missing::Stays)? else { return Ok(()) };
        let Some(children) = self.children(&parent) else { return Ok(()) };
        match (whole, name) {
            (true, None) => children.clear(),
            (true, Some(name)) => {
                if let Some(Node::Directory { children, .. }) = children.get_mut(name) {
                    children.clear();
                }
            }
            (false, Some(name)) => drop(children.remove(name)),
            (false, None) => {}
        }
        Ok(())
    }

    fn keep(&mut self, target: &[u8]) -> Result<()> {
        let (parent, name) = split(target);
        let parent = self.resolve(parent, Missing::Stays)?;
        let found = parent.and_then(|parent| self.children(&parent)?.get(name?));
        if let Some(file) = found.filter(|node| matches!(node, Node::File { .. })).cloned() {
            self.before.insert(target.to_vec(), file);
        }
        Ok(())
    }

    fn add(&mut self, (layer, entry): (usize, usize), Entry { path, what }: Entry) -> Result<()> {
        let node = match what {
            What::Hidden | What::Opaque => return Ok(()),
            What::Directory(directory) => return self.directory(&path, directory),
            What::File(file) => {
                let target = match file.kind {
                    FileKind::Symlink { target } => Some(target.into()),
                    FileKind::Regular { .. } | FileKind::Fifo => None,
                };
                Node::File { layer, entry, path: path.clone().into(), target }
            }
            What::Link { target } => match self.linked((layer, &path), &target)? {
                Some(node) => node,
                None => return Ok(()),
            },
        };
        let (parent, name) = split(&path);
        let Some(name) = name else { return Err(bad("it holds a root that is not a directory")) };
        let Some(parent) = self.resolve(parent, Missing::IsMade)? else { return Ok(()) };
        if let Some(children) = self.children(&parent) {
            children.insert(name.into(), node);
        }
        Ok(())
    }

    fn directory(&mut self, path: &[u8], new: Directory) -> Result<()> {
        let (parent, name) = split(path);
        let Some(name) = name else {
            if let (Node::Directory { directory, .. }, Described::Yes) = (&mut self.root, new.described) {
                *directory = new;
            }
            return Ok(());
        };
        if new.described == Described::No {
            return self.resolve(path, Missing::IsMade).map(drop);
        }
        let Some(parent) = self.resolve(parent, Missing::IsMade)? else { return Ok(()) };
        let Some(children) = self.children(&parent) else { return Ok(()) };
        match children.get_mut(name) {
            Some(Node::Directory { directory, .. }) => *directory = new,
            _ => drop(children.insert(name.into(), Node::Directory { directory: new, children: BTreeMap::new() })),
        }
        Ok(())
    }

    /// Returns a second name for what stands at `target`.
    fn linked(&mut self, (layer, path): (usize, &[u8]), target: &[u8]) -> Result<Option<Node>> {
        let wrong = |why: &str| {
            let (path, target) = (path.escape_ascii(), target.escape_ascii());
            bad(format!("`{path}` is a hard link to `{target}`, {why}"))
        };
        let below = self.below;
        let (parent, name) = split(target);
        let parent = self.resolve(parent, Missing::Stays)?;
        let found = parent.and_then(|parent| self.children(&parent)?.get(name?).cloned());
        match found.or_else(|| self.before.get(target).cloned()) {
            Some(Node::Directory { .. }) => Err(wrong("which is a directory")),
            // What it leads to may be replaced by a later entry of the same layer; this name stays.
            Some(Node::File { layer: of, entry, target, .. }) if of == layer => {
                Ok(Some(Node::File { layer, entry, path: path.into(), target }))
            }
            Some(node) => Ok(Some(node)),
            None if below == Below::Elsewhere => Ok(None),
            None => Err(wrong("which is neither in its layer nor in one below")),
        }
    }

    /// Returns the names that lead to the directory at `path` without any link. What is not a directory on the way
    /// gives way to one, as in an overlay of the layers.
    fn resolve(&mut self, path: &[u8], missing: Missing) -> Result<Option<Vec<Box<[u8]>>>> {
        let mut ahead: Vec<Box<[u8]>> = parts(path).rev().map(Into::into).collect();
        let mut here: Vec<Box<[u8]>> = Vec::new();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if &*name == b".." {
                here.pop();
                continue;
            }
            let Some(children) = self.children(&here) else { return Ok(None) };
            match children.get(&name) {
                Some(Node::Directory { .. }) => {}
                Some(Node::File { target: Some(target), .. }) => {
                    links += 1;
                    if links > LINKS {
                        return Err(bad(format!("the links on the way to `{}` do not end", path.escape_ascii())));
                    }
                    if target.starts_with(b"/") {
                        here.clear();
                    }
                    ahead.extend(parts(target).rev().map(Into::into));
                    continue;
                }
                Some(Node::File { .. }) | None if missing == Missing::Stays => return Ok(None),
                Some(Node::File { .. }) | None => drop(children.insert(name.clone(), Node::empty())),
            }
            here.push(name);
            if here.len() > DEPTH {
                return Err(bad(format!("`{}` lies deeper than {DEPTH} directories", path.escape_ascii())));
            }
        }
        Ok(Some(here))
    }

    /// Returns what is in the directory that `names` lead to, none of which is a link.
    fn children(&mut self, names: &[Box<[u8]>]) -> Option<&mut BTreeMap<Box<[u8]>, Node>> {
        let mut here = &mut self.root;
        for name in names {
            let Node::Directory { children, .. } = here else { return None };
            here = children.get_mut(name)?;
        }
        match here {
            Node::Directory { children, .. } => Some(children),
            Node::File { .. } => None,
        }
    }
}

/// What becomes of a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Stays,
    IsMade,
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

/// Returns the directory of a path and its last name, which the root has not.
fn split(path: &[u8]) -> (&[u8], Option<&[u8]>) {
    match path.iter().rposition(|byte| *byte == b'/') {
        _ if path.is_empty() => (b"", None),
        Some(at) => (&path[..at], Some(&path[at + 1..])),
        None => (b"", Some(path)),
    }
}

fn in_layer(number: usize, error: Error) -> Error {
    Error { message: format!("layer {}: {}", number + 1, error.message), ..error }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}
