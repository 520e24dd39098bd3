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
    waiting: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    Both,
    One,
}

/// Returns the two ends of a queue of at most `limit` items.
pub(super) fn queue<T>(limit: usize) -> (Giver<T>, Taker<T>) {
    let state = Mutex::new(State { items: VecDeque::new(), limit, ends: Ends::Both, waiting: 0 });
    let shared = Arc::new(Shared { state, changed: Condvar::new() });
    (Giver(shared.clone()), Taker(shared))
}

impl<T> Giver<T> {
    /// Returns how many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.state().items.len()
    }

    /// Waits until there is room for `item`; gives it back where nobody will take it.
    pub(super) fn give(&self, item: T) -> Result<(), T> {
        let full = |state: &mut State<T>| state.items.len() >= state.limit;
        let mut state = self.0.wait_while(full);
        if state.ends == Ends::One {
            return Err(item);
        }
        state.items.push_back(item);
        self.0.wake(state);
        Ok(())
    }
}

impl<T> Taker<T> {
    /// Returns how many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.state().items.len()
    }

    /// Waits for the next item; none comes after the giver is gone and all is taken.
    pub(super) fn take(&self) -> Option<T> {
        let mut state = self.0.wait_while(|state| state.items.is_empty());
        let item = state.items.pop_front();
        self.0.wake(state);
        item
    }
}

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `busy` holds and there are both ends.
    fn wait_while(&self, mut busy: impl FnMut(&mut State<T>) -> bool) -> MutexGuard<'_, State<T>> {
        let mut state = self.state();
        while state.ends == Ends::Both && busy(&mut state) {
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state
    }

    /// Lets whoever waits look again. Waking nobody would be a system call as well.
    fn wake(&self, state: MutexGuard<'_, State<T>>) {
        let waiting = state.waiting > 0;
        drop(state);
        if waiting {
            self.changed.notify_all();
        }
    }

    fn leave(&self) {
        let mut state = self.state();
        state.ends = Ends::One;
        self.wake(state);
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
