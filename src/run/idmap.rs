//! Writes the id maps of the child from outside, and finds the user namespaces through
//! which mounts map ids.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{Error, Kind, Result};
use crate::plan::{IdRange, Identity, Idmap, MapWriter, Op, Plan};
use crate::run::c_text::path_text;
use crate::run::sources::{Maps, Source, wants};
use crate::sys::process::{Cloned, Pid};
use crate::sys::{Errno, Sys, entry, fd, process, watch};

/// Where newuidmap(1) and newgidmap(1) are; never looked up in the caller's PATH.
const HELPER_PLACES: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// Maps the ids of the child as the plan says. Returns the files that were written, to be closed when there
/// is time for it.
///
/// # Errors
/// The file that could not be written, or the helper that failed and what it said.
pub fn write(plan: &Plan, child: Pid) -> Result<Vec<OwnedFd>> {
    let identity = &plan.identity;
    match identity.writer {
        MapWriter::Nobody | MapWriter::Child => Ok(Vec::new()),
        MapWriter::Parent => {
            Ok(vec![write_file(child, "uid_map", &identity.uid_map)?, write_file(child, "gid_map", &identity.gid_map)?])
        }
        MapWriter::Helpers => {
            run_helper("newuidmap", child, &identity.uid_map)?;
            run_helper("newgidmap", child, &identity.gid_map).map(|()| Vec::new())
        }
    }
}

/// Returns whether the child waits for its ids.
#[must_use]
pub fn waits(plan: &Plan) -> bool {
    plan.identity.writer != MapWriter::Child && plan.steps.iter().any(|step| matches!(step.op, Op::MapIds))
}

fn write_file(child: Pid, file: &str, ranges: &[IdRange]) -> Result<OwnedFd> {
    let path = format!("/proc/{}/{file}", child.0);
    let lines: Vec<String> =
        ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect();
    let opened = path_text(Path::new(&path))
        .and_then(|text| fd::open(&text, libc::O_WRONLY, 0).map(watch::own).map_err(|errno| refused(&path, errno)))?;
    fd::write(watch::number(&opened), lines.concat().as_bytes()).map_err(|errno| refused(&path, errno))?;
    Ok(opened)
}

fn refused(path: &str, errno: Errno) -> Error {
    let error = Error::new(Kind::Host, format!("cannot write `{path}`")).with_errno(errno as i32);
    match errno {
        Errno::EPERM => error.with_hint(
            "in a container give sbx the capabilities SETUID, SETGID and SYS_ADMIN, or start it as another user than root",
        ),
        Errno::EINVAL => error.with_hint(
            "the ids of this user namespace are too few for a sandbox of root: start sbx as another user than root",
        ),
        _ => error,
    }
}

fn run_helper(name: &str, child: Pid, ranges: &[IdRange]) -> Result<()> {
    let install = "install the package `uidmap` (Debian) or `shadow-utils` (Fedora)";
    let program = HELPER_PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.exists());
    let program = program.ok_or_else(|| {
        Error::new(Kind::Host, format!("`ids=\"range\"` needs `{name}`, which is not installed")).with_hint(install)
    })?;
    let mut command = Command::new(&program);
    command.env_clear().stdin(Stdio::null()).arg(child.0.to_string());
    for range in ranges {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    let output = command.output().map_err(|source| {
        Error::io(format_args!("cannot run `{}`", program.display()), &source).with_kind(Kind::Host)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().escape_debug().to_string();
    Err(Error::new(Kind::Host, format!("`{name}` refused: {said}"))
        .with_hint("compare /etc/subuid and /etc/subgid with `ids=\"range\"`"))
}

/// Moves this process, which has one thread, into a user namespace in which it has these ids and all rights over
/// their files.
///
/// # Errors
/// The namespace that could not be made, or the helper that failed and what it said.
pub fn enter(uid_map: &[IdRange], gid_map: &[IdRange]) -> Result<()> {
    let failed = |errno: Errno| Error::new(Kind::Host, "cannot make a user namespace").with_errno(errno as i32);
    let write = |child| {
        run_helper("newuidmap", child, uid_map)?;
        run_helper("newgidmap", child, gid_map)
    };
    let namespace = namespace_by(&write).map_err(failed)??;
    entry::enter(&namespace).map_err(failed)
}

/// The same with one id of each sort, for which nobody is asked.
///
/// # Errors
/// The errno of what the kernel refused.
pub fn enter_alone(uid: IdRange, gid: IdRange) -> Result<()> {
    let refused = |errno: Errno| Error::new(Kind::Host, "cannot make a user namespace").with_errno(errno as i32);
    process::unshare(u64::from(libc::CLONE_NEWUSER.unsigned_abs())).map_err(refused)?;
    let line = |range: IdRange| format!("{} {} {}", range.inside, range.outside, range.count);
    for (file, text) in [("uid_map", line(uid)), ("setgroups", "deny".to_owned()), ("gid_map", line(gid))] {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, text).map_err(|error| Error::io(format_args!("cannot write `{path}`"), &error))?;
    }
    Ok(())
}

/// Finds the namespaces that the sources need: the child's own, or one made for the purpose where the
/// command is not uid 0 inside and yet is to own the caller's files.
///
/// # Errors
/// The namespace that could not be opened or made.
pub fn maps(plan: &Plan, child: Pid, sources: &[Source]) -> Sys<Maps> {
    let mut maps = Maps { inside: None, caller: None };
    if plan.identity.writer == MapWriter::Nobody {
        return Ok(maps);
    }
    if wants(sources, Idmap::Inside) {
        maps.inside = Some(namespace_of(child)?);
    }
    if wants(sources, Idmap::Caller) {
        let identity = &plan.identity;
        let root = (identity.inside.uid, identity.inside.gid) == (0, 0);
        maps.caller = Some(if root { namespace_of(child)? } else { namespace_for(identity)? });
    }
    Ok(maps)
}

fn namespace_of(process: Pid) -> Sys<OwnedFd> {
    let path = std::ffi::CString::new(format!("/proc/{}/ns/user", process.0)).map_err(|_| Errno::EINVAL)?;
    fd::open(&path, libc::O_RDONLY, 0).map(watch::own)
}

/// Makes a user namespace that maps root on disk to the command's outside id.
fn namespace_for(identity: &Identity) -> Sys<OwnedFd> {
    let range = |outside| [IdRange { inside: 0, outside, count: 1 }];
    let write = |child| {
        write_file(child, "uid_map", &range(identity.outside.uid))?;
        write_file(child, "gid_map", &range(identity.outside.gid)).map(drop)
    };
    namespace_by(&write)?.map_err(|error| Errno::from_raw(error.errno.unwrap_or(libc::EIO)))
}

/// Makes a user namespace whose maps `write` writes. It lives on in mounts, or in what is open, when the process
/// that was needed to make it is gone.
fn namespace_by(write: &dyn Fn(Pid) -> Result<()>) -> Sys<Result<OwnedFd>> {
    let (reader, writer) = fd::pipe()?;
    match process::clone3(libc::CLONE_NEWUSER.unsigned_abs().into(), None)? {
        Cloned::Child => {
            fd::close(writer).ok();
            fd::read(reader, &mut [0u8; 1]).ok();
            process::exit_now(0)
        }
        Cloned::Parent { child, pidfd } => {
            let namespace = write(child).map(|()| namespace_of(child));
            for end in [reader, writer, pidfd] {
                fd::close(end).ok();
            }
            process::wait(process::Wait::For(child)).ok();
            match namespace {
                Ok(namespace) => namespace.map(Ok),
                Err(error) => Ok(Err(error)),
            }
        }
    }
}
