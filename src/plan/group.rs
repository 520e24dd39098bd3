//! The cgroups of a plan: which are made where, and what is written into them. Nothing
//! here opens a file.

use std::path::PathBuf;

use crate::host::{Controller, Preparation, Version};
use crate::units::Origin;

/// The groups of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupPlan {
    /// One for each hierarchy; a v2 one comes first.
    pub groups: Vec<Group>,
}

/// A group that is made below `parent` and removed at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub version: Version,
    pub parent: PathBuf,
    pub preparation: Preparation,
    pub controllers: Vec<Controller>,
    /// In this order, before anything joins.
    pub settings: Vec<Setting>,
}

/// One write to a file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    pub file: String,
    pub value: Value,
    /// The feature of `limits` that it serves.
    pub feature: &'static str,
    pub origin: Origin,
}

/// What is written to a file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// What the same file of the parent says.
    OfParent,
}

impl Value {
    /// Returns the text, or words for where it comes from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::OfParent => "as the parent",
        }
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
