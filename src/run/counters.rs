//! The files in which a group counts: opened when it is made, read when all in it are
//! dead. It knows which file says what only by name; what the numbers mean is for others.

use std::os::fd::OwnedFd;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::host::{Controller, Version};
use crate::run::c_text::path_text;
use crate::sys::{Errno, Fd, fd, watch};

/// What the report knows of a v1 group with each controller (Documentation/admin-guide/cgroup-v1).
const V1: [(Controller, &[&str]); 5] = [
    (Controller::Memory, &["memory.max_usage_in_bytes", "memory.oom_control", "memory.failcnt"]),
    (Controller::Cpu, &["cpu.stat"]),
    (Controller::Cpuacct, &["cpuacct.usage"]),
    (Controller::Pids, &["pids.peak", "pids.events"]),
    (Controller::Io, &["blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"]),
];

/// The same of a v2 group (Documentation/admin-guide/cgroup-v2.rst).
const V2: [(Controller, &[&str]); 3] = [
    (Controller::Memory, &["memory.peak", "memory.swap.peak", "memory.events"]),
    (Controller::Pids, &["pids.peak", "pids.events"]),
    (Controller::Io, &["io.stat"]),
];

/// What every v2 group has, whatever its controllers.
const V2_CORE: [&str; 4] = ["cpu.stat", "cpu.pressure", "memory.pressure", "io.pressure"];

/// The counters of one group. What its kernel does not have is not among them.
#[derive(Debug, Default)]
pub struct Counters {
    files: Vec<(&'static str, OwnedFd)>,
}

impl Counters {
    /// Opens what a group with `controllers` has.
    ///
    /// # Errors
    /// No descriptor is left. A file that cannot be opened otherwise is a figure that is not known.
    pub fn open(group: &Path, version: Version, controllers: &[Controller]) -> Result<Self> {
        let (table, core): (&[_], &[_]) = match version {
            Version::V1 => (&V1, &[]),
            Version::V2 => (&V2, &V2_CORE),
        };
        let own = table.iter().filter(|(controller, _)| controllers.contains(controller));
        let mut files = Vec::new();
        for file in core.iter().chain(own.flat_map(|(_, files)| files.iter())) {
            let path = group.join(file);
            match fd::open(&path_text(&path)?, libc::O_RDONLY, 0) {
                Ok(opened) => files.push((*file, watch::own(opened))),
                Err(errno @ (Errno::EMFILE | Errno::ENFILE)) => {
                    return Err(Error::new(Kind::Host, format!("cannot open `{}`", path.display()))
                        .with_errno(errno as i32)
                        .with_hint("raise the limit of open files with `ulimit -n`"));
                }
                Err(_) => {}
            }
        }
        Ok(Self { files })
    }

    /// Returns whether there is none at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the descriptor of `file`, which is at its beginning.
    #[must_use]
    pub fn handle(&self, file: &str) -> Option<Fd> {
        self.files.iter().find(|(name, _)| *name == file).map(|(_, handle)| watch::number(handle))
    }

    /// Returns what `file` says now; nothing where it is not there.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        self.handle(file).map(text).unwrap_or_default()
    }

    /// Returns the number that is all of `file`.
    #[must_use]
    pub fn number(&self, file: &str) -> Option<u64> {
        self.text(file).trim().parse().ok()
    }

    /// Returns the descriptors, to be closed with others.
    pub fn into_handles(self) -> impl Iterator<Item = OwnedFd> {
        self.files.into_iter().map(|(_, handle)| handle)
    }
}

/// Returns what a file that the kernel makes up says now.
#[must_use]
pub fn text(file: Fd) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 4096];
    // What leaves room in the piece was all there is: one call for most files.
    while let Ok(count @ 1..) = fd::read_at(file, &mut piece, u64::try_from(bytes.len()).unwrap_or(u64::MAX)) {
        bytes.extend_from_slice(&piece[..count]);
        if count < piece.len() / 2 {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the number after `key` in lines of `key number`.
#[must_use]
pub fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
