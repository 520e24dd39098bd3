//! Datagrams under way in one direction of a shaped network: first in, first out, each for as long as the latency and the
//! bandwidth say. Where too many are under way the last is lost, as in every router.

use std::collections::VecDeque;

use crate::gateway::shape::Link;

/// Bytes that may be under way in any case.
const LEAST: usize = 64 << 10;

/// What each takes besides its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 128;

/// Datagrams of one direction, with where each goes.
#[derive(Debug)]
pub struct Lane<T> {
    waiting: VecDeque<(u64, T, Vec<u8>)>,
    held: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), held: 0 }
    }
}

impl<T> Lane<T> {
    /// Sends a datagram on its way at `now`; some are lost.
    pub fn enter(&mut self, link: &mut Link, (to, bytes): (T, Vec<u8>), now: u64) {
        let room = bytes.len() + OVERHEAD;
        if link.loses() || self.held + room > link.window().max(LEAST) {
            return;
        }
        self.held += room;
        self.waiting.push_back((now + link.latency(), to, bytes));
    }

    /// Returns how many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns one that has arrived at `now`.
    pub fn arrived(&mut self, link: &mut Link, now: u64) -> Option<(T, Vec<u8>)> {
        if self.next(link, now)? > now {
            return None;
        }
        let (_, to, bytes) = self.waiting.pop_front()?;
        self.held -= bytes.len() + OVERHEAD;
        link.gone(bytes.len());
        Some((to, bytes))
    }

    /// Returns when the next one arrives.
    pub fn next(&self, link: &mut Link, now: u64) -> Option<u64> {
        let (due, _, bytes) = self.waiting.front()?;
        let room = link.room(now);
        Some(if room >= bytes.len() { *due } else { link.when(bytes.len()).max(*due) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Lane;
    use crate::gateway::Shaping;
    use crate::gateway::shape::Link;
    use crate::spec::{Bandwidth, Loss};

    #[test]
    fn datagrams_arrive_in_order_late_and_at_the_rate() {
        let shaping =
            Shaping { bandwidth: Some(Bandwidth(8_000_000)), latency: Some(Duration::from_millis(10)), loss: None };
        let mut link = Link::new(&shaping, 0, 1).unwrap();
        let mut lane = Lane::default();
        for number in 0..100 {
            lane.enter(&mut link, (number, vec![0; 1000]), 0);
        }
        assert_eq!(lane.next(&mut link, 0), Some(10_000_000));
        let (mut now, mut seen) = (0, Vec::new());
        while let Some(next) = lane.next(&mut link, now) {
            now = now.max(next);
            while let Some((number, _)) = lane.arrived(&mut link, now) {
                seen.push((number, now));
            }
        }
        assert!(seen.iter().map(|(number, _)| *number).eq(0..100));
        // 100 kB at 1 MB/s, of which 20 kB are there at once.
        let last = seen[99].1;
        assert!((79_000_000..91_000_000).contains(&last), "{last}");
    }

    #[test]
    fn what_is_too_much_or_unlucky_is_lost() {
        let shaping = Shaping { bandwidth: Some(Bandwidth(8_000)), ..Shaping::default() };
        let mut link = Link::new(&shaping, 0, 1).unwrap();
        let mut lane = Lane::default();
        (0..1000).for_each(|number| lane.enter(&mut link, (number, vec![0; 1000]), 0));
        assert_eq!(lane.waiting.len(), (128 << 10) / 1128);
        let shaping = Shaping { loss: Some(Loss(500_000)), ..Shaping::default() };
        let mut link = Link::new(&shaping, 0, 1).unwrap();
        let mut lane = Lane::default();
        (0..100).for_each(|number| lane.enter(&mut link, (number, vec![0; 10]), 0));
        assert_eq!(lane.waiting.len(), 50);
    }

    #[test]
    fn what_is_under_way_takes_room_even_if_it_is_empty() {
        let shaping = Shaping { latency: Some(Duration::from_secs(9)), ..Shaping::default() };
        let mut link = Link::new(&shaping, 0, 1).unwrap();
        let mut lane = Lane::default();
        (0..100_000).for_each(|_| lane.enter(&mut link, ((), Vec::new()), 0));
        assert!(lane.waiting.len() <= link.window() / 64, "{}", lane.waiting.len());
    }
}
