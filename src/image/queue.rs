//! A bounded queue between two threads; each end notices when the other is gone. A channel of the standard library
//! would cost every start of sbx what [`crate::sys::thread`] speaks of.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The end that gives.
pub(super) struct Giver<T>(Arc<Shared<T>>);

/// The end that takes.
pub(super) struct Taker<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    limit: usize,
    ends: Ends,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Both,
    One,
}

/// Returns the two ends of a queue of at most `limit` items.
pub(super) fn queue<T>(limit: usize) -> (Giver<T>, Taker<T>) {
    let state = Mutex::new(State { items: VecDeque::new(), limit, ends: Ends::Both });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Giver(shared.clone()), Taker(shared))
}

impl<T> Giver<T> {
    /// Waits until there is room for `item`; gives it back where nobody will take it.
    pub(super) fn give(&self, item: T) -> Result<(), T> {
        let full = |state: &mut State<T>| state.items.len() >= state.limit;
        let mut state = self.0.wait_while(full);
        if state.ends == Ends::One {
            return Err(item);
        }
        state.items.push_back(item);
        self.0.changed.notify_all();
        Ok(())
    }
}

impl<T> Taker<T> {
    /// Waits for the next item; none comes after the giver is gone and all is taken.
    pub(super) fn take(&self) -> Option<T> {
        let item = self.0.wait_while(|state| state.items.is_empty()).items.pop_front();
        self.0.changed.notify_all();
        item
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `busy` holds and there are both ends.
    fn wait_while(&self, mut busy: impl FnMut(&mut State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let waited = self.changed.wait_while(self.state(), |state| state.ends == Ends::Both && busy(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        self.state().ends = Ends::One;
        self.changed.notify_all();
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::queue;
    use crate::sys::thread::spawn;

    #[test]
    fn all_items_come_in_order_and_then_none() {
        let (giver, taker) = queue(2);
        let thread = spawn(Box::new(move || (0..1000).for_each(|number| giver.give(number).unwrap()))).unwrap();
        let taken: Vec<i32> = std::iter::from_fn(|| taker.take()).collect();
        thread.join();
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
        assert_eq!(taker.take(), None);
    }

    #[test]
    fn a_giver_who_waits_hears_that_nobody_takes() {
        let (giver, taker) = queue(1);
        giver.give(1).unwrap();
        let thread = spawn(Box::new(move || assert_eq!(giver.give(2), Err(2)))).unwrap();
        drop(taker);
        thread.join();
    }
}
