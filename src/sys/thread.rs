//! Threads by pthread_create(3), not by the standard library: what that keeps for each thread makes the
//! thread-local data outgrow the piece that musl has ready for the first one, which would cost every start of sbx
//! a mapping, also of a run that has no threads. Nothing here is for a child between clone and exec.
#![expect(unsafe_code, reason = "the C library's threads take raw pointers")]

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::Arc;

use super::{Errno, Sys};

/// Bytes of a stack. Only what is touched is there.
const STACK: usize = 2 << 20;

/// What a thread does.
pub type Work = Box<dyn FnOnce() + Send>;

/// A thread that runs or has ended; dropped, it is left alone.
#[derive(Debug)]
pub struct Thread(Option<libc::pthread_t>);

/// Starts a thread with the caller's signal mask; EAGAIN if there may be no more. A panic in it ends the process.
pub fn spawn(work: Work) -> Sys<Thread> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: pthread_attr_init(3) fills the struct, which is live.
    checked(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) })?;
    // SAFETY: the attributes have been initialised.
    checked(unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK) })?;
    let argument = Box::into_raw(Box::new(work));
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: all pointers are to live values; `enter` takes what `argument` is and becomes its owner.
    let returned =
        unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), enter, argument.cast::<c_void>()) };
    // SAFETY: they were initialised, and the thread does not need them any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    if let Err(errno) = checked(returned) {
        // SAFETY: it came from `Box::into_raw`, and no thread was made that could own it.
        drop(unsafe { Box::from_raw(argument) });
        return Err(errno);
    }
    // SAFETY: pthread_create(3) has succeeded, so it has written the name of the thread.
    Ok(Thread(Some(unsafe { thread.assume_init() })))
}

/// Does `work` on as many threads as are given, this one among them, and returns when it has ended on all. Where one
/// cannot be started, those that were have to do its part.
pub fn share(threads: usize, work: impl Fn() + Send + Sync + 'static) {
    let work = Arc::new(work);
    let others: Vec<_> = (1..threads)
        .map(|_| {
            let work = work.clone();
            spawn(Box::new(move || work()))
        })
        .collect();
    work();
    others.into_iter().flatten().for_each(Thread::join);
}

impl Thread {
    /// Waits for the end of the thread.
    pub fn join(mut self) {
        if let Some(thread) = self.0.take() {
            // SAFETY: the thread is joinable and this is its only name; where its result goes may be null.
            unsafe { libc::pthread_join(thread, null::<*mut c_void>().cast_mut()) };
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // SAFETY: the thread is joinable and nobody has its name any more.
            unsafe { libc::pthread_detach(thread) };
        }
    }
}

extern "C" fn enter(argument: *mut c_void) -> *mut c_void {
    // SAFETY: `spawn` hands over what `Box::into_raw` gave, once.
    let work = unsafe { Box::from_raw(argument.cast::<Work>()) };
    work();
    null_mut()
}

/// These calls return the errno instead of setting it.
fn checked(returned: i32) -> Sys<()> {
    if returned == 0 { Ok(()) } else { Err(Errno::from_raw(returned)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_joined_thread_has_done_its_work() {
        let done = Arc::new(AtomicUsize::new(0));
        let work = {
            let done = done.clone();
            move || {
                // More than musl's own default holds.
                let page = std::hint::black_box([1u8; 512 << 10]);
                done.fetch_add(usize::from(page[4096]), Ordering::Relaxed);
            }
        };
        super::share(8, work);
        assert_eq!(done.load(Ordering::Relaxed), 8);
        assert_eq!(Arc::strong_count(&done), 1, "each closure was dropped");
    }
}
