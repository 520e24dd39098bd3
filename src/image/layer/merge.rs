//! Several layers become one root: which entry of which layer stands at each path in the end. Pure; nothing is
//! opened, and a path leads through the links of the layers as it would inside the finished root.

use std::collections::BTreeMap;

use crate::error::{Error, Kind, Result};
use crate::image::layer::{Deed, Described, Directory, Step};
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
    before: BTreeMap<Box<[u8]>, Node>,
}

/// What is in a directory, by its names.
pub(in crate::image) type Children = BTreeMap<Box<[u8]>, Node>;

/// Where a hard link may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    /// All layers are here.
    Here,
    /// The layers below are not here, and what leads there is in no tree.
    Elsewhere,
}

/// What stands at one path. An image may have a million of them.
#[derive(Debug, Clone)]
pub(in crate::image) enum Node {
    Directory(Box<(Directory, Children)>),
    /// Anything else: where it is to be had from.
    File {
        layer: u32,
        /// Which entry of that layer's list says what it is.
        entry: u32,
        /// The path in that layer's tree, where it is not this one.
        path: Option<Box<[u8]>>,
        /// Where a symbolic link leads.
        target: Option<Box<[u8]>>,
    },
}

/// Returns the root of `layers`, the lowest first.
///
/// # Errors
/// A layer that does not fit those below: a hard link to nothing, a way through links that does not end. Those of
/// `layers`.
pub(in crate::image) fn merge<L: Iterator<Item = Result<Step>>>(
    layers: impl IntoIterator<Item = Result<L>>,
) -> Result<Merged> {
    let mut merged = Merged::default();
    for (number, steps) in (0..).zip(layers) {
        merged.lay(number, steps?)?;
    }
    Ok(merged)
}

/// Returns what lies in the tree of one layer.
///
/// # Errors
/// A way through links that does not end. Those of `steps`.
pub(in crate::image) fn alone(steps: impl Iterator<Item = Result<Step>>) -> Result<Merged> {
    let mut merged = Merged { below: Below::Elsewhere, ..Merged::default() };
    for (at, step) in (0..).zip(steps) {
        merged.add((0, at), step?)?;
    }
    Ok(merged)
}

impl Node {
    fn empty() -> Self {
        let owner = Owner { uid: 0, gid: 0 };
        let directory = Directory { described: Described::No, mode: 0o755, owner, time: None, attributes: Vec::new() };
        Self::Directory(Box::new((directory, Children::new())))
    }

    /// The same, to be put elsewhere: `stands` is where it is now.
    fn elsewhere(self, stands: impl FnOnce() -> Box<[u8]>) -> Self {
        match self {
            Self::File { layer, entry, path, target } => {
                Self::File { layer, entry, path: Some(path.unwrap_or_else(stands)), target }
            }
            Self::Directory(_) => self,
        }
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
    /// A layer that does not fit, and those of `steps`; then nothing of the whole is of use.
    pub(in crate::image) fn lay(&mut self, number: u32, steps: impl Iterator<Item = Result<Step>>) -> Result<()> {
        self.before.clear();
        let add = |merged: &mut Self, (at, step): (u32, Step)| {
            merged.add((number, at), step).map_err(|error| in_layer(number, error))
        };
        // Most of an image is its lowest layer, which has nothing to hide and is never held as a whole.
        if number == 0 {
            return (0..).zip(steps).try_for_each(|(at, step)| add(self, (at, step?)));
        }
        let steps = steps.collect::<Result<Vec<Step>>>()?;
        // What is hidden is hidden of the layers below only, wherever in the archive it stands.
        if steps.iter().any(|step| matches!(step.deed, Deed::Hide | Deed::HideAll)) {
            steps.iter().try_for_each(|step| self.hide(step)).map_err(|error| in_layer(number, error))?;
        }
        (0..).zip(steps).try_for_each(|step| add(self, step))
    }

    /// Hides what `step` hides, or keeps what it leads to before a step behind it does.
    fn hide(&mut self, step: &Step) -> Result<()> {
        let whole = match &step.deed {
            Deed::HideAll => true,
            Deed::Hide => false,
            Deed::Link { target } => return self.keep(target),
            Deed::Directory(_) | Deed::File | Deed::Symlink { .. } => return Ok(()),
        };
        let (parent, name) = split(&step.path);
        // A directory that is not there has nothing to hide.
        let Some(parent) = self.resolve(parent, Missing::Stays)? else { return Ok(()) };
        let Some(children) = self.children(&parent) else { return Ok(()) };
        match (whole, name) {
            (true, None) => children.clear(),
            (true, Some(name)) => {
                if let Some(Node::Directory(directory)) = children.get_mut(name) {
                    directory.1.clear();
                }
            }
            (false, Some(name)) => drop(children.remove(name)),
            (false, None) => {}
        }
        Ok(())
    }

    fn keep(&mut self, target: &[u8]) -> Result<()> {
        if let Some(file @ Node::File { .. }) = self.stands(target)? {
            self.before.insert(target.into(), file);
        }
        Ok(())
    }

    fn add(&mut self, (layer, entry): (u32, u32), Step { path, deed }: Step) -> Result<()> {
        let node = match deed {
            Deed::Hide | Deed::HideAll => return Ok(()),
            Deed::Directory(directory) => return self.directory(&path, *directory),
            Deed::File => Node::File { layer, entry, path: None, target: None },
            Deed::Symlink { target } => Node::File { layer, entry, path: None, target: Some(target) },
            Deed::Link { target } => match self.linked((layer, &path), &target)? {
                Some(node) => node,
                None => return Ok(()),
            },
        };
        let (parent, name) = split(&path);
        let Some(name) = name else { return Err(bad("it holds a root that is not a directory")) };
        let Some(names) = self.resolve(parent, Missing::IsMade)? else { return Ok(()) };
        let straight = parts(parent).eq(names.iter().map(|name| &**name));
        let Some(children) = self.children(&names) else { return Ok(()) };
        let node = if straight { node } else { node.elsewhere(|| path.clone()) };
        children.insert(name.into(), node);
        Ok(())
    }

    fn directory(&mut self, path: &[u8], new: Directory) -> Result<()> {
        let (parent, name) = split(path);
        let Some(name) = name else {
            if let (Node::Directory(root), Described::Yes) = (&mut self.root, new.described) {
                root.0 = new;
            }
            return Ok(());
        };
        if new.described == Described::No {
            return self.resolve(path, Missing::IsMade).map(drop);
        }
        let Some(parent) = self.resolve(parent, Missing::IsMade)? else { return Ok(()) };
        let Some(children) = self.children(&parent) else { return Ok(()) };
        match children.get_mut(name) {
            Some(Node::Directory(directory)) => directory.0 = new,
            _ => drop(children.insert(name.into(), Node::Directory(Box::new((new, Children::new()))))),
        }
        Ok(())
    }

    /// Returns a second name for what stands at `target`.
    fn linked(&mut self, (layer, path): (u32, &[u8]), target: &[u8]) -> Result<Option<Node>> {
        let wrong = |why: &str| {
            let (path, target) = (path.escape_ascii(), target.escape_ascii());
            bad(format!("`{path}` is a hard link to `{target}`, {why}"))
        };
        let below = self.below;
        match self.stands(target)?.or_else(|| self.before.get(target).cloned()) {
            Some(Node::Directory(_)) => Err(wrong("which is a directory")),
            // What it leads to may be replaced by a later entry of the same layer; this name stays.
            Some(Node::File { layer: of, entry, target, .. }) if of == layer => {
                Ok(Some(Node::File { layer, entry, path: None, target }))
            }
            Some(node) => Ok(Some(node)),
            None if below == Below::Elsewhere => Ok(None),
            None => Err(wrong("which is neither in its layer nor in one below")),
        }
    }

    /// Returns what stands at `path`, as it is to be had from any other; of a directory nothing that is in it.
    fn stands(&mut self, path: &[u8]) -> Result<Option<Node>> {
        let (parent, name) = split(path);
        let (Some(names), Some(name)) = (self.resolve(parent, Missing::Stays)?, name) else { return Ok(None) };
        Ok(match self.children(&names).and_then(|children| children.get(name)) {
            None => None,
            Some(Node::Directory(_)) => Some(Node::empty()),
            Some(file) => Some(file.clone().elsewhere(|| {
                let mut path = names.join(&b'/');
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend(name);
                path.into()
            })),
        })
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
                Some(Node::Directory(_)) => {}
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
    fn children(&mut self, names: &[Box<[u8]>]) -> Option<&mut Children> {
        let mut here = &mut self.root;
        for name in names {
            let Node::Directory(directory) = here else { return None };
            here = directory.1.get_mut(name)?;
        }
        match here {
            Node::Directory(directory) => Some(&mut directory.1),
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

fn in_layer(number: u32, error: Error) -> Error {
    Error { message: format!("layer {}: {}", number + 1, error.message), ..error }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Kind::Image, message)
}

#[cfg(test)]
mod tests {
    use super::{Node, merge};
    use crate::image::layer::{Deed, Step};

    fn step(path: &str, deed: Deed) -> Step {
        Step { path: path.as_bytes().into(), deed }
    }

    fn at<'a>(mut node: &'a Node, path: &str) -> Option<&'a Node> {
        for name in path.split('/') {
            let Node::Directory(directory) = node else { return None };
            node = directory.1.get(name.as_bytes())?;
        }
        Some(node)
    }

    /// Memory grows with the files of an image: 100,000 of them are to take less than 32 MiB.
    #[test]
    fn a_node_is_small() {
        assert!(size_of::<Node>() <= 48, "{}", size_of::<Node>());
    }

    /// What stands where its layer has it needs no path; what came there through a link does.
    #[test]
    fn a_file_is_had_from_where_its_layer_has_it() {
        let link = |target: &str| Deed::Link { target: target.as_bytes().into() };
        let lowest = vec![
            step("lib", Deed::Symlink { target: b"usr/lib".as_slice().into() }),
            step("usr/lib/a", Deed::File),
            step("usr/lib/b", link("usr/lib/a")),
        ];
        let upper = vec![
            step("lib/c", Deed::File),
            step("d", link("lib/a")),
            step("lib/e", link("lib/c")),
            step("usr/lib/a", Deed::File),
        ];
        let layers = [lowest, upper].map(|steps| Ok(steps.into_iter().map(Ok)));
        let merged = merge(layers).unwrap();
        let found = |path: &str| match at(&merged.root, path) {
            Some(Node::File { layer, entry, path, .. }) => {
                (*layer, *entry, path.as_ref().map(|path| path.escape_ascii().to_string()))
            }
            _ => panic!("{path}"),
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(found("usr/lib/a"), (1, 3, None));
        assert_eq!(found("usr/lib/b"), (0, 1, None));
        assert_eq!(found("usr/lib/c"), (1, 0, some("lib/c")));
        assert_eq!(found("d"), (0, 1, some("usr/lib/a")));
        assert_eq!(found("usr/lib/e"), (1, 0, some("lib/e")));
    }
}
