//! Words and numbers that every floor shares: sizes, processor shares, paths
//! inside the sandbox, places in a text. It knows no other file of the crate.

use std::fmt;

/// A range of bytes in the text of a spec, `start` inclusive, `end` exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// Where a value came from: a place in the spec, a flag of the command line, or
/// the defaults of sbx itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Spec(Span),
    CommandLine,
    Default,
}

/// A value together with where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Spanned<T> {
    /// Returns `value` as written at `origin`.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// Writes the largest unit of 1024 that divides the number: `512M`, `1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u32, &str); 4] = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        for (shift, unit) in UNITS {
            let size = 1u64 << shift;
            if self.0 >= size && self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A share of the processors in thousandths: 1500 is one and a half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCores(pub u32);

impl fmt::Display for MilliCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// A path inside the sandbox: absolute, without `..`, `.`, empty components or
/// NUL, and without a trailing slash (but for `/` itself).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AbsPath(String);

/// Why a text is not an [`AbsPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAbsPath {
    Relative,
    ParentComponent,
    Nul,
    TooLong,
}

impl fmt::Display for NotAbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Relative => "must be absolute",
            Self::ParentComponent => "must not contain `..`",
            Self::Nul => "must not contain a NUL character",
            Self::TooLong => "must be shorter than 4096 bytes",
        })
    }
}

impl AbsPath {
    /// Returns the path `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Returns `text` as a path, with repeated slashes and `.` folded away.
    ///
    /// # Errors
    /// The rule that `text` breaks; the length limit is `PATH_MAX` of path_resolution(7).
    pub fn new(text: &str) -> Result<Self, NotAbsPath> {
        if !text.starts_with('/') {
            return Err(NotAbsPath::Relative);
        }
        if text.contains('\0') {
            return Err(NotAbsPath::Nul);
        }
        if text.len() >= 4096 {
            return Err(NotAbsPath::TooLong);
        }
        let mut path = String::with_capacity(text.len());
        for part in text.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." {
                return Err(NotAbsPath::ParentComponent);
            }
            path.push('/');
            path.push_str(part);
        }
        Ok(if path.is_empty() { Self::root() } else { Self(path) })
    }

    /// Returns the path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path one component up, or `None` for `/`.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.rfind('/')?;
        match (slash, self.0.len()) {
            (0, 1) => None,
            (0, _) => Some(Self::root()),
            _ => Some(Self(self.0[..slash].to_owned())),
        }
    }

    /// Returns whether `self` is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.0 == "/" || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for AbsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
