//! Makes one direction of the network as slow and as lossy as the spec asks: how many bytes may go now, which packet is
//! lost. It holds no packets.

use std::time::Duration;

use crate::gateway::Shaping;

/// What may go at once after a pause: 20 ms' worth, or some packets.
const BURST: u64 = 20_000_000;
const LEAST_BURST: u64 = 4 * 1500;

const SECOND: u128 = 1_000_000_000;

/// One direction. Times are those of [`crate::sys::time::monotonic`].
#[derive(Debug)]
pub struct Link {
    /// Bits a second.
    rate: Option<u64>,
    /// Bits times nanoseconds of a second that may still go; below zero is owed.
    credit: i128,
    since: u64,
    latency: u64,
    losses: Losses,
}

impl Link {
    /// Returns a direction that is shaped so from `now` on; `seed` decides which packets are lost. `None` is as fast as
    /// the machine.
    #[must_use]
    pub fn new(shaping: &Shaping, now: u64, seed: u64) -> Option<Self> {
        if *shaping == Shaping::default() {
            return None;
        }
        let rate = shaping.bandwidth.map(|bandwidth| bandwidth.0);
        let mut link = Self {
            rate,
            credit: 0,
            since: now,
            latency: nanoseconds(shaping.latency.unwrap_or_default()),
            losses: Losses { per_million: shaping.loss.map_or(0, |loss| loss.0), at: 0, lost: 0, seed: seed | 1 },
        };
        link.credit = link.most();
        Some(link)
    }

    /// Returns how long a packet is under way.
    #[must_use]
    pub fn latency(&self) -> u64 {
        self.latency
    }

    /// Returns how many bytes may go at `now`.
    pub fn room(&mut self, now: u64) -> usize {
        let Some(rate) = self.rate else { return usize::MAX };
        let passed = now.saturating_sub(self.since);
        self.since = now;
        self.credit = (self.credit + i128::from(passed) * i128::from(rate)).min(self.most());
        usize::try_from(self.credit.max(0) / i128::try_from(8 * SECOND).unwrap_or(i128::MAX)).unwrap_or(usize::MAX)
    }

    /// Takes what has gone from the room; a datagram may take more than there was.
    pub fn gone(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.credit -= i128::try_from(bytes as u128 * 8 * SECOND).unwrap_or(i128::MAX / 2);
        }
    }

    /// Returns when there will be room for `bytes`, or for as much as may go at once.
    #[must_use]
    pub fn when(&self, bytes: usize) -> u64 {
        let Some(rate) = self.rate else { return self.since };
        let wanted = i128::try_from(bytes as u128 * 8 * SECOND).unwrap_or(i128::MAX).min(self.most());
        let missing = (wanted - self.credit).max(0);
        self.since.saturating_add(u64::try_from(missing / i128::from(rate)).unwrap_or(u64::MAX)).saturating_add(1)
    }

    /// Returns how many bytes of one stream may be under way: what the latency holds at this rate, and then some.
    #[must_use]
    pub fn window(&self) -> usize {
        const LEAST: u64 = 128 << 10;
        const MOST: u64 = 4 << 20;
        let held = self.rate.map_or(u128::from(MOST), |rate| {
            u128::from(rate / 8) * (u128::from(self.latency) + u128::from(BURST)) / SECOND
        });
        usize::try_from(u64::try_from(held).unwrap_or(MOST).clamp(LEAST, MOST)).unwrap_or(usize::MAX)
    }

    /// Returns whether it loses anything.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        self.losses.per_million > 0
    }

    /// Returns whether it loses everything.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.losses.per_million >= 1_000_000
    }

    /// Returns whether the next packet is lost.
    pub fn loses(&mut self) -> bool {
        self.losses.next()
    }

    fn most(&self) -> i128 {
        let rate = self.rate.unwrap_or(0);
        let burst = (i128::from(rate) * i128::from(BURST)).max(i128::from(LEAST_BURST) * 8 * 1_000_000_000);
        burst.min(i128::MAX / 4)
    }
}

/// Returns a time in a range in which the sum of some of them and of the clock still is.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).min(u64::MAX / 16)
}

/// Which packets are lost: of each stretch in which one is due, one at a place that nobody foresees. So the part that
/// is lost is right over a short time too.
#[derive(Debug)]
struct Losses {
    per_million: u32,
    /// Packets so far.
    at: u64,
    lost: u64,
    seed: u64,
}

impl Losses {
    fn next(&mut self) -> bool {
        if self.per_million == 0 {
            return false;
        }
        let due = |packets: u64| packets * u64::from(self.per_million) / 1_000_000;
        let stretch = self.lost;
        // The first packet at which one more would be overdue, and the last at which it still is not.
        self.at += 1;
        if due(self.at) > stretch {
            self.lost += 1;
            return true;
        }
        if self.per_million >= 500_000 {
            return false;
        }
        let length = 1_000_000 / u64::from(self.per_million);
        let end = (stretch + 1) * 1_000_000 / u64::from(self.per_million);
        let left = end.saturating_sub(self.at).clamp(1, length);
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        // Only once a stretch: the next begins where this one ends.
        let early = self.at + length > end && self.seed.is_multiple_of(left);
        if early {
            self.lost += 1;
        }
        early
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Link;
    use crate::gateway::Shaping;
    use crate::spec::{Bandwidth, Loss};

    fn link(bandwidth: Option<u64>, latency: u64, loss: u32) -> Link {
        let shaping = Shaping {
            bandwidth: bandwidth.map(Bandwidth),
            latency: Some(Duration::from_millis(latency)),
            loss: Some(Loss(loss)),
        };
        Link::new(&shaping, 0, 12345).unwrap()
    }

    #[test]
    fn nothing_to_shape_is_no_link() {
        assert!(Link::new(&Shaping::default(), 0, 1).is_none());
    }

    #[test]
    fn a_rate_is_kept_whoever_asks_how_often() {
        for (bits, step) in
            [(10_000_000u64, 1_000_000u64), (10_000_000, 37_000), (1_000, 100_000_000), (1_000_000_000, 5_000_000)]
        {
            let mut link = link(Some(bits), 0, 0);
            let (mut now, mut sent) = (0u64, 0u64);
            while now < 5_000_000_000 {
                let room = link.room(now).min(1_000_000);
                link.gone(room);
                sent += room as u64;
                now += step;
            }
            let burst = 6000 + bits / 8 / 50;
            let wanted = bits / 8 * 5;
            assert!(sent >= wanted - wanted / 20 && sent <= wanted + burst, "{bits}: {sent} of {wanted}");
        }
    }

    #[test]
    fn it_says_when_there_is_room_again() {
        let mut link = link(Some(8_000_000), 0, 0);
        let room = link.room(0);
        link.gone(room + 1000);
        assert_eq!(link.room(0), 0);
        let when = link.when(500);
        assert!((1_499_000..1_502_000).contains(&when), "{when}");
        assert!(link.room(when) >= 500);
    }

    #[test]
    fn as_many_packets_are_lost_as_were_asked_for_but_not_in_step() {
        for per_million in [5_000, 10_000, 100_000, 123_456, 500_000, 900_000, 1_000_000] {
            let mut link = link(None, 0, per_million);
            let lost: Vec<usize> = (0..10_000).filter(|_| link.loses()).collect();
            let wanted = 10_000 * per_million as usize / 1_000_000;
            assert!(lost.len().abs_diff(wanted) <= 1, "{per_million}: {} of {wanted}", lost.len());
            if per_million <= 100_000 {
                let gaps: std::collections::BTreeSet<_> = lost.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!(gaps.len() > 5, "{per_million}: {gaps:?}");
            }
        }
        assert_eq!((0..1000).filter(|_| link(None, 0, 0).loses()).count(), 0);
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let shaping = Shaping { latency: Some(Duration::MAX), loss: Some(Loss(1_000_000)), ..Shaping::default() };
        let link = Link::new(&shaping, 0, 1).unwrap();
        assert!(u64::MAX / 2 + 3 * link.latency() > u64::MAX / 2);
    }
}
