//! Acts of Landlock in the words of `sbx plan`.

use std::fmt;

use crate::plan::landlock::Act;
use crate::units::Word;

impl Act {
    /// Returns the word for what is done, without its object.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Handle(_) => "landlock",
            Self::Path(..) => "landlock-path",
            Self::Streams(_) => "landlock-streams",
            Self::Port(..) => "landlock-port",
        }
    }

    /// Returns what could not be done, with the names that the user knows it by.
    #[must_use]
    pub fn failed(&self) -> String {
        match self {
            Self::Handle(_) => "cannot have the command obey the rules of Landlock".to_owned(),
            Self::Path(path, rights) => format!("cannot allow to {rights} at `{path}` by Landlock"),
            Self::Streams(_) => "cannot allow the standard streams by Landlock".to_owned(),
            Self::Port(port, rights) => format!("cannot allow to {rights} port {port} by Landlock"),
        }
    }
}

impl fmt::Display for Act {
    /// Writes what it is about: `/tmp read write execute refer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(rights) | Self::Streams(rights) => write!(f, "{rights}"),
            Self::Path(path, rights) => write!(f, "{} {rights}", Word(path.as_str())),
            Self::Port(port, rights) => write!(f, "{port} {rights}"),
        }
    }
}
