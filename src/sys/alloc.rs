//! The global allocator. A run makes some six hundred small allocations and ends: they are
//! cut one after the other from a first piece, which costs a tenth of looking for a place
//! for each, and most are never given back. What does not fit there is dlmalloc's, which
//! gets its memory in large pieces, unlike the C library of a static binary, and keeps it; so
//! a large block is a mapping of its own, which is gone when it is given back. In a debug
//! build a child between clone and exec that allocates or frees is ended at once, so that
//! a test sees it.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use dlmalloc::GlobalDlmalloc;

use crate::sys::pages;

/// The exit status of a child that broke the contract of [`crate::sys`].
pub const EXIT_ALLOCATED: i32 = 99;

#[global_allocator]
static GUARDED: Guarded = Guarded;

#[derive(Debug)]
struct Guarded;

/// The size of the first piece, in bytes: what a run with limits and a report needs.
const FIRST: usize = 128 << 10;

/// The first piece. It is part of the program's zeroed data, so having it costs no call.
static PIECE: Piece = Piece(UnsafeCell::new([0; FIRST]));

#[repr(align(4096))]
struct Piece(UnsafeCell<[u8; FIRST]>);

// SAFETY: no part of it is touched but through the blocks that are given out, each of which has one owner.
unsafe impl Sync for Piece {}

/// How much of the first piece is given out. Only the owner of the last block moves it back.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Cuts a block off the first piece, or returns null.
fn cut(layout: Layout) -> *mut u8 {
    if layout.align() > align_of::<Piece>() {
        return null_mut();
    }
    let mut used = USED.load(Ordering::Relaxed);
    loop {
        let at = used.next_multiple_of(layout.align());
        let Some(end) = at.checked_add(layout.size()).filter(|end| *end <= FIRST) else { return null_mut() };
        match USED.compare_exchange_weak(used, end, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return PIECE.0.get().cast::<u8>().wrapping_add(at),
            Err(now) => used = now,
        }
    }
}

/// Returns where in the first piece `pointer` is, if there.
fn place(pointer: *mut u8) -> Option<usize> {
    let offset = pointer.addr().wrapping_sub(PIECE.0.get().addr());
    (offset < FIRST).then_some(offset)
}

/// Moves the end of the block from `at` to `from` to `to`, if it is the last one and there is room.
fn move_end(from: usize, to: usize) -> bool {
    to <= FIRST && USED.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// From this size on a block is a mapping of its own, as in the C library: every page that stays is copied by each
/// clone, and the runner of tests makes thousands of those after it has read its specs.
const LARGE: usize = 256 << 10;

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= pages::ALIGNMENT
}

/// Says that this process is a child which must not allocate from now on. The flag
/// lives in the child's own copy of memory.
pub fn forbid() {
    #[cfg(debug_assertions)]
    guard::FORBIDDEN.store(true, Ordering::Relaxed);
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

// SAFETY: a block of the first piece is the caller's alone, because `USED` moves past it before it is given out and
// back only over a block that is given back; it is aligned, because the piece is to a page and its offset to the layout.
// A large block is a mapping of its own. Everything else is handed to `GlobalDlmalloc` unchanged.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        guard::check();
        if is_large(layout) {
            return pages::map(layout.size());
        }
        let block = cut(layout);
        if !block.is_null() {
            return block;
        }
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { GlobalDlmalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        guard::check();
        if is_large(layout) {
            return pages::map(layout.size());
        }
        let block = cut(layout);
        if block.is_null() {
            // SAFETY: the caller's promises about `layout` are passed on.
            return unsafe { GlobalDlmalloc.alloc_zeroed(layout) };
        }
        // A block may have been another's before.
        // SAFETY: the block is `layout.size()` bytes long and nobody else's.
        unsafe { block.write_bytes(0, layout.size()) };
        block
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        guard::check();
        // SAFETY: the caller promises that `size` is a valid one for this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (place(pointer), is_large(layout), is_large(wanted)) {
            (Some(at), ..) => {
                let grown = || at.checked_add(size).is_some_and(|end| move_end(at + layout.size(), end));
                if size <= layout.size() || grown() {
                    return pointer;
                }
            }
            // SAFETY: the block is a mapping of this size and the caller's alone.
            (None, true, true) => return unsafe { pages::remap(pointer, layout.size(), size) },
            // SAFETY: the caller's promises about `pointer`, `layout` and `size` are passed on.
            (None, false, false) => return unsafe { GlobalDlmalloc.realloc(pointer, layout, size) },
            (None, ..) => {}
        }
        // SAFETY: the caller promises that the size is not zero.
        let block = unsafe { self.alloc(wanted) };
        if !block.is_null() {
            let kept = layout.size().min(size);
            // SAFETY: both are at least that long, and a new block overlaps none that is given out.
            unsafe { block.copy_from_nonoverlapping(pointer, kept) };
            // SAFETY: the caller gives it up, now that there is another.
            unsafe { self.dealloc(pointer, layout) };
        }
        block
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        guard::check();
        match place(pointer) {
            Some(at) => drop(move_end(at + layout.size(), at)),
            // SAFETY: the block is a mapping of this size, which the caller gives up.
            None if is_large(layout) => unsafe { pages::unmap(pointer, layout.size()) },
            // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
            None => unsafe { GlobalDlmalloc.dealloc(pointer, layout) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FIRST, Guarded, LARGE};
    use std::alloc::{GlobalAlloc as _, Layout};

    /// A block that grows and shrinks over the size from which on it is a mapping keeps what it holds, and one that is
    /// given back is gone.
    #[test]
    fn large_blocks_are_mappings() {
        let sizes = [1, FIRST, LARGE - 1, LARGE, LARGE + 1, 5 * LARGE, 3 * LARGE, LARGE, LARGE - 1, FIRST, 9];
        let mut layout = Layout::from_size_align(1, 8).expect("a layout");
        // SAFETY: the size is not zero.
        let mut block = unsafe { Guarded.alloc(layout) };
        // SAFETY: the block is that long.
        unsafe { block.write(7) };
        for size in sizes {
            // SAFETY: the block came from there with this layout.
            block = unsafe { Guarded.realloc(block, layout, size) };
            assert!(!block.is_null() && block.addr().is_multiple_of(8), "{size}");
            let kept = layout.size().min(size);
            layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: the block is `size` bytes long.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
            assert!(bytes[..kept].iter().all(|byte| *byte == 7), "{size}");
            bytes.fill(7);
        }
        // SAFETY: as above.
        unsafe { Guarded.dealloc(block, layout) };
        let mapped = |at: usize| {
            let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
            maps.lines().any(|line| {
                let (start, rest) = line.split_once('-').expect("a range");
                let end = rest.split(' ').next().expect("its end");
                let number = |text| usize::from_str_radix(text, 16).expect("an address");
                (number(start)..number(end)).contains(&at)
            })
        };
        // Larger than what any other test may map in its place meanwhile.
        let layout = Layout::from_size_align(1 << 30, 4096).expect("a layout");
        // SAFETY: the size is not zero.
        let block = unsafe { Guarded.alloc(layout) };
        let middle = block.addr() + (1 << 29);
        assert!(!block.is_null() && mapped(middle));
        // SAFETY: it came from there, with this layout.
        unsafe { Guarded.dealloc(block, layout) };
        assert!(!mapped(middle));
    }

    /// Blocks of all sizes that grow, shrink and go in another order than they came, by several owners at
    /// once, past the end of the first piece: each keeps what its owner wrote.
    #[test]
    fn blocks_never_overlap() {
        let owner = |seed: u8| {
            move || {
                let mut kept: Vec<(u8, Vec<u8>)> = Vec::new();
                for round in 0..600_usize {
                    let byte = seed.wrapping_add(u8::try_from(round % 251).unwrap_or(0));
                    let mut block = vec![byte; round * 7 % 300 + 1];
                    block.extend(std::iter::repeat_n(byte, round % 90));
                    block.shrink_to(round % 40);
                    kept.push((byte, block));
                    if round % 3 != 0 {
                        kept.swap_remove(round % kept.len());
                    }
                    assert!(kept.iter().all(|(byte, block)| block.iter().all(|found| found == byte)));
                }
            }
        };
        let owners: Vec<_> = (0..4).map(|seed: u8| std::thread::spawn(owner(seed * 60))).collect();
        owners.into_iter().for_each(|owner| owner.join().expect("an owner"));
    }

    #[test]
    fn blocks_are_aligned_and_zeroed_when_asked() {
        for align in [1_usize, 8, 64, 4096, 8192] {
            for size in [1, 4096, FIRST + 1] {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not zero.
                let block = unsafe { Guarded.alloc_zeroed(layout) };
                assert!(!block.is_null() && block.addr() % align == 0, "{size} at {align}");
                // SAFETY: the block is `size` bytes long.
                let bytes = unsafe { std::slice::from_raw_parts_mut(block, size) };
                assert!(bytes.iter().all(|byte| *byte == 0), "{size} at {align}");
                bytes.fill(0xa5);
                // SAFETY: it came from there, with this layout.
                unsafe { Guarded.dealloc(block, layout) };
            }
        }
    }
}
