//! Files by directory descriptor, so that no path that a stranger wrote is ever
//! resolved from the host's root. The functions named `_at` never follow a link at the end.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use nix::fcntl::{self, AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{self, FchmodatFlags, Mode, UtimensatFlags};
use nix::sys::time::TimeSpec;
use nix::unistd::{self, Gid, Uid, UnlinkatFlags};

pub use nix::errno::Errno;

/// What one system call answers.
pub type Result<T> = std::result::Result<T, Errno>;

/// What a descriptor is opened for. All are closed on exec and never become the
/// controlling terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `O_PATH`: a place, nothing is opened; a FIFO does not block and a device does not notice.
    Place,
    /// `O_PATH|O_DIRECTORY`.
    DirectoryPlace,
    /// `O_RDONLY|O_DIRECTORY`: to list it, or to change its attributes.
    Directory,
    /// `O_RDONLY|O_NONBLOCK`.
    Read,
}

impl Access {
    fn flags(self) -> OFlag {
        OFlag::O_CLOEXEC
            | match self {
                Self::Place => OFlag::O_PATH,
                Self::DirectoryPlace => OFlag::O_PATH | OFlag::O_DIRECTORY,
                Self::Directory => OFlag::O_RDONLY | OFlag::O_DIRECTORY,
                Self::Read => OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY,
            }
    }
}

/// What kind of file a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    Regular,
    Directory,
    Symlink,
    Fifo,
    /// A device, by the major number of its driver.
    Character {
        major: u32,
    },
    Other,
}

/// The part of `struct stat` that identifies a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileType,
    pub device: u64,
    pub inode: u64,
    /// Bytes; negative never.
    pub size: u64,
    /// Lower twelve bits.
    pub mode: u32,
    pub owner: Owner,
}

/// A time of a file: seconds since 1970, negative before, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

impl Time {
    fn spec(self) -> TimeSpec {
        TimeSpec::new(self.seconds, self.nanoseconds.into())
    }
}

/// Who owns a file, as numbers of the caller's user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// open(2) of a path of the host.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &Path, access: Access) -> Result<OwnedFd> {
    fcntl::open(path, access.flags(), Mode::empty())
}

/// openat2(2) with `RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS`: `root` is `/` and the top
/// of every `..`, absolute links included.
///
/// # Errors
/// Those of openat2(2); `ENOSYS` before Linux 5.6.
pub fn open_in_root(root: impl AsFd, path: &OsStr, access: Access) -> Result<OwnedFd> {
    let how =
        OpenHow::new().flags(access.flags()).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    retry(|| fcntl::openat2(&root, path, how))
}

/// openat2(2) of one name in `directory`: no link is followed and no mount is crossed.
///
/// # Errors
/// Those of openat2(2); `ELOOP` for a link, `EXDEV` for a mount point.
pub fn open_at(directory: impl AsFd, name: &OsStr, access: Access) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(access.flags() | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_BENEATH);
    retry(|| fcntl::openat2(&directory, name, how))
}

/// openat2(2) with `RESOLVE_BENEATH|RESOLVE_NO_MAGICLINKS`: links are followed as long as they stay below
/// `directory`, absolute ones never do.
///
/// # Errors
/// Those of openat2(2); `EXDEV` for a path that leads out.
pub fn open_beneath(directory: impl AsFd, path: &OsStr, access: Access) -> Result<OwnedFd> {
    let how =
        OpenHow::new().flags(access.flags()).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    retry(|| fcntl::openat2(&directory, path, how))
}

/// open(2) with `O_TMPFILE|O_RDWR|O_EXCL`, mode 0600: a file in the file system of `directory` that has no name and
/// never gets one.
///
/// # Errors
/// Those of open(2); `EOPNOTSUPP` where the file system has no such files.
pub fn create_unnamed(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    fcntl::open(directory, flags, Mode::from_bits_truncate(0o600))
}

/// openat(2) with `O_CREAT|O_EXCL|O_WRONLY`. Of `mode` the lower nine bits count, less the umask.
///
/// # Errors
/// Those of openat(2); `EEXIST` also for a dangling link.
pub fn create_at(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<OwnedFd> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    fcntl::openat(directory, name, flags, Mode::from_bits_truncate(mode & 0o777))
}

/// mkdirat(2) with mode 0700.
///
/// # Errors
/// Those of mkdirat(2).
pub fn make_directory_at(directory: impl AsFd, name: &OsStr) -> Result<()> {
    stat::mkdirat(directory, name, Mode::from_bits_truncate(0o700))
}

/// mkfifoat(3) with mode 0600.
///
/// # Errors
/// Those of mknodat(2).
pub fn make_fifo_at(directory: impl AsFd, name: &OsStr) -> Result<()> {
    unistd::mkfifoat(directory, name, Mode::from_bits_truncate(0o600))
}

/// symlinkat(2).
///
/// # Errors
/// Those of symlinkat(2).
pub fn make_symlink_at(directory: impl AsFd, name: &OsStr, target: &OsStr) -> Result<()> {
    unistd::symlinkat(target, directory, name)
}

/// linkat(2) without `AT_SYMLINK_FOLLOW`.
///
/// # Errors
/// Those of linkat(2).
pub fn link_at(from: (impl AsFd, &OsStr), to: (impl AsFd, &OsStr)) -> Result<()> {
    unistd::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())
}

/// renameat(2).
///
/// # Errors
/// Those of renameat(2).
pub fn rename_at(from: (impl AsFd, &OsStr), to: (impl AsFd, &OsStr)) -> Result<()> {
    fcntl::renameat(from.0, from.1, to.0, to.1)
}

/// unlinkat(2) of anything but a directory.
///
/// # Errors
/// Those of unlinkat(2).
pub fn unlink_at(directory: impl AsFd, name: &OsStr) -> Result<()> {
    unistd::unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)
}

/// unlinkat(2) with `AT_REMOVEDIR`.
///
/// # Errors
/// Those of unlinkat(2); `ENOTEMPTY` where something is left in it.
pub fn remove_directory_at(directory: impl AsFd, name: &OsStr) -> Result<()> {
    unistd::unlinkat(directory, name, UnlinkatFlags::RemoveDir)
}

/// readlinkat(2).
///
/// # Errors
/// Those of readlinkat(2).
pub fn read_link_at(directory: impl AsFd, name: &OsStr) -> Result<OsString> {
    fcntl::readlinkat(directory, name)
}

/// fstatat(2) with `AT_SYMLINK_NOFOLLOW`.
///
/// # Errors
/// Those of fstatat(2).
pub fn stat_at(directory: impl AsFd, name: &OsStr) -> Result<Stat> {
    stat::fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|found| reduced(&found))
}

/// fstat(2), which an `O_PATH` descriptor allows too.
///
/// # Errors
/// Those of fstat(2).
pub fn stat(file: impl AsFd) -> Result<Stat> {
    stat::fstat(file).map(|found| reduced(&found))
}

/// Returns whether an open file still is what `path` names, by fstat(2) and lstat(2).
///
/// # Errors
/// Those of both, but `ENOENT` for `path`: what has no name is named nowhere.
pub fn is_named(file: impl AsFd, path: &Path) -> Result<bool> {
    let own = stat::fstat(file)?;
    match stat::lstat(path) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// fchmod(2). Only the lower twelve bits of `mode` count.
///
/// # Errors
/// Those of fchmod(2).
pub fn set_mode(file: impl AsFd, mode: u32) -> Result<()> {
    stat::fchmod(file, Mode::from_bits_truncate(mode))
}

/// fchmodat(2) of a name that is not a link.
///
/// # Errors
/// Those of fchmodat(2); `EOPNOTSUPP` for a link.
pub fn set_mode_at(directory: impl AsFd, name: &OsStr, mode: u32) -> Result<()> {
    stat::fchmodat(directory, name, Mode::from_bits_truncate(mode), FchmodatFlags::NoFollowSymlink)
}

/// fchown(2).
///
/// # Errors
/// Those of fchown(2); `EINVAL` for a number that the user namespace does not map.
pub fn set_owner(file: impl AsFd, owner: Owner) -> Result<()> {
    unistd::fchown(file, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

/// fchownat(2) with `AT_SYMLINK_NOFOLLOW`.
///
/// # Errors
/// Those of fchownat(2).
pub fn set_owner_at(directory: impl AsFd, name: &OsStr, owner: Owner) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
    unistd::fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// futimens(3): last access and last change become `time`.
///
/// # Errors
/// Those of utimensat(2).
pub fn set_time(file: impl AsFd, time: Time) -> Result<()> {
    stat::futimens(file, &time.spec(), &time.spec())
}

/// utimensat(2) with `AT_SYMLINK_NOFOLLOW`.
///
/// # Errors
/// Those of utimensat(2).
pub fn set_time_at(directory: impl AsFd, name: &OsStr, time: Time) -> Result<()> {
    stat::utimensat(directory, name, &time.spec(), &time.spec(), UtimensatFlags::NoFollowSymlink)
}

/// fsetxattr(2).
///
/// # Errors
/// Those of setxattr(2); `EOPNOTSUPP` where the file system keeps none.
pub fn set_attribute(file: impl AsFd, name: &OsStr, value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(file, name, value, rustix::fs::XattrFlags::empty()).map_err(errno)
}

/// syncfs(2) of the file system that holds `file`.
///
/// # Errors
/// Those of syncfs(2); since Linux 5.8 also an earlier failure to write back.
pub fn sync_file_system(file: impl AsFd) -> Result<()> {
    unistd::syncfs(file)
}

/// getdents64(2) until the end: the names in `directory`, without `.` and `..`, in the
/// order of the kernel.
///
/// # Errors
/// Those of getdents64(2).
pub fn names(directory: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(directory).map_err(errno)? {
        let name = entry.map_err(errno)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// getdents64(2) from where `directory` stands: the names that are left, without `.` and `..`. Unlike
/// [`names`] it opens nothing; a descriptor gives its names once.
///
/// # Errors
/// Those of getdents64(2).
pub fn names_left(directory: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
    let mut entries = rustix::fs::RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry.map_err(errno)?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

/// geteuid(2).
#[must_use]
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// getegid(2).
#[must_use]
pub fn effective_gid() -> u32 {
    Gid::effective().as_raw()
}

/// Returns whether this process may look up names in the directory at `path` (access(2)).
#[must_use]
pub fn may_search(path: &Path) -> bool {
    unistd::access(path, unistd::AccessFlags::X_OK).is_ok()
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}

fn reduced(found: &stat::FileStat) -> Stat {
    const FORMAT: u32 = 0o170_000;
    let kind = match found.st_mode & FORMAT {
        0o100_000 => FileType::Regular,
        0o040_000 => FileType::Directory,
        0o120_000 => FileType::Symlink,
        0o010_000 => FileType::Fifo,
        0o020_000 => FileType::Character { major: libc::major(found.st_rdev) },
        _ => FileType::Other,
    };
    let size = u64::try_from(found.st_size).unwrap_or(0);
    let owner = Owner { uid: found.st_uid, gid: found.st_gid };
    Stat { kind, device: found.st_dev, inode: found.st_ino, size, mode: found.st_mode & 0o7777, owner }
}

/// With a scoped flag openat2 may answer `EAGAIN` while anything on the machine is renamed
/// (openat2(2), `RESOLVE_IN_ROOT`), which is no answer about this path.
fn retry(mut call: impl FnMut() -> Result<OwnedFd>) -> Result<OwnedFd> {
    const ATTEMPTS: u32 = 128;
    for _ in 1..ATTEMPTS {
        match call() {
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            answer => return answer,
        }
    }
    call()
}
