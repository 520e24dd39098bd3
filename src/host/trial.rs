//! Tries on this machine what a sandbox is made of, each in a child that is thrown away.
//! It leaves nothing behind and judges nothing.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::host::Caller;
use crate::sys::attempt::{self as kernel, Attribute, Failure, Holder, Step, attempt, namespace};
use crate::sys::{Errno, net};

type Outcome = Result<(), Failure>;

/// Tries a user namespace with the caller as its root, and then `more` in it.
fn in_user_namespace(caller: Caller, flags: i32, more: &[Step<'_>]) -> Outcome {
    let (users, groups) = (format!("0 {} 1", caller.uid), format!("0 {} 1", caller.gid));
    let deny = || kernel::put(c"/proc/self/setgroups", b"deny");
    let users = || kernel::put(c"/proc/self/uid_map", users.as_bytes());
    let groups = || kernel::put(c"/proc/self/gid_map", groups.as_bytes());
    let mut steps: Vec<Step<'_>> = vec![("setgroups", &deny), ("uid_map", &users), ("gid_map", &groups)];
    steps.extend_from_slice(more);
    attempt(namespace::USER | flags, &steps)
}

/// Tries a user namespace with both id maps.
///
/// # Errors
/// The step `clone`, `setgroups`, `uid_map` or `gid_map` and its errno.
pub fn user_namespace(caller: Caller) -> Outcome {
    in_user_namespace(caller, 0, &[])
}

/// Tries a namespace of one more kind inside a user namespace.
///
/// # Errors
/// The step `unshare`, or those of [`user_namespace`].
pub fn other_namespace(caller: Caller, flags: i32) -> Outcome {
    let unshare = || kernel::unshare(flags);
    in_user_namespace(caller, 0, &[("unshare", &unshare)])
}

/// Tries a fresh proc of a new pid namespace.
///
/// # Errors
/// The step `fsopen`, `fsconfig` or `fsmount`, or those of [`user_namespace`].
pub fn fresh_proc(caller: Caller) -> Outcome {
    let mount = || new_mount(c"proc").map(drop);
    in_user_namespace(caller, namespace::MOUNT | namespace::PID, &[("mount", &mount)])
}

/// Tries a tmpfs by the new mount calls and makes it read-only.
///
/// # Errors
/// The step `mount` or `mount_setattr`, or those of [`user_namespace`].
pub fn tmpfs(caller: Caller) -> Outcome {
    let mount = || new_mount(c"tmpfs").map(drop);
    let change = || kernel::mount_setattr(new_mount(c"tmpfs")?.as_fd(), Attribute::ReadOnly);
    in_user_namespace(caller, namespace::MOUNT, &[("mount", &mount), ("mount_setattr", &change)])
}

fn new_mount(kind: &CStr) -> Result<std::os::fd::OwnedFd, i32> {
    let context = kernel::fsopen(kind)?;
    kernel::create(context.as_fd())?;
    kernel::fsmount(context.as_fd())
}

/// Tries an overlay whose writable part is a tmpfs.
///
/// # Errors
/// The step `tmpfs`, `mkdir` or `mount`, or those of [`user_namespace`].
pub fn overlay(caller: Caller) -> Outcome {
    // The mount covers /tmp in the child's mount namespace only.
    let scratch = || kernel::mount(c"tmpfs", c"/tmp", c"size=64k");
    let dirs = || [c"/tmp/l", c"/tmp/u", c"/tmp/w", c"/tmp/m"].into_iter().try_for_each(kernel::make_dir);
    let mount = || kernel::mount(c"overlay", c"/tmp/m", c"lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w,userxattr");
    in_user_namespace(caller, namespace::MOUNT, &[("tmpfs", &scratch), ("mkdir", &dirs), ("mount", &mount)])
}

/// Tries an id-mapped mount of `dir`, as root.
///
/// # Errors
/// The step `uid_map`, `open_tree` or `mount_setattr`; `EINVAL` where the file system has none.
pub fn id_mapped_mount(dir: &CStr) -> Outcome {
    let holder = Holder::new()?;
    for map in ["uid_map", "gid_map"] {
        let path = format!("/proc/{}/{map}", holder.pid());
        std::fs::write(path, "0 100000 65536").map_err(|error| io_failure("uid_map", &error))?;
    }
    let maps = File::open(format!("/proc/{}/ns/user", holder.pid())).map_err(|error| io_failure("uid_map", &error))?;
    let tree = || kernel::open_tree(dir).map(drop);
    let change = || kernel::mount_setattr(kernel::open_tree(dir)?.as_fd(), Attribute::IdMap(&maps));
    attempt(namespace::MOUNT, &[("open_tree", &tree), ("mount_setattr", &change)])
}

fn io_failure(step: &'static str, error: &std::io::Error) -> Failure {
    Failure { step, errno: error.raw_os_error().unwrap_or(0) }
}

/// Messages to the kernel's network, and what they are for.
#[derive(Debug)]
pub struct Asked {
    pub step: &'static str,
    /// NETLINK_ROUTE or NETLINK_NETFILTER.
    pub protocol: i32,
    pub messages: Vec<u8>,
}

/// Sends `asked` in a network of its own in which `lo` is up, and opens a socket that takes what is for others.
///
/// # Errors
/// The step `lo`, one of `asked` or `IP_TRANSPARENT`, or those of [`user_namespace`].
pub fn network(caller: Caller, asked: &[Asked]) -> Outcome {
    let number = |errno: Errno| errno as i32;
    let up = || net::loopback_up().map_err(number);
    let transparent = || {
        let socket = net::socket(libc::AF_INET, libc::SOCK_STREAM, 0).map_err(number)?;
        net::set_option(socket, (libc::IPPROTO_IP, libc::IP_TRANSPARENT), &1i32.to_ne_bytes()).map_err(number)
    };
    let sends: Vec<_> =
        asked.iter().map(|it| (it.step, || net::ask_kernel(it.protocol, &it.messages).map_err(number))).collect();
    let mut steps: Vec<Step<'_>> = vec![("lo", &up)];
    steps.extend(sends.iter().map(|(step, send)| -> Step<'_> { (step, send) }));
    steps.push(("IP_TRANSPARENT", &transparent));
    in_user_namespace(caller, namespace::NET, &steps)
}

/// Tries `newuidmap` or `newgidmap` with the range of /etc/subuid or /etc/subgid.
///
/// # Errors
/// What it printed, or why it could not be started.
pub fn subordinate_ids(program: &Path, own: u32, start: u32, count: u32) -> Result<(), String> {
    let holder = Holder::new().map_err(|failure| format!("{}: errno {}", failure.step, failure.errno))?;
    let numbers = [0, own, 1, 1, start, count].map(|number| number.to_string());
    let output = Command::new(program)
        .arg(holder.pid().to_string())
        .args(numbers)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")),
    }
}
