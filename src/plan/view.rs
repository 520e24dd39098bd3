//! How a path of the host looks from inside: who opens it, whose its files are, what may be done
//! with them. Plain words; what they mean to the kernel is said where the tape is made.

/// Who opens a source: only the host's root can map the ids of a mount, and only
/// a process inside the new namespaces can clone mounts without being root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    Child,
    Parent(Idmap),
}

/// How the owners of files look through a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idmap {
    /// As they are: an owner who is not mapped shows as `nobody`.
    None,
    /// The id N on disk is the id N inside; mounts that cannot do it stay as they are.
    Inside,
    /// The caller on disk is the command's user inside.
    Caller,
}

/// Flags of mount_setattr(2); `nosuid` is always set. A device is taken as it is on the host: its mount
/// is one file that can neither be executed nor mounted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    pub write: Write,
    pub devices: Devices,
    pub exec: crate::spec::Exec,
    pub links: Links,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Write {
    ReadOnly,
    ReadWrite,
}

impl Write {
    /// Returns the mount option.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "ro",
            Self::ReadWrite => "rw",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Devices {
    Forbidden,
    /// The source is a device that sbx chose.
    Allowed,
    /// The source is a device that the spec names: anything else is refused.
    Required,
}

/// Whether symbolic links of a mount lead anywhere (MOUNT_ATTR_NOSYMFOLLOW, Linux 5.14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Followed,
    /// Where names of sbx lie beside what a command made.
    Refused,
}
