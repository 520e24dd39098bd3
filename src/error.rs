//! What prevents sbx from doing its part, as one struct with few kinds. It knows
//! only the words of `units`, so no ring of imports can start here.

use std::fmt;

use crate::units::Origin;

/// Who has to act so that the same call succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The caller: the command line is wrong.
    Usage,
    /// The author of the spec.
    Spec,
    /// The owner of the machine: something is switched off, missing or full.
    Host,
    /// Whoever made the image.
    Image,
    /// Look at the step: the kernel refused it.
    Setup,
    /// A file of the caller could not be read or written.
    Io,
    /// The authors of sbx.
    Bug,
}

impl Kind {
    /// Returns the word that stands for the kind in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Spec => "spec",
            Self::Host => "host",
            Self::Image => "image",
            Self::Setup => "setup",
            Self::Io => "io",
            Self::Bug => "bug",
        }
    }
}

/// One failure. `message` is a lower-case fragment without a final period, user
/// values in backticks; `hint` is the one thing to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub message: String,
    /// The number of errno(3), where the kernel gave one.
    pub errno: Option<i32>,
    pub hint: Option<String>,
    /// What was written that asked for it.
    pub origin: Origin,
}

/// The result of everything that can prevent sbx from doing its part.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Returns an error without errno, hint or place.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), errno: None, hint: None, origin: Origin::Default }
    }

    /// Returns an error of [`Kind::Io`] that says what was tried and what the kernel answered.
    pub fn io(what: impl fmt::Display, source: &std::io::Error) -> Self {
        let mut error = Self::new(Kind::Io, what.to_string());
        match source.raw_os_error() {
            Some(errno) => error = error.with_errno(errno),
            None => error.message = format!("{}: {source}", error.message),
        }
        error
    }

    /// Adds the number of errno(3), and what it asks for wherever it comes from; [`Error::with_hint`] knows better.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self.hint = self.hint.or_else(|| usual_hint(errno).map(str::to_owned));
        self
    }

    /// Adds the one thing to change.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Changes who has to act.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds the place that asked for it.
    #[must_use]
    pub fn at(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }
}

/// What an errno about a path asks for, whoever met it.
fn usual_hint(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ENOENT => "look at the spelling: a part of the path does not exist",
        libc::EACCES => "look at the permissions of it and of every directory above it",
        libc::ENOTDIR => "a part of the path is a file where a directory is due",
        libc::EISDIR => "it is a directory: name a file",
        libc::ELOOP => "the path leads through too many symbolic links, or through one where none is allowed",
        libc::ENAMETOOLONG => "a path may have 4095 bytes and each of its parts 255",
        libc::EROFS => "the file system is mounted read-only: choose another place",
        libc::ENOSPC => "the file system is full: make room, or choose another place",
        libc::EDQUOT => "the disk quota of the caller is used up: make room, or choose another place",
        libc::EMFILE => "sbx needs about 60 open files: raise the limit with `ulimit -n`",
        libc::ENFILE => "all open files of the machine are in use: raise `fs.file-max` with sysctl(8)",
        libc::ENOMEM => "no memory is left: end something on the machine",
        libc::EIO => "the disk does not answer: look at the kernel's log",
        libc::ENXIO => "nobody reads the FIFO, or the device is not there",
        libc::ETXTBSY => "it is being executed: choose another place",
        libc::EXDEV => "the path leads out of a directory that the command may write to",
        libc::EMLINK => "it has other names too, which the command may have made: remove it first",
        _ => return None,
    })
}

impl fmt::Display for Error {
    /// Writes `message: description (NAME)`, without the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.errno {
            Some(errno) => {
                let errno = nix::errno::Errno::from_raw(errno);
                let description = match errno {
                    // The word of C for functions of mathematics.
                    nix::errno::Errno::ERANGE => "Value out of range",
                    errno => errno.desc(),
                };
                write!(f, ": {description} ({errno:?})")
            }
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The exit statuses that are sbx's own; any other is the command's.
pub mod exit {
    /// Some test failed.
    pub const TESTS_FAILED: u8 = 1;
    /// A time limit ended the run, as with timeout(1).
    pub const TIME_LIMIT: u8 = 124;
    /// sbx could not do its part.
    pub const SBX: u8 = 125;
    /// The command was found but cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found.
    pub const NOT_FOUND: u8 = 127;
    /// Added to the number of the signal that ended the command.
    pub const SIGNAL: u8 = 128;
    /// The memory limit ended the run.
    pub const MEMORY_LIMIT: u8 = 137;
    /// Wrong usage of sbx.
    pub const USAGE: u8 = 2;
}
