//! Questions to the kernel about files and about the caller, for `host`. It changes
//! nothing.
#![expect(unsafe_code, reason = "system calls")]

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::Mode;
use nix::sys::statfs::{self, FsType};
use nix::unistd::{self, AccessFlags};

/// Errno of a file system that is mounted read-only.
pub const EROFS: i32 = libc::EROFS;
/// Errno of a path that is not there.
pub const ENOENT: i32 = libc::ENOENT;
pub const EPERM: i32 = libc::EPERM;
pub const EACCES: i32 = libc::EACCES;
pub const ENODEV: i32 = libc::ENODEV;
pub const ENOSPC: i32 = libc::ENOSPC;
pub const ENOSYS: i32 = libc::ENOSYS;
pub const EOPNOTSUPP: i32 = libc::EOPNOTSUPP;
pub const EPROTONOSUPPORT: i32 = libc::EPROTONOSUPPORT;
pub const EAFNOSUPPORT: i32 = libc::EAFNOSUPPORT;

/// Returns an errno as people write it: `EPERM, Operation not permitted`.
#[must_use]
pub fn describe(errno: i32) -> String {
    let errno = Errno::from_raw(errno);
    format!("{errno:?}, {}", errno.desc())
}

/// What kind of file system holds a path, as far as it matters for cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// `CGROUP_SUPER_MAGIC`: one hierarchy of version 1.
    Cgroup,
    /// `CGROUP2_SUPER_MAGIC`: the hierarchy of version 2.
    Cgroup2,
    Other,
}

/// What [`access`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    /// To write the file.
    Write,
    /// To make an entry in the directory.
    MakeIn,
    Execute,
}

/// Returns the real user id that this program was started with: the kernel has put it beside the arguments
/// (getauxval(3)), and nothing here changes it.
#[must_use]
pub fn uid() -> u32 {
    beside_arguments(libc::AT_UID)
}

/// Returns the real group id that this program was started with.
#[must_use]
pub fn gid() -> u32 {
    beside_arguments(libc::AT_GID)
}

fn beside_arguments(kind: libc::c_ulong) -> u32 {
    // SAFETY: getauxval(3) takes an integer and reads what the kernel has left at the start of the stack.
    let value = unsafe { libc::getauxval(kind) };
    // An id has 32 bits; nobody is the one that stands for no id.
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Which user namespace this process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The machine's own.
    Initial,
    Other,
}

/// Returns the user namespace, by the inode of `/proc/self/ns/user`, which is fixed for the initial one
/// (`PROC_USER_INIT_INO` of the kernel). Without a procfs it counts as the initial one.
#[must_use]
pub fn user_namespace() -> Namespace {
    const PROC_USER_INIT_INO: u64 = 0xEFFF_FFFD;
    match nix::sys::stat::stat(c"/proc/self/ns/user") {
        Ok(found) if found.st_ino != PROC_USER_INIT_INO => Namespace::Other,
        Ok(_) | Err(_) => Namespace::Initial,
    }
}

/// Returns the kind of the file system that holds `path`, statfs(2).
///
/// # Errors
/// The errno of statfs(2): `ENOENT` where nothing is there, `EACCES`.
pub fn file_system(path: &Path) -> Result<FileSystem, i32> {
    const CGROUP_SUPER_MAGIC: FsType = statfs::CGROUP_SUPER_MAGIC;
    const CGROUP2_SUPER_MAGIC: FsType = statfs::CGROUP2_SUPER_MAGIC;
    match statfs::statfs(path).map_err(number)?.filesystem_type() {
        CGROUP2_SUPER_MAGIC => Ok(FileSystem::Cgroup2),
        CGROUP_SUPER_MAGIC => Ok(FileSystem::Cgroup),
        _ => Ok(FileSystem::Other),
    }
}

/// Asks whether the caller may use `path` in the given way, faccessat2(2) with the
/// effective ids; capabilities and read-only mounts are part of the answer.
///
/// # Errors
/// The errno: `EROFS` on a read-only mount, `EACCES`, `ENOENT`.
pub fn access(path: &Path, access: Access) -> Result<(), i32> {
    let mode = match access {
        Access::Read => AccessFlags::R_OK,
        Access::Write => AccessFlags::W_OK,
        Access::MakeIn => AccessFlags::W_OK | AccessFlags::X_OK,
        Access::Execute => AccessFlags::X_OK,
    };
    unistd::faccessat(AT_FDCWD, path, mode, AtFlags::empty()).map_err(number)
}

/// Returns the text of a file that the kernel makes up, with one open, one read and one
/// close where it has less than 4096 bytes.
///
/// # Errors
/// Those of open(2) and read(2); `InvalidData` where it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut file = open(path)?;
    let mut bytes = vec![0; 4096];
    let mut end = 0;
    loop {
        let count = file.read(&mut bytes[end..])?;
        end += count;
        if count == 0 || end < bytes.len() {
            bytes.truncate(end);
            return String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
        }
        bytes.resize(bytes.len() * 2, 0);
    }
}

/// Returns whether the first bytes of `path` are `text` and nothing comes after them.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn holds_only(path: &Path, text: &str) -> io::Result<Contents> {
    let mut bytes = [0; 64];
    let count = open(path)?.read(&mut bytes)?;
    Ok(match &bytes[..count] {
        [] => Contents::Empty,
        found if found == text.as_bytes() => Contents::Same,
        _ => Contents::Different,
    })
}

/// The answer of [`holds_only`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    Empty,
    Same,
    Different,
}

/// musl's open(3) makes a second system call for `O_CLOEXEC`, its openat(3) does not.
fn open(path: &Path) -> io::Result<File> {
    let file = fcntl::openat(AT_FDCWD, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    Ok(File::from(file))
}

fn number(errno: Errno) -> i32 {
    errno as i32
}
