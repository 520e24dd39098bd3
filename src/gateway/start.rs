//! Starts the gateway, on a thread of its own, and ends it. What it does there is `turn`'s.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Kind, Result};
use crate::gateway::state::State;
use crate::gateway::turn::serve;
use crate::gateway::{Inlets, Ledger, Policy, Watcher};
use crate::sys::thread::{self, Thread};
use crate::sys::watch::{self, own};
use crate::sys::{Errno, fd};

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    thread: Thread,
    ledger: Arc<Mutex<Ledger>>,
    stop: OwnedFd,
}

/// Starts the gateway of one sandbox. The inlets are served from now on; those of TCP are listening.
///
/// # Errors
/// What the kernel did not give: a thread, descriptors.
pub fn start(policy: Policy, inlets: Inlets, watcher: Option<Watcher>) -> Result<Gateway> {
    let refused = |errno: Errno| Error::new(Kind::Host, "cannot start the gateway").with_errno(errno as i32);
    let stop = own(watch::counter().map_err(refused)?);
    let theirs = watch::copy(watch::number(&stop)).map_err(refused)?;
    let state = State::new(policy, inlets, (theirs, watcher)).map_err(refused)?;
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let result = ledger.clone();
    let work = Box::new(move || {
        let happened = serve(state);
        if let Ok(mut ledger) = result.lock() {
            *ledger = happened;
        }
    });
    let thread = thread::spawn(work).map_err(refused)?;
    Ok(Gateway { thread, ledger, stop })
}

impl Gateway {
    /// Ends the gateway when nothing of the sandbox lives any more: what a program sent before it ended still goes out,
    /// for at most two seconds. Returns what happened.
    #[must_use]
    pub fn finish(self) -> Ledger {
        // It can fail only where the counter is full, and then the gateway has been told.
        fd::write(watch::number(&self.stop), &1u64.to_ne_bytes()).ok();
        self.thread.join();
        self.ledger.lock().map(|mut ledger| std::mem::take(&mut *ledger)).unwrap_or_default()
    }
}
