//! What has to be looked at at which time. It sleeps not.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::gateway::token::Token;

/// Times, those of [`crate::sys::time::monotonic`], by what they are for: each token has at most one, the earliest.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(u64, Token)>>,
    earliest: HashMap<Token, u64>,
}

impl Timers {
    /// Has `token` be due at `time`, unless it is before.
    pub fn set(&mut self, token: Token, time: u64) {
        let known = self.earliest.entry(token).or_insert(u64::MAX);
        if time < *known {
            *known = time;
            self.heap.push(Reverse((time, token)));
        }
    }

    /// Returns when the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((time, _))| *time)
    }

    /// Takes one that is due.
    pub fn due(&mut self, now: u64) -> Option<Token> {
        loop {
            let Reverse((time, token)) = *self.heap.peek()?;
            if time > now {
                return None;
            }
            self.heap.pop();
            // An entry that an earlier one has overtaken counts no more.
            if self.earliest.get(&token) == Some(&time) {
                self.earliest.remove(&token);
                return Some(token);
            }
        }
    }

    /// Forgets `token`.
    pub fn forget(&mut self, token: Token) {
        self.earliest.remove(&token);
        // Most of the heap is of the dead where streams are short.
        if self.heap.len() > 64 + 4 * self.earliest.len() {
            self.heap.retain(|Reverse((time, token))| self.earliest.get(token) == Some(time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;
    use crate::gateway::token::{Kind, Token};

    #[test]
    fn each_is_due_once_at_its_earliest_time() {
        let [a, b] = [0, 1].map(|number| Token::numbered(Kind::Query, number));
        let mut timers = Timers::default();
        timers.set(a, 30);
        timers.set(b, 20);
        timers.set(a, 10);
        timers.set(a, 25);
        assert_eq!((timers.next(), timers.due(9)), (Some(10), None));
        assert_eq!((timers.due(30), timers.due(30), timers.due(30)), (Some(a), Some(b), None));
        timers.set(a, 40);
        timers.forget(a);
        assert_eq!(timers.due(50), None);
        for _ in 0..10_000 {
            timers.set(a, 60);
            timers.forget(a);
        }
        assert!(timers.heap.len() < 100);
    }
}
