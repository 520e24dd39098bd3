//! What a spec is read from: the texts of its files, and what the command line sets in them. Whoever reads the files
//! puts it together.

use crate::spec::diagnostic::Finding;
use crate::spec::param::Setting;

/// A spec, or a file that it extends.
#[derive(Debug, Clone, Copy)]
pub struct File<'t> {
    pub text: &'t [u8],
    /// The place of its first byte, see [`SpecText`](crate::units::SpecText).
    pub start: usize,
    /// Where its relative paths begin, as seen from the spec, see [`relocate`](crate::spec::relocate).
    pub directory: &'t str,
}

/// All that a spec is made of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Input<'t> {
    /// The spec itself, what it extends, what that extends.
    pub files: &'t [File<'t>],
    pub settings: &'t [Setting],
    /// Why a file that the last one extends is not there.
    pub missing: Option<&'t Finding>,
}
