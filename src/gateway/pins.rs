//! Which names the addresses of a sandbox's connections stand for: those that were resolved here, for as long as the
//! answer holds. It resolves nothing itself.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::domain::DomainName;

/// How long a name counts at least, in nanoseconds: programs keep what they have looked up, whatever its time to live.
const LEAST: u64 = 300_000_000_000;
/// How many pairs of a name and an address are kept.
const MOST: usize = 8192;
/// How many names one address may have; content networks have many.
const MOST_OF_ONE: usize = 128;

/// Names by address. Times are those of [`crate::sys::time::monotonic`].
#[derive(Debug, Default)]
pub struct Pins {
    by_address: HashMap<IpAddr, Vec<Pin>>,
    count: usize,
}

#[derive(Debug)]
struct Pin {
    name: DomainName,
    until: u64,
}

impl Pins {
    /// Has `address` stand for `name` for `seconds` from `now` on. What it stood for longest makes room.
    pub fn pin(&mut self, address: IpAddr, name: &DomainName, seconds: u32, now: u64) {
        let until = now.saturating_add(LEAST.max(u64::from(seconds) * 1_000_000_000));
        if self.count >= MOST {
            self.make_room(now);
        }
        let pins = self.by_address.entry(address).or_default();
        if let Some(at) = pins.iter().position(|pin| pin.name == *name) {
            let pin = pins.remove(at);
            pins.push(Pin { until: until.max(pin.until), ..pin });
            return;
        }
        if pins.len() >= MOST_OF_ONE {
            pins.remove(0);
            self.count -= 1;
        }
        pins.push(Pin { name: name.clone(), until });
        self.count += 1;
    }

    /// Returns what `address` stands for, the latest first. That it is asked keeps it standing.
    pub fn names(&mut self, address: IpAddr, now: u64) -> Vec<DomainName> {
        let Some(pins) = self.by_address.get_mut(&address) else { return Vec::new() };
        pins.iter_mut().filter(|pin| pin.until > now).for_each(|pin| pin.until = pin.until.max(now + LEAST));
        pins.iter().rev().filter(|pin| pin.until > now).map(|pin| pin.name.clone()).collect()
    }

    /// Drops what does not hold any more; if everything does, the half that ends first.
    fn make_room(&mut self, now: u64) {
        let mut ends: Vec<_> = self.by_address.values().flatten().map(|pin| pin.until).collect();
        ends.sort_unstable();
        let over = ends.first().is_some_and(|first| *first <= now);
        let bound = if over { now } else { ends.get(ends.len() / 2).copied().unwrap_or(now) };
        self.by_address.retain(|_, pins| {
            pins.retain(|pin| pin.until > bound);
            !pins.is_empty()
        });
        self.count = self.by_address.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{LEAST, MOST, Pins};
    use crate::domain::DomainName;

    fn name(text: &str) -> DomainName {
        DomainName::new(text).unwrap()
    }

    #[test]
    fn a_name_counts_while_its_answer_holds_and_while_it_is_used() {
        let mut pins = Pins::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        pins.pin(address, &name("a.example"), 1000, 0);
        pins.pin(address, &name("b.example"), 1, 0);
        assert_eq!(pins.names(address, LEAST - 1), [name("b.example"), name("a.example")]);
        assert_eq!(pins.names(address, LEAST * 2 - 2), [name("b.example"), name("a.example")], "it was asked for");
        assert_eq!(pins.names(address, 1_000_000_000_001), []);
        assert_eq!(pins.names(IpAddr::from([10, 0, 0, 2]), 0), []);
    }

    #[test]
    fn memory_is_bounded() {
        let mut pins = Pins::default();
        for number in 0..3 * MOST {
            let address = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(number).unwrap()));
            pins.pin(address, &name(&format!("n{number}.example")), 0, number as u64);
        }
        assert!(pins.count <= MOST, "{}", pins.count);
        let last = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(3 * MOST - 1).unwrap()));
        assert_eq!(pins.names(last, 3 * MOST as u64).len(), 1);
        let one = IpAddr::from([10, 0, 0, 1]);
        (0..1000).for_each(|number| pins.pin(one, &name(&format!("m{number}.example")), 0, 0));
        assert_eq!(pins.names(one, 1).len(), super::MOST_OF_ONE);
    }
}
