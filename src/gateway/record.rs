//! Keeps what happened: each kind of connection once, with how often it came and what it carried. It judges nothing.

use std::collections::HashMap;

use crate::gateway::{Connection, Ledger, Traffic, Verdict, Watcher, What};

/// What happened so far.
pub struct Record {
    places: HashMap<What, usize>,
    ledger: Ledger,
    watcher: Option<Watcher>,
}

/// Where a connection is written down; none for those that no place was left for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(Option<usize>);

impl Record {
    /// Returns an empty record; `watcher` is told of what it will hold.
    #[must_use]
    pub fn new(watcher: Option<Watcher>) -> Self {
        Self { places: HashMap::new(), ledger: Ledger::default(), watcher }
    }

    /// Writes down that `what` came once more.
    pub fn count(&mut self, what: What) -> Place {
        if let Some(watcher) = &mut self.watcher {
            watcher(&what);
        }
        let place = self.place(what);
        self.traffic(place).count += 1;
        place
    }

    /// Writes down what a connection carried.
    pub fn carried(&mut self, place: Place, sent: u64, received: u64) {
        let traffic = self.traffic(place);
        traffic.sent += sent;
        traffic.received += received;
    }

    /// Moves one connection to what it turned out to be, without what it carried so far.
    pub fn turn(&mut self, place: Place, what: What) -> Place {
        let traffic = self.traffic(place);
        traffic.count = traffic.count.saturating_sub(1);
        self.count(what)
    }

    /// Returns all of it.
    #[must_use]
    pub fn close(mut self) -> Ledger {
        self.ledger.connections.retain(|it| it.traffic != Traffic::default());
        self.ledger
    }

    fn place(&mut self, what: What) -> Place {
        if let Some(at) = self.places.get(&what) {
            return Place(Some(*at));
        }
        let at = self.ledger.connections.len();
        let most = match what.verdict {
            Verdict::Allowed | Verdict::Published => Ledger::MOST,
            Verdict::Refused(_) | Verdict::Unreachable(_) => Ledger::MOST - Ledger::RESERVE,
        };
        if at >= most {
            return Place(None);
        }
        self.places.insert(what.clone(), at);
        self.ledger.connections.push(Connection { what, traffic: Traffic::default() });
        Place(Some(at))
    }

    fn traffic(&mut self, place: Place) -> &mut Traffic {
        match place.0.and_then(|at| self.ledger.connections.get_mut(at)) {
            Some(connection) => &mut connection.traffic,
            None => &mut self.ledger.unlisted,
        }
    }
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Record").field(&self.ledger).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Record;
    use crate::gateway::{ConnectionKind, Ledger, Refusal, Traffic, Verdict, What};

    fn what(port: u16, verdict: Verdict) -> What {
        What { to: "a.example".to_owned(), address: None, port: Some(port), protocol: ConnectionKind::Tcp, verdict }
    }

    #[test]
    fn the_same_twice_is_one_line() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        let mut record = Record::new(Some(Box::new(move |what| ears.lock().unwrap().push(what.clone()))));
        let first = record.count(what(80, Verdict::Allowed));
        let second = record.count(what(80, Verdict::Allowed));
        record.carried(first, 1, 2);
        record.carried(second, 10, 20);
        record.count(what(81, Verdict::Allowed));
        let turned = record.count(what(82, Verdict::Allowed));
        record.turn(turned, what(82, Verdict::Refused(Refusal::Denied)));
        let ledger = record.close();
        let found: Vec<_> = ledger.connections.iter().map(|it| (it.what.port, it.what.verdict, it.traffic)).collect();
        let once = Traffic { count: 1, sent: 0, received: 0 };
        assert_eq!(
            found,
            [
                (Some(80), Verdict::Allowed, Traffic { count: 2, sent: 11, received: 22 }),
                (Some(81), Verdict::Allowed, once),
                (Some(82), Verdict::Refused(Refusal::Denied), once),
            ]
        );
        assert_eq!(heard.lock().unwrap().len(), 5);
    }

    #[test]
    fn beyond_the_bound_only_sums_are_kept() {
        let mut record = Record::new(None);
        for port in 0..u16::try_from(Ledger::MOST + 10).unwrap() {
            let place = record.count(what(port, Verdict::Allowed));
            record.carried(place, 1, 1);
        }
        let ledger = record.close();
        assert_eq!(ledger.connections.len(), Ledger::MOST);
        assert_eq!(ledger.unlisted, Traffic { count: 10, sent: 10, received: 10 });
    }

    #[test]
    fn what_is_refused_leaves_room_for_what_is_not() {
        let mut record = Record::new(None);
        for port in 0..u16::try_from(Ledger::MOST + 10).unwrap() {
            record.count(what(port, Verdict::Refused(Refusal::NotAllowed)));
            record.count(what(port, Verdict::Unreachable(111)));
        }
        let left = [what(80, Verdict::Allowed), what(81, Verdict::Published)];
        for what in &left {
            let place = record.count(what.clone());
            record.carried(place, 5, 6);
        }
        let ledger = record.close();
        let last: Vec<_> = ledger.connections.iter().rev().take(2).rev().map(|it| it.what.clone()).collect();
        assert_eq!(last, left);
        let listed = u64::try_from(ledger.connections.len()).unwrap();
        assert!(listed < Ledger::MOST as u64, "{listed}");
        assert_eq!(ledger.unlisted.count, 2 * (Ledger::MOST as u64 + 10) + 2 - listed);
    }
}
