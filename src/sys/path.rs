//! Files and directories by path.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::CStr;

use super::{Errno, Fd, Sys, check, check_fd};

/// Makes a directory.
pub fn make_dir(path: &CStr, mode: u32) -> Sys<()> {
    make_dir_at(Fd(libc::AT_FDCWD), path, mode)
}

/// Makes a directory at `path` relative to `directory`.
pub fn make_dir_at(directory: Fd, path: &CStr, mode: u32) -> Sys<()> {
    // SAFETY: `path` is NUL-terminated; mkdirat(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_mkdirat, directory.0, path.as_ptr(), mode) };
    check(returned).map(drop)
}

/// Makes an empty regular file with one call; one that is there is EEXIST.
pub fn make_file(path: &CStr, mode: u32) -> Sys<()> {
    // SAFETY: `path` is NUL-terminated; mknodat(2) only reads it.
    let returned =
        unsafe { libc::syscall(libc::SYS_mknodat, libc::AT_FDCWD, path.as_ptr(), libc::S_IFREG | mode, 0u64) };
    check(returned).map(drop)
}

/// Makes a symbolic link at `path`.
pub fn make_symlink(target: &CStr, path: &CStr) -> Sys<()> {
    // SAFETY: both are NUL-terminated; symlinkat(2) only reads them.
    let returned = unsafe { libc::syscall(libc::SYS_symlinkat, target.as_ptr(), libc::AT_FDCWD, path.as_ptr()) };
    check(returned).map(drop)
}

/// Removes a directory.
pub fn remove_dir(path: &CStr) -> Sys<()> {
    // SAFETY: `path` is NUL-terminated; unlinkat(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), libc::AT_REMOVEDIR) };
    check(returned).map(drop)
}

/// Changes the permission bits of an open file.
pub fn change_mode_of(file: Fd, mode: u32) -> Sys<()> {
    // SAFETY: fchmod(2) takes integers only.
    check(unsafe { libc::syscall(libc::SYS_fchmod, file.0, mode) }).map(drop)
}

/// Sets the mask of new files' permission bits.
pub fn set_umask(mask: u32) {
    // SAFETY: umask(2) touches no memory and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Makes an open directory the working directory.
pub fn change_dir_to(directory: Fd) -> Sys<()> {
    // SAFETY: fchdir(2) touches no memory.
    let returned = unsafe { libc::syscall(libc::SYS_fchdir, directory.0) };
    check(returned).map(drop)
}

/// Makes the working directory the root (chroot(2)).
pub fn change_root_here() -> Sys<()> {
    // SAFETY: the string is static; chroot(2) only reads it.
    check(unsafe { libc::syscall(libc::SYS_chroot, c".".as_ptr()) }).map(drop)
}

/// Writes the absolute name of the working directory into `buffer`; returns whether
/// it starts with `/`, which it does not when the directory is outside the root (getcwd(2)).
pub fn working_dir_is_reachable(buffer: &mut [u8]) -> Sys<bool> {
    // SAFETY: getcwd(2) writes at most `buffer.len()` bytes into `buffer`.
    let returned = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    check(returned).map(|_| buffer.first() == Some(&b'/'))
}

/// Returns whether the file system at `path` has no free block or no free inode left (statfs(2)).
pub fn is_full(path: &CStr) -> Sys<bool> {
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `path` is NUL-terminated; statfs(2) fills one struct.
    let returned = unsafe { libc::statfs(path.as_ptr(), facts.as_mut_ptr()) };
    check(returned.into())?;
    // SAFETY: all of it was zeroed, and the call filled it.
    let facts = unsafe { facts.assume_init() };
    Ok((facts.f_blocks > 0 && facts.f_bfree == 0) || (facts.f_files > 0 && facts.f_ffree == 0))
}

/// Returns how many names `path` has (stat(2)). A directory of a cgroup hierarchy has two and one more for each
/// group below it.
pub fn links(path: &CStr) -> Sys<u64> {
    let mut facts = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `path` is NUL-terminated; stat(2) fills one struct.
    let returned = unsafe { libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), facts.as_mut_ptr(), 0) };
    check(returned)?;
    // SAFETY: all of it was zeroed, and the call filled it.
    Ok(unsafe { facts.assume_init() }.st_nlink)
}

/// Refuses an open file that is neither a character nor a block device (fstat(2)): ENODEV.
pub fn require_device(file: Fd) -> Sys<()> {
    let mut facts = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: fstat(2) fills one struct.
    let returned = unsafe { libc::syscall(libc::SYS_fstat, file.0, facts.as_mut_ptr()) };
    check(returned)?;
    // SAFETY: all of it was zeroed, and the call filled it.
    match unsafe { facts.assume_init() }.st_mode & libc::S_IFMT {
        libc::S_IFCHR | libc::S_IFBLK => Ok(()),
        _ => Err(Errno::ENODEV),
    }
}

/// Refuses an open directory that is not of a procfs (fstatfs(2)): ENODEV.
pub fn require_procfs(directory: Fd) -> Sys<()> {
    const PROC_SUPER_MAGIC: i128 = 0x9fa0;
    let mut facts = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: fstatfs(2) fills one struct.
    let returned = unsafe { libc::syscall(libc::SYS_fstatfs, directory.0, facts.as_mut_ptr()) };
    check(returned)?;
    // SAFETY: all of it was zeroed, and the call filled it.
    // Unsigned in musl, signed in glibc.
    let kind = i128::from(unsafe { facts.assume_init() }.f_type);
    if kind == PROC_SUPER_MAGIC { Ok(()) } else { Err(Errno::ENODEV) }
}

/// Opens `path` as open(2) does, but through no magic link of procfs (openat2(2), Linux 5.6).
pub fn open_without_magic(path: &CStr, flags: i32) -> Sys<Fd> {
    open_resolved(Fd(libc::AT_FDCWD), path, flags, libc::RESOLVE_NO_MAGICLINKS)
}

/// Opens `path` below `root` as if `root` were `/`, never through a magic link (openat2(2), Linux 5.6).
pub fn open_in_root(root: Fd, path: &CStr, flags: i32) -> Sys<Fd> {
    open_resolved(root, path, flags, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
}

/// Opens `path` below `root`, following no link and never leaving it (openat2(2), Linux 5.6).
pub fn open_beneath(root: Fd, path: &CStr, flags: i32) -> Sys<Fd> {
    open_resolved(root, path, flags, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS)
}

/// Refuses a root that something is mounted on: EXDEV. Paths begin below such a mount, but `..` at the root climbs
/// onto it (path_resolution(7); `RESOLVE_NO_XDEV` of openat2(2)).
pub fn require_bare_root() -> Sys<()> {
    let top = open_resolved(Fd(libc::AT_FDCWD), c"/..", libc::O_PATH, libc::RESOLVE_NO_XDEV)?;
    super::fd::close(top)
}

/// How often a way is tried while the machine changes under it.
const ATTEMPTS: u32 = 1000;

/// What is made has mode 0666, less the umask.
fn open_resolved(root: Fd, path: &CStr, flags: i32, resolve: u64) -> Sys<Fd> {
    // SAFETY: open_how is plain integers, for which zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::try_from(flags | libc::O_CLOEXEC).unwrap_or(0);
    how.mode = if flags & libc::O_CREAT == 0 { 0 } else { 0o666 };
    how.resolve = resolve;
    let (size, mut attempts) = (size_of::<libc::open_how>(), ATTEMPTS);
    loop {
        // SAFETY: `path` is NUL-terminated and `how` is a live open_how of `size` bytes.
        let returned = unsafe { libc::syscall(libc::SYS_openat2, root.0, path.as_ptr(), &raw const how, size) };
        match check_fd(returned) {
            // Something on the machine was moved or mounted while `..` was resolved: openat2(2) asks to try again.
            Err(Errno::EAGAIN) if attempts > 0 => attempts -= 1,
            answer => return answer,
        }
    }
}
