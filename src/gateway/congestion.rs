//! What loss costs a stream. TCP sends again what is lost and, having lost, less at once (RFC 5681): this is how long the
//! sender of one direction would need for its segments. It holds no bytes.

use crate::gateway::shape::Link;

/// Payload of a full segment on Ethernet with time stamps.
pub const SEGMENT: usize = 1448;
/// Segments that are under way at first (RFC 6928).
const INITIAL: u32 = 10;
/// So many of them must be under way that those behind a lost one tell of it.
const TELLING: u32 = 4;
/// What a round trip takes at least: the way beyond the link is not measured.
const LEAST_TRIP: u64 = 1_000_000;
/// How long Linux waits, beyond a round trip, before it sends a segment again of which nothing tells (TCP_RTO_MIN), and
/// how long at most (TCP_RTO_MAX), each time twice as long.
const TIMEOUT: u64 = 200_000_000;
const LONGEST_TIMEOUT: u64 = 120_000_000_000;
/// How often it sends one again (`tcp_retries2`).
const TRIES: usize = 15;
/// The same of the first one of a connection (TCP_TIMEOUT_INIT, `tcp_syn_retries`).
const FIRST_TIMEOUT: u64 = 1_000_000_000;
const FIRST_TRIES: usize = 6;

/// The sender of one direction of a stream.
#[derive(Debug)]
pub struct Sender {
    /// How many segments go in one round trip.
    window: u32,
    /// Up to which window it grows twofold.
    threshold: u32,
    /// How many of the window may still go before something is acknowledged.
    left: u32,
    /// When the first of them went.
    round: u64,
    /// When the last segment went, for the last time.
    sent: u64,
}

impl Default for Sender {
    fn default() -> Self {
        Self { window: INITIAL, threshold: u32::MAX, left: INITIAL, round: 0, sent: 0 }
    }
}

impl Sender {
    /// Returns when the next segment, which is there at `now`, goes so that it arrives.
    pub fn send(&mut self, link: &mut Link, now: u64) -> u64 {
        if !link.is_lossy() {
            return now;
        }
        let trip = trip(link);
        self.sent = self.sent.max(now);
        let acknowledged = self.round.saturating_add(trip);
        if self.left == 0 {
            self.window = match self.window {
                window if window < self.threshold => window.saturating_mul(2).min(self.threshold),
                window => window.saturating_add(1),
            };
            self.begin_round(self.sent.max(acknowledged));
        } else if self.sent >= acknowledged {
            self.begin_round(self.sent);
        }
        self.left -= 1;
        let mut timeout = trip.saturating_add(TIMEOUT);
        let lost = (0..TRIES).take_while(|_| link.loses());
        for tries in lost {
            self.threshold = (self.window / 2).max(2);
            if tries == 0 && self.window >= TELLING {
                self.window = self.threshold;
                self.begin_round(self.sent.saturating_add(trip));
            } else {
                self.window = 1;
                self.begin_round(self.sent.saturating_add(timeout));
                timeout = timeout.saturating_mul(2).min(LONGEST_TIMEOUT);
            }
        }
        self.sent
    }

    fn begin_round(&mut self, at: u64) {
        (self.round, self.sent, self.left) = (at, at, self.window);
    }
}

/// Returns how long the handshake of a stream takes; either of its packets may be lost, and then both go again.
pub fn handshake([up, down]: &mut [Option<Link>; 2]) -> u64 {
    let (Some(up), Some(down)) = (up, down) else { return 0 };
    let lost = (0..FIRST_TRIES).take_while(|_| up.loses() || down.loses()).count();
    up.latency() + down.latency() + FIRST_TIMEOUT * ((1 << lost) - 1)
}

fn trip(link: &Link) -> u64 {
    link.latency().saturating_mul(2).max(LEAST_TRIP)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{LEAST_TRIP, Sender, handshake};
    use crate::gateway::Shaping;
    use crate::gateway::shape::Link;
    use crate::spec::Loss;

    fn link(latency: u64, per_million: u32) -> Link {
        let shaping = Shaping {
            latency: Some(Duration::from_millis(latency)),
            loss: Some(Loss(per_million)),
            ..Shaping::default()
        };
        Link::new(&shaping, 0, 12345).unwrap()
    }

    /// Returns how many segments a sender that has always more sends in a minute.
    fn in_a_minute(latency: u64, per_million: u32) -> usize {
        let (mut sender, mut link) = (Sender::default(), link(latency, per_million));
        (0..100_000_000).take_while(|_| sender.send(&mut link, 0) < 60_000_000_000).count()
    }

    #[test]
    fn the_more_is_lost_the_less_is_sent() {
        for latency in [0, 20] {
            let counts = [100, 1_000, 10_000, 50_000, 200_000, 500_000].map(|share| in_a_minute(latency, share));
            for (less, more) in counts.iter().zip(&counts[1..]) {
                assert!(10 * less > 13 * more && *more > 10, "{latency} ms: {counts:?}");
            }
            assert!(counts[3] > 3 * counts[5], "{latency} ms: {counts:?}");
        }
    }

    #[test]
    fn it_is_about_what_is_known_of_tcp() {
        // Where one of 1,000 is lost at the end of each of its climbs, the window is 1.2 by the root of the share (RFC
        // 5348, 3.1 without time-outs).
        let trips = 60_000 / 40;
        let expected = trips as f64 * 1.22 / 0.001f64.sqrt();
        let found = in_a_minute(20, 1_000) as f64;
        assert!((0.5..1.5).contains(&(found / expected)), "{found} for {expected}");
    }

    #[test]
    fn without_loss_nothing_waits_for_anything() {
        let (mut sender, mut link) = (Sender::default(), link(20, 0));
        assert!((0..1000).all(|_| sender.send(&mut link, 7) == 7));
    }

    #[test]
    fn one_that_is_lost_alone_comes_late() {
        let mut link = link(0, 500_000);
        let mut sender = Sender { window: 1, ..Sender::default() };
        let times: Vec<_> = (1..5).map(|second| sender.send(&mut link, second * 1_000_000_000)).collect();
        let late = |second: u64| second * 1_000_000_000 + LEAST_TRIP + 200_000_000;
        assert_eq!(times, [1_000_000_000, late(2), late(3), late(4)]);
    }

    #[test]
    fn nothing_overflows_and_nothing_is_tried_for_ever() {
        let mut link = link(u64::MAX, 1_000_000);
        let mut sender = Sender::default();
        assert!(sender.send(&mut link, u64::MAX / 2) > u64::MAX / 2);
        assert!(sender.send(&mut link, u64::MAX) == u64::MAX);
    }

    #[test]
    fn a_handshake_takes_a_round_trip_and_what_its_losses_take() {
        let mut half = [Some(link(10, 500_000)), Some(link(10, 500_000))];
        // Of each two packets of one direction the second is lost: one, both or none of a try.
        let times: Vec<_> = (0..3).map(|_| handshake(&mut half) / 1_000_000).collect();
        assert_eq!(times, [20, 7020, 7020]);
        assert_eq!(handshake(&mut [None, None]), 0);
        assert_eq!(handshake(&mut [Some(link(10, 0)), Some(link(10, 0))]), 20_000_000);
    }
}
