//! Computations that are compiled for several sets of vector instructions, and the operations that differ between these.
use fearless_simd::{Level, Simd, SimdCvtFloat, SimdFloat, SimdInt, f32x8};

use super::instructions;
use portable::Portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod gather;
mod portable;
#[cfg(target_arch = "x86_64")]
mod prefetch;

/// A computation that is written once and compiled for each set of vector instructions. `run` and every function that
/// it calls must be `#[inline(always)]`: only code that is inlined into [`run_at`] is compiled for the chosen
/// instructions.
pub(super) trait Kernel {
    fn run<S: Simd, D: Dot<S>>(self, simd: S);
}

/// Operations whose implementation differs between sets of instructions by more than the width of their vectors.
pub(super) trait Dot<S: Simd>: Copy {
    /// Whether there are 32 registers, so that up to 24 sums and their operands fit.
    const MANY_REGISTERS: bool = false;

    /// Whether [`add_products`](Self::add_products) sums two products in only 16 bits, so that a few large ones fill a sum.
    const NARROW_SUMS: bool = false;

    /// Whether [`dot_bytes`](Self::dot_bytes) takes codes of eight bits as signed numbers.
    const SIGNED_BYTES: bool = false;

    /// Whether [`add_products`](Self::add_products) takes codes of eight bits too.
    const ADDS_BYTES: bool = false;

    /// The number of groups of 32 codes, or of eight floats, in a vector: 1 or 2.
    const GROUPS: usize;

    /// A vector of 8 floats for each group.
    type Floats: SimdFloat<S, Element = f32, ByteVector = Self::Codes> + SimdCvtFloat<Self::Sums>;

    /// Eight sums of products for each group. Each lane has the sum of the products of four codes in succession.
    type Sums: SimdInt<S, Element = i32, ByteVector = Self::Codes>;

    /// 32 codes for each group.
    type Codes: SimdInt<S, Element = u8, ByteVector = Self::Codes>;

    /// 32 activations for each group.
    type Activations: SimdInt<S, Element = i8>;

    /// Sums of products, not yet added up to [`Sums`](Self::Sums).
    type Unsummed: Copy;

    /// Repeats four activations in each lane of 32 bits.
    fn four_activations(simd: S, activations: [i8; 4]) -> Self::Activations;

    /// Joins pieces of 16 bytes: the first two if a vector has 32 bytes, otherwise all four.
    fn sixteens(simd: S, bytes: [&[u8; 16]; BLOCKS]) -> Self::Codes;

    /// Transposes 4×4 numbers of 32 bits within each 16 bytes: vector `i` of the result has number `i` of each of the four.
    fn transposed(simd: S, bytes: [Self::Codes; 4]) -> [Self::Codes; 4];

    /// Converts the f16 in the lower 16 bits of each lane.
    fn f16_lanes(simd: S, bits: Self::Sums) -> Self::Floats;

    /// Adds 16 to each code, which is below 16, whose byte of `bits` has the bit that is set in its byte of `own`.
    fn with_set_bits(simd: S, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes;

    /// Looks up four bytes for each lane, in a table whose length is a power of two. Indices are below it.
    fn fours<const N: usize>(simd: S, table: &[[i8; 4]; N], indices: Self::Sums) -> Self::Codes;

    /// The same with eight bytes: the first four, then the last four.
    fn eights<const N: usize>(simd: S, table: &[[i8; 8]; N], indices: Self::Sums) -> [Self::Codes; 2];

    /// Negates each code whose byte of `bits` has the bit that is set in its byte of `own`.
    fn negated(simd: S, codes: Self::Codes, bits: Self::Codes, own: Self::Codes) -> Self::Codes;

    /// Adds the groups of a vector.
    fn folded(simd: S, floats: Self::Floats) -> f32x8<S>;

    /// Sums of no products.
    fn zero(simd: S) -> Self::Unsummed;

    /// Adds the products of codes of less than seven bits with activations, or of eight bits where [`ADDS_BYTES`](Self::ADDS_BYTES).
    fn add_products(
        simd: S,
        sum: Self::Unsummed,
        codes: Self::Codes,
        activations: Self::Activations,
    ) -> Self::Unsummed;

    /// Adds sums up to eight lanes a group.
    fn summed(simd: S, sum: Self::Unsummed) -> Self::Sums;

    /// The products of codes of up to eight bits with activations.
    fn dot_bytes(simd: S, codes: Self::Codes, activations: Self::Activations) -> Self::Sums;

    /// Reads as many little-endian f32 as a vector of floats has lanes.
    fn f32_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with f16.
    fn f16_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with bf16.
    fn bf16_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with bytes, which are signed integers.
    fn i8_floats(simd: S, codes: &[u8]) -> Self::Floats;

    /// Asks for memory that will be read later: it goes to the L2 cache, so that it does not displace what is read meanwhile. Any
    /// address is allowed.
    #[inline(always)]
    fn prefetch_far(_: *const u8) {}
}

/// Runs a kernel with the instructions that are chosen on this thread.
pub(super) fn run(kernel: impl Kernel) {
    run_at(instructions::current(), kernel);
}

/// The size of a cache line in bytes.
pub(super) const LINE: usize = 64;

/// The number of pieces of 16 bytes in the widest vector.
pub(super) const BLOCKS: usize = 4;

/// Runs a kernel with the instructions of `level`.
pub(super) fn run_at(level: Level, kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        // The order matters: each level includes the instructions of the levels below it.
        if let Some(simd) = level.as_avx512() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, avx512::Vnni>(simd),
            )
        } else if let Some(simd) = level.as_avx2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, avx2::Madd>(simd),
            )
        } else if let Some(simd) = level.as_sse4_2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, Portable>(simd),
            )
        } else {
            // A version for SSE2 alone would take a quarter of the time to compile all kernels, and nobody would run it.
            unreachable!("callers check `is_supported`: this processor lacks SSE4.2");
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    fearless_simd::dispatch!(level, simd => kernel.run::<_, Portable>(simd));
}
