//! Loops that are compiled for several sets of vector instructions, one of which is chosen at run time.
use fearless_simd::{Level, dispatch};

/// Runs `f` with the widest vector instructions that the processor has. `f` and the functions that it calls must be
/// `#[inline(always)]`, since only code inlined here is compiled for those instructions. Multiplications and additions
/// are not fused, so results are bitwise the same on every processor.
#[inline(always)]
pub(crate) fn vectorized<T>(f: impl FnOnce() -> T) -> T {
    dispatch!(Level::new(), _simd => f())
}
