//! The far side of the pool: a process that was forked after all shared work was done, and runs one case after the
//! other, each as `sbx run` would: with one thread, nothing allocated between clone and exec.

use std::os::fd::OwnedFd;
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::report::cases::Answer;
use crate::report::explain::signal_name;
use crate::run::bare::ASTRAY;
use crate::run::lasting::LastingMounts;
use crate::sys::process::{self, Pid};
use crate::sys::watch::number;
use crate::sys::{Errno, Fd, fd};

/// How many cases a worker runs before another one takes its place: what a run leaves in memory ends with the process.
pub const CASES_MAX: u32 = 256;

/// What a worker does: case number to answer. The mounts go when the answer is sent: the kernel takes its time for it.
pub type Work<'a> = &'a dyn Fn(usize) -> (Answer, Option<LastingMounts>);

/// Runs what `connection` asks for until it ends, or for [`CASES_MAX`] cases; `parent` is who forked this process.
///
/// # Errors
/// What a worker cannot do without.
pub fn serve(connection: &OwnedFd, parent: Pid, work: Work<'_>) -> Result<()> {
    let failed = |errno: Errno| Error::new(Kind::Host, "cannot prepare a worker").with_errno(errno as i32);
    // Whatever happens to the one who waits for the answers, its sandboxes end with it.
    process::signal_on_parent_death(libc::SIGKILL).map_err(failed)?;
    if process::parent_pid() != parent {
        return Ok(());
    }
    // The keys of a terminal are for the one who shows the results: it tells the workers.
    process::new_session().map_err(failed)?;
    let null = fd::open(c"/dev/null", libc::O_RDONLY, 0).map_err(failed)?;
    fd::duplicate(null, Fd(0)).map_err(failed)?;
    fd::close(null).ok();
    let connection = number(connection);
    for left in (0..CASES_MAX).rev() {
        let mut asked = [0; size_of::<u64>()];
        if !read_whole(connection, &mut asked) {
            return Ok(());
        }
        let begin = Instant::now();
        let case = usize::try_from(u64::from_ne_bytes(asked)).unwrap_or(usize::MAX);
        let (answer, mounts) = work(case);
        // Whoever waits for the end of this process is not to wait for them, too.
        let mounts = mounts.filter(|_| left > 0);
        let answer = answer.to_bytes();
        let answer =
            answer.map_err(|error| Error::new(Kind::Bug, format!("cannot write the answer as JSON: {error}")))?;
        // Its length and the nanoseconds that it took come first; all in one piece, so that who waits is woken once.
        let mut framed = u64::try_from(answer.len()).unwrap_or(0).to_ne_bytes().to_vec();
        framed.extend(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX).to_ne_bytes());
        framed.extend(answer);
        if !write_whole(connection, &framed) {
            return Ok(());
        }
        drop(mounts);
    }
    Ok(())
}

/// Returns how a worker ended, given its status as wait(2) encodes it, to follow what it says of it.
#[must_use]
pub fn how(status: Option<i32>) -> String {
    match status {
        Some(status) if libc::WIFSIGNALED(status) => format!(": ended by {}", signal_name(libc::WTERMSIG(status))),
        Some(status) if libc::WEXITSTATUS(status) == ASTRAY => {
            ": it may no longer enter the directory that sbx was started in; start it in one that stays open to its user"
                .to_owned()
        }
        Some(status) => format!(": exited {}", libc::WEXITSTATUS(status)),
        None => String::new(),
    }
}

/// Returns whether all of `buffer` was filled.
fn read_whole(connection: Fd, buffer: &mut [u8]) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        match fd::read(connection, &mut buffer[filled..]) {
            Ok(0) => return false,
            Ok(count) => filled += count,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Returns whether all of `bytes` was taken.
pub(crate) fn write_whole(connection: Fd, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match fd::write(connection, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}
