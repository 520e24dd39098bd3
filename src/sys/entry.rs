//! Files as an archive describes them: mode, owner, time, attributes; and the user, mount
//! and network namespaces of others.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt as _;

use super::{Errno, Fd, Sys, check};

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Regular,
    Directory,
    Symlink,
    Fifo,
    Socket,
    /// Character or block, by `makedev(3)` number; 0 is what overlayfs hides a name with.
    Device(u64),
}

impl Kind {
    /// Returns the word for it, which "a" goes before.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Regular => "file",
            Self::Directory => "directory",
            Self::Symlink => "link",
            Self::Fifo => "FIFO",
            Self::Socket => "socket",
            Self::Device(_) => "device",
        }
    }
}

/// `struct stat`, as far as an archive keeps it. Ids are those of the reader's user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details {
    pub kind: Kind,
    /// The lower twelve bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub device: u64,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes that are there: less than `size` where the file has holes.
    pub stored: u64,
    /// Seconds since 1970; may be negative.
    pub modified: i64,
    /// Nanoseconds on top of them.
    pub fraction: u32,
}

/// Returns what an open file is (fstat(2)); `O_PATH` will do.
pub fn details(file: impl AsFd) -> Sys<Details> {
    nix::sys::stat::fstat(file).map(|found| reduced(&found))
}

/// The same of a name in a directory, which is not followed if it is a link (fstatat(2)).
pub fn details_at(directory: impl AsFd, name: &OsStr) -> Sys<Details> {
    nix::sys::stat::fstatat(directory, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).map(|found| reduced(&found))
}

fn reduced(found: &nix::sys::stat::FileStat) -> Details {
    let kind = match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => Kind::Regular,
        libc::S_IFDIR => Kind::Directory,
        libc::S_IFLNK => Kind::Symlink,
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        _ => Kind::Device(found.st_rdev),
    };
    Details {
        kind,
        mode: found.st_mode & 0o7777,
        uid: found.st_uid,
        gid: found.st_gid,
        links: found.st_nlink,
        device: found.st_dev,
        inode: found.st_ino,
        size: u64::try_from(found.st_size).unwrap_or(0),
        stored: u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512),
        modified: found.st_mtime,
        fraction: u32::try_from(found.st_mtime_nsec).unwrap_or(0),
    }
}

/// Returns the names of the extended attributes of an open file (flistxattr(2)); none where there can be none.
pub fn attribute_names(file: impl AsFd) -> Sys<Vec<Vec<u8>>> {
    let mut names = vec![0u8; 64 << 10];
    let count = match rustix::fs::flistxattr(file, names.as_mut_slice()) {
        Ok(count) => count,
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(error) => return Err(Errno::from_raw(error.raw_os_error())),
    };
    let names = names.get(..count).unwrap_or_default();
    Ok(names.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Returns one extended attribute of an open file (fgetxattr(2)); `None` where it has none of that name.
pub fn attribute(file: impl AsFd, name: &[u8]) -> Sys<Option<Vec<u8>>> {
    let mut value = vec![0u8; 64 << 10];
    match rustix::fs::fgetxattr(file, OsStr::from_bytes(name), value.as_mut_slice()) {
        Ok(count) => {
            value.truncate(count);
            Ok(Some(value))
        }
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(Errno::from_raw(error.raw_os_error())),
    }
}

/// Returns where the first bytes at or behind `offset` are that an open file has (lseek(2) with `SEEK_DATA` and
/// `SEEK_HOLE`); `None` where only a hole follows. A file system that knows of no holes has them all.
pub fn data_from(file: impl AsFd, offset: u64) -> Sys<Option<std::ops::Range<u64>>> {
    let errno = |error: rustix::io::Errno| Errno::from_raw(error.raw_os_error());
    let start = match rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(offset)) {
        Err(rustix::io::Errno::NXIO) => return Ok(None),
        other => other.map_err(errno)?,
    };
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(start)).map(|end| Some(start..end)).map_err(errno)
}

/// Moves this process into the namespace behind `namespace` (setns(2)), whatever kind it is.
pub fn enter(namespace: &impl AsRawFd) -> Sys<()> {
    // SAFETY: setns(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_setns, namespace.as_raw_fd(), 0) }).map(drop)
}

/// Sets the soft limit of open files to the hard one; what cannot be had is not asked for again.
pub fn raise_open_files() {
    if let Ok((_, hard)) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE) {
        nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}

/// Duplicates nothing: the number of something that is open.
#[must_use]
pub fn number(file: &impl AsRawFd) -> Fd {
    Fd(file.as_raw_fd())
}
