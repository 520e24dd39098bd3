//! Mounts: the file-descriptor API of Linux 5.2 and 5.12, and the two old calls that
//! are cheaper where a path is safe.
#![expect(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, c_char, c_long, c_void};

use super::{Fd, Sys, check, check_fd};

/// MOUNT_ATTR_* of mount_setattr(2).
pub const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NO_EXEC: u64 = libc::MOUNT_ATTR_NOEXEC;
pub const NO_SYMLINKS: u64 = 0x0020_0000;

const EMPTY: &CStr = c"";

/// Clones the mounts at `path`, relative to `directory`, with all below, into a tree that
/// is attached nowhere (open_tree(2)). Follows symbolic links.
pub fn clone_tree(directory: Fd, path: &CStr) -> Sys<Fd> {
    const AT_RECURSIVE: u32 = 0x8000;
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | AT_RECURSIVE;
    if path.is_empty() {
        flags |= 0x1000; // AT_EMPTY_PATH
    }
    // SAFETY: `path` is NUL-terminated; open_tree(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_open_tree, directory.0, path.as_ptr(), flags) };
    check_fd(returned)
}

/// The same for what is at `path` itself, also where that is a symbolic link.
pub fn clone_place(path: &CStr) -> Sys<Fd> {
    const AT_RECURSIVE: u32 = 0x8000;
    const AT_NOFOLLOW: u32 = 0x100;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_NOFOLLOW;
    // SAFETY: `path` is NUL-terminated; open_tree(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    check_fd(returned)
}

/// Sets `attributes` on every mount of a tree and makes them private; with a user
/// namespace, maps the ids of their files through it (MOUNT_ATTR_IDMAP).
pub fn set_attributes(tree: Fd, attributes: u64, idmap: Option<Fd>) -> Sys<()> {
    const AT_RECURSIVE: c_long = 0x8000;
    // SAFETY: mount_attr is plain integers, for which zero is a value.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = attributes;
    attr.propagation = libc::MS_PRIVATE;
    if let Some(namespace) = idmap {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = u64::try_from(namespace.0).unwrap_or(u64::MAX);
    }
    let flags = AT_RECURSIVE | c_long::from(libc::AT_EMPTY_PATH);
    set(tree, EMPTY, flags, &attr)
}

/// Makes the one mount at `path` read-only, nothing below it.
pub fn make_read_only(path: &CStr) -> Sys<()> {
    // SAFETY: mount_attr is plain integers, for which zero is a value.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = READ_ONLY;
    set(Fd(libc::AT_FDCWD), path, 0, &attr)
}

/// Makes every mount of this root private and `nosuid`, in one call.
pub fn seal_all() -> Sys<()> {
    const AT_RECURSIVE: c_long = 0x8000;
    // SAFETY: mount_attr is plain integers, for which zero is a value.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = NO_SUID;
    attr.propagation = libc::MS_PRIVATE;
    set(Fd(libc::AT_FDCWD), c"/", AT_RECURSIVE, &attr)
}

fn set(directory: Fd, path: &CStr, flags: c_long, attr: &libc::mount_attr) -> Sys<()> {
    let size = size_of::<libc::mount_attr>();
    // SAFETY: `path` is NUL-terminated and `attr` is a live mount_attr of `size` bytes.
    let returned = unsafe {
        libc::syscall(libc::SYS_mount_setattr, directory.0, path.as_ptr(), flags, std::ptr::from_ref(attr), size)
    };
    check(returned).map(drop)
}

/// Opens a context in which a file system is configured (fsopen(2)).
pub fn open_filesystem(name: &CStr) -> Sys<Fd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    // SAFETY: `name` is NUL-terminated; fsopen(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) };
    check_fd(returned)
}

/// Sets one option of a context; an empty value makes it a flag (fsconfig(2)).
pub fn set_option(context: Fd, key: &CStr, value: &CStr) -> Sys<()> {
    const SET_FLAG: u32 = 0;
    const SET_STRING: u32 = 1;
    let (command, value): (u32, *const c_char) =
        if value.is_empty() { (SET_FLAG, std::ptr::null()) } else { (SET_STRING, value.as_ptr()) };
    // SAFETY: `key` and a non-null `value` are NUL-terminated; fsconfig(2) only reads them.
    let returned = unsafe { libc::syscall(libc::SYS_fsconfig, context.0, command, key.as_ptr(), value, 0) };
    check(returned).map(drop)
}

/// Makes the file system of a context and returns a mount of it, attached nowhere.
pub fn make_mount(context: Fd, attributes: u64) -> Sys<Fd> {
    const CMD_CREATE: u32 = 6;
    const FSMOUNT_CLOEXEC: u32 = 1;
    let null = std::ptr::null::<c_char>();
    // SAFETY: FSCONFIG_CMD_CREATE takes no key and no value.
    let returned = unsafe { libc::syscall(libc::SYS_fsconfig, context.0, CMD_CREATE, null, null, 0) };
    check(returned)?;
    // SAFETY: fsmount(2) touches no memory.
    let returned = unsafe { libc::syscall(libc::SYS_fsmount, context.0, FSMOUNT_CLOEXEC, attributes) };
    check_fd(returned)
}

/// Attaches a detached tree at `path` (move_mount(2)).
pub fn attach(tree: Fd, path: &CStr) -> Sys<()> {
    const F_EMPTY_PATH: u32 = 4;
    const T_SYMLINKS: u32 = 0x10;
    let flags = F_EMPTY_PATH | T_SYMLINKS;
    // SAFETY: both paths are NUL-terminated; move_mount(2) only reads them.
    let returned =
        unsafe { libc::syscall(libc::SYS_move_mount, tree.0, EMPTY.as_ptr(), libc::AT_FDCWD, path.as_ptr(), flags) };
    check(returned).map(drop)
}

/// Attaches a detached tree at `path` itself, also where that is a symbolic link (move_mount(2)).
pub fn attach_place(tree: Fd, path: &CStr) -> Sys<()> {
    const F_EMPTY_PATH: u32 = 4;
    let (empty, path) = (EMPTY.as_ptr(), path.as_ptr());
    // SAFETY: both paths are NUL-terminated; move_mount(2) only reads them.
    let returned = unsafe { libc::syscall(libc::SYS_move_mount, tree.0, empty, libc::AT_FDCWD, path, F_EMPTY_PATH) };
    check(returned).map(drop)
}

/// Mounts a new file system at `path` with MS_* `flags` and options in `data` (mount(2)).
pub fn mount(name: &CStr, path: &CStr, flags: u64, data: &CStr) -> Sys<()> {
    let data: *const c_void = if data.is_empty() { std::ptr::null() } else { data.as_ptr().cast() };
    // SAFETY: the strings are NUL-terminated; mount(2) only reads them, and null data is allowed.
    let returned = unsafe { libc::syscall(libc::SYS_mount, name.as_ptr(), path.as_ptr(), name.as_ptr(), flags, data) };
    check(returned).map(drop)
}

/// Shows what is at `source` at `path` as well, without what is mounted below it (MS_BIND of mount(2)).
pub fn bind(source: &CStr, path: &CStr) -> Sys<()> {
    let null = std::ptr::null::<c_char>();
    // SAFETY: the strings are NUL-terminated and only read; a bind takes neither a type nor data.
    let returned = unsafe { libc::syscall(libc::SYS_mount, source.as_ptr(), path.as_ptr(), null, libc::MS_BIND, null) };
    check(returned).map(drop)
}

/// Makes every mount of this namespace private, recursively.
pub fn make_all_private() -> Sys<()> {
    let null = std::ptr::null::<c_char>();
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: changing propagation needs only the target, which is a static string.
    let returned = unsafe { libc::syscall(libc::SYS_mount, null, c"/".as_ptr(), null, flags, null) };
    check(returned).map(drop)
}

/// Swaps the root for the mount that is the working directory, which then lies below the
/// old root's place: `pivot_root(".", ".")` of pivot_root(2).
pub fn pivot_here() -> Sys<()> {
    let here = c".".as_ptr();
    // SAFETY: the string is static; pivot_root(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_pivot_root, here, here) };
    check(returned).map(drop)
}

/// Detaches the mount that is on top of the working directory, with all below.
pub fn detach_here() -> Sys<()> {
    // SAFETY: the string is static; umount2(2) only reads it.
    let returned = unsafe { libc::syscall(libc::SYS_umount2, c".".as_ptr(), libc::MNT_DETACH) };
    check(returned).map(drop)
}
