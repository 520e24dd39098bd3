//! The global allocator of a debug build: the system's, but a child between clone
//! and exec that allocates or frees is ended at once, so that a test sees it.
#![cfg_attr(debug_assertions, expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait"))]

/// The exit status of a child that broke the contract of [`crate::sys`].
pub const EXIT_ALLOCATED: i32 = 99;

/// Says that this process is a child which must not allocate from now on. The flag
/// lives in the child's own copy of memory.
pub fn forbid() {
    #[cfg(debug_assertions)]
    guard::FORBIDDEN.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(debug_assertions)]
mod guard {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(super) static FORBIDDEN: AtomicBool = AtomicBool::new(false);

    #[derive(Debug)]
    struct Guard;

    fn check() {
        if FORBIDDEN.load(Ordering::Relaxed) {
            crate::sys::process::exit_now(super::EXIT_ALLOCATED);
        }
    }

    // SAFETY: every call is handed to `System` unchanged, so its guarantees hold.
    unsafe impl GlobalAlloc for Guard {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            check();
            // SAFETY: the caller's promises about `layout` are passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            check();
            // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    #[global_allocator]
    static GUARD: Guard = Guard;
}
