//! Asking for memory ahead on x86.
#![allow(unsafe_code, reason = "there is no safe function that prefetches")]
use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

/// Asks for the cache line of an address, for the L2 cache.
#[inline(always)]
pub(super) fn prefetch_far(at: *const u8) {
    // SAFETY: the instruction is part of every x86-64 processor. It reads nothing, and allows any address.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
}
