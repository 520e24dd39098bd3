//! The list of steps while it is made: trees get their numbers here, mount points
//! their directories, and every step its origin.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::{Facts, FileKind};
use crate::plan::ground::{Ground, Grounds};
use crate::plan::{Attributes, Devices, Filesystem, Idmap, Links, Op, Opener, Step, Tree, Write};
use crate::spec::Exec;
use crate::units::{AbsPath, Origin};

/// Whether the one who opens host paths is the parent, because sbx is root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    Root,
    Caller,
}

/// Three growing lists of steps: first everything is opened that is of the host, then the root is put
/// together and the host goes, and only then is anything made or attached inside.
#[derive(Debug)]
pub struct Steps {
    pub sources: Vec<Step>,
    pub assembly: Vec<Step>,
    pub inside: Vec<Step>,
    /// Directories of the root that an empty one covers.
    pub covers: Vec<AbsPath>,
    privilege: Privilege,
    trees: u16,
}

impl Steps {
    /// Returns an empty list.
    #[must_use]
    pub fn new(privilege: Privilege) -> Self {
        Self {
            sources: Vec::with_capacity(24),
            assembly: Vec::with_capacity(8),
            inside: Vec::with_capacity(64),
            covers: Vec::new(),
            privilege,
            trees: 0,
        }
    }

    /// Adds a step that opens or makes a tree.
    pub fn source(&mut self, op: Op, origin: Origin) {
        self.sources.push(Step { op, origin });
    }

    /// Adds a step of putting the root together.
    pub fn assemble(&mut self, op: Op, origin: Origin) {
        self.assembly.push(Step { op, origin });
    }

    /// Adds a step that comes when the host is gone.
    pub fn inside(&mut self, op: Op, origin: Origin) {
        self.inside.push(Step { op, origin });
    }

    /// Returns the number of the next tree.
    pub fn next_tree(&mut self) -> Tree {
        self.trees += 1;
        Tree(self.trees - 1)
    }

    /// Opens the mounts at a host path as a tree.
    pub fn open(&mut self, source: PathBuf, view: View, origin: Origin) -> Tree {
        let tree = self.next_tree();
        let opener = match self.privilege {
            Privilege::Root => Opener::Parent(view.idmap),
            Privilege::Caller => Opener::Child,
        };
        self.source(Op::OpenTree { tree, source, attributes: view.attributes, opener }, origin);
        tree
    }

    /// Makes a file system that is attached later.
    pub fn new_filesystem(&mut self, new: NewFilesystem<'_>, origin: Origin) -> Tree {
        let tree = self.next_tree();
        let NewFilesystem { filesystem, options, attributes } = new;
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let op = Op::NewFilesystem { tree, filesystem, options, attributes };
        // The layers of an overlay are on the stage by then.
        if filesystem == Filesystem::Overlay {
            self.assemble(op, origin)
        } else {
            self.source(op, origin)
        }
        tree
    }

    /// Attaches a tree at a path whose mount point is there.
    pub fn attach(&mut self, tree: Tree, destination: &AbsPath, origin: Origin) {
        self.inside(Op::Attach { tree, destination: destination.clone() }, origin);
    }

    /// Makes sure that something of `kind` can be mounted at `path`: makes what is missing on sbx's own
    /// layer, refuses what would have to be made on the host.
    ///
    /// # Errors
    /// A place of the wrong kind, or a missing one in a directory of the host that the spec binds.
    pub fn mount_point(&mut self, place: Place<'_>, kind: FileKind) -> Result<()> {
        let Place { grounds, facts, path, origin } = place;
        let (start, ground) = grounds.under(path);
        let found = grounds.question(path).map_or(FileKind::Missing, |question| facts.kind(&question));
        match found {
            FileKind::Missing => {}
            FileKind::Unknown(errno) => {
                return Err(Error::new(Kind::Spec, format!("cannot look at `{path}`")).with_errno(errno).at(origin));
            }
            found if found == kind => return Ok(()),
            FileKind::Directory => {
                return Err(Error::new(
                    Kind::Spec,
                    format!("`{path}` is a directory, and what is mounted there is a file"),
                )
                .with_hint("choose another path, or one below it")
                .at(origin));
            }
            FileKind::File => {
                return Err(Error::new(
                    Kind::Spec,
                    format!("`{path}` is a file, and what is mounted there is a directory"),
                )
                .with_hint("choose another path")
                .at(origin));
            }
        }
        if *ground == Ground::Kernel {
            let message = format!("`{path}` does not exist, and nothing can be made in `/proc`");
            return Err(Error::new(Kind::Spec, message).with_hint("choose a path elsewhere").at(origin));
        }
        if let Ground::Bound(source) = ground {
            let message =
                format!("`{path}` does not exist in `{}`, and nothing is ever made on the host", source.display());
            return Err(Error::new(Kind::Spec, message)
                .with_hint("make it there first, or mount it elsewhere")
                .at(origin));
        }
        self.make_ancestors(start, path, origin);
        let path = path.clone();
        self.inside(
            if kind == FileKind::Directory {
                Op::MakeDir { path, mode: 0o755 }
            } else {
                Op::MakeFile { path, mode: 0o644 }
            },
            origin,
        );
        Ok(())
    }

    /// Returns what an earlier step makes at `path`.
    #[must_use]
    pub fn made(&self, path: &AbsPath) -> Option<FileKind> {
        self.inside.iter().rev().find_map(|step| match &step.op {
            Op::MakeDir { path: made, .. } | Op::Mount { destination: made, .. } if made == path => {
                Some(FileKind::Directory)
            }
            Op::MakeFile { path: made, .. } if made == path => Some(FileKind::File),
            _ => None,
        })
    }

    /// Covers a directory of the root with an empty one in which mount points can be made.
    pub fn cover(&mut self, path: AbsPath, origin: Origin) {
        let options = "mode=755,size=1m,nr_inodes=1024".to_owned();
        let op = Op::Mount { filesystem: Filesystem::Tmpfs, destination: path.clone(), options, attributes: WRITABLE };
        self.inside(op, origin);
        self.covers.push(path);
    }

    /// Makes the directories between `start` and `path`, both exclusive.
    pub fn make_ancestors(&mut self, start: &AbsPath, path: &AbsPath, origin: Origin) {
        let mut missing = Vec::new();
        let mut current = path.parent();
        while let Some(parent) = current.filter(|parent| parent != start && parent.is_within(start)) {
            current = parent.parent();
            missing.push(parent);
        }
        for path in missing.into_iter().rev() {
            if !self.inside.iter().any(|step| matches!(&step.op, Op::MakeDir { path: made, .. } if *made == path)) {
                self.inside(Op::MakeDir { path, mode: 0o755 }, origin);
            }
        }
    }
}

/// A file system to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewFilesystem<'a> {
    pub filesystem: Filesystem,
    pub options: &'a [(&'a str, &'a str)],
    pub attributes: Attributes,
}

/// A path of the sandbox and what is known about it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub grounds: &'a Grounds,
    pub facts: &'a Facts,
    pub path: &'a AbsPath,
    pub origin: Origin,
}

/// How a host path looks from inside.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub attributes: Attributes,
    pub idmap: Idmap,
}

/// Read-only, without devices: what the command cannot change.
pub const SEALED: Attributes =
    Attributes { write: Write::ReadOnly, devices: Devices::Forbidden, exec: Exec::Allowed, links: Links::Followed };

/// Writable, without devices.
pub const WRITABLE: Attributes =
    Attributes { write: Write::ReadWrite, devices: Devices::Forbidden, exec: Exec::Allowed, links: Links::Followed };

/// Writable, without devices and without programs.
pub const DATA: Attributes =
    Attributes { write: Write::ReadWrite, devices: Devices::Forbidden, exec: Exec::Forbidden, links: Links::Followed };

/// What a kept layer lies in: `upper` and `work` are directories, or nothing.
pub const KEPT: Attributes = Attributes { links: Links::Refused, ..WRITABLE };

/// A device of the host that the spec names.
pub const ASKED_DEVICE: Attributes = Attributes { devices: Devices::Required, ..DEVICE };

/// A device of the host.
pub const DEVICE: Attributes =
    Attributes { write: Write::ReadWrite, devices: Devices::Allowed, exec: Exec::Forbidden, links: Links::Followed };
