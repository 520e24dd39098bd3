//! A mount namespace with nothing in it but procfs. A clone copies each mount of the namespace that it is made in, and
//! the sandbox takes the copies down again when it leaves the host, which has dozens. Who runs many sandboxes has them
//! cloned here, where there is next to nothing to copy.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use crate::plan::{Op, Opener, Plan};
use crate::run::child;
use crate::spec::Namespace;
use crate::sys::process::{Cloned, Pid, Wait};
use crate::sys::watch::{number, own};
use crate::sys::{Fd, Sys, entry, fd, mount, path, process};

/// The exit status of a process that found no way back.
pub const ASTRAY: i32 = 3;

/// The namespace, and the way back.
#[derive(Debug)]
pub struct BareMounts {
    bare: OwnedFd,
    host: OwnedFd,
    /// Entering a namespace of mounts changes both (setns(2)).
    root: OwnedFd,
    working_directory: OwnedFd,
}

impl BareMounts {
    /// Returns the namespace, or `None` where it cannot be had or would not do: for who is not root above all, and
    /// where the host's procfs is covered, so that the kernel asks for another one that it can see. Then clones are
    /// made where sbx is, which takes longer. This process has one thread.
    #[must_use]
    pub fn make() -> Option<Self> {
        let open = |path| fd::open(path, libc::O_PATH | libc::O_DIRECTORY, 0).map(own).ok();
        let host = fd::open(c"/proc/self/ns/mnt", libc::O_RDONLY, 0).map(own).ok()?;
        let (root, working_directory) = (open(c"/")?, open(c".")?);
        let (ours, theirs) = fd::connection().map(|(ours, theirs)| (own(ours), own(theirs))).ok()?;
        match process::clone3(0, None).ok()? {
            Cloned::Child => build_and_wait([number(&ours), number(&theirs)]),
            Cloned::Parent { child, pidfd } => {
                drop((theirs, own(pidfd)));
                let bare = built(child, number(&ours));
                drop(ours);
                process::wait(Wait::For(child)).ok();
                Some(Self { bare: bare?, host, root, working_directory }).filter(Self::works)
            }
        }
    }

    /// Tries all that a run does with it, in a process that is of no other use. What the kernel refuses where sbx is,
    /// in a chroot above all, is not to be had from there either.
    fn works(&self) -> bool {
        let ended_well = |child| matches!(process::wait(Wait::For(child)), Ok(Some(reaped)) if reaped.status == 0);
        match process::clone3(0, None) {
            Ok(Cloned::Child) => {
                match process::clone3(INSIDE, None) {
                    Ok(Cloned::Child) => process::exit_now(0),
                    Ok(Cloned::Parent { child, .. }) if ended_well(child) => {}
                    _ => process::exit_now(1),
                }
                let there = self.enter().and_then(|()| process::clone3(INSIDE, None));
                if let Ok(Cloned::Child) = there {
                    process::exit_now(i32::from(own_procfs().is_err()));
                }
                let mounted = matches!(there, Ok(Cloned::Parent { child, .. }) if ended_well(child));
                process::exit_now(i32::from(self.leave().is_err() || !mounted))
            }
            Ok(Cloned::Parent { child, pidfd }) => {
                drop(own(pidfd));
                ended_well(child)
            }
            Err(_) => false,
        }
    }

    /// Returns whether the sandbox of `plan` can be built from here: its child opens nothing of the host.
    #[must_use]
    pub fn suit(plan: &Plan) -> bool {
        let opens = |op: &Op| matches!(op, Op::OpenTree { opener: Opener::Child, .. });
        plan.namespaces.contains(&Namespace::Mount) && !plan.steps.iter().any(|step| opens(&step.op))
    }

    /// Goes in.
    ///
    /// # Errors
    /// The errno of setns(2); then this process is where it was. EINVAL while a thread of it still ends.
    pub fn enter(&self) -> Sys<()> {
        entry::enter(&self.bare)
    }

    /// Comes back.
    ///
    /// # Errors
    /// Those of setns(2), chroot(2) and fchdir(2), which asks anew whether the directory may be entered: then this
    /// process is in no place where it could go on.
    pub fn leave(&self) -> Sys<()> {
        entry::enter(&self.host)?;
        path::change_dir_to(number(&self.root))?;
        path::change_root_here()?;
        path::change_dir_to(number(&self.working_directory))
    }
}

/// Namespaces in which a process may mount a procfs of its own.
const INSIDE: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS).unsigned_abs() as u64;

/// Child side: the contract of [`crate::sys`] holds here.
fn own_procfs() -> Sys<Fd> {
    mount::make_mount(mount::open_filesystem(c"proc")?, mount::NO_SUID | mount::NO_DEV | mount::NO_EXEC)
}

/// Returns the namespace of `child`, which says when it is made and stays until the connection is closed.
fn built(child: Pid, connection: Fd) -> Option<OwnedFd> {
    let path = CString::new(format!("/proc/{}/ns/mnt", child.0)).ok()?;
    match fd::read(connection, &mut [0u8; 1]) {
        Ok(1) => fd::open(&path, libc::O_RDONLY, 0).map(own).ok(),
        _ => None,
    }
}

/// Child side: the contract of [`crate::sys`] holds here.
fn build_and_wait([parents, children]: [Fd; 2]) -> ! {
    fd::close(parents).ok();
    if process::signal_on_parent_death(libc::SIGKILL).and_then(|()| build()).is_ok() {
        fd::write(children, b"1").ok();
        fd::read(children, &mut [0u8; 1]).ok();
    }
    process::exit_now(0)
}

/// procfs stays as the host has it, with all that lies over it: the kernel lets nobody mount one inside that shows more.
fn build() -> Sys<()> {
    process::unshare(libc::CLONE_NEWNS.unsigned_abs().into())?;
    mount::make_all_private()?;
    let proc = mount::clone_tree(Fd(libc::AT_FDCWD), c"/proc")?;
    let context = mount::open_filesystem(c"tmpfs")?;
    mount::set_option(context, c"mode", c"755")?;
    let root = mount::make_mount(context, mount::NO_SUID | mount::NO_DEV | mount::NO_EXEC)?;
    path::make_dir_at(root, c"proc", 0o555)?;
    child::pivot(root)?;
    mount::attach(proc, c"/proc")?;
    mount::make_read_only(c"/")
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::os::unix::fs::MetadataExt as _;

    use super::BareMounts;
    use crate::sys::process::{self, Cloned, Wait};
    use crate::sys::{fd, path};

    fn place(path: &CStr) -> (u64, u64) {
        let found = std::fs::metadata(path.to_str().unwrap()).unwrap();
        (found.dev(), found.ino())
    }

    /// Counts the mounts that this process sees; the contract of [`crate::sys`] holds here.
    fn mounts() -> usize {
        let table = fd::open(c"/proc/self/mountinfo", libc::O_RDONLY, 0).unwrap();
        let (mut piece, mut lines) = ([0u8; 4096], 0);
        while let Ok(count @ 1..) = fd::read(table, &mut piece) {
            lines += piece[..count].iter().filter(|byte| **byte == b'\n').count();
        }
        lines
    }

    /// What a process sees there, and that it is where it was when it has come back.
    #[test]
    fn nothing_but_procfs_is_there() {
        let Some(bare) = BareMounts::make() else {
            assert!(!nix::unistd::geteuid().is_root(), "root has none");
            return;
        };
        let proc = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let proc = proc.lines().filter(|line| line.split(' ').nth(4).is_some_and(|at| at.starts_with("/proc"))).count();
        let before = [place(c"/"), place(c"."), place(c"/proc/self/ns/mnt")];
        let Cloned::Parent { child, .. } = process::clone3(0, None).unwrap() else {
            let there = bare.enter().is_ok_and(|()| mounts() == 1 + proc && path::make_dir(c"/x", 0o700).is_err());
            let back = bare.leave().is_ok() && mounts() > 1 + proc;
            process::exit_now(i32::from(!there) + 2 * i32::from(!back))
        };
        assert_eq!(process::wait(Wait::For(child)).unwrap().unwrap().status, 0);
        // Another thread of this process is another one's working directory.
        let entered = std::thread::spawn(move || {
            process::unshare(libc::CLONE_FS.unsigned_abs().into()).unwrap();
            bare.enter().unwrap();
            bare.leave().unwrap();
            [place(c"/"), place(c"."), place(c"/proc/thread-self/ns/mnt")]
        });
        assert_eq!(entered.join().unwrap(), before);
    }
}
