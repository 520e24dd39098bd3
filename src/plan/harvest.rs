//! What is taken out of the sandbox when all its processes are dead: the changes of its
//! root, and files. It decides where they lie; nothing is looked at here.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::plan::facts::Invocation;
use crate::plan::{Op, Step, Tree};
use crate::spec::{Need, Spec, Wanted};
use crate::units::{AbsPath, Origin};

/// How many trees the child can hand over: `sys::rights::MOST` less the two namespaces.
pub const TREES_MAX: usize = 14;

/// What is taken out, and what the child hands over for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Harvest {
    pub changes: Option<Changes>,
    /// In the order written.
    pub collects: Vec<Collected>,
    /// The trees that the child hands over, in this order.
    pub trees: Vec<Tree>,
}

/// Where the changes go, and where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    pub path: PathBuf,
    pub uppers: Vec<Upper>,
    /// What sbx itself makes in the root, as absolute paths: no change of the run as long as it is empty.
    pub made: BTreeSet<String>,
    pub origin: Origin,
}

/// The writable layer of one overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// What the overlay fills.
    pub place: AbsPath,
    /// The tree that holds the layer, and the directory of it that is the layer.
    pub holder: Tree,
    pub directory: String,
    /// What is below it; `None` is nothing.
    pub lower: Option<Tree>,
}

/// One file or directory that is copied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    pub source: AbsPath,
    pub to: PathBuf,
    pub need: Need,
    pub wanted: Wanted,
    pub origin: Origin,
}

impl Harvest {
    /// Returns where a tree is among those that are handed over.
    #[must_use]
    pub fn number(&self, tree: Tree) -> Option<usize> {
        self.trees.iter().position(|handed| *handed == tree)
    }
}

/// Returns what `spec` wants to have, if anything; `uppers` are the writable layers of its root and `inside`
/// what is made in it.
///
/// # Errors
/// More layers than can be handed over.
pub fn resolve(
    spec: &Spec,
    invocation: &Invocation,
    (uppers, inside): (Vec<Upper>, &[Step]),
) -> Result<Option<Harvest>> {
    if spec.changes.is_none() && spec.collect.is_empty() {
        return Ok(None);
    }
    let collects = spec.collect.iter().map(|collect| Collected {
        source: collect.value.source.clone(),
        to: invocation.absolute(&collect.value.to),
        need: collect.value.need,
        wanted: collect.value.wanted,
        origin: collect.origin,
    });
    let mut harvest = Harvest { collects: collects.collect(), ..Harvest::default() };
    if let Some(changes) = &spec.changes {
        for upper in &uppers {
            for tree in [Some(upper.holder), upper.lower].into_iter().flatten() {
                if harvest.number(tree).is_none() {
                    harvest.trees.push(tree);
                }
            }
        }
        if harvest.trees.len() > TREES_MAX {
            return Err(Error::new(Kind::Spec, "this root has more layers than `changes` can keep apart")
                .with_hint("name a directory or an image as `rootfs`")
                .at(changes.origin));
        }
        let made = inside.iter().filter_map(|step| match &step.op {
            Op::MakeDir { path, .. } | Op::MakeFile { path, .. } | Op::MakeSymlink { path, .. } => {
                Some(path.as_str().to_owned())
            }
            _ => None,
        });
        harvest.changes = Some(Changes {
            path: invocation.absolute(&changes.value),
            uppers,
            made: made.collect(),
            origin: changes.origin,
        });
    }
    Ok(Some(harvest))
}

impl Harvest {
    /// Returns the step of the child that hands everything over, with what asked for it first.
    #[must_use]
    pub fn step(&self) -> Step {
        let origin = self.changes.as_ref().map(|changes| changes.origin);
        let origin = origin.or(self.collects.first().map(|collect| collect.origin));
        Step { op: Op::HandOver { trees: self.trees.clone() }, origin: origin.unwrap_or(Origin::Default) }
    }
}
