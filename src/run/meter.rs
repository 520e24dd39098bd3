//! The processor time of the whole tree while it runs, for the limit `cpu-time`.

use crate::host::{Controller, Version};
use crate::run::cgroup::Groups;
use crate::run::counters::{self, field};
use crate::sys::Fd;

/// The shortest and the longest time between two looks, in nanoseconds.
const BETWEEN: (u64, u64) = (1_000_000, 250_000_000);

/// A counter and its limit.
#[derive(Debug)]
pub struct Meter {
    /// Belongs to the groups, which live longer than the watch.
    counter: Fd,
    version: Version,
    limit: u64,
    processors: u64,
}

impl Meter {
    /// Returns a meter for `limit` nanoseconds; `None` without a group that counts.
    #[must_use]
    pub fn new(groups: &Groups, limit: u64) -> Option<Self> {
        let v2 = groups.groups.iter().find(|group| group.version == Version::V2);
        let group = groups.with(Controller::Cpuacct).or(v2)?;
        let file = if group.version == Version::V1 { "cpuacct.usage" } else { "cpu.stat" };
        let counter = group.counters.handle(file)?;
        let processors =
            std::thread::available_parallelism().map_or(1, |count| u64::try_from(count.get()).unwrap_or(1));
        Some(Self { counter, version: group.version, limit, processors })
    }

    /// Returns when to look for the first time if nothing can have run before `since`.
    #[must_use]
    pub fn first(&self, since: u64) -> u64 {
        self.later(since, self.limit)
    }

    /// Returns when to look again, or `None` if the limit is reached: no sooner than the limit can be. Of what
    /// the group has used, `own` nanoseconds were spent on the sandbox. A v1 group is joined when that is done.
    #[must_use]
    pub fn next(&self, now: u64, own: u64) -> Option<u64> {
        let own = if self.version == Version::V2 { own } else { 0 };
        let used = self.used().unwrap_or(0).saturating_sub(own);
        let rest = self.limit.checked_sub(used).filter(|rest| *rest > 0)?;
        Some(self.later(now, rest))
    }

    fn later(&self, now: u64, rest: u64) -> u64 {
        now.saturating_add((rest / self.processors).clamp(BETWEEN.0, BETWEEN.1))
    }

    fn used(&self) -> Option<u64> {
        let text = counters::text(self.counter);
        match self.version {
            Version::V1 => text.trim().parse().ok(),
            Version::V2 => field(&text, "usage_usec")?.checked_mul(1000),
        }
    }
}
