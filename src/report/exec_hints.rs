//! Why execve(2) refuses a command, and the one thing to change: a part of the table
//! in `hints`, which has what is the same for every call.

use nix::errno::Errno;

use crate::error::Kind;

/// Returns who has to act, and what to change.
#[must_use]
pub fn on_exec(errno: Errno) -> Option<(Kind, &'static str)> {
    Some(match errno {
        Errno::ENOENT => (
            Kind::Spec,
            "inside the sandbox there is no such file, or none in PATH; if there is, what its `#!` line or its ELF header names \
             as interpreter is missing in the rootfs",
        ),
        Errno::ENOTDIR => (Kind::Spec, "a part of its path is a file, not a directory"),
        Errno::EACCES => (
            Kind::Spec,
            "the file, its interpreter or a directory above it denies execution to the command's user: `chmod +x`, and no \
             `exec=#false` on its mount",
        ),
        Errno::EPERM => {
            (Kind::Spec, "the file has capabilities that the sandbox does not grant: `capabilities`, or a copy")
        }
        Errno::ENOEXEC => (
            Kind::Spec,
            "the file has no `#!` line, or it is a program for another processor: add the line, or take another rootfs",
        ),
        Errno::E2BIG => (Kind::Spec, "arguments and environment are too long together: pass the data in a file"),
        Errno::ETXTBSY => (Kind::Spec, "the file is open for writing: close it first"),
        Errno::EISDIR => (Kind::Spec, "the interpreter of the file is a directory"),
        Errno::ELIBBAD => (Kind::Spec, "the ELF header of its interpreter is damaged"),
        Errno::ENOMEM => (Kind::Spec, "the memory limit is too small to start the command: raise `memory`"),
        _ => return None,
    })
}
