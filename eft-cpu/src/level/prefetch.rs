//! Asking for memory ahead on x86.
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// Asks for the cache line of an address.
#[inline(always)]
#[allow(unsafe_code, reason = "there is no safe function that prefetches")]
pub(super) fn prefetch(at: *const u8) {
    // SAFETY: the instruction is part of every x86-64 processor. It reads nothing, and allows any address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}
