//! What rules of Landlock can be about, in sbx's words, and what a version of the
//! kernel's interface makes of them.

use std::fmt;

use crate::sys::landlock::Handled;

/// One kind of thing that a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Opening files and directories to read.
    Read,
    /// Opening files to write, truncating them, making and removing files, directories and links.
    Write,
    /// Executing files.
    Execute,
    /// Making device nodes.
    MakeDevice,
    /// Moving and linking a file into another directory.
    Refer,
    /// Commands to devices, ioctl(2).
    Ioctl,
    /// Connecting to a TCP port.
    Connect,
    /// Binding a TCP port.
    Bind,
    /// Abstract unix sockets of processes that do not obey the same rules.
    AbstractSocket,
    /// Signals to processes that do not obey the same rules.
    Signal,
}

/// What a kernel calls it: the first version that knows these, and its bits.
struct Bits {
    right: Right,
    since: u32,
    handled: Handled,
}

const fn files(right: Right, since: u32, files: u64) -> Bits {
    Bits { right, since, handled: Handled { files, ports: 0, scopes: 0 } }
}

const fn ports(right: Right, ports: u64) -> Bits {
    Bits { right, since: 4, handled: Handled { files: 0, ports, scopes: 0 } }
}

const fn scopes(right: Right, scopes: u64) -> Bits {
    Bits { right, since: 6, handled: Handled { files: 0, ports: 0, scopes } }
}

/// `linux/landlock.h` of Linux 6.15.
const BITS: [Bits; 11] = [
    files(Right::Execute, 1, 1),
    // READ_FILE, READ_DIR.
    files(Right::Read, 1, 1 << 2 | 1 << 3),
    // WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_SYM.
    files(Right::Write, 1, 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12),
    // TRUNCATE.
    files(Right::Write, 3, 1 << 14),
    // MAKE_CHAR, MAKE_BLOCK.
    files(Right::MakeDevice, 1, 1 << 6 | 1 << 11),
    files(Right::Refer, 2, 1 << 13),
    files(Right::Ioctl, 5, 1 << 15),
    ports(Right::Bind, 1),
    ports(Right::Connect, 1 << 1),
    scopes(Right::AbstractSocket, 1),
    scopes(Right::Signal, 1 << 1),
];

impl Right {
    /// All rights, in the order in which they are listed everywhere.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Write,
        Self::Execute,
        Self::MakeDevice,
        Self::Refer,
        Self::Ioctl,
        Self::Connect,
        Self::Bind,
        Self::AbstractSocket,
        Self::Signal,
    ];

    /// Returns the word of plans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Execute => "execute",
            Self::MakeDevice => "make-device",
            Self::Refer => "refer",
            Self::Ioctl => "ioctl",
            Self::Connect => "connect",
            Self::Bind => "bind",
            Self::AbstractSocket => "abstract-socket",
            Self::Signal => "signal",
        }
    }

    /// Returns the first version that knows all of it.
    #[must_use]
    pub fn since(self) -> u32 {
        BITS.iter().filter(|bits| bits.right == self).map(|bits| bits.since).max().unwrap_or(1)
    }
}

/// Some rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u16);

impl Rights {
    pub const NONE: Self = Self(0);

    /// Returns these rights.
    #[must_use]
    pub const fn of(rights: &[Right]) -> Self {
        let (mut all, mut index) = (0, 0);
        while index < rights.len() {
            all |= 1 << rights[index] as u16;
            index += 1;
        }
        Self(all)
    }

    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Returns those that are in both.
    #[must_use]
    pub const fn within(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u16) != 0
    }

    #[must_use]
    pub const fn has_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns each, in the order of [`Right::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }

    /// Returns what version `abi` of the interface makes of them; what it does not know is left out.
    #[must_use]
    pub fn bits(self, abi: u32) -> Handled {
        let known = BITS.iter().filter(|bits| bits.since <= abi && self.has(bits.right));
        known.fold(Handled::default(), |all, Bits { handled, .. }| Handled {
            files: all.files | handled.files,
            ports: all.ports | handled.ports,
            scopes: all.scopes | handled.scopes,
        })
    }

    /// Returns those that version `abi` does not know, or not all of.
    #[must_use]
    pub fn incomplete(self, abi: u32) -> Self {
        self.iter().filter(|right| right.since() > abi).fold(Self::NONE, |all, right| all.and(Self::of(&[right])))
    }

    /// Returns those of which version `abi` knows something.
    #[must_use]
    pub fn known(self, abi: u32) -> Self {
        let known = |right: &Right| BITS.iter().any(|bits| bits.right == *right && bits.since <= abi);
        self.iter().filter(known).fold(Self::NONE, |all, right| all.and(Self::of(&[right])))
    }
}

impl fmt::Display for Rights {
    /// Writes the words: `read execute`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Right::as_str).collect::<Vec<_>>().join(" "))
    }
}
