//! The child side, between clone and exec: plays the tape, then becomes the command or
//! its init. It allocates nothing, formats nothing and never returns; an error is the
//! number of the step and the errno. The caller's descriptors are closed first, sbx's own
//! all at once at the end: what is open until then leads to the sandbox's trees only.

use std::ffi::{CStr, CString};

use crate::plan::{Tree, Write};
use crate::run::numbers::Dress;
use crate::run::tape::{Act, Tape, Ties};
use crate::run::verdict::{self, Verdict};
use crate::run::{fail, init, locks, posture, procfs, pty, way};
use crate::sys::{Errno, Fd, Sys, alloc, fd, memory, mount, net, path, process, rights, security};

/// Plays `tape` and never comes back.
pub fn play(tape: &mut Tape) -> ! {
    alloc::forbid();
    path::set_umask(0);
    if let Some(strings) = tape.caller {
        memory::erase(strings);
    }
    if let Err(errno) = close_others(&tape.kept) {
        verdict::send(tape.ties.status, &Verdict::ForkFailed { errno: errno as i32 });
        process::exit_now(1);
    }
    let Tape { acts, trees, failing, .. } = tape;
    for (step, act) in acts.iter().enumerate() {
        let done = if *failing == Some(step) { Err(fail::ERRNO) } else { perform(act, trees, &mut tape.ties) };
        if let Err(errno) = done {
            verdict::send(tape.ties.status, &Verdict::step_failed(step, errno));
            process::exit_now(1);
        }
    }
    if tape.ties.counted && await_parent(&tape.ties).is_err() {
        process::exit_now(1);
    }
    init::become_command(tape)
}

/// Closes every descriptor from 3 on that is not in `kept`, which is in ascending order; child-safe.
///
/// # Errors
/// The errno of close_range(2).
pub fn close_others(kept: &[Fd]) -> Sys<()> {
    let mut first = 3u32;
    for fd in kept {
        let Ok(number) = u32::try_from(fd.0) else { return Err(Errno::EBADF) };
        if let Some(last) = number.checked_sub(1).filter(|last| *last >= first) {
            fd::close_range(first, last)?;
        }
        first = first.max(number.saturating_add(1));
    }
    fd::close_range(first, u32::MAX)
}

fn perform(act: &Act, trees: &mut [Option<Fd>], ties: &mut Ties) -> Sys<()> {
    match act {
        Act::Nothing => Ok(()),
        Act::WriteMaps { uid_map, gid_map } => write_maps(uid_map, gid_map),
        Act::AwaitMaps => await_parent(ties),
        Act::SetIds { uid, gid, groups } => set_ids((*uid, *gid), groups),
        Act::LeaveRoot { uid, gid } => leave_root(*uid, *gid),
        Act::DieWithParent => die_with_parent(ties),
        Act::PrivateMounts => mount::make_all_private(),
        Act::BareRoot => path::require_bare_root(),
        Act::SealMounts => mount::seal_all(),
        Act::OpenTree { tree, below, source, dress } => {
            let opened = match below {
                Some(base) => clone_below(base, source)?,
                None => mount::clone_tree(Fd(libc::AT_FDCWD), source)?,
            };
            match dress {
                Dress::Attributes(attributes) => mount::set_attributes(opened, *attributes, None)?,
                Dress::AskedDevice => path::require_device(opened)?,
                Dress::Device => {}
            }
            keep(trees, *tree, opened)
        }
        Act::NewFilesystem { tree, name, options, attributes } => {
            let context = mount::open_filesystem(name)?;
            for (key, value) in options {
                mount::set_option(context, key, value)?;
            }
            keep(trees, *tree, mount::make_mount(context, *attributes)?)
        }
        Act::NewFile { tree, mode, content } => keep(trees, *tree, new_file(*mode, content)?),
        Act::HandOver(wanted) => hand_over(trees, wanted, ties.status),
        Act::Stage { tree, directories } => stage(taken(trees, *tree)?, directories),
        Act::AttachStaged { tree, directory } => mount::attach(taken(trees, *tree)?, directory),
        Act::MakeStaged { parent, name, mode } => tolerate(make_staged(parent, name, *mode)),
        Act::Pivot { tree } => pivot(taken(trees, *tree)?),
        Act::Attach { tree, destination } => mount::attach(taken(trees, *tree)?, destination),
        Act::Mount { name, destination, flags, options } => mount::mount(name, destination, *flags, options),
        Act::MakeDir { path, mode } => tolerate(path::make_dir(path, *mode)),
        Act::MakeFile { path, mode } => tolerate(path::make_file(path, *mode)),
        Act::MakeSymlink { path, target } => path::make_symlink(target, path),
        Act::OpenTerminal { look } => pty::open(look, ties.status).map(|end| ties.terminal = Some(end)),
        Act::ReadOnly { path } => mount::make_read_only(path),
        Act::Pin { path, write } => pin(path, *write),
        Act::JoinCgroup => ties.tasks.iter().try_for_each(|tasks| fd::write(*tasks, b"0").map(drop)),
        Act::Posture(act) => posture::perform(act),
        Act::UnshareCgroup => process::unshare(libc::CLONE_NEWCGROUP.unsigned_abs().into()),
        Act::UnshareTime { offsets } => unshare_time(offsets),
        Act::Hostname { name } => process::set_hostname(name),
        Act::LoopbackUp => net::loopback_up(),
        Act::Way(act) => way::perform(act, ties.status),
        Act::Rlimit { resource, value } => process::set_rlimit(*resource, *value),
        Act::LockMounts { flags, maps: [uids, gids] } => {
            locks::lock(*flags, [uids, gids])?;
            // What is armed goes with a change of rights.
            die_with_parent(ties)
        }
        Act::Capabilities { keep } => limit_capabilities(*keep),
        Act::NoNewPrivileges => security::no_new_privileges(),
        Act::Workdir { path } => enter(path),
    }
}

/// Both places are of the host and go before anything of the image is looked at.
fn clone_below(base: &CStr, source: &CStr) -> Sys<Fd> {
    let base = fd::open(base, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    let place = path::open_beneath(base, source, libc::O_PATH)?;
    let tree = mount::clone_tree(place, c"")?;
    fd::close(place)?;
    fd::close(base)?;
    Ok(tree)
}

/// A mount point can be neither moved nor removed, nor can anything be moved over it (EBUSY of rename(2)).
fn pin(path: &CStr, write: Write) -> Sys<()> {
    let tree = mount::clone_place(path)?;
    if write == Write::ReadOnly {
        mount::set_attributes(tree, mount::READ_ONLY, None)?;
    }
    mount::attach_place(tree, path)?;
    fd::close(tree)
}

fn keep(trees: &mut [Option<Fd>], number: usize, opened: Fd) -> Sys<()> {
    let slot = trees.get_mut(number).ok_or(Errno::EBADSLT)?;
    *slot = Some(opened);
    Ok(())
}

fn taken(trees: &mut [Option<Fd>], number: usize) -> Sys<Fd> {
    trees.get_mut(number).and_then(Option::take).ok_or(Errno::EBADSLT)
}

/// A mount point that is there already is as good as a new one.
fn tolerate(result: Sys<()>) -> Sys<()> {
    match result {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// A process may map its own ids without any right, once `setgroups` is denied (user_namespaces(7)).
fn write_maps(uid_map: &CStr, gid_map: &CStr) -> Sys<()> {
    procfs::write(c"/proc/self/setgroups", b"deny")?;
    procfs::write(c"/proc/self/uid_map", uid_map.to_bytes())?;
    procfs::write(c"/proc/self/gid_map", gid_map.to_bytes())
}

/// The end of the connection without a byte means that the parent is gone or has given up.
fn await_parent(ties: &Ties) -> Sys<()> {
    let mut byte = [0u8; 1];
    loop {
        match fd::read(ties.status, &mut byte) {
            Ok(0) => process::exit_now(1),
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// The kernel takes the capabilities from who becomes another than root, and the sandbox is still to be built.
fn set_ids((uid, gid): (u32, u32), groups: &[u32]) -> Sys<()> {
    if uid != 0 {
        security::no_setuid_fixup()?;
    }
    process::set_ids(uid, gid, groups)
}

/// Without a user namespace the rights to mount are root's own: they go with the capabilities, at the end.
fn leave_root(uid: u32, gid: u32) -> Sys<()> {
    security::keep_permitted()?;
    security::no_setuid_fixup()?;
    process::set_ids(uid, gid, &[])?;
    security::raise_permitted()
}

/// Arms the kernel, then looks whether the parent went before that.
fn die_with_parent(ties: &Ties) -> Sys<()> {
    process::signal_on_parent_death(ties.death_signal)?;
    if fd::peer_gone(ties.status)? {
        process::exit_now(1);
    }
    Ok(())
}

/// Lies over `/proc`, a directory that every host has, in this process's own mount namespace, and goes
/// away together with the host. Paths of the stage are relative to it.
fn stage(tree: Fd, directories: &[CString]) -> Sys<()> {
    mount::attach(tree, c"/proc")?;
    path::change_dir_to(tree)?;
    directories.iter().try_for_each(|name| path::make_dir(name, 0o755))
}

/// The namespaces live on with their descriptors when all who were in them are gone, and so do the trees.
fn hand_over(trees: &[Option<Fd>], wanted: &[Tree], status: Fd) -> Sys<()> {
    let mut handed = [Fd(-1); rights::MOST];
    for (place, name) in handed.iter_mut().zip([c"/proc/self/ns/user", c"/proc/self/ns/mnt"]) {
        *place = fd::open(name, libc::O_RDONLY, 0)?;
    }
    let room = handed.get_mut(2..).unwrap_or_default();
    if wanted.len() > room.len() {
        return Err(Errno::E2BIG);
    }
    for (place, number) in room.iter_mut().zip(wanted) {
        *place = trees.get(usize::from(number.0)).copied().flatten().ok_or(Errno::EBADSLT)?;
    }
    let sent = handed.get(..2 + wanted.len()).unwrap_or_default();
    rights::send(status, &mut { verdict::SANDBOX }, sent)
}

/// A kept layer has what earlier runs made in it: no link of theirs is followed while the host is there.
fn make_staged(parent: &CStr, name: &CStr, mode: u32) -> Sys<()> {
    let above = path::open_beneath(Fd(libc::AT_FDCWD), parent, libc::O_PATH | libc::O_DIRECTORY)?;
    let made = path::make_dir_at(above, name, mode);
    fd::close(above)?;
    made
}

/// Covers `/` with the tree, so that no directory of the host is needed as a place, steps into it and
/// swaps roots; the old root then lies on top of the working directory and is detached. The working directory
/// is the new root from then on.
///
/// # Errors
/// The errno of the call that failed.
pub fn pivot(tree: Fd) -> Sys<()> {
    mount::attach(tree, c"/")?;
    path::change_dir_to(tree)?;
    mount::pivot_here()?;
    mount::detach_here()
}

/// A file on a file system of its own: made where nobody sees it, then cut out as a tree.
fn new_file(mode: u32, content: &[u8]) -> Sys<Fd> {
    const NAME: &CStr = c"file";
    let context = mount::open_filesystem(c"tmpfs")?;
    let home = mount::make_mount(context, mount::NO_SUID | mount::NO_DEV)?;
    let opened = fd::open_at(home, NAME, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode)?;
    let mut rest = content;
    while !rest.is_empty() {
        let count = fd::write(opened, rest)?;
        rest = rest.get(count..).ok_or(Errno::EIO)?;
    }
    path::change_mode_of(opened, mode)?;
    fd::close(opened)?;
    mount::clone_tree(home, NAME)
}

/// Offsets can only be set before the first process enters, so this one stays outside and its
/// children are born inside (time_namespaces(7)).
fn unshare_time(offsets: &CStr) -> Sys<()> {
    process::unshare(libc::CLONE_NEWTIME.unsigned_abs().into())?;
    procfs::write(c"/proc/self/timens_offsets", offsets.to_bytes())
}

/// The bounding set needs one call a capability; the first number that the kernel does not know ends
/// the walk. Ambient capabilities are raised before the secure bits forbid it.
fn limit_capabilities(keep: u64) -> Sys<()> {
    for number in 0..64u8 {
        if keep & (1 << number) != 0 {
            continue;
        }
        match security::drop_bounding(number) {
            Err(Errno::EINVAL) => break,
            other => other?,
        }
    }
    if keep == 0 {
        security::lock_securebits()?;
        return security::set_capabilities(0, 0);
    }
    // Setting the secure bits needs CAP_SETPCAP, which may not be among those kept.
    const SETPCAP: u64 = 1 << 8;
    security::set_capabilities(keep | SETPCAP, keep)?;
    for number in (0..64u8).filter(|number| keep & (1 << number) != 0) {
        security::raise_ambient(number)?;
    }
    security::lock_securebits()?;
    security::set_capabilities(keep, keep)
}

/// A working directory outside the root would be a way out (CVE-2024-21626), and one behind a descriptor of the
/// set-up a way to what is hidden: the layers of an overlay.
#[inline(never)]
fn enter(path: &CStr) -> Sys<()> {
    let place = path::open_without_magic(path, libc::O_PATH | libc::O_DIRECTORY)?;
    path::change_dir_to(place)?;
    fd::close(place)?;
    let mut name = [0u8; 4096];
    if path::working_dir_is_reachable(&mut name)? { Ok(()) } else { Err(Errno::ENOENT) }
}
