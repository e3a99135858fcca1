//! Computations that are compiled for several sets of vector instructions, and the operations that differ between these.
use fearless_simd::{Level, Simd, SimdCvtFloat, SimdFloat, SimdInt, f32x8, i16x16, u8x32};

use super::instructions;
use portable::Portable;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
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
    /// Whether sixteen sums and their operands fit the registers.
    const MANY_REGISTERS: bool = false;

    /// Whether [`add_products`](Self::add_products) sums two products in only 16 bits, so that a few large ones fill a sum.
    const NARROW_SUMS: bool = false;

    /// Whether [`dot_bytes`](Self::dot_bytes) takes codes of eight bits as signed numbers.
    const SIGNED_BYTES: bool = false;

    /// Whether [`add_products`](Self::add_products) takes codes of eight bits too.
    const ADDS_BYTES: bool = false;

    /// The number of groups of 32 codes, or of eight floats, in a vector: 1 or 2.
    const GROUPS: usize;

    /// Up to this number of rows, their sums fit the registers beside unpacked weights. [`sizes`] returns it.
    const FEW: usize = FEW;

    /// A vector of 8 floats for each group.
    type Floats: SimdFloat<S, Element = f32> + SimdCvtFloat<Self::Sums>;

    /// Eight sums of products for each group. Each lane has the sum of the products of four codes in succession.
    type Sums: SimdInt<S, Element = i32>;

    /// 32 codes for each group.
    type Codes: SimdInt<S, Element = u8, ByteVector = Self::Codes>;

    /// 32 activations for each group.
    type Activations: SimdInt<S, Element = i8>;

    /// 16 scales for each group.
    type Scales: SimdInt<S, Element = i16>;

    /// Sums of products, not yet added up to [`Sums`](Self::Sums).
    type Unsummed: Copy;

    /// The number of blocks side by side in a vector, each with 16 codes or four floats: at most [`BLOCKS`].
    const BLOCKS: usize = 2 * Self::GROUPS;

    /// Makes a vector of the codes of two groups, eight of the first, eight of the second, and so on; of the first one alone if there
    /// is one in a vector.
    fn interleaved(simd: S, first: u8x32<S>, second: u8x32<S>) -> Self::Codes;

    /// `scales` has the scale of each group twice, or eight times if there is one group in a vector. Repeats it for the lanes with that
    /// group's sums, in the order of [`interleaved`](Self::interleaved).
    fn interleaved_scales(simd: S, scales: &[f32]) -> Self::Floats;

    /// Repeats four codes eight times for each group.
    fn four_codes(simd: S, codes: [u8; 4]) -> Self::Codes;

    /// Repeats 32 activations for each group.
    fn repeated(simd: S, activations: &[i8; 32]) -> Self::Activations;

    /// Repeats the first eight of 16 scales for the first half of a vector, and the last eight for its last half.
    fn repeated_scales(simd: S, scales: i16x16<S>) -> Self::Scales;

    /// Makes a vector of the floats of its first group, and zeros.
    fn first_group(simd: S, floats: f32x8<S>) -> Self::Floats;

    /// Adds the groups of a vector.
    fn folded(simd: S, floats: Self::Floats) -> f32x8<S>;

    /// Repeats the two scales of each group four times each.
    fn scales_of_halves(simd: S, scales: &[[f32; 2]]) -> Self::Floats;

    /// Adds up the floats of each group.
    fn sums_of_groups(simd: S, floats: Self::Floats) -> [f32; 2];

    /// Sums of no products.
    fn zero(simd: S) -> Self::Unsummed;

    /// Adds the products of codes of less than seven bits with activations.
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

    /// Adds the products of two vectors of codes of less than six bits with activations.
    #[inline(always)]
    fn add_dots(
        simd: S,
        sums: Self::Sums,
        [first, last]: [Self::Codes; 2],
        [x_first, x_last]: [Self::Activations; 2],
    ) -> Self::Sums {
        let products = Self::add_products(simd, Self::zero(simd), first, x_first);
        sums + Self::summed(simd, Self::add_products(simd, products, last, x_last))
    }

    /// The same with codes of up to eight bits.
    #[inline(always)]
    fn add_dots_of_bytes(
        simd: S,
        sums: Self::Sums,
        [first, last]: [Self::Codes; 2],
        [x_first, x_last]: [Self::Activations; 2],
    ) -> Self::Sums {
        sums + Self::dot_bytes(simd, first, x_first) + Self::dot_bytes(simd, last, x_last)
    }

    /// The products of codes of less than seven bits with activations. Two products in succession are added, and multiplied with one
    /// scale. The scales of four products must be equal.
    fn dot_scaled(
        simd: S,
        codes: Self::Codes,
        activations: Self::Activations,
        scales: Self::Scales,
    ) -> Self::Sums;

    /// Takes 16 bytes of each block from `start` on. The blocks have `size` bytes and lie one after another, as in the next methods.
    fn side_by_side(simd: S, blocks: &[u8], start: usize, size: usize) -> Self::Codes;

    /// Adds fifth bits to the first 16 and the last 16 codes of each block, which have four. Each block has those of its codes
    /// in 32 bits from `start` on.
    fn with_fifth_bits(
        simd: S,
        codes: [Self::Codes; 2],
        blocks: &[u8],
        start: usize,
        size: usize,
    ) -> [Self::Codes; 2];

    /// Converts the little-endian f16 at the beginning of each block, in four lanes.
    fn f16s(simd: S, blocks: &[u8], size: usize) -> Self::Floats;

    /// Converts the two little-endian f16 at the beginning of each block, in four lanes each.
    fn f16_pairs(simd: S, blocks: &[u8], size: usize) -> [Self::Floats; 2];

    /// Reads as many little-endian f32 as a vector of floats has lanes.
    fn f32_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with f16.
    fn f16_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with bf16.
    fn bf16_floats(simd: S, bytes: &[u8]) -> Self::Floats;

    /// The same with bytes, which are signed integers.
    fn i8_floats(simd: S, codes: &[u8]) -> Self::Floats;

    /// Asks for memory that will be read soon. Any address is allowed.
    #[inline(always)]
    fn prefetch(_: *const u8) {}

    /// The same for memory that will be read later: it goes to the L2 cache, so that it does not displace what is read meanwhile.
    #[inline(always)]
    fn prefetch_far(_: *const u8) {}

    /// Converts one little-endian f16 to f32.
    fn f16_to_f32(simd: S, bits: [u8; 2]) -> f32;

    /// Converts eight little-endian f16 to f32.
    fn f16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S>;

    /// Spreads 32 bits over 32 bytes: 16 for a set bit, 0 for any other. These are the fifth bits of 5-bit codes.
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S>;
}

/// Runs a kernel with the instructions that are chosen on this thread.
pub(super) fn run(kernel: impl Kernel) {
    run_at(instructions::current(), kernel);
}

/// The largest number of blocks that lie side by side in a vector.
pub(super) const BLOCKS: usize = 4;

/// Reads `N` bytes of the block `i` of blocks of `size` bytes, from `start` on.
#[inline(always)]
fn bytes_of<const N: usize>(blocks: &[u8], i: usize, start: usize, size: usize) -> [u8; N] {
    // Not reached without a value: callers pass whole blocks.
    blocks.get(i * size + start..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// [`Dot::FEW`] with vectors of one group, and with vectors of two groups, of which there are more.
const FEW: usize = 4;
#[cfg(target_arch = "x86_64")]
const FEW_IN_PAIRS: usize = 8;

/// Returns [`Dot::GROUPS`] and [`Dot::FEW`] of these instructions.
pub(super) fn sizes(level: Level) -> (usize, usize) {
    #[cfg(target_arch = "x86_64")]
    if level.as_avx512().is_some() {
        return (2, FEW_IN_PAIRS);
    }
    let _ = level;
    (1, FEW)
}

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
