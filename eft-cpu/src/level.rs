//! Computations that are compiled for several sets of vector instructions, and the operations that differ between these.
use fearless_simd::{
    Bytes, Level, Simd, SimdBase, SimdCombine, SimdInt, SimdSplit, SimdWiden, f32x8, i8x16, i8x32, i16x16,
    i32x8, u8x16, u8x32, u16x8, u16x16,
};

use super::instructions;

#[cfg(target_arch = "x86_64")]
mod x86;

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

    /// Whether a [`Sum`](Self::Sum) has only 16 bits for two products, so that a few large ones fill it.
    const NARROW_SUMS: bool = false;

    /// Whether [`dot_bytes`](Self::dot_bytes) takes codes of eight bits as signed numbers.
    const SIGNED_BYTES: bool = false;

    /// Whether [`add_products`](Self::add_products) takes codes of eight bits too.
    const ADDS_BYTES: bool = false;

    /// Sums of products of codes and activations, not yet added up to eight lanes.
    type Sum: Copy;

    /// Sums of no products.
    fn zero(simd: S) -> Self::Sum;

    /// Adds the products of 32 codes of less than seven bits with 32 activations.
    fn add_products(simd: S, sum: Self::Sum, codes: u8x32<S>, activations: i8x32<S>) -> Self::Sum;

    /// Adds sums up to eight lanes: lane `i` has the products of the columns from `4·i` up to `4·i + 4`.
    fn lanes(simd: S, sum: Self::Sum) -> i32x8<S>;

    /// The dot product of 32 codes of up to eight bits and 32 activations, in the lanes of [`lanes`](Self::lanes).
    fn dot_bytes(simd: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S>;

    /// The dot product of 32 codes of less than seven bits and 32 activations. The products of the first 16 columns are
    /// multiplied with the first eight scales, which must be equal, and the others with the last eight. The lanes are
    /// those of [`lanes`](Self::lanes).
    fn dot_scaled(simd: S, codes: u8x32<S>, activations: i8x32<S>, scales: i16x16<S>) -> i32x8<S>;

    /// Asks for memory that will be read soon. Any address is allowed.
    #[inline(always)]
    fn prefetch(_: *const u8) {}

    /// Converts one little-endian f16 to f32.
    fn f16_to_f32(simd: S, bits: [u8; 2]) -> f32;

    /// Converts eight little-endian f16 to f32.
    fn f16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S>;

    /// Converts eight bytes, which are signed integers, to f32.
    #[inline(always)]
    fn i8x8_to_f32(simd: S, codes: &[u8; 8]) -> f32x8<S> {
        let mut filled = [0; 16];
        filled[..8].copy_from_slice(codes);
        let (first, _) = u8x16::from_slice(simd, &filled).bitcast::<i8x16<S>>().widen();
        let (first, last) = first.widen();
        first.combine(last).to_float()
    }

    /// Converts eight little-endian bf16 to f32.
    #[inline(always)]
    fn bf16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S> {
        let zero = u8x16::splat(simd, 0).bitcast::<u16x8<S>>();
        let (first, last) = zero.interleave(u8x16::from_slice(simd, bits).bitcast::<u16x8<S>>());
        first.combine(last).bitcast()
    }

    /// Spreads 32 bits over 32 bytes: 16 for a set bit, 0 for any other. These are the fifth bits of 5-bit codes.
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S>;
}

/// Runs a kernel with the instructions that are chosen on this thread.
pub(super) fn run(kernel: impl Kernel) {
    run_at(instructions::current(), kernel);
}

/// Runs a kernel with the instructions of `level`.
pub(super) fn run_at(level: Level, kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        // The order matters: each level includes the instructions of the levels below it.
        if let Some(simd) = level.as_avx512() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, x86::Vnni>(simd),
            )
        } else if let Some(simd) = level.as_avx2() {
            simd.vectorize(
                #[inline(always)]
                || kernel.run::<_, x86::Madd>(simd),
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

/// Portable operations, for processors without a better implementation.
#[derive(Debug, Clone, Copy)]
struct Portable;

impl<S: Simd> Dot<S> for Portable {
    type Sum = i32x8<S>;

    #[inline(always)]
    fn zero(simd: S) -> Self::Sum {
        i32x8::splat(simd, 0)
    }

    #[inline(always)]
    fn add_products(_: S, sum: Self::Sum, codes: u8x32<S>, activations: i8x32<S>) -> Self::Sum {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // A product is at most 63 · 127, so a sum of two fits in 16 bits.
        let products = |codes: u16x16<S>, activations: i16x16<S>| {
            let (a, b) = (codes.bitcast::<i16x16<S>>() * activations).split();
            a.unzip_low(b) + a.unzip_high(b)
        };
        let (first, last) = (products(first_codes, first), products(last_codes, last));
        let (first, last) = (first.unzip_low(last).widen(), first.unzip_high(last).widen());
        sum + (first.0.combine(first.1) + last.0.combine(last.1))
    }

    #[inline(always)]
    fn lanes(_: S, sum: Self::Sum) -> i32x8<S> {
        sum
    }

    #[inline(always)]
    fn dot_scaled(simd: S, codes: u8x32<S>, activations: i8x32<S>, scales: i16x16<S>) -> i32x8<S> {
        let ((first, _), (last, _)) = {
            let (first, last) = scales.widen();
            (first.split(), last.split())
        };
        let dot = <Self as Dot<S>>::add_products(simd, <Self as Dot<S>>::zero(simd), codes, activations);
        dot * first.combine(last)
    }

    #[inline(always)]
    fn dot_bytes(_: S, codes: u8x32<S>, activations: i8x32<S>) -> i32x8<S> {
        let (first_codes, last_codes) = codes.widen();
        let (first, last) = activations.widen();
        // A product is at most 255 · 127, which fits in 16 bits, but a sum of two does not.
        let pairs = |codes: u16x16<S>, activations: i16x16<S>| {
            let (a, b) = (codes.bitcast::<i16x16<S>>() * activations).widen();
            a.unzip_low(b) + a.unzip_high(b)
        };
        let (first, last) = (pairs(first_codes, first), pairs(last_codes, last));
        first.unzip_low(last) + first.unzip_high(last)
    }

    #[inline(always)]
    fn f16_to_f32(_: S, bits: [u8; 2]) -> f32 {
        half::f16::from_le_bytes(bits).to_f32()
    }

    #[inline(always)]
    fn f16x8_to_f32(simd: S, bits: &[u8; 16]) -> f32x8<S> {
        let numbers = bits.as_chunks().0;
        f32x8::from_fn(simd, |i| Self::f16_to_f32(simd, numbers[i]))
    }

    #[inline(always)]
    fn fifth_bits(simd: S, bits: [u8; 4]) -> u8x32<S> {
        let mut spread = [0; 32];
        for (bits, spread) in bits.iter().zip(spread.chunks_exact_mut(8)) {
            spread.copy_from_slice(&SPREAD[usize::from(*bits)].to_le_bytes());
        }
        u8x32::from_slice(simd, &spread)
    }
}

/// For each byte, its eight bits spread over eight bytes of 16 or 0.
static SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut bits = 0;
    while bits < 256 {
        let mut i = 0;
        while i < 8 {
            table[bits] |= ((bits as u64 >> i) & 1) << (8 * i + 4);
            i += 1;
        }
        bits += 1;
    }
    table
};
