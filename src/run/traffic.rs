//! What went through the interfaces of the sandbox's own network namespace, from the kernel's table of
//! them. The namespace lives as long as the table is open, so it is read when all processes are dead.

use std::os::fd::OwnedFd;

use crate::plan::{Counting, Plan};
use crate::run::Interface;
use crate::spec::Namespace;
use crate::sys::fd;
use crate::sys::process::Pid;
use crate::sys::watch::{number, own};

/// More than a namespace has that nobody adds interfaces to; a table that is longer is not known.
const SIZE: usize = 4096;

/// Returns whether the table is wanted: a report is, and the namespace is new. The host's interfaces carry what others
/// send.
#[must_use]
pub fn counts(plan: &Plan) -> bool {
    // One that comes with the locks on the mounts is not there in time.
    let there = plan.namespaces.contains(&Namespace::Net) && !plan.locks(Namespace::Net);
    plan.watch.counting != Counting::No && there
}

/// Opens `net/dev` of proc_pid_net(5) of `child`, which must not have ended: then it has no network any more. `None`
/// where it is not wanted or cannot be opened: then the figures are not known.
#[must_use]
pub fn open(plan: &Plan, child: Pid) -> Option<OwnedFd> {
    if !counts(plan) {
        return None;
    }
    let path = std::ffi::CString::new(format!("/proc/{}/net/dev", child.0)).ok()?;
    fd::open(&path, libc::O_RDONLY, 0).map(own).ok()
}

/// Reads the table.
#[must_use]
pub fn read(table: &OwnedFd) -> Option<Vec<Interface>> {
    let mut bytes = [0u8; SIZE];
    // The kernel gives whole lines only, each far shorter than what has to be left here.
    let count = fd::read(number(table), &mut bytes).ok().filter(|count| *count < SIZE - 256)?;
    parse(std::str::from_utf8(bytes.get(..count)?).ok()?)
}

/// Two lines of headings; then `name: bytes packets errs drop fifo frame compressed multicast` received, and
/// `bytes packets …` sent.
fn parse(table: &str) -> Option<Vec<Interface>> {
    let line = |line: &str| {
        let (name, figures) = line.rsplit_once(':')?;
        let mut figures = figures.split_whitespace().map(str::parse::<u64>);
        let mut nth = |skipped: usize| figures.nth(skipped)?.ok();
        let (rx_bytes, rx_packets, tx_bytes, tx_packets) = (nth(0)?, nth(0)?, nth(6)?, nth(0)?);
        Some(Interface { name: name.trim().to_owned(), rx_bytes, tx_bytes, rx_packets, tx_packets })
    };
    table.lines().skip(2).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn figures_are_found_by_their_column() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets errs\n    lo:    1  2 0 0 0 0 0 0    3  4 0 0 0 0 0 0\n\
                     a:b: 18446744073709551615 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n";
        let found = parse(table).unwrap();
        let figures = |at: usize| {
            let it = &found[at];
            (it.name.as_str(), it.rx_bytes, it.rx_packets, it.tx_bytes, it.tx_packets)
        };
        assert_eq!((found.len(), figures(0), figures(1)), (2, ("lo", 1, 2, 3, 4), ("a:b", u64::MAX, 6, 13, 14)));
        assert!(parse("x\ny\nlo: 1 2\n").is_none());
    }
}
