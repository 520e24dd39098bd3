//! Who the command is, and with which ids, as the spec says it.

/// `user NAME|UID GID ids=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub who: Who,
    pub ids: Ids,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Caller,
    Root,
    /// Looked up in the rootfs. Never all digits.
    Name(String),
    /// At most 2³² − 2 each.
    Numeric {
        uid: u32,
        gid: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ids {
    #[default]
    Single,
    Range,
    /// Not to be written in a spec: all that there are. Who extracts for root gives files to anybody.
    All,
}
