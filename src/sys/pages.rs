//! Mappings of memory that belong to nobody else, for the allocator. Nothing here is remembered: who has a
//! mapping knows its size.
#![expect(unsafe_code, reason = "mmap(2) and its like deal in raw memory")]

use std::ptr::null_mut;

/// What every mapping is aligned to at least: the smallest page of all architectures.
pub const ALIGNMENT: usize = 4096;

/// Returns `size` bytes of zeros, or null.
#[must_use]
pub fn map(size: usize) -> *mut u8 {
    let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place that the kernel chooses touches no other.
    let mapped = unsafe { libc::mmap(null_mut(), size, rights, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { null_mut() } else { mapped.cast() }
}

/// Makes a mapping of `size` bytes one of `wanted` bytes, maybe elsewhere, and returns it; null leaves it as it is.
///
/// # Safety
/// `mapped` came from [`map`] or from here with this size, and nobody else uses it.
#[must_use]
pub unsafe fn remap(mapped: *mut u8, size: usize, wanted: usize) -> *mut u8 {
    // SAFETY: the mapping is the caller's alone.
    let moved = unsafe { libc::mremap(mapped.cast(), size, wanted, libc::MREMAP_MAYMOVE) };
    if moved == libc::MAP_FAILED { null_mut() } else { moved.cast() }
}

/// Gives a mapping of `size` bytes back.
///
/// # Safety
/// As for [`remap`]; nothing of it is used afterwards.
pub unsafe fn unmap(mapped: *mut u8, size: usize) {
    // SAFETY: the mapping is the caller's alone, and given up.
    unsafe { libc::munmap(mapped.cast(), size) };
}
