//! Loops compiled several times, for the vector instructions that the processor turns out to have.
use fearless_simd::{Level, dispatch};

/// Runs `f` with the widest vectors there are. `f` and what it calls must be `#[inline(always)]`, for only what is
/// inlined here is compiled for them. Products and sums stay apart (nothing is fused), so that results are bitwise the
/// same on any processor.
#[inline(always)]
pub(super) fn vectorized<T>(f: impl FnOnce() -> T) -> T {
    dispatch!(Level::new(), _simd => f())
}
