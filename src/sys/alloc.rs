//! The global allocator. It gets its memory in large pieces: the start of a run makes
//! hundreds of small allocations, and the C library of a static binary would ask the
//! kernel for each size of them. In a debug build a child between clone and exec that
//! allocates or frees is ended at once, so that a test sees it.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};

use dlmalloc::GlobalDlmalloc;

/// The exit status of a child that broke the contract of [`crate::sys`].
pub const EXIT_ALLOCATED: i32 = 99;

#[global_allocator]
static GUARDED: Guarded = Guarded;

#[derive(Debug)]
struct Guarded;

/// Says that this process is a child which must not allocate from now on. The flag
/// lives in the child's own copy of memory.
pub fn forbid() {
    #[cfg(debug_assertions)]
    guard::FORBIDDEN.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(debug_assertions)]
mod guard {
    use std::sync::atomic::{AtomicBool, Ordering};

    pub(super) static FORBIDDEN: AtomicBool = AtomicBool::new(false);

    pub(super) fn check() {
        if FORBIDDEN.load(Ordering::Relaxed) {
            crate::sys::process::exit_now(super::EXIT_ALLOCATED);
        }
    }
}

#[cfg(not(debug_assertions))]
mod guard {
    pub(super) fn check() {}
}

// SAFETY: every call is handed to `GlobalDlmalloc` unchanged, so its guarantees hold.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        guard::check();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { GlobalDlmalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        guard::check();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { GlobalDlmalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        guard::check();
        // SAFETY: the caller's promises about `pointer`, `layout` and `size` are passed on.
        unsafe { GlobalDlmalloc.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        guard::check();
        // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
        unsafe { GlobalDlmalloc.dealloc(pointer, layout) }
    }
}
