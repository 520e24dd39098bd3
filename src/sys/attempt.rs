//! Tries system calls in a child that is thrown away, so that nothing of this process
//! changes. What runs in the child must not allocate, lock or panic.

#![expect(unsafe_code, reason = "system calls that nix does not wrap, and a fork without handlers")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{self, c_int, c_long, c_uint};
use nix::errno::Errno;
use nix::fcntl::{self, AT_FDCWD, OFlag};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{self, Pid};

/// The flags of clone(2) and unshare(2) that ask for namespaces.
pub mod namespace {
    use nix::libc;

    pub const USER: libc::c_int = libc::CLONE_NEWUSER;
    pub const MOUNT: libc::c_int = libc::CLONE_NEWNS;
    pub const PID: libc::c_int = libc::CLONE_NEWPID;
    pub const NET: libc::c_int = libc::CLONE_NEWNET;
    pub const IPC: libc::c_int = libc::CLONE_NEWIPC;
    pub const UTS: libc::c_int = libc::CLONE_NEWUTS;
    pub const CGROUP: libc::c_int = libc::CLONE_NEWCGROUP;
    /// Only for unshare(2): the bit is part of clone(2)'s signal number.
    pub const TIME: libc::c_int = 0x80;
}

/// One thing to try: its name and what does it, with the errno of a failure.
pub type Step<'a> = (&'static str, &'a dyn Fn() -> Result<(), i32>);

/// Which step failed and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub step: &'static str,
    pub errno: i32,
}

/// Runs `steps` one after the other in a child that has the new namespaces `flags`.
///
/// # Errors
/// The first step that failed; `clone` where there was no child at all; `answer` where the
/// child ended without one.
pub fn attempt(flags: c_int, steps: &[Step<'_>]) -> Result<(), Failure> {
    let (mut answer, question) = io::pipe().map_err(|error| failure("pipe", &error))?;
    let Some(child) = fork(flags).map_err(|errno| Failure { step: "clone", errno: errno as i32 })? else {
        let mut message = [0; 8];
        if let Some((index, errno)) = first_failure(steps) {
            message[..4].copy_from_slice(&index.to_ne_bytes());
            message[4..].copy_from_slice(&errno.to_ne_bytes());
        }
        let sent = (&question).write_all(&message);
        quit(c_int::from(sent.is_err()));
    };
    drop(question);
    let mut message = [0; 8];
    let read = answer.read_exact(&mut message);
    let reaped = waitpid(child, None);
    read.map_err(|error| failure("answer", &error))?;
    reaped.map_err(|errno| Failure { step: "wait", errno: errno as i32 })?;
    let [a, b, c, d, e, f, g, h] = message;
    match i32::from_ne_bytes([e, f, g, h]) {
        0 => Ok(()),
        errno => {
            let index = usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            Err(Failure { step: steps.get(index).map_or("answer", |(name, _)| *name), errno })
        }
    }
}

fn first_failure(steps: &[Step<'_>]) -> Option<(u32, i32)> {
    (0..).zip(steps).find_map(|(index, (_, step))| Some((index, step().err()?)))
}

fn failure(step: &'static str, error: &io::Error) -> Failure {
    Failure { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

/// A child in a user namespace of its own that waits until this is dropped.
#[derive(Debug)]
pub struct Holder {
    child: Pid,
    /// Its end of file lets the child go.
    leash: Option<io::PipeWriter>,
}

impl Holder {
    /// Starts the child; its id maps are empty.
    ///
    /// # Errors
    /// Those of pipe2(2) and clone(2).
    pub fn new() -> Result<Self, Failure> {
        let (mut end, leash) = io::pipe().map_err(|error| failure("pipe", &error))?;
        match fork(namespace::USER).map_err(|errno| Failure { step: "clone", errno: errno as i32 })? {
            Some(child) => Ok(Self { child, leash: Some(leash) }),
            None => {
                drop(leash);
                let count = end.read(&mut [0]);
                quit(c_int::from(count.is_err()));
            }
        }
    }

    /// Returns the child's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.as_raw()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.leash.take());
        // The child cannot fail to end, and there is no one to tell.
        let _reaped = waitpid(self.child, None);
    }
}

/// clone(2) as fork(2), without the handlers of the C library: `None` in the child.
fn fork(flags: c_int) -> Result<Option<Pid>, Errno> {
    let flags = c_long::from(flags | libc::SIGCHLD);
    let none = ptr::null_mut::<libc::c_void>();
    // SAFETY: no stack is given and CLONE_VM is not asked for, so the child runs on a copy
    // of this stack as after fork(2); the callers do only what is safe there.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    let pid = i32::try_from(Errno::result(result)?).map_err(|_| Errno::EOVERFLOW)?;
    Ok(match pid {
        0 => None,
        child => Some(Pid::from_raw(child)),
    })
}

fn quit(status: c_int) -> ! {
    // SAFETY: _exit(2) takes any status and touches no memory.
    unsafe { libc::_exit(status) }
}

fn owned(result: c_long) -> Result<OwnedFd, i32> {
    let number = c_int::try_from(Errno::result(result).map_err(|errno| errno as i32)?).map_err(|_| libc::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn done(result: c_long) -> Result<(), i32> {
    Errno::result(result).map(drop).map_err(|errno| errno as i32)
}

/// Writes `bytes` to a file with one write(2).
///
/// # Errors
/// The errno of openat(2) or write(2).
pub fn put(path: &CStr, bytes: &[u8]) -> Result<(), i32> {
    let write = || {
        let file = fcntl::openat(AT_FDCWD, path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        unistd::write(file, bytes)
    };
    write().map(drop).map_err(|errno: Errno| errno as i32)
}

/// mkdir(2) with mode 0700.
///
/// # Errors
/// The errno.
pub fn make_dir(path: &CStr) -> Result<(), i32> {
    unistd::mkdir(path, Mode::S_IRWXU).map_err(|errno| errno as i32)
}

/// unshare(2).
///
/// # Errors
/// The errno.
pub fn unshare(flags: c_int) -> Result<(), i32> {
    // SAFETY: it takes flags only.
    done(c_long::from(unsafe { libc::unshare(flags) }))
}

/// mount(2) of a new file system of type `kind`.
///
/// # Errors
/// The errno; `ENODEV` where the kernel does not know the type.
pub fn mount(kind: &CStr, target: &CStr, options: &CStr) -> Result<(), i32> {
    let nosuid = libc::MS_NOSUID | libc::MS_NODEV;
    // SAFETY: all four are C strings that live through the call.
    let result = unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), nosuid, options.as_ptr().cast()) };
    done(c_long::from(result))
}

/// fsopen(2).
///
/// # Errors
/// The errno; `ENODEV` where the kernel does not know the type.
pub fn fsopen(kind: &CStr) -> Result<OwnedFd, i32> {
    // SAFETY: `kind` is a C string that lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) })
}

/// fsconfig(2) with `FSCONFIG_CMD_CREATE`.
///
/// # Errors
/// The errno.
pub fn create(context: BorrowedFd<'_>) -> Result<(), i32> {
    const FSCONFIG_CMD_CREATE: c_uint = 6;
    let none = ptr::null::<libc::c_char>();
    // SAFETY: the command takes neither key nor value.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) })
}

/// fsmount(2), which says `EPERM` for a proc that would show more than the one there is.
///
/// # Errors
/// The errno.
pub fn fsmount(context: BorrowedFd<'_>) -> Result<OwnedFd, i32> {
    // SAFETY: it takes a descriptor and flags only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), 1, 0) })
}

/// open_tree(2) with `OPEN_TREE_CLONE`.
///
/// # Errors
/// The errno.
pub fn open_tree(path: &CStr) -> Result<OwnedFd, i32> {
    const OPEN_TREE_CLONE: c_int = 1;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC;
    // SAFETY: `path` is a C string that lives through the call.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// What [`mount_setattr`] changes.
#[derive(Debug, Clone, Copy)]
pub enum Attribute<'a> {
    ReadOnly,
    /// `MOUNT_ATTR_IDMAP` with the maps of this user namespace.
    IdMap(&'a File),
}

/// mount_setattr(2) of the mount `tree` itself.
///
/// # Errors
/// The errno; `EINVAL` where the file system does not support id maps.
pub fn mount_setattr(tree: BorrowedFd<'_>, attribute: Attribute<'_>) -> Result<(), i32> {
    let (attr_set, userns_fd) = match attribute {
        Attribute::ReadOnly => (libc::MOUNT_ATTR_RDONLY, 0),
        Attribute::IdMap(namespace) => {
            (libc::MOUNT_ATTR_IDMAP, u64::try_from(namespace.as_fd().as_raw_fd()).map_err(|_| libc::EBADF)?)
        }
    };
    let change = libc::mount_attr { attr_set, attr_clr: 0, propagation: 0, userns_fd };
    let (number, path) = (tree.as_raw_fd(), c"".as_ptr());
    // SAFETY: `path` and `change` live through the call, and the size is that of `change`.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            number,
            path,
            libc::AT_EMPTY_PATH,
            ptr::from_ref(&change),
            size_of::<libc::mount_attr>(),
        )
    })
}

/// close_range(2) of a range in which no descriptor can be.
///
/// # Errors
/// The errno; `ENOSYS` before Linux 5.9.
pub fn close_range() -> Result<(), i32> {
    // SAFETY: no descriptor has this number.
    done(unsafe { libc::syscall(libc::SYS_close_range, c_uint::MAX, c_uint::MAX, 0) })
}

/// clone3(2) with a size that is refused before anything is read.
///
/// # Errors
/// The errno; `ENOSYS` where it is missing or a seccomp filter hides it.
pub fn clone3() -> Result<(), i32> {
    // SAFETY: a size of 0 is refused with EINVAL, so no process is made.
    match done(unsafe { libc::syscall(libc::SYS_clone3, ptr::null::<libc::c_void>(), 0) }) {
        Err(libc::EINVAL) => Ok(()),
        other => other,
    }
}

/// openat2(2) of `/` with `RESOLVE_IN_ROOT`.
///
/// # Errors
/// The errno; `ENOSYS` before Linux 5.6.
pub fn openat2() -> Result<(), i32> {
    let how =
        fcntl::OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(fcntl::ResolveFlag::RESOLVE_IN_ROOT);
    fcntl::openat2(AT_FDCWD, c"/", how).map(drop).map_err(|errno| errno as i32)
}

/// pidfd_open(2) of this process.
///
/// # Errors
/// The errno; `ENOSYS` before Linux 5.3.
pub fn pidfd_open() -> Result<(), i32> {
    // SAFETY: it takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, unistd::getpid().as_raw(), 0) }).map(drop)
}

/// seccomp(2) with `SECCOMP_GET_ACTION_AVAIL` for `SECCOMP_RET_USER_NOTIF`, the latest
/// action that sbx can use (Linux 5.0).
///
/// # Errors
/// The errno; `EOPNOTSUPP` where the action is not known, `ENOSYS` without seccomp.
pub fn seccomp_notify() -> Result<(), i32> {
    let action = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: `action` lives through the call, which only reads it.
    done(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, ptr::from_ref(&action)) })
}
