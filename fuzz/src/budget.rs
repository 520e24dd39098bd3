//! The time that one input may take, in processor time of this thread: a busy machine
//! makes no difference.

use rustix::time::{ClockId, clock_gettime};

/// Calls `deed` and panics if it takes more than so many milliseconds.
///
/// # Panics
/// Where `deed` takes too long.
pub fn within<T>(milliseconds: i64, deed: impl FnOnce() -> T) -> T {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
    };
    let before = now();
    let done = deed();
    let took = now() - before;
    assert!(took <= milliseconds * 1_000, "it took {took} µs of processor time, {milliseconds} ms are allowed");
    done
}
